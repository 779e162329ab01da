//! In which leader epoch each part of a log was written: where histories of two replicas part (rule 1's consequence).
//!
//! The file `epochs` is written to a new file and renamed before the first batch of an epoch is appended, and counts among
//! the files of the next sync: when an offset is durable, so is the epoch that it was written in. So a batch of an epoch
//! that the file does not know at that offset was never durable, or was changed since: a batch's epoch is the one thing of
//! it that its checksum does not cover.

use crate::ids::{LeaderEpoch, Offset};

use super::persisted::{EPOCHS, Reader, seal, unseal};
use crate::record::BatchHeader;

/// The epochs of a log and where each began, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EpochCache {
    entries: Vec<(LeaderEpoch, Offset)>,
}

/// The leader epochs of a log.
#[derive(Clone, Copy, Debug)]
pub struct Epochs<'a> {
    pub(super) cache: &'a EpochCache,
    pub(super) end: Offset,
}

impl Epochs<'_> {
    /// The last epoch in which something was written, or that was begun.
    #[must_use]
    pub fn last(&self) -> Option<LeaderEpoch> {
        self.cache.last()
    }

    /// The epoch of the last record; `None` where there is none.
    #[must_use]
    pub fn last_written(&self) -> Option<LeaderEpoch> {
        let written = self.cache.entries.iter().rev().find(|(_, start)| *start < self.end);
        written.map(|(epoch, _)| *epoch)
    }

    /// The greatest epoch of this log that is not greater than `epoch`, and where it ends: the offset at which the next
    /// epoch begins, or the end of the log. `None` if all of this log's epochs are greater.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let later = self.cache.entries.partition_point(|(known, _)| *known <= epoch);
        let (known, _) = self.cache.entries.get(later.checked_sub(1)?)?;
        let end = self.cache.entries.get(later).map_or(self.end, |(_, start)| *start);
        Some((*known, end))
    }

    /// The same as Kafka's clients are told it: nothing of an epoch greater than all that are known here, nor of
    /// none (-1), and of one below them all that it ended where the first begins.
    #[must_use]
    pub fn end_as_asked(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        if epoch < LeaderEpoch(0) || self.last().is_none_or(|last| epoch > last) {
            return None;
        }
        let before_all = || self.cache.entries.first().map(|(_, start)| (epoch, *start));
        self.end_offset_for(epoch).or_else(before_all)
    }

    /// The epoch in which the record at `offset` was written.
    #[must_use]
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.cache.epoch_of(offset)
    }
}

impl EpochCache {
    /// The epoch in force at `offset`.
    pub(super) fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let later = self.entries.partition_point(|(_, start)| *start <= offset);
        self.entries.get(later.checked_sub(1)?).map(|(epoch, _)| *epoch)
    }

    /// Whether a batch may be of the epoch that it says; that is not under its checksum.
    pub(super) fn agrees(&self, header: &BatchHeader) -> bool {
        self.epoch_of(header.base_offset).is_none_or(|epoch| epoch == header.leader_epoch)
    }

    /// The last epoch.
    pub(super) fn last(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// Notes that `epoch` is in force from `start` on. True if that was not known.
    pub(super) fn begin(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if self.last().is_some_and(|last| last >= epoch) {
            return false;
        }
        // An epoch in which nothing was written leaves no trace.
        self.entries.retain(|(_, begun)| *begun < start);
        self.entries.push((epoch, start));
        true
    }

    /// Notes that the log, which ends at `end`, goes on in `epoch`. True if that was not known.
    ///
    /// An epoch in which nothing was written leaves no trace, not even where an earlier one goes on: a replica that led
    /// without an append follows one that still has records of the epoch before.
    pub(super) fn go_on(&mut self, epoch: LeaderEpoch, end: Offset) -> bool {
        if self.entries.last() == Some(&(epoch, end)) {
            return false;
        }
        let forgotten = self.truncate_to(end);
        self.begin(epoch, end) || forgotten
    }

    /// The log was cut to end at `end`. True if an epoch went with it.
    pub(super) fn truncate_to(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(_, start)| *start < end);
        self.entries.len() < before
    }

    /// The log begins at `start` now: the epoch in force there begins there.
    pub(super) fn advance_start(&mut self, start: Offset) {
        let later = self.entries.partition_point(|(_, begun)| *begun <= start);
        if let Some(gone) = later.checked_sub(1) {
            self.entries.drain(..gone);
            if let Some(first) = self.entries.first_mut() {
                first.1 = first.1.max(start);
            }
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 + 12 * self.entries.len());
        bytes.extend_from_slice(&u32::try_from(self.entries.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (epoch, start) in &self.entries {
            bytes.extend_from_slice(&epoch.0.to_le_bytes());
            bytes.extend_from_slice(&start.0.to_le_bytes());
        }
        seal(EPOCHS, &bytes)
    }

    /// `None` for what is no such file; then the epochs are found in the batches themselves.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(unseal(EPOCHS, bytes).ok()?);
        let mut cache = Self::default();
        for _ in 0..reader.u32()? {
            cache.entries.push((LeaderEpoch(reader.i32()?), Offset(reader.i64()?)));
        }
        cache.entries.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1).then_some(cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> EpochCache {
        let mut cache = EpochCache::default();
        assert!(cache.begin(LeaderEpoch(2), Offset(0)));
        assert!(cache.begin(LeaderEpoch(5), Offset(10)));
        assert!(!cache.begin(LeaderEpoch(5), Offset(12)));
        assert!(cache.begin(LeaderEpoch(7), Offset(20)));
        cache
    }

    fn end(cache: &EpochCache, epoch: i32) -> Option<(i32, i64)> {
        let epochs = Epochs { cache, end: Offset(30) };
        epochs.end_offset_for(LeaderEpoch(epoch)).map(|(epoch, end)| (epoch.0, end.0))
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let cache = cache();
        assert_eq!(end(&cache, 1), None);
        assert_eq!(end(&cache, 2), Some((2, 10)));
        assert_eq!(end(&cache, 4), Some((2, 10)));
        assert_eq!(end(&cache, 5), Some((5, 20)));
        assert_eq!(end(&cache, 9), Some((7, 30)));
        assert_eq!(Epochs { cache: &cache, end: Offset(30) }.epoch_of(Offset(19)), Some(LeaderEpoch(5)));
    }

    #[test]
    fn clients_are_told_nothing_of_epochs_beyond_the_last_and_of_those_before_the_first_where_it_begins() {
        let mut cache = cache();
        cache.advance_start(Offset(12));
        let epochs = Epochs { cache: &cache, end: Offset(30) };
        let told = [-1, 1, 4, 5, 6, 7, 8]
            .map(|epoch| epochs.end_as_asked(LeaderEpoch(epoch)).map(|(epoch, end)| (epoch.0, end.0)));
        let expected =
            [None, Some((1, 12)), Some((4, 12)), Some((5, 20)), Some((5, 20)), Some((7, 30)), None];
        assert_eq!(told, expected);
        let empty = EpochCache::default();
        assert_eq!(Epochs { cache: &empty, end: Offset(0) }.end_as_asked(LeaderEpoch(0)), None);
    }

    #[test]
    fn an_epoch_without_records_leaves_no_trace() {
        let mut cache = cache();
        assert!(cache.begin(LeaderEpoch(8), Offset(20)));
        assert_eq!(end(&cache, 7), Some((5, 20)));
    }

    #[test]
    fn an_earlier_epoch_goes_on_where_a_later_one_wrote_nothing() {
        let mut cache = cache();
        assert!(cache.begin(LeaderEpoch(9), Offset(30)));
        let epochs = Epochs { cache: &cache, end: Offset(30) };
        assert_eq!((epochs.last(), epochs.last_written()), (Some(LeaderEpoch(9)), Some(LeaderEpoch(7))));
        assert!(cache.go_on(LeaderEpoch(7), Offset(30)), "the later one is to be forgotten on disk, too");
        assert_eq!((cache.last(), cache.epoch_of(Offset(30))), (Some(LeaderEpoch(7)), Some(LeaderEpoch(7))));
        assert!(!cache.go_on(LeaderEpoch(7), Offset(31)));
        assert_eq!(Epochs { cache: &EpochCache::default(), end: Offset(0) }.last_written(), None);
    }

    #[test]
    fn what_is_cut_goes_with_its_epochs() {
        let mut cache = cache();
        assert!(!cache.truncate_to(Offset(21)));
        assert!(cache.truncate_to(Offset(20)));
        assert_eq!(cache.last(), Some(LeaderEpoch(5)));
        cache.advance_start(Offset(15));
        assert_eq!(cache.entries, [(LeaderEpoch(5), Offset(15))]);
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_damage_is_noticed() {
        let bytes = cache().encode();
        assert_eq!(EpochCache::decode(&bytes), Some(cache()));
        assert_eq!(EpochCache::decode(&bytes[..bytes.len() - 1]), None);
    }
}
