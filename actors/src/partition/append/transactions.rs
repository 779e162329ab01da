//! The transactions of one partition: which are open, where they began, and which were aborted.
//!
//! Readers of committed records read up to the *last stable offset*: the first offset of the first transaction whose
//! outcome is not known, or whose marker is not committed yet. With what they read they are told the aborted
//! transactions that it is part of. All of it follows from the batches, so that followers know it too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ids::{Offset, ProducerId};

/// Aborted transactions that a partition keeps, 32 bytes each: above it no new transaction begins here, until retention
/// has removed old ones. To forget one would show its records to readers of committed ones.
pub(super) const ABORTED_MAX: usize = 1 << 20;

/// Of one producer at most so many, so that it cannot close the partition for others.
pub(super) const ABORTED_OF_ONE_MAX: usize = ABORTED_MAX / 16;

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: ProducerId,
    /// The offset of its first record.
    pub first: Offset,
    /// The offset of its marker.
    pub last: Offset,
    /// The last stable offset once it had ended: every transaction that ended later began at or behind it.
    pub last_stable: Offset,
}

/// The transactions of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Transactions {
    /// Where the open ones began.
    open: BTreeMap<ProducerId, Offset>,
    by_first: BTreeSet<(Offset, ProducerId)>,
    /// First offset and marker of those whose marker is not known to be committed, in the order of the markers.
    pub(super) uncommitted: VecDeque<(Offset, Offset)>,
    /// In the order of the markers.
    pub(super) aborted: VecDeque<AbortedTransaction>,
    /// How many of them are of which producer.
    aborted_of: BTreeMap<ProducerId, usize>,
}

impl Transactions {
    /// Open ones.
    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Where this producer's open transaction began.
    pub(super) fn first(&self, id: ProducerId) -> Option<Offset> {
        self.open.get(&id).copied()
    }

    /// A batch of a transaction was appended.
    pub(super) fn take(&mut self, id: ProducerId, at: Offset) {
        if let std::collections::btree_map::Entry::Vacant(place) = self.open.entry(id) {
            place.insert(at);
            self.by_first.insert((at, id));
        }
    }

    /// A marker was appended. One that ends nothing is nothing.
    pub(super) fn end(&mut self, id: ProducerId, marker: Offset, commits: bool) {
        let Some(first) = self.open.remove(&id) else { return };
        self.by_first.remove(&(first, id));
        self.uncommitted.push_back((first, marker));
        if !commits {
            let last_stable = self.by_first.first().map_or(marker.plus(1), |(first, _)| *first);
            self.aborted(AbortedTransaction { producer_id: id, first, last: marker, last_stable });
        }
    }

    /// A transaction was aborted, the last one so far.
    pub(super) fn aborted(&mut self, aborted: AbortedTransaction) {
        *self.aborted_of.entry(aborted.producer_id).or_default() += 1;
        self.aborted.push_back(aborted);
    }

    /// How many transactions of a producer were aborted, as far as they are kept.
    pub(super) fn aborted_of(&self, id: ProducerId) -> usize {
        self.aborted_of.get(&id).copied().unwrap_or(0)
    }

    /// Everything below this offset is committed.
    pub(super) fn committed(&mut self, high_watermark: Offset) {
        while self.uncommitted.front().is_some_and(|(_, marker)| *marker < high_watermark) {
            self.uncommitted.pop_front();
        }
    }

    /// Up to where readers of committed records may read.
    pub(super) fn last_stable(&self, high_watermark: Offset) -> Offset {
        let open = self.by_first.first().map(|(first, _)| *first);
        let unknown = self.uncommitted.iter().filter(|(_, marker)| *marker >= high_watermark);
        let unstable = open.into_iter().chain(unknown.map(|(first, _)| *first)).min();
        unstable.map_or(high_watermark, |first| first.min(high_watermark))
    }

    /// The aborted transactions that have offsets in a range; all of them may begin before it.
    pub(super) fn aborted_in(&self, from: Offset, upto: Offset) -> Vec<AbortedTransaction> {
        let begin = self.aborted.partition_point(|aborted| aborted.last < from);
        let mut found = Vec::new();
        for aborted in self.aborted.iter().skip(begin) {
            if aborted.first < upto {
                found.push(*aborted);
            }
            if aborted.last_stable >= upto {
                break;
            }
        }
        found
    }

    /// Nothing is left of what aborted transactions wrote below this offset. Tells whether one is forgotten.
    pub(super) fn forget_below(&mut self, offset: Offset) -> bool {
        let before = self.aborted.len();
        while let Some(aborted) = self.aborted.pop_front_if(|aborted| aborted.last < offset) {
            if let Some(count) = self.aborted_of.get_mut(&aborted.producer_id) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.aborted_of.remove(&aborted.producer_id);
                }
            }
        }
        self.aborted.len() < before
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_stable_offset_waits_for_the_marker_and_for_its_commit() {
        let mut transactions = Transactions::default();
        assert_eq!(transactions.last_stable(Offset(7)), Offset(7));
        transactions.take(ProducerId(1), Offset(3));
        transactions.take(ProducerId(2), Offset(5));
        transactions.take(ProducerId(1), Offset(6));
        assert_eq!(transactions.last_stable(Offset(7)), Offset(3));
        assert_eq!(transactions.last_stable(Offset(2)), Offset(2));
        transactions.end(ProducerId(1), Offset(8), true);
        assert_eq!(transactions.last_stable(Offset(8)), Offset(3), "its marker may be lost yet");
        transactions.committed(Offset(9));
        assert_eq!(transactions.last_stable(Offset(9)), Offset(5));
        transactions.end(ProducerId(2), Offset(9), false);
        transactions.committed(Offset(10));
        assert_eq!(transactions.last_stable(Offset(12)), Offset(12));
    }

    #[test]
    fn a_marker_without_a_transaction_changes_nothing() {
        let mut transactions = Transactions::default();
        transactions.end(ProducerId(1), Offset(8), false);
        assert_eq!(transactions, Transactions::default());
    }

    proptest! {
        /// Steps: which producer, and whether it writes, commits or aborts.
        #[test]
        fn every_aborted_transaction_of_a_range_is_found(
            steps in prop::collection::vec((0..4_i64, 0..5_u8), 1..60), from in 0..60_i64, length in 1..20_i64,
        ) {
            let mut transactions = Transactions::default();
            let mut all: Vec<(i64, i64, i64)> = Vec::new();
            let mut open = BTreeMap::new();
            for (at, (id, what)) in (0_i64..).zip(steps) {
                match what {
                    0..=2 => {
                        open.entry(id).or_insert(at);
                        transactions.take(ProducerId(id), Offset(at));
                    }
                    what => {
                        transactions.end(ProducerId(id), Offset(at), what == 3);
                        if let Some(first) = open.remove(&id).filter(|_| what == 4) {
                            all.push((id, first, at));
                        }
                    }
                }
            }
            let upto = from + length;
            let expected: Vec<_> =
                all.iter().filter(|(_, first, last)| *first < upto && *last >= from).copied().collect();
            let found = transactions.aborted_in(Offset(from), Offset(upto));
            let found: Vec<_> = found.iter().map(|a| (a.producer_id.0, a.first.0, a.last.0)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
