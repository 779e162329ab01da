//! How far a source is read and applied, and what is to be sent to whom: pure.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::input::Delivery;
use super::lane::{Errand, Fed, Lane};
use super::settings::ReaderSettings;
use crate::ids::Offset;

/// What is to be sent to a partition of entities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The partition.
    pub(super) receiver: u32,
    /// What. Answered once, with [`Progress::told`] or [`Progress::fed`].
    pub(super) errand: Errand,
}

/// The progress of a reader. Sequences are offsets and one: 0 is before the first record.
#[derive(Debug)]
pub(super) struct Progress {
    settings: ReaderSettings,
    lanes: Vec<Lane>,
    /// All up to this sequence is read; `None` until all receivers have said how far they are.
    seen: Option<u64>,
    records: usize,
    bytes: usize,
}

impl Progress {
    /// Nothing is known yet of so many receivers.
    #[must_use]
    pub(super) fn new(receivers: u32, settings: ReaderSettings) -> Self {
        let lanes = (0..receivers).map(|_| Lane::default()).collect();
        Self { settings, lanes, seen: None, records: 0, bytes: 0 }
    }

    /// Where to read on; `None` while that is not known, or while as much as may be is under way.
    #[must_use]
    pub(super) fn reads_from(&self) -> Option<Offset> {
        self.seen.filter(|_| self.has_room()).map(offset)
    }

    /// Whether all receivers have said how far they are.
    #[must_use]
    pub(super) const fn has_begun(&self) -> bool {
        self.seen.is_some()
    }

    /// The first offset that was not read yet.
    #[must_use]
    pub(super) fn next(&self) -> Offset {
        offset(self.seen.unwrap_or(0))
    }

    /// Whether a record more may be taken.
    #[must_use]
    pub(super) const fn has_room(&self) -> bool {
        self.records < self.settings.records_max && self.bytes < self.settings.bytes_max
    }

    /// A record was read: for an entity of a receiver, or for none. Those known already change nothing.
    pub(super) fn take(&mut self, at: Offset, addressed: Option<(u32, Bytes, Bytes)>) {
        let sequence = sequence(at.plus(1));
        if self.seen.is_none_or(|seen| sequence <= seen) {
            return;
        }
        self.seen = Some(sequence);
        let Some((receiver, entity, message)) = addressed else { return };
        if let Some(lane) = self.lane(receiver) {
            let bytes = lane.push(Delivery { sequence, entity, message });
            self.bytes = self.bytes.saturating_add(bytes);
            self.records += usize::from(bytes > 0);
        }
    }

    /// All before this offset is read.
    pub(super) fn read_through(&mut self, next: Offset) {
        self.seen = self.seen.map(|seen| seen.max(sequence(next)));
    }

    /// The source begins at this offset only: it is read on there. How many offsets were there and were never read; none of
    /// a source that nothing was read of.
    pub(super) fn overtaken(&mut self, start: Offset) -> u64 {
        let (was, start) = (self.seen.unwrap_or(0), sequence(start));
        let is_first = was == 0 && self.lanes.iter().all(|lane| lane.applied() == Some(0));
        self.read_through(offset(start));
        if is_first { 0 } else { start.saturating_sub(was) }
    }

    /// What is to be sent now.
    pub(super) fn due(&mut self, now_ms: i64) -> VecDeque<Due> {
        let (seen, settings) = (self.seen.unwrap_or(0), self.settings);
        let lanes = (0..).zip(&mut self.lanes);
        let due = lanes.filter_map(|(receiver, lane)| {
            lane.errand(now_ms, seen, &settings).map(|errand| Due { receiver, errand })
        });
        due.collect()
    }

    /// A receiver said how far it is, or could not be asked.
    pub(super) fn told(&mut self, now_ms: i64, receiver: u32, position: Option<u64>) {
        if let Some(lane) = self.lane(receiver) {
            lane.told(now_ms, position);
        }
        if self.seen.is_none() {
            let positions: Option<Vec<u64>> = self.lanes.iter().map(Lane::applied).collect();
            self.seen = positions.and_then(|positions| positions.into_iter().min());
        }
    }

    /// What became of a delivery. How many records were in it and are done with.
    pub(super) fn fed(&mut self, now_ms: i64, receiver: u32, fed: Fed) -> usize {
        let left = self.lane(receiver).map(|lane| lane.fed(now_ms, fed)).unwrap_or_default();
        self.records = self.records.saturating_sub(left.records);
        self.bytes = self.bytes.saturating_sub(left.bytes);
        left.records
    }

    /// When [`Self::due`] may have more, though nothing is told until then.
    #[must_use]
    pub(super) fn next_ms(&self) -> Option<i64> {
        let (seen, settings) = (self.seen.unwrap_or(0), self.settings);
        self.lanes.iter().filter_map(|lane| lane.next_ms(seen, &settings)).min()
    }

    /// How many offsets up to `end` are not applied.
    #[must_use]
    pub(super) fn lag(&self, end: Offset) -> u64 {
        let seen = self.seen.unwrap_or(0);
        let done = self.lanes.iter().map(|lane| lane.done(seen)).min().unwrap_or(0);
        sequence(end).saturating_sub(done)
    }

    fn lane(&mut self, receiver: u32) -> Option<&mut Lane> {
        self.lanes.get_mut(usize::try_from(receiver).ok()?)
    }
}

/// How many records there may be before an offset.
fn sequence(offset: Offset) -> u64 {
    u64::try_from(offset.0).unwrap_or(0)
}

fn offset(sequence: u64) -> Offset {
    Offset(i64::try_from(sequence).unwrap_or(i64::MAX))
}
