//! What happens to the disk under a simulated node's logs.

use std::path::PathBuf;

use millstream_actors::ids::{NodeId, PartitionId};
use millstream_transport::world::DiskCall;

use super::SimulatedCluster;
use super::finish::CAPACITY_BYTES;

/// Where a bit is flipped: far behind the header of the first batch, long synced.
const FLIPPED_BYTE: u64 = 3000;

impl SimulatedCluster {
    /// The next so many syncs in a node's log directory fail.
    pub fn fail_syncs(&self, node: NodeId, times: u64) {
        self.disk(node).fail(DiskCall::Sync, &self.log_directory(), times);
    }

    /// A node's disk takes only so many bytes more, until the fault is ended.
    pub fn fill_disk(&self, node: NodeId, spare_bytes: u64) {
        let disk = self.disk(node);
        disk.set_capacity(disk.used() + spare_bytes);
    }

    /// There is space again on a node's disk.
    pub fn free_disk(&self, node: NodeId) {
        self.disk(node).set_capacity(CAPACITY_BYTES);
    }

    /// A node's log directory is as on a new disk. The node must not run.
    pub fn empty_log_directory(&self, node: NodeId) {
        self.disk(node).empty_directory(&self.log_directory()).expect("the directory is there");
    }

    /// The segments of a partition on a node's disk, in order.
    #[must_use]
    pub fn segments(&self, node: NodeId, partition: PartitionId) -> Vec<PathBuf> {
        let directory = self.log_directory().join(format!("{}-{}", partition.topic.0, partition.index));
        let disk = self.disk(node).disk();
        let mut found = disk.list(&directory).unwrap_or_default();
        found.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        found.sort();
        found
    }

    /// Flips a bit in a batch of the first segment of a partition, which has grown to some kilobytes. The node must not
    /// run.
    pub fn flip_a_bit(&self, node: NodeId, partition: PartitionId) {
        let segments = self.segments(node, partition);
        let first = segments.first().expect("the partition has a segment");
        self.disk(node).flip_bit(first, FLIPPED_BYTE, 4).expect("the segment has grown so far");
    }
}
