//! The image with which a cluster goes on after an operator took a new quorum from one survivor's disk.
//!
//! What the lost voters decided last may be missing, so nothing that rests on it is repeated: epochs and producer ids
//! jump over those that may have been given out, and no in-sync set is believed before its members have said how far
//! their logs reach. Then the greatest (epoch, end) leads, as wherever none is beyond doubt (rule 5).

use super::{Doubt, Image, Partition};
use crate::ids::{Incarnation, LeaderEpoch, NodeId, PartitionId};

/// More elections of one partition than can have been lost.
const EPOCHS: i32 = 1 << 16;
/// More producer ids than can have been given out unseen.
const PRODUCER_IDS: i64 = 1 << 32;

impl Image {
    /// The image with which a cluster goes on after the quorum was recovered from it.
    #[must_use]
    pub fn recovered(&self) -> Self {
        let mut image = self.clone();
        image.producer_ids.next = image.producer_ids.next.saturating_add(PRODUCER_IDS);
        image.change_memberships(|partition, _| Some(partition.recovered()));
        image
    }

    /// Partitions whose controller waits for this life of the node to say how far its log reaches.
    pub fn untold(&self, node: NodeId, incarnation: Incarnation) -> impl Iterator<Item = PartitionId> {
        let is_registered = self.nodes.get(node).is_some_and(|known| known.incarnation == incarnation);
        let partitions = self.topics.iter().filter(move |_| is_registered).flat_map(|topic| topic.ids());
        let waits = move |partition: &Partition| partition.doubt(node).is_some_and(|doubt| !doubt.is_told());
        partitions.filter(move |(_, partition)| waits(partition)).map(|(id, _)| id)
    }
}

impl Partition {
    fn recovered(&self) -> Self {
        let mut next = self.clone();
        next.leader = None;
        next.leader_epoch = LeaderEpoch(next.leader_epoch.0.saturating_add(EPOCHS));
        // Those in doubt too: they may have led since, by a decision that is lost.
        for member in &self.in_sync {
            next.note(member.node, Doubt::UNTOLD);
        }
        next.counted()
    }
}
