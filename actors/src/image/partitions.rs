//! A partition's state: who leads it in which epoch, who is in sync, who doubts its own log.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Choice, Election, InSyncChange, NodeState, Nodes, Reassignment, RegisteredNode};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{DirectoryId, Incarnation, LeaderEpoch, Member, NodeId, Offset, PartitionId};
use crate::topic_config::{FlushPolicy, TopicConfig};

/// Why a replica doubts its log, from least to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DoubtCause {
    /// The topic leaves its records to the page cache, and the machine has stopped uncleanly since.
    OtherBoot,
    /// Recovery had to cut bytes off, or the directory had failed: what was synced is there, what came after may not be.
    Cut,
    /// The log ends before what it had reported as durable.
    EndsEarly,
    /// The directory does not work: the replica cannot lead, whatever it holds.
    DirectoryFailed,
}

/// A member's doubt of its own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// Why.
    pub cause: DoubtCause,
    /// The leader epoch of the log's last batch.
    pub last_epoch: LeaderEpoch,
    /// Where the log ends.
    pub end: Offset,
}

impl Doubt {
    /// A member that has not said yet how far its log reaches. Behind all that have.
    pub const UNTOLD: Self = Self { cause: DoubtCause::Cut, last_epoch: LeaderEpoch(-2), end: Offset::ZERO };

    /// Whether the member has said how far its log reaches.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.last_epoch > Self::UNTOLD.last_epoch
    }
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Where it has replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Who leads, from which disk and in which life; `None` while nobody does.
    pub leader: Option<Member>,
    /// Counts the leaderships; only grows.
    pub leader_epoch: LeaderEpoch,
    /// The in-sync set by node; never empty.
    pub in_sync: Vec<Member>,
    /// Counts the changes of leader and set; never begins anew.
    pub set_version: u32,
    /// Members of the set that doubt their log, by node.
    pub doubts: Vec<(NodeId, Doubt)>,
    /// The reassignment of its replicas under way, if there is one. Stored beside the partitions.
    #[serde(skip)]
    pub reassignment: Option<Reassignment>,
    /// Of a topic of the system: the nodes that were registered when somebody chose its replicas, or gave up those that the
    /// cluster was giving it, by id and without those forgotten since; `None` where they are as the cluster has them. Stored
    /// beside the partitions.
    #[serde(skip)]
    pub chosen_among: Option<Vec<NodeId>>,
}

impl Partition {
    /// A new partition: all its live replicas are in sync, the first of them leads in epoch 0.
    pub(super) fn create(id: PartitionId, replicas: &[NodeId], nodes: &Nodes) -> Result<Self, Refusal> {
        let distinct: BTreeSet<_> = replicas.iter().collect();
        if distinct.len() != replicas.len() {
            return Err(ineligible(format!(
                "partition {id} would have two replicas on one node: {replicas:?}"
            )));
        }
        let live = |node: &NodeId| {
            nodes.live().find(|(id, _)| id == node).and_then(|(node, known)| known.new_member(node, id))
        };
        let members: Vec<Member> = replicas.iter().filter_map(live).collect();
        let Some(leader) = members.first().copied() else {
            return Err(ineligible(format!("none of the replicas of partition {id} lives: {replicas:?}")));
        };
        let mut in_sync = members;
        in_sync.sort_unstable();
        Ok(Self {
            replicas: replicas.to_vec(),
            leader: Some(leader),
            leader_epoch: LeaderEpoch(0),
            in_sync,
            set_version: 0,
            doubts: Vec::new(),
            reassignment: None,
            chosen_among: None,
        })
    }

    /// The member of the in-sync set on this node.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<Member> {
        self.in_sync.iter().copied().find(|member| member.node == node)
    }

    /// What the member on this node doubts.
    #[must_use]
    pub fn doubt(&self, node: NodeId) -> Option<Doubt> {
        self.doubts.iter().find(|(doubter, _)| *doubter == node).map(|(_, doubt)| *doubt)
    }

    /// The state after `node` began a new life; `None` if that changes nothing.
    ///
    /// A member whose directory is still there and that doubts nothing stays a member, in its new life. Any other keeps
    /// the old one, with its doubt; whether it leaves is for an election to say (rules 4 and 5).
    pub(super) fn renew(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        directories: &[DirectoryId],
        reported: Option<Doubt>,
    ) -> Option<Self> {
        let member = self.member(node)?;
        let mut next = self.clone();
        for (_, doubt) in next.doubts.iter_mut().filter(|(doubter, _)| *doubter == node) {
            // The process that could not use its disk is gone; recovery has cut the replica back to what was synced.
            if doubt.cause == DoubtCause::DirectoryFailed {
                doubt.cause = DoubtCause::Cut;
            }
        }
        if let Some(doubt) = reported {
            next.note(node, doubt);
        } else if next.doubt(node).is_none() && directories.contains(&member.directory) {
            for known in next.in_sync.iter_mut().filter(|known| known.node == node) {
                known.incarnation = incarnation;
            }
        }
        (next != *self).then(|| next.counted())
    }

    /// The state after the member on `node` reported a doubt; `None` if it is no member.
    pub(super) fn doubted(&self, node: NodeId, doubt: Doubt) -> Option<Self> {
        self.member(node)?;
        let mut next = self.clone();
        next.note(node, doubt);
        Some(if next == *self { next } else { next.counted() })
    }

    /// A doubt is only ever replaced by one at least as bad: recovery in a later life does not bring records back.
    pub(super) fn note(&mut self, node: NodeId, doubt: Doubt) {
        let cause = self.doubt(node).map_or(doubt.cause, |known| doubt.cause.max(known.cause));
        self.doubts.retain(|(doubter, _)| *doubter != node);
        self.doubts.push((node, Doubt { cause, ..doubt }));
        self.doubts.sort_unstable_by_key(|(doubter, _)| *doubter);
    }

    /// The state after its leader, `node` in this life, changed the in-sync set.
    pub(super) fn altered(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        change: &InSyncChange,
        nodes: &Nodes,
    ) -> Result<Self, Refusal> {
        let id = change.partition;
        let Some(leader) =
            self.leader.filter(|leader| leader.node == node && leader.incarnation == incarnation)
        else {
            return Err(Refusal::new(
                ErrorCode::NotLeaderOrFollower,
                format!("node {node} does not lead partition {id} in its present life"),
            ));
        };
        self.check_base(id, change.epoch, change.set_version)?;
        if !change.in_sync.contains(&leader) {
            return Err(ineligible(format!("the in-sync set of partition {id} would lack its leader")));
        }
        let mut in_sync = change.in_sync.clone();
        in_sync.sort_unstable();
        if in_sync.windows(2).any(|pair| matches!(pair, [a, b] if a.node == b.node)) {
            return Err(ineligible(format!("the in-sync set of partition {id} would hold a node twice")));
        }
        for member in in_sync.iter().filter(|member| !self.in_sync.contains(member)) {
            self.check_joins(id, *member, nodes)?;
        }
        let mut next = Self { in_sync, ..self.clone() };
        // Who joins anew has caught up from the leader: what it doubted before is gone.
        next.doubts.retain(|(doubter, _)| {
            next.in_sync.iter().any(|member| member.node == *doubter && self.in_sync.contains(member))
        });
        Ok(next.counted())
    }

    fn check_joins(&self, id: PartitionId, member: Member, nodes: &Nodes) -> Result<(), Refusal> {
        let node = member.node;
        if !self.replicas.contains(&node) {
            return Err(ineligible(format!("node {node} has no replica of partition {id}")));
        }
        if !nodes.is_live(node, member.incarnation) {
            return Err(ineligible(format!(
                "node {node} is not live in the life named, it cannot join partition {id}"
            )));
        }
        if nodes.get(node).is_none_or(|known| !known.directories.contains(&member.directory)) {
            return Err(ineligible(format!("node {node} has no log directory {}", member.directory.0)));
        }
        Ok(())
    }

    /// The state after an election.
    pub(super) fn elected(
        &self,
        election: &Election,
        config: &TopicConfig,
        nodes: &Nodes,
    ) -> Result<Self, Refusal> {
        let id = election.partition;
        self.check_base(id, election.epoch, election.set_version)?;
        match &election.choice {
            Choice::Keep { in_sync } => {
                let leader = self.leader.filter(|leader| in_sync.contains(&leader.node));
                if leader.is_none() {
                    return Err(ineligible(format!(
                        "the in-sync set of partition {id} would lack its leader"
                    )));
                }
                Ok(Self { in_sync: self.kept(id, in_sync)?, ..self.clone() }.settled())
            }
            Choice::Lead { leader, in_sync } => {
                let kept = self.kept(id, in_sync)?;
                let leader = kept
                    .iter()
                    .copied()
                    .find(|member| member.node == *leader)
                    .filter(|member| self.doubt(member.node).is_none() && self.may_lead(*member, nodes));
                let Some(leader) = leader else {
                    return Err(ineligible(format!("the node elected for partition {id} cannot lead it")));
                };
                self.in_next_epoch(Some(leader), kept)
            }
            Choice::Nobody => self.in_next_epoch(None, self.in_sync.clone()),
            Choice::Alone { leader, unclean } => {
                let known = nodes.get(leader.node).filter(|_| nodes.is_live(leader.node, leader.incarnation));
                let has_disk = known.is_some_and(|known| known.directories.contains(&leader.directory));
                let clean = self.member(leader.node);
                let allowed = match clean {
                    _ if *unclean => config.unclean_leader_election && self.replicas.contains(&leader.node),
                    // On another disk there is nothing: that is never silent, but for topics that asked for it.
                    Some(member) => {
                        member.directory == leader.directory || config.flush_policy == FlushPolicy::Os
                    }
                    None => false,
                };
                if !has_disk || !allowed {
                    return Err(ineligible(format!("node {} cannot lead partition {id}", leader.node)));
                }
                self.in_next_epoch(Some(*leader), vec![*leader])
            }
        }
    }

    /// Whether its leader is there, in the life in which it was elected, and beyond doubt. Only then what is committed is
    /// known to be kept without those that may be taken out: after a power cut the image names a leader whose node has not
    /// come back, or has come back with less than it had.
    #[must_use]
    pub fn is_led(&self, nodes: &Nodes) -> bool {
        self.leader.is_some_and(|leader| {
            self.in_sync.contains(&leader)
                && self.doubt(leader.node).is_none()
                && self.may_lead(leader, nodes)
        })
    }

    /// In the life that the set names, and not on the way out unless it leads already.
    pub(super) fn may_lead(&self, member: Member, nodes: &Nodes) -> bool {
        let present = |known: &&RegisteredNode| {
            known.incarnation == member.incarnation && known.directories.contains(&member.directory)
        };
        let known = nodes.get(member.node).filter(present);
        known.is_some_and(|known| match known.state {
            NodeState::Live => true,
            NodeState::Leaving => self.leader == Some(member),
            NodeState::Starting | NodeState::Fenced => false,
        })
    }

    fn kept(&self, id: PartitionId, nodes: &[NodeId]) -> Result<Vec<Member>, Refusal> {
        let kept: Vec<Member> = self.in_sync.iter().copied().filter(|m| nodes.contains(&m.node)).collect();
        if kept.is_empty() || kept.len() != nodes.len() {
            return Err(ineligible(format!(
                "an election of partition {id} can only keep members of its in-sync set"
            )));
        }
        Ok(kept)
    }

    pub(super) fn in_next_epoch(
        &self,
        leader: Option<Member>,
        in_sync: Vec<Member>,
    ) -> Result<Self, Refusal> {
        let Some(epoch) = self.leader_epoch.0.checked_add(1) else {
            return Err(ineligible("the partition has had all leader epochs there are".to_owned()));
        };
        let mut next = Self { leader, leader_epoch: LeaderEpoch(epoch), in_sync, ..self.clone() };
        if let Some(leader) = leader {
            next.doubts.retain(|(doubter, _)| *doubter != leader.node);
        }
        Ok(next.settled())
    }

    pub(super) fn check_base(
        &self,
        id: PartitionId,
        epoch: LeaderEpoch,
        set_version: u32,
    ) -> Result<(), Refusal> {
        if epoch != self.leader_epoch {
            let code = if epoch < self.leader_epoch {
                ErrorCode::FencedLeaderEpoch
            } else {
                ErrorCode::UnknownLeaderEpoch
            };
            let text = format!("partition {id} is in leader epoch {}, not {epoch}", self.leader_epoch);
            return Err(Refusal::new(code, text));
        }
        if set_version != self.set_version {
            let text = format!("partition {id} is at set version {}, not {set_version}", self.set_version);
            return Err(Refusal::new(ErrorCode::InvalidUpdateVersion, text));
        }
        Ok(())
    }

    /// Doubts are kept of members only.
    pub(super) fn settled(mut self) -> Self {
        let Self { doubts, in_sync, .. } = &mut self;
        doubts.retain(|(doubter, _)| in_sync.iter().any(|member| member.node == *doubter));
        self.counted()
    }

    pub(super) fn counted(mut self) -> Self {
        self.set_version = self.set_version.wrapping_add(1);
        self
    }
}

pub(super) fn ineligible(text: String) -> Refusal {
    Refusal::new(ErrorCode::IneligibleReplica, text)
}
