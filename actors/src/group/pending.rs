//! Offsets that are part of open transactions (KIP-447): they are none of the group's before the marker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::records::OffsetValue;
use crate::ids::{PartitionId, ProducerId};

type Offsets = BTreeMap<(Arc<str>, i32), OffsetValue>;

/// Offsets by the producer whose transaction they are part of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingOffsets(BTreeMap<ProducerId, Offsets>);

impl PendingOffsets {
    /// An offset becomes part of a producer's transaction.
    pub(super) fn put(&mut self, producer: ProducerId, topic: Arc<str>, partition: i32, value: OffsetValue) {
        self.0.entry(producer).or_default().insert((topic, partition), value);
    }

    /// A producer's transaction ended: what was part of it.
    pub(super) fn take(&mut self, producer: ProducerId) -> Offsets {
        self.0.remove(&producer).unwrap_or_default()
    }

    /// An offset was committed for good after these: they are past, as in the log, where the last one of a key stays.
    pub(super) fn overtaken(&mut self, topic: &Arc<str>, partition: i32) {
        if self.0.is_empty() {
            return;
        }
        let key = (Arc::clone(topic), partition);
        self.0.retain(|_, offsets| {
            offsets.remove(&key);
            !offsets.is_empty()
        });
    }

    /// The partitions whose offsets wait.
    pub(super) fn partitions(&self) -> BTreeSet<PartitionId> {
        let each = self.0.values().flatten();
        each.filter_map(|((_, index), value)| Some(PartitionId { topic: value.topic?, index: *index }))
            .collect()
    }
}
