//! Who belongs to the quorum: the birth of a cluster, newcomers, and a member whose directory is a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use openraft::ChangeMembers;
use tokio::sync::mpsc;

use super::types::{Metrics, Seat, VoterId};
use super::wire::{Question, Reply, Request, Unanswered};
use super::{Shared, came};
use crate::ids::NodeId;

/// Newcomers that wait at once; more introduce themselves again.
pub(super) const NEWCOMERS: usize = 64;
const ASK: Duration = Duration::from_millis(250);
const CHANGE: Duration = Duration::from_secs(5);
const TEND_EVERY: Duration = Duration::from_millis(100);
/// A learner this few entries behind has caught up.
const NEAR: u64 = 64;

/// A node that introduced itself.
#[derive(Debug)]
pub(super) struct Newcomer {
    id: VoterId,
    seat: Seat,
}

/// A member of the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seated {
    /// Who.
    pub id: VoterId,
    /// Where it is reached.
    pub address: String,
    /// What it does.
    pub role: Role,
}

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It votes.
    Voter,
    /// It is fed, and does not vote.
    Learner,
}

/// Why the voters were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Another node leads, or nobody does.
    #[error("this node does not lead the quorum; {}", .0.map_or("nobody does".into(), |node| format!("node {node} does")))]
    NotLeader(Option<NodeId>),
    /// No member of this node.
    #[error("node {0} is not a member of the quorum; start it, so that it introduces itself")]
    NoMember(NodeId),
    /// It has not caught up.
    #[error("node {0} has not caught up with the quorum's log yet; try again later")]
    Behind(NodeId),
    /// openraft refused, or time ran out.
    #[error("the voters were not changed: {0}")]
    Refused(String),
}

impl Shared {
    /// Whether this member never held anything of a cluster.
    pub(super) fn is_unborn(&self) -> bool {
        self.new && self.log.is_unborn()
    }

    /// Takes note of a node that introduced itself, if this node leads and does not know it so.
    pub(super) fn newcomer(&self, id: VoterId, address: &str) {
        if *self.leader.borrow() != Some(self.me.node) || id == self.me {
            return;
        }
        let seat = Seat { address: address.into() };
        if self.metrics.borrow().membership_config.membership().get_node(&id) != Some(&seat) {
            // Full: it comes again.
            let _full = self.newcomers.try_send(Newcomer { id, seat });
        }
    }

    fn not_leader(&self) -> Result<(), ChangeError> {
        let leader = *self.leader.borrow();
        if leader == Some(self.me.node) { Ok(()) } else { Err(ChangeError::NotLeader(leader)) }
    }

    async fn change(&self, change: ChangeMembers<VoterId, Seat>, retain: bool) -> Result<(), ChangeError> {
        match tokio::time::timeout(CHANGE, self.raft.change_membership(change, retain)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(ChangeError::Refused(error.to_string())),
            Err(_) => Err(ChangeError::Refused("not committed in time; it may be later".into())),
        }
    }
}

pub(super) fn members(metrics: &Metrics) -> Vec<Seated> {
    let membership = metrics.membership_config.membership();
    let voters: BTreeSet<VoterId> = membership.voter_ids().collect();
    let seated = |(id, seat): (&VoterId, &Seat)| Seated {
        id: *id,
        address: seat.address.clone(),
        role: if voters.contains(id) { Role::Voter } else { Role::Learner },
    };
    membership.nodes().map(seated).collect()
}

pub(super) async fn add_voter(shared: &Arc<Shared>, node: NodeId) -> Result<(), ChangeError> {
    shared.not_leader()?;
    let (id, role, near) = {
        let metrics = shared.metrics.borrow();
        let member = members(&metrics).into_iter().rfind(|member| member.id.node == node);
        let member = member.ok_or(ChangeError::NoMember(node))?;
        (member.id, member.role, is_near(&metrics, member.id))
    };
    if role == Role::Voter {
        return Ok(());
    }
    if !near {
        return Err(ChangeError::Behind(node));
    }
    shared.change(ChangeMembers::AddVoterIds(BTreeSet::from([id])), true).await
}

pub(super) async fn remove_voter(shared: &Arc<Shared>, node: NodeId) -> Result<(), ChangeError> {
    shared.not_leader()?;
    let ids: BTreeSet<VoterId> = {
        let metrics = shared.metrics.borrow();
        let gone = |member: &Seated| member.id.node == node && member.role == Role::Voter;
        members(&metrics).into_iter().filter(gone).map(|member| member.id).collect()
    };
    if ids.is_empty() {
        return Err(ChangeError::NoMember(node));
    }
    shared.change(ChangeMembers::RemoveVoters(ids), true).await
}

pub(super) async fn forget(shared: &Arc<Shared>, node: NodeId) -> Result<(), ChangeError> {
    shared.not_leader()?;
    let present = members(&shared.metrics.borrow());
    let theirs: Vec<&Seated> = present.iter().filter(|member| member.id.node == node).collect();
    if theirs.is_empty() {
        return Err(ChangeError::NoMember(node));
    }
    if theirs.iter().any(|member| member.role == Role::Voter) {
        return Err(ChangeError::Refused(format!("node {node} is a voter; make it a learner first")));
    }
    shared.change(ChangeMembers::RemoveNodes(theirs.iter().map(|member| member.id).collect()), true).await
}

fn is_near(metrics: &Metrics, id: VoterId) -> bool {
    let matched = metrics.replication.as_ref().and_then(|all| all.get(&id).copied().flatten());
    matched.is_some_and(|log_id| log_id.index + NEAR >= metrics.last_log_index.unwrap_or(0))
}

/// Runs until the quorum is stopped: makes this node known while it is no member, and bears the cluster if it is the one
/// to do it.
pub(super) async fn introduce(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut wait_ms = 25;
    loop {
        if is_seated(&shared) {
            wait_ms = 500;
        } else {
            wait_ms = (wait_ms * 2).min(500);
            let others = ask_others(&shared).await;
            bear(&shared, &others).await;
        }
        let wait = Duration::from_millis(shared.world.random.range(wait_ms / 2, wait_ms + 1));
        tokio::select! {
            biased;
            () = came(&mut stop, |stop| *stop) => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Whether the membership has this node, where it is.
fn is_seated(shared: &Shared) -> bool {
    let metrics = shared.metrics.borrow();
    let seat = metrics.membership_config.membership().get_node(&shared.me);
    seat.is_some_and(|seat| seat.address == shared.settings.address)
}

/// What another founder said of itself.
#[derive(Debug)]
struct Other {
    id: VoterId,
    unborn: bool,
    founders: Vec<NodeId>,
}

async fn ask_others(shared: &Arc<Shared>) -> Vec<Other> {
    let founders = shared.settings.founders();
    let mut nodes: BTreeSet<NodeId> = founders.iter().copied().collect();
    nodes.extend(shared.metrics.borrow().membership_config.membership().nodes().map(|(id, _)| id.node));
    nodes.remove(&shared.me.node);
    let asked = nodes.into_iter().map(|node| {
        let request =
            Request::Introduce { address: shared.settings.address.clone(), founders: founders.clone() };
        let question = Question { from: shared.me, to: None, request };
        tokio::time::timeout(ASK, shared.wire.ask(node, question, ASK))
    });
    let other = |reply: Result<Result<Reply, Unanswered>, _>| match reply {
        Ok(Ok(Reply::Introduced { me, unborn, founders })) => Some(Other { id: me, unborn, founders }),
        _ => None,
    };
    join_all(asked).await.into_iter().filter_map(other).collect()
}

/// Bears the cluster: done by the founder with the least number, when all founders are there and none has ever been part
/// of one. A founder whose directory was emptied finds another that was, and waits to be taken in.
async fn bear(shared: &Arc<Shared>, others: &[Other]) {
    let founders = shared.settings.founders();
    if founders.first() != Some(&shared.me.node) || !shared.is_unborn() {
        return;
    }
    let known: BTreeMap<NodeId, &Other> = others.iter().map(|other| (other.id.node, other)).collect();
    let mut members = BTreeMap::new();
    for (node, address) in &shared.settings.voters {
        let id = match known.get(node) {
            None if *node == shared.me.node => shared.me,
            Some(other) if other.unborn && other.founders == founders => other.id,
            Some(other) if other.unborn => {
                tracing::warn!(other = %node, theirs = ?other.founders, ours = ?founders,
                    "two nodes were told of different first voters; no cluster is made: see to quorum.voters");
                return;
            }
            _ => return,
        };
        members.insert(id, Seat { address: address.clone() });
    }
    if let Err(error) = shared.raft.initialize(members).await {
        tracing::warn!(%error, "the cluster could not be made; trying again");
    }
}

/// Runs until the quorum is stopped: while this node leads, it takes newcomers in.
pub(super) async fn tend(shared: Arc<Shared>, mut introduced: mpsc::Receiver<Newcomer>) {
    let mut stop = shared.stop.subscribe();
    let mut waiting: BTreeMap<NodeId, (VoterId, Seat)> = BTreeMap::new();
    loop {
        tokio::select! {
            biased;
            () = came(&mut stop, |stop| *stop) => return,
            newcomer = introduced.recv() => {
                let Some(Newcomer { id, seat }) = newcomer else { return };
                waiting.insert(id.node, (id, seat));
            }
            () = tokio::time::sleep(TEND_EVERY) => {}
        }
        if shared.not_leader().is_err() {
            waiting.clear();
            continue;
        }
        let step = next_change(&shared.metrics.borrow(), &mut waiting);
        if let Some((change, retain)) = step
            && let Err(error) = shared.change(change, retain).await
        {
            tracing::warn!(%error, "a change of the quorum's members failed; trying again");
        }
    }
}

type Step = (ChangeMembers<VoterId, Seat>, bool);

/// The next change on the way to a membership that has all who wait, each node once. Drops from `waiting` who is in.
fn next_change(metrics: &Metrics, waiting: &mut BTreeMap<NodeId, (VoterId, Seat)>) -> Option<Step> {
    let membership = metrics.membership_config.membership();
    let sets = membership.get_joint_config();
    let present = sets.last()?;
    if sets.len() > 1 {
        // A leader was lost between the two steps of a change of voters.
        return Some((ChangeMembers::ReplaceAllVoters(present.clone()), true));
    }
    let mut next = None;
    waiting.retain(|node, (id, seat)| {
        if next.is_some() {
            return true;
        }
        let old: BTreeSet<VoterId> = membership
            .nodes()
            .map(|(id, _)| *id)
            .filter(|other| other.node == *node && other != id)
            .collect();
        next = match membership.get_node(id) {
            None => Some((ChangeMembers::AddNodes(BTreeMap::from([(*id, seat.clone())])), true)),
            Some(known) if known != seat => {
                Some((ChangeMembers::SetNodes(BTreeMap::from([(*id, seat.clone())])), true))
            }
            Some(_) if old.is_empty() => return false,
            Some(_) if old.is_disjoint(present) => Some((ChangeMembers::RemoveNodes(old), true)),
            Some(_) if is_near(metrics, *id) => {
                let mut voters: BTreeSet<VoterId> = present.difference(&old).copied().collect();
                voters.insert(*id);
                Some((ChangeMembers::ReplaceAllVoters(voters), false))
            }
            Some(_) => None,
        };
        true
    });
    next
}
