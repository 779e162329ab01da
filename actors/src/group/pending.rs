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

/// Which groups of a partition have offsets in which producers' transactions: a marker concerns these only.
#[derive(Debug, Default)]
pub(super) struct InTransactions(BTreeMap<ProducerId, BTreeMap<Arc<str>, i16>>);

impl InTransactions {
    /// A group's offsets are part of a producer's transaction, or are about to be.
    pub(super) fn put(&mut self, group: Arc<str>, of: OfProducer) {
        let epoch = self.0.entry(of.id).or_default().entry(group).or_insert(of.epoch);
        *epoch = of.epoch.max(*epoch);
    }

    /// The groups that a marker concerns. Those with offsets of a later epoch go on being known.
    pub(super) fn ended(&mut self, marker: &EndMarker) -> Vec<Arc<str>> {
        let Some(groups) = self.0.get_mut(&marker.producer_id) else { return Vec::new() };
        let ended = groups.keys().cloned().collect();
        groups.retain(|_, epoch| *epoch > marker.producer_epoch);
        if groups.is_empty() {
            self.0.remove(&marker.producer_id);
        }
        ended
    }

    /// The groups with offsets in a producer's transactions.
    pub(super) fn of(&self, producer: ProducerId) -> Vec<Arc<str>> {
        self.0.get(&producer).into_iter().flat_map(|groups| groups.keys().cloned()).collect()
    }
}

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

    /// The producers whose transactions they are part of, each with its last epoch.
    pub(super) fn producers(&self) -> impl Iterator<Item = OfProducer> + '_ {
        self.0.keys().map(|(id, epoch)| OfProducer { id: *id, epoch: *epoch })
    }

    /// The partitions whose offsets wait.
    pub(super) fn partitions(&self) -> BTreeSet<PartitionId> {
        let each = self.0.values().flatten();
        each.filter_map(|((_, index), value)| Some(PartitionId { topic: value.topic?, index: *index }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_concerns_the_groups_of_its_producer_until_its_epoch_is_over() {
        let mut groups = InTransactions::default();
        let of = |id, epoch| OfProducer { id: ProducerId(id), epoch };
        let marker = |producer_epoch| EndMarker {
            producer_id: ProducerId(1),
            producer_epoch,
            coordinator_epoch: 0,
            commits: true,
        };
        for (group, of) in [("a", of(1, 0)), ("b", of(1, 0)), ("c", of(2, 0)), ("b", of(1, 1))] {
            groups.put(group.into(), of);
        }
        assert_eq!(groups.ended(&marker(0)), ["a".into(), "b".into()]);
        assert_eq!(groups.ended(&marker(1)), ["b".into()]);
        assert_eq!(groups.ended(&marker(1)), Vec::<Arc<str>>::new());
        assert_eq!(groups.of(ProducerId(2)), ["c".into()]);
    }
}
