//! How a feeder finds the replicas of its node.

use std::fmt::Debug;

use actix::Recipient;

use crate::ids::PartitionId;
use crate::partition::following::{FollowerDetached, FollowerReported, LeaveSet, OpenFeed, ReadFeed};

/// Where one replica takes what feeders say. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReplicaPort {
    /// The core that it lives on.
    pub core: usize,
    /// A follower wants to go on.
    pub open: Recipient<OpenFeed>,
    /// Reads for a follower.
    pub read: Recipient<ReadFeed>,
    /// A follower has so much on its disk.
    pub reported: Recipient<FollowerReported>,
    /// A follower's session has ended.
    pub detached: Recipient<FollowerDetached>,
    /// A damaged follower wants out of the in-sync set.
    pub leave: Recipient<LeaveSet>,
}

/// Knows the replicas of this node, whether they lead or not.
pub trait Ports: Debug + Send + Sync {
    /// The replica of a partition; `None` if there is none here now. Called on any core.
    fn port(&self, partition: PartitionId) -> Option<ReplicaPort>;
}
