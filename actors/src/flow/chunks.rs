//! What of a fetch is handled, and how much of it is handed out next. Pure.
//!
//! After a failure records are handed out one at a time, so that one that cannot be handled does not make those before it be
//! handled over and over; each chunk that is handled whole doubles the next one.

use super::record::SourceRecord;

/// The records of one fetch.
#[derive(Debug)]
pub(super) struct Chunks {
    records: Vec<SourceRecord>,
    /// So many of them are handled.
    done: usize,
    /// So many are handed out at once.
    most: usize,
    ceiling: usize,
}

impl Chunks {
    /// No records; later at most `ceiling` at once, 1 at least.
    pub(super) fn new(ceiling: usize) -> Self {
        let ceiling = ceiling.max(1);
        Self { records: Vec::new(), done: 0, most: ceiling, ceiling }
    }

    /// The next fetch, in place of what was there.
    pub(super) fn put(&mut self, records: Vec<SourceRecord>) {
        self.records = records;
        self.done = 0;
    }

    /// What to handle next; empty when all is handled.
    pub(super) fn next(&self) -> &[SourceRecord] {
        let end = self.done.saturating_add(self.most).min(self.records.len());
        self.records.get(self.done..end).unwrap_or(&[])
    }

    /// The first of [`Self::next`] were handled.
    pub(super) fn handled(&mut self, count: usize) {
        let was_whole = count > 0 && count >= self.next().len();
        self.done = self.done.saturating_add(count).min(self.records.len());
        if was_whole {
            self.most = self.most.saturating_mul(2).min(self.ceiling);
        }
    }

    /// The handler failed at one of [`Self::next`].
    pub(super) const fn failed(&mut self) {
        self.most = 1;
    }

    /// The first record that is not handled.
    pub(super) fn first_open(&self) -> Option<&SourceRecord> {
        self.records.get(self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Offset, TopicId};
    use crate::record::Record;

    fn records(offsets: std::ops::Range<i64>) -> Vec<SourceRecord> {
        let record = |offset| SourceRecord {
            topic: "t".into(),
            topic_id: TopicId(uuid::Uuid::nil()),
            partition: 0,
            record: Record {
                offset: Offset(offset),
                timestamp_ms: 0,
                key: None,
                value: None,
                headers: Vec::new(),
            },
        };
        offsets.map(record).collect()
    }

    fn next(chunks: &Chunks) -> Vec<i64> {
        chunks.next().iter().map(|record| record.offset.0).collect()
    }

    #[test]
    fn all_is_handed_out_once_in_order() {
        let mut chunks = Chunks::new(3);
        assert!(next(&chunks).is_empty());
        chunks.put(records(10..15));
        assert_eq!(next(&chunks), [10, 11, 12]);
        chunks.handled(3);
        assert_eq!(next(&chunks), [13, 14]);
        chunks.handled(2);
        assert!(next(&chunks).is_empty() && chunks.first_open().is_none());
        chunks.put(records(15..16));
        assert_eq!(next(&chunks), [15]);
    }

    #[test]
    fn after_a_failure_they_come_one_by_one_and_then_ever_more() {
        let mut chunks = Chunks::new(4);
        chunks.put(records(0..20));
        chunks.handled(1);
        chunks.failed();
        assert_eq!(next(&chunks), [1]);
        chunks.failed();
        assert_eq!(next(&chunks), [1]);
        chunks.handled(1);
        assert_eq!(next(&chunks), [2, 3]);
        chunks.handled(2);
        assert_eq!(next(&chunks), [4, 5, 6, 7]);
        chunks.handled(4);
        assert_eq!(next(&chunks), [8, 9, 10, 11]);
        // Not more at once because of a part that was handled.
        chunks.failed();
        chunks.handled(1);
        assert_eq!(next(&chunks), [9, 10]);
        chunks.handled(1);
        assert_eq!(next(&chunks), [10, 11]);
        assert_eq!(chunks.first_open().map(|record| record.offset.0), Some(10));
    }
}
