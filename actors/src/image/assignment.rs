//! What the image says of one partition to one of its replicas.

use std::sync::Arc;

use crate::ids::{Incarnation, LeaderEpoch, Member, NodeId, PartitionId};
use crate::topic_config::TopicConfig;

/// What one node is to do for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The partition.
    pub partition: PartitionId,
    /// The topic's name, for people.
    pub topic: Arc<str>,
    /// The topic's settings.
    pub config: Arc<TopicConfig>,
    /// The partition's leader epoch.
    pub epoch: LeaderEpoch,
    /// Who leads in this epoch, and in which life it was elected; `None` while nobody does.
    ///
    /// A node that finds itself here leads only if the incarnation is its present one (rule 1).
    pub leader: Option<Member>,
    /// Where the partition has replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// The in-sync set: disks and lives, not only nodes (rule 4).
    pub in_sync: Vec<Member>,
    /// Counts the changes of the in-sync set within the epoch and beyond; changes that carry an older one are refused.
    pub set_version: u32,
    /// Lives of nodes with a replica that are shutting down: what they still fetch brings them back into no set, as KIP-841
    /// has it. A life that leaves never stays.
    pub leaving: Vec<(NodeId, Incarnation)>,
}
