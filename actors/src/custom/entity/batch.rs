//! Turns on their way to the log.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::behaviour::Fault;
use super::records::{RecordKey, RecordValue};
use crate::group::records::LogRecord;

/// An answer and who waits for it.
pub(super) type Waiting<T> = (T, Result<Bytes, Fault>);

/// Turns that are committed together: one batch of the log. Of each key the last record counts, so it is the only one.
#[derive(Debug)]
pub(super) struct Batch<T> {
    pub(super) number: u64,
    records: BTreeMap<u64, (Bytes, Option<Bytes>)>,
    places: BTreeMap<Bytes, u64>,
    next_place: u64,
    bytes: usize,
    /// What leaves when it is committed, in order.
    pub(super) answers: Vec<Waiting<T>>,
    /// What its turns add to what is bounded.
    pub(super) adds: Adds,
}

/// Bytes that turns add to the memory of their partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Adds {
    pub(super) requests: usize,
    pub(super) timers: usize,
    pub(super) outbox: usize,
    pub(super) publications: usize,
}

impl Adds {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            timers: self.timers.saturating_add(other.timers),
            outbox: self.outbox.saturating_add(other.outbox),
            publications: self.publications.saturating_add(other.publications),
        }
    }
}

impl<T> Batch<T> {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            records: BTreeMap::new(),
            places: BTreeMap::new(),
            next_place: 0,
            bytes: 0,
            answers: Vec::new(),
            adds: Adds::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of its records.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn put(&mut self, key: &RecordKey, value: Option<&RecordValue>) {
        let (key, value) = (key.encode(), value.map(RecordValue::encode));
        let place = self.next_place;
        self.next_place += 1;
        self.bytes = self.bytes.saturating_add(record_bytes(&key, value.as_ref()));
        if let Some(old) = self.places.insert(key.clone(), place)
            && let Some((key, value)) = self.records.remove(&old)
        {
            self.bytes = self.bytes.saturating_sub(record_bytes(&key, value.as_ref()));
        }
        self.records.insert(place, (key, value));
    }

    /// Puts a tombstone, unless the batch says otherwise of its key.
    pub(super) fn put_unless_there(&mut self, key: &RecordKey) {
        if !self.places.contains_key(&key.encode()) {
            self.put(key, None);
        }
    }

    pub(super) fn records(&self, timestamp_ms: i64) -> Vec<LogRecord> {
        let records = self.records.values().cloned();
        records.map(|(key, value)| LogRecord { timestamp_ms, key, value }).collect()
    }
}

/// What a record takes in a batch, at most.
fn record_bytes(key: &Bytes, value: Option<&Bytes>) -> usize {
    key.len().saturating_add(value.map_or(0, Bytes::len)).saturating_add(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_key_the_last_record_is_in_the_batch_at_its_place() {
        let mut batch = Batch::<()>::new(1);
        let snapshot = |sequence| RecordKey::Outgoing { sequence };
        batch.put(&snapshot(1), None);
        batch.put(&snapshot(2), None);
        let bytes = batch.bytes();
        batch.put(&snapshot(1), Some(&RecordValue::OutboxNext(5)));
        batch.put(&snapshot(1), None);
        assert_eq!(batch.bytes(), bytes);
        let keys: Vec<_> = batch.records(0).into_iter().map(|record| record.key).collect();
        assert_eq!(keys, [snapshot(2).encode(), snapshot(1).encode()]);
    }
}
