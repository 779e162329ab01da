//! Offsets that are part of open transactions (KIP-447): they are none of the group's before the marker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::records::OffsetValue;
use crate::ids::{PartitionId, ProducerId};
use crate::record::EndMarker;

type Offsets = BTreeMap<(Arc<str>, i32), OffsetValue>;

/// The transaction that offsets are part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfProducer {
    /// The producer.
    pub id: ProducerId,
    /// Its epoch when it wrote them.
    pub epoch: i16,
}

/// Offsets by the producer, and its epoch, whose transaction they are part of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingOffsets(BTreeMap<(ProducerId, i16), Offsets>);

/// An offset that became part of a transaction, and what was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    topic: Arc<str>,
    partition: i32,
    value: OffsetValue,
    before: Option<OffsetValue>,
}

impl PendingOffsets {
    /// An offset becomes part of a producer's transaction.
    pub(super) fn put(&mut self, of: OfProducer, topic: Arc<str>, partition: i32, value: OffsetValue) -> Put {
        let offsets = self.0.entry((of.id, of.epoch)).or_default();
        let before = offsets.insert((Arc::clone(&topic), partition), value.clone());
        Put { topic, partition, value, before }
    }

    /// What was put was not written: what was there before is there again, where nothing has come since.
    pub(super) fn take_back(&mut self, of: OfProducer, put: Vec<Put>) {
        let Some(offsets) = self.0.get_mut(&(of.id, of.epoch)) else { return };
        for Put { topic, partition, value, before } in put.into_iter().rev() {
            let key = (topic, partition);
            if offsets.get(&key) == Some(&value) {
                match before {
                    Some(before) => offsets.insert(key, before),
                    None => offsets.remove(&key),
                };
            }
        }
        if offsets.is_empty() {
            self.0.remove(&(of.id, of.epoch));
        }
    }

    /// Transactions ended, up to the marker's epoch: what was part of them.
    pub(super) fn take(&mut self, marker: &EndMarker) -> Offsets {
        let mut ended = Offsets::new();
        self.0.retain(|(id, epoch), offsets| {
            let is_ended = *id == marker.producer_id && *epoch <= marker.producer_epoch;
            if is_ended {
                ended.append(offsets);
            }
            !is_ended
        });
        ended
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
