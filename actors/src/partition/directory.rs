//! Where the replicas of this node are: partition → address and core.

use std::sync::Arc;

use actix::Addr;
use dashmap::DashMap;

use super::inbox::Inbox;
use super::replica::Replica;
use crate::ids::PartitionId;

/// How a replica is reached.
#[derive(Clone, Debug)]
pub struct ReplicaHandle {
    /// Its mailbox, for requests.
    pub address: Addr<Replica>,
    /// Its inbox, for completions.
    pub inbox: Inbox,
    /// The core it lives on.
    pub core: usize,
    /// Tells it from replicas of the same partition before and after it.
    pub life: u64,
}

/// The replicas of one node. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct ReplicaDirectory(Arc<DashMap<PartitionId, ReplicaHandle>>);

impl ReplicaDirectory {
    /// The replica of a partition, if there is one here that works.
    #[must_use]
    pub fn get(&self, partition: PartitionId) -> Option<ReplicaHandle> {
        self.0.get(&partition).map(|handle| handle.clone())
    }

    /// Puts a replica in.
    pub(super) fn put(&self, partition: PartitionId, handle: ReplicaHandle) {
        self.0.insert(partition, handle);
    }

    /// Takes a replica out, if it is still this one.
    pub(super) fn remove(&self, partition: PartitionId, life: u64) {
        self.0.remove_if(&partition, |_, handle| handle.life == life);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
