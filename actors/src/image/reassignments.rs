//! Reassignment: a partition gets other replicas while it is in use (KIP-455).
//!
//! While one is under way [`Partition::replicas`] holds those that it had and those that it is to have. It ends when all
//! of the latter are in sync: then the others leave set and list in one step, with the leadership where one of them
//! had it, and a new epoch begins. Since a record is committed only once every member of the set has it, nothing that was is lost by that, as
//! little as by giving it up again, which takes those out that it had not before.

use serde::{Deserialize, Serialize};

use super::partitions::ineligible;
use super::{Nodes, Partition};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{LeaderEpoch, Member, NodeId, PartitionId};

/// A reassignment under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reassignment {
    /// The replicas when it began; what giving it up goes back to, however often its target was changed.
    pub before: Vec<NodeId>,
    /// The replicas when it has ended, the preferred leader first.
    pub target: Vec<NodeId>,
}

/// A step of the reassignment of one partition; refused unless it is based on the present state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alteration {
    /// The partition.
    pub partition: PartitionId,
    /// The epoch it is based on.
    pub epoch: LeaderEpoch,
    /// The set version it is based on.
    pub set_version: u32,
    /// The step.
    pub step: ReassignmentStep,
}

/// A step of a reassignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReassignmentStep {
    /// It begins, or one under way gets another target.
    Begin {
        /// The replicas that the partition is to have, the preferred leader first.
        target: Vec<NodeId>,
    },
    /// It ends: all of its target are in sync.
    Complete {
        /// Who of them leads in the next epoch; `None` where the leader stays: in a new epoch if a replica goes.
        leader: Option<NodeId>,
    },
    /// It is given up.
    Cancel {
        /// Who of the replicas before leads in the next epoch; `None` where the leader stays: in a new epoch if a
        /// replica goes.
        leader: Option<NodeId>,
    },
    /// The cluster itself gives a topic of its own more replicas, or a raise under way another target. Like `Begin`, but
    /// nobody's choice. From [`Features::CHOSEN_REPLICAS`](super::Features::CHOSEN_REPLICAS) on.
    Raise {
        /// The replicas that the partition is to have, the preferred leader first.
        target: Vec<NodeId>,
    },
}

impl ReassignmentStep {
    /// Among which nodes somebody has chosen the replicas, after this step.
    fn chosen_among(&self, before: Option<&Vec<NodeId>>, nodes: &Nodes) -> Option<Vec<NodeId>> {
        match self {
            Self::Begin { .. } | Self::Cancel { .. } => Some(nodes.iter().map(|(node, _)| node).collect()),
            Self::Raise { .. } => None,
            Self::Complete { .. } => before.cloned(),
        }
    }
}

impl Partition {
    /// Replicas that a reassignment under way adds (Kafka's `adding_replicas`).
    #[must_use]
    pub fn adding(&self) -> Vec<NodeId> {
        let added = |under_way: &Reassignment| {
            let added = under_way.target.iter().filter(|node| !under_way.before.contains(node));
            added.copied().collect()
        };
        self.reassignment.as_ref().map(added).unwrap_or_default()
    }

    /// Replicas that go when the reassignment under way has ended (Kafka's `removing_replicas`).
    #[must_use]
    pub fn removing(&self) -> Vec<NodeId> {
        let removed = |under_way: &Reassignment| {
            let removed = self.replicas.iter().filter(|node| !under_way.target.contains(node));
            removed.copied().collect()
        };
        self.reassignment.as_ref().map(removed).unwrap_or_default()
    }

    /// The replicas that it has when no reassignment is under way any more.
    #[must_use]
    pub fn settled_replicas(&self) -> &[NodeId] {
        self.reassignment.as_ref().map_or(&self.replicas, |under_way| &under_way.target)
    }

    /// The state after a step of a reassignment.
    pub(super) fn reassigned(&self, alteration: &Alteration, nodes: &Nodes) -> Result<Self, Refusal> {
        let id = alteration.partition;
        self.check_base(id, alteration.epoch, alteration.set_version)?;
        match &alteration.step {
            ReassignmentStep::Begin { target } | ReassignmentStep::Raise { target } => {
                check_replicas(id, target, nodes)?;
                Ok(self.begun(target).counted())
            }
            ReassignmentStep::Complete { leader } => {
                let target = &self.under_way(id)?.target;
                if let Some(lacking) = target.iter().find(|node| self.member(**node).is_none()) {
                    return Err(ineligible(format!("node {lacking} is not in sync in partition {id}")));
                }
                self.ended(id, target.clone(), *leader, nodes)
            }
            ReassignmentStep::Cancel { leader } => {
                let before = self.under_way(id)?.before.clone();
                self.ended(id, before, *leader, nodes)
            }
        }
    }

    /// The state after a step of a reassignment of a partition of the system's.
    pub(super) fn reassigned_of_system(
        &self,
        alteration: &Alteration,
        nodes: &Nodes,
    ) -> Result<Self, Refusal> {
        let chosen_among = alteration.step.chosen_among(self.chosen_among.as_ref(), nodes);
        Ok(Self { chosen_among, ..self.reassigned(alteration, nodes)? })
    }

    /// The state after a node was forgotten; `None` if that changes nothing. One of its id that comes later is another.
    pub(super) fn without_choice_of(&self, node: NodeId) -> Option<Self> {
        let among = self.chosen_among.as_ref().filter(|among| among.contains(&node))?;
        let among = among.iter().copied().filter(|known| *known != node).collect();
        Some(Self { chosen_among: Some(among), ..self.clone() })
    }

    fn under_way(&self, id: PartitionId) -> Result<&Reassignment, Refusal> {
        self.reassignment.as_ref().ok_or_else(|| none_in_progress(id))
    }

    fn begun(&self, target: &[NodeId]) -> Self {
        let others = self.replicas.iter().filter(|node| !target.contains(node));
        let replicas: Vec<NodeId> = target.iter().chain(others).copied().collect();
        let is_same =
            replicas.len() == target.len() && target.iter().all(|node| self.replicas.contains(node));
        let before = match &self.reassignment {
            // Only their order changes.
            None if is_same => return Self { replicas, ..self.clone() },
            None => self.replicas.clone(),
            Some(under_way) => under_way.before.clone(),
        };
        let reassignment = Some(Reassignment { before, target: target.to_vec() });
        Self { replicas, reassignment, ..self.clone() }
    }

    /// The state with these of the replicas, led by one of them that is there and beyond doubt: those that go may have
    /// the only whole logs of a partition that nobody leads, or whose leader came back in doubt (rules 4 and 5).
    ///
    /// Once a replica has gone, a new epoch begins: one that is assigned there again, in the same life and on the same
    /// disk, begins with an empty log, and nothing that was said of the log before counts for it.
    fn ended(
        &self,
        id: PartitionId,
        replicas: Vec<NodeId>,
        leader: Option<NodeId>,
        nodes: &Nodes,
    ) -> Result<Self, Refusal> {
        let in_sync: Vec<Member> =
            self.in_sync.iter().copied().filter(|member| replicas.contains(&member.node)).collect();
        if in_sync.is_empty() {
            return Err(ineligible(format!("none of {replicas:?} is in sync in partition {id}")));
        }
        let leads = match leader {
            Some(node) => self.next_leader(id, node, &in_sync, nodes)?,
            None => self.present_leader(id, &in_sync, nodes)?,
        };
        let drops = self.replicas.iter().any(|node| !replicas.contains(node));
        let next = Self { replicas, reassignment: None, ..self.clone() };
        if leader.is_some() || drops {
            return next.in_next_epoch(Some(leads), in_sync);
        }
        Ok(Self { in_sync, ..next }.settled())
    }

    fn next_leader(
        &self,
        id: PartitionId,
        node: NodeId,
        in_sync: &[Member],
        nodes: &Nodes,
    ) -> Result<Member, Refusal> {
        let may = |member: &Member| self.doubt(node).is_none() && self.may_lead(*member, nodes);
        let named = in_sync.iter().copied().find(|member| member.node == node);
        named.filter(may).ok_or_else(|| {
            ineligible(format!("node {node} cannot lead partition {id} after its reassignment"))
        })
    }

    fn present_leader(&self, id: PartitionId, in_sync: &[Member], nodes: &Nodes) -> Result<Member, Refusal> {
        let Some(leader) = self.leader.filter(|_| self.is_led(nodes)) else {
            let text = format!(
                "partition {id} has no leader that is there and beyond doubt, so taking replicas out might lose records"
            );
            return Err(Refusal::new(ErrorCode::EligibleLeadersNotAvailable, text));
        };
        if !in_sync.contains(&leader) {
            return Err(ineligible(format!("the in-sync set of partition {id} would lack its leader")));
        }
        Ok(leader)
    }
}

/// A refusal unless a partition can have these replicas: some, no node twice, each of them known (Kafka's rules; a node
/// that is away is waited for).
pub fn check_replicas(id: PartitionId, replicas: &[NodeId], nodes: &Nodes) -> Result<(), Refusal> {
    let invalid = |text: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
    if replicas.is_empty() {
        return invalid(format!("partition {} would have no replicas; name at least one node", id.index));
    }
    let mut seen = std::collections::BTreeSet::new();
    for node in replicas {
        if nodes.get(*node).is_none() {
            return invalid(format!(
                "partition {} would have a replica on node {node}, and no such node is registered",
                id.index
            ));
        }
        if !seen.insert(*node) {
            return invalid(format!("partition {} would have two replicas on node {node}", id.index));
        }
    }
    Ok(())
}

/// The refusal to give up what is not under way.
#[must_use]
pub fn none_in_progress(id: PartitionId) -> Refusal {
    let text = format!("no reassignment of partition {} is under way", id.index);
    Refusal::new(ErrorCode::NoReassignmentInProgress, text)
}
