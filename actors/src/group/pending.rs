//! Offsets that are part of open transactions (KIP-447): they are none of the group's before the marker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::records::OffsetValue;
use crate::ids::{PartitionId, ProducerId};
use crate::record::EndMarker;

type Key = (Arc<str>, i32);

/// An offset that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pending {
    /// How many of the group's were put before it: of one key the last one counts, as in the log.
    number: u64,
    value: OffsetValue,
}

/// The transaction that offsets are part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfProducer {
    /// The producer.
    pub id: ProducerId,
    /// Its epoch when it wrote them.
    pub epoch: i16,
}

/// Offsets by the producer, and its epoch, whose transaction they are part of.
#[derive(Clone, Debug, Default)]
pub struct PendingOffsets {
    by_transaction: BTreeMap<(ProducerId, i16), BTreeMap<Key, Pending>>,
    /// How many were put so far.
    puts: u64,
}

/// Numbers are counted anew by who reads the log.
impl PartialEq for PendingOffsets {
    fn eq(&self, other: &Self) -> bool {
        self.all().eq(other.all())
    }
}

impl Eq for PendingOffsets {}

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
    number: u64,
    before: Option<Pending>,
}

impl PendingOffsets {
    /// An offset becomes part of a producer's transaction.
    pub(super) fn put(&mut self, of: OfProducer, topic: Arc<str>, partition: i32, value: OffsetValue) -> Put {
        let number = self.puts;
        self.puts += 1;
        let offsets = self.by_transaction.entry((of.id, of.epoch)).or_default();
        let before = offsets.insert((Arc::clone(&topic), partition), Pending { number, value });
        Put { topic, partition, number, before }
    }

    /// What was put was not written: what was there before is there again, where nothing has come since.
    pub(super) fn take_back(&mut self, of: OfProducer, put: Vec<Put>) {
        let Some(offsets) = self.by_transaction.get_mut(&(of.id, of.epoch)) else { return };
        for Put { topic, partition, number, before } in put.into_iter().rev() {
            let key = (topic, partition);
            if offsets.get(&key).is_some_and(|pending| pending.number == number) {
                match before {
                    Some(before) => offsets.insert(key, before),
                    None => offsets.remove(&key),
                };
            }
        }
        if offsets.is_empty() {
            self.by_transaction.remove(&(of.id, of.epoch));
        }
    }

    /// Transactions ended, up to the marker's epoch: what was part of them. Where they commit, what others put before it
    /// for the same partitions is past; what they put after it goes on waiting, and then counts.
    pub(super) fn take(&mut self, marker: &EndMarker) -> BTreeMap<Key, OffsetValue> {
        let mut ended = BTreeMap::new();
        self.by_transaction.retain(|(id, epoch), offsets| {
            let is_ended = *id == marker.producer_id && *epoch <= marker.producer_epoch;
            if is_ended {
                ended.append(offsets);
            }
            !is_ended
        });
        if marker.commits {
            for (key, pending) in &ended {
                self.drop_before(key, pending.number);
            }
        }
        ended.into_iter().map(|(key, pending): (Key, Pending)| (key, pending.value)).collect()
    }

    /// An offset was committed for good after these: they are past, as in the log, where the last one of a key stays.
    pub(super) fn overtaken(&mut self, topic: &Arc<str>, partition: i32) {
        if !self.by_transaction.is_empty() {
            self.drop_before(&(Arc::clone(topic), partition), self.puts);
        }
    }

    fn drop_before(&mut self, key: &Key, number: u64) {
        self.by_transaction.retain(|_, offsets| {
            if offsets.get(key).is_some_and(|pending| pending.number < number) {
                offsets.remove(key);
            }
            !offsets.is_empty()
        });
    }

    fn all(&self) -> impl Iterator<Item = (&(ProducerId, i16), &Key, &OffsetValue)> {
        self.by_transaction
            .iter()
            .flat_map(|(of, offsets)| offsets.iter().map(move |(key, pending)| (of, key, &pending.value)))
    }

    /// The producers whose transactions they are part of, each with its last epoch.
    pub(super) fn producers(&self) -> impl Iterator<Item = OfProducer> + '_ {
        self.by_transaction.keys().map(|(id, epoch)| OfProducer { id: *id, epoch: *epoch })
    }

    /// The partitions whose offsets wait.
    pub(super) fn partitions(&self) -> BTreeSet<PartitionId> {
        self.all()
            .filter_map(|(_, (_, index), value)| Some(PartitionId { topic: value.topic?, index: *index }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::modern::Group;
    use crate::group::records::GroupRecord;
    use crate::ids::Offset;

    fn of(id: i64, epoch: i16) -> OfProducer {
        OfProducer { id: ProducerId(id), epoch }
    }

    fn marker_of(id: i64, commits: bool) -> EndMarker {
        EndMarker { producer_id: ProducerId(id), producer_epoch: 0, coordinator_epoch: 0, commits }
    }

    fn put(group: &mut Group, id: i64, offset: i64) -> Put {
        let value = OffsetValue {
            offset: Offset(offset),
            leader_epoch: None,
            metadata: String::new(),
            committed_ms: 0,
            expires_ms: None,
            topic: None,
        };
        let record = GroupRecord::Offset { topic: "t".into(), partition: 0, value: Some(value) };
        group.replay_pending(of(id, 0), record).unwrap()
    }

    fn committed(group: &Group) -> Option<i64> {
        group.offsets.get("t", 0).map(|value| value.offset.0)
    }

    #[test]
    fn a_transaction_that_commits_leaves_what_another_put_after_it() {
        for commits in [true, false] {
            let mut group = Group::default();
            put(&mut group, 1, 10);
            put(&mut group, 2, 20);
            group.end_transaction(&marker_of(1, true));
            assert_eq!(committed(&group), Some(10));
            group.end_transaction(&marker_of(2, commits));
            assert_eq!(committed(&group), Some(if commits { 20 } else { 10 }));
        }
    }

    #[test]
    fn a_transaction_that_commits_later_does_not_bring_back_what_it_put_before_another() {
        for commits in [true, false] {
            let mut group = Group::default();
            put(&mut group, 1, 10);
            put(&mut group, 2, 20);
            group.end_transaction(&marker_of(2, commits));
            group.end_transaction(&marker_of(1, true));
            assert_eq!(committed(&group), Some(if commits { 20 } else { 10 }));
        }
    }

    #[test]
    fn what_is_taken_back_is_what_was_put_then_and_nothing_else() {
        let mut group = Group::default();
        put(&mut group, 1, 10);
        let first = put(&mut group, 1, 11);
        let mut again = group.clone();
        put(&mut again, 1, 11);
        again.pending.take_back(of(1, 0), vec![first.clone()]);
        group.pending.take_back(of(1, 0), vec![first]);
        for (mut group, offset) in [(again, 11), (group, 10)] {
            group.end_transaction(&marker_of(1, true));
            assert_eq!(committed(&group), Some(offset));
        }
    }

    #[test]
    fn a_marker_concerns_the_groups_of_its_producer_until_its_epoch_is_over() {
        let mut groups = InTransactions::default();
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
