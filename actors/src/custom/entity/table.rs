//! What the log of a partition says, up to some offset: changed by its records alone, whether they are read back or were
//! committed just now. States stay in the log; here is where they lie.
//!
//! What it costs: some 100 bytes beside its key for each entity, 48 for each event that no snapshot covers, and what is
//! remembered, waits for its time or to be delivered whole. [`Table::bytes`] tells.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::publication::{Publication, Target};
use super::records::{Failed, Outgoing, RecordKey, RecordValue, Remembered, Source, Timer};
use crate::custom::RequestId;
use crate::ids::{Offset, PartitionId};
use crate::record::{Batch, BatchError, MAX_UNPACKED_BYTES, records};

/// Bytes that an entry of an index costs beside its own.
const ENTRY_BYTES: usize = 96;

/// The same for the place of an event.
const EVENT_BYTES: usize = 48;

/// Where an entity lies in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Its last snapshot.
    pub snapshot: Option<Offset>,
    /// The sequence of the last event in that.
    pub covered: u64,
    /// Its events behind that, by sequence.
    pub events: BTreeMap<u64, Offset>,
    /// A record of it is not of this program: nothing can be done with it.
    pub is_unreadable: bool,
}

/// What the log says.
#[derive(Clone, Debug, Default)]
pub struct Table {
    end: Offset,
    /// Records taken in.
    seen: u64,
    entities: BTreeMap<Bytes, Stored>,
    /// Bytes of their keys.
    keys_bytes: usize,
    /// Events that no snapshot covers, of all entities.
    events: usize,
    requests: BTreeMap<(Bytes, RequestId), Remembered>,
    /// Requests that went to the dead letters.
    failed: BTreeMap<(Bytes, RequestId), Failed>,
    requests_by_time: BTreeSet<(i64, Bytes, RequestId)>,
    requests_bytes: usize,
    positions: BTreeMap<Source, u64>,
    timers: BTreeMap<(Bytes, String), Timer>,
    timers_by_time: BTreeSet<(i64, Bytes, String)>,
    timers_bytes: usize,
    outbox: BTreeMap<u64, Outgoing>,
    outbox_bytes: usize,
    outbox_next: u64,
    publications: BTreeMap<u64, Publication>,
    publications_bytes: usize,
    published_next: u64,
    targets: BTreeMap<PartitionId, Target>,
    /// Events that a snapshot covers and that are not tombstoned.
    superfluous: BTreeSet<(Bytes, u64)>,
    /// Records that could not be understood.
    undecodable: u64,
}

impl Table {
    /// The offset behind the last record seen.
    #[must_use]
    pub const fn end(&self) -> Offset {
        self.end
    }

    /// How many records it has taken in.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// Bytes of memory that it takes, as estimated.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let entries = self.entities.len().saturating_add(self.superfluous.len()).saturating_mul(ENTRY_BYTES);
        let index =
            entries.saturating_add(self.keys_bytes).saturating_add(self.events.saturating_mul(EVENT_BYTES));
        let kept = [self.requests_bytes, self.timers_bytes, self.outbox_bytes, self.publications_bytes];
        kept.into_iter().fold(index, usize::saturating_add)
    }

    /// How many records could not be understood.
    #[must_use]
    pub const fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// How many entities there are.
    #[must_use]
    pub fn entities(&self) -> usize {
        self.entities.len()
    }

    /// Where an entity lies; `None` if there is none of this key.
    #[must_use]
    pub fn stored(&self, entity: &[u8]) -> Option<&Stored> {
        self.entities.get(entity)
    }

    /// The answer to a request that was applied.
    #[must_use]
    pub fn remembered(&self, entity: &Bytes, request: RequestId) -> Option<&Remembered> {
        self.requests.get(&(entity.clone(), request))
    }

    /// What the sender of a request was told that went to the dead letters.
    #[must_use]
    pub fn failed(&self, entity: &Bytes, request: RequestId) -> Option<&Failed> {
        self.failed.get(&(entity.clone(), request))
    }

    /// Bytes of the requests remembered.
    #[must_use]
    pub const fn requests_bytes(&self) -> usize {
        self.requests_bytes
    }

    /// The requests applied before this time, the oldest first.
    pub fn requests_before(&self, ms: i64) -> impl Iterator<Item = (&Bytes, RequestId)> {
        let old = self.requests_by_time.iter().take_while(move |(applied_ms, ..)| *applied_ms < ms);
        old.map(|(_, entity, request)| (entity, *request))
    }

    /// When the oldest of them was applied.
    #[must_use]
    pub fn first_request_ms(&self) -> Option<i64> {
        self.requests_by_time.first().map(|(applied_ms, ..)| *applied_ms)
    }

    /// All timers by the time when they are due.
    pub fn timers(&self) -> impl Iterator<Item = (i64, &Bytes, &str)> {
        self.timers_by_time.iter().map(|(due_ms, entity, name)| (*due_ms, entity, name.as_str()))
    }

    /// The sequence of the last message of a source that was applied.
    #[must_use]
    pub fn position(&self, source: Source) -> u64 {
        self.positions.get(&source).copied().unwrap_or(0)
    }

    /// The timers that are due, the first first.
    pub fn timers_due(&self, now_ms: i64) -> impl Iterator<Item = (&Bytes, &str)> {
        let due = self.timers_by_time.iter().take_while(move |(due_ms, ..)| *due_ms <= now_ms);
        due.map(|(_, entity, name)| (entity, name.as_str()))
    }

    /// One timer.
    #[must_use]
    pub fn timer(&self, entity: &Bytes, name: &str) -> Option<&Timer> {
        self.timers.get(&(entity.clone(), name.to_owned()))
    }

    /// How many timers are set.
    #[must_use]
    pub fn timers_set(&self) -> usize {
        self.timers.len()
    }

    /// Bytes of the timers.
    #[must_use]
    pub const fn timers_bytes(&self) -> usize {
        self.timers_bytes
    }

    /// The messages to other entities that are not delivered, from this sequence on.
    pub fn outbox_from(&self, sequence: u64) -> impl Iterator<Item = (u64, &Outgoing)> {
        self.outbox.range(sequence..).map(|(sequence, outgoing)| (*sequence, outgoing))
    }

    /// How many those are.
    #[must_use]
    pub fn outbox_messages(&self) -> usize {
        self.outbox.len()
    }

    /// Bytes of those messages.
    #[must_use]
    pub const fn outbox_bytes(&self) -> usize {
        self.outbox_bytes
    }

    /// The sequence of the next message that leaves.
    #[must_use]
    pub fn outbox_next(&self) -> u64 {
        self.outbox_next.max(1)
    }

    /// The records for topics that are not known to be there, from this number on.
    pub fn publications_from(&self, number: u64) -> impl Iterator<Item = (u64, &Publication)> {
        self.publications.range(number..).map(|(number, publication)| (*number, publication))
    }

    /// How many they are.
    #[must_use]
    pub fn publications(&self) -> usize {
        self.publications.len()
    }

    /// Bytes of those records.
    #[must_use]
    pub const fn publications_bytes(&self) -> usize {
        self.publications_bytes
    }

    /// The number of the next record for a topic.
    #[must_use]
    pub fn published_next(&self) -> u64 {
        self.published_next.max(1)
    }

    /// How a partition of a topic is written to.
    #[must_use]
    pub fn target(&self, target: PartitionId) -> Option<Target> {
        self.targets.get(&target).copied()
    }

    /// All partitions of topics that were written to.
    pub fn targets(&self) -> impl Iterator<Item = (PartitionId, Target)> {
        self.targets.iter().map(|(id, target)| (*id, *target))
    }

    /// Events that nobody needs any more, as a committed snapshot has them.
    pub fn superfluous(&self) -> impl Iterator<Item = (&Bytes, u64)> {
        self.superfluous.iter().map(|(entity, sequence)| (entity, *sequence))
    }

    /// Takes a record in. Those below [`Self::end`] are known and change nothing.
    pub fn take(&mut self, offset: Offset, key: Option<&[u8]>, value: Option<&[u8]>) {
        if offset < self.end {
            return;
        }
        self.end = offset.plus(1);
        self.seen += 1;
        let Some(key) = key.and_then(|key| RecordKey::decode(key).ok()) else {
            self.undecodable += 1;
            return;
        };
        let value = value.map(|value| key.decode_value(value)).transpose();
        match value {
            Ok(value) => self.put(offset, key, value),
            Err(_) => self.unreadable(&key),
        }
    }

    /// Takes the records of a batch of the log in.
    pub fn take_batch(&mut self, batch: &Batch) -> Result<(), BatchError> {
        for record in records(batch, MAX_UNPACKED_BYTES)? {
            let record = record?;
            self.take(record.offset, record.key.as_deref(), record.value.as_deref());
        }
        self.skip_to(batch.header.next_offset());
        Ok(())
    }

    /// Nothing lies below this offset that was not seen: compaction left nothing there.
    pub fn skip_to(&mut self, offset: Offset) {
        self.end = self.end.max(offset);
    }

    fn unreadable(&mut self, key: &RecordKey) {
        self.undecodable += 1;
        if let RecordKey::Snapshot { entity } | RecordKey::Event { entity, .. } = key {
            self.entity(entity).is_unreadable = true;
        }
    }

    fn put(&mut self, offset: Offset, key: RecordKey, value: Option<RecordValue>) {
        match (key, value) {
            (RecordKey::Snapshot { entity }, Some(RecordValue::Snapshot(snapshot))) => {
                self.put_snapshot(offset, entity, snapshot.sequence);
            }
            (RecordKey::Snapshot { entity }, _) => self.remove_entity(&entity),
            (RecordKey::Event { entity, sequence }, Some(_)) => self.put_event(offset, entity, sequence),
            (RecordKey::Event { entity, sequence }, None) => self.remove_event(entity, sequence),
            (RecordKey::Request { entity, request }, value) => {
                self.remove_request(&entity, request);
                match value {
                    Some(RecordValue::Request(remembered)) => self.put_request(entity, request, remembered),
                    Some(RecordValue::Failed(failed)) => self.put_failed(entity, request, failed),
                    _ => {}
                }
            }
            (RecordKey::Position { source }, Some(RecordValue::Position(sequence))) => {
                self.positions.insert(source, sequence);
            }
            (RecordKey::Position { source }, _) => {
                self.positions.remove(&source);
            }
            (RecordKey::Timer { entity, name }, value) => {
                let key = (entity, name);
                self.remove_timer(&key);
                if let Some(RecordValue::Timer(timer)) = value {
                    self.put_timer(key, timer);
                }
            }
            (RecordKey::Outgoing { sequence }, value) => {
                if let Some(was) = self.outbox.remove(&sequence) {
                    self.outbox_bytes = self.outbox_bytes.saturating_sub(outgoing_bytes(&was));
                }
                if let Some(RecordValue::Outgoing(outgoing)) = value {
                    self.outbox_bytes = self.outbox_bytes.saturating_add(outgoing_bytes(&outgoing));
                    self.outbox.insert(sequence, outgoing);
                }
            }
            (RecordKey::OutboxNext, Some(RecordValue::OutboxNext(next))) => self.outbox_next = next,
            (RecordKey::OutboxNext, _) => {}
            (key, value) => self.put_published(key, value),
        }
    }

    /// A record about what is published.
    fn put_published(&mut self, key: RecordKey, value: Option<RecordValue>) {
        match (key, value) {
            (RecordKey::Publication { number }, value) => {
                if let Some(was) = self.publications.remove(&number) {
                    self.publications_bytes = self.publications_bytes.saturating_sub(publication_bytes(&was));
                }
                if let Some(RecordValue::Publication(publication)) = value {
                    self.publications_bytes =
                        self.publications_bytes.saturating_add(publication_bytes(&publication));
                    self.publications.insert(number, publication);
                }
            }
            (RecordKey::PublishedNext, Some(RecordValue::PublishedNext(next))) => self.published_next = next,
            (RecordKey::Target { target: id }, Some(RecordValue::Target(target))) => {
                self.targets.insert(id, target);
            }
            (RecordKey::Target { target }, _) => {
                self.targets.remove(&target);
            }
            _ => {}
        }
    }

    fn entity(&mut self, entity: &Bytes) -> &mut Stored {
        if !self.entities.contains_key(entity) {
            self.keys_bytes = self.keys_bytes.saturating_add(entity.len());
        }
        self.entities.entry(entity.clone()).or_default()
    }

    fn put_snapshot(&mut self, offset: Offset, entity: Bytes, covered: u64) {
        let stored = self.entity(&entity);
        stored.snapshot = Some(offset);
        stored.covered = covered;
        let behind = stored.events.split_off(&covered.saturating_add(1));
        let superfluous = std::mem::replace(&mut stored.events, behind);
        self.events = self.events.saturating_sub(superfluous.len());
        self.superfluous.extend(superfluous.into_keys().map(|sequence| (entity.clone(), sequence)));
    }

    fn remove_entity(&mut self, entity: &Bytes) {
        if let Some(stored) = self.forget(entity) {
            let events = stored.events.into_keys();
            self.superfluous.extend(events.map(|sequence| (entity.clone(), sequence)));
        }
    }

    fn forget(&mut self, entity: &Bytes) -> Option<Stored> {
        let stored = self.entities.remove(entity)?;
        self.keys_bytes = self.keys_bytes.saturating_sub(entity.len());
        self.events = self.events.saturating_sub(stored.events.len());
        Some(stored)
    }

    fn put_event(&mut self, offset: Offset, entity: Bytes, sequence: u64) {
        let stored = self.entity(&entity);
        if sequence > stored.covered {
            let is_new = stored.events.insert(sequence, offset).is_none();
            self.events = self.events.saturating_add(usize::from(is_new));
        } else {
            self.superfluous.insert((entity, sequence));
        }
    }

    fn remove_event(&mut self, entity: Bytes, sequence: u64) {
        if let Some(stored) = self.entities.get_mut(&entity) {
            let was_there = stored.events.remove(&sequence).is_some();
            let is_nothing = *stored == Stored::default();
            self.events = self.events.saturating_sub(usize::from(was_there));
            if is_nothing {
                self.forget(&entity);
            }
        }
        self.superfluous.remove(&(entity, sequence));
    }

    fn put_request(&mut self, entity: Bytes, request: RequestId, remembered: Remembered) {
        self.requests_bytes =
            self.requests_bytes.saturating_add(request_bytes(&entity, remembered.answer.len()));
        self.requests_by_time.insert((remembered.applied_ms, entity.clone(), request));
        self.requests.insert((entity, request), remembered);
    }

    fn put_failed(&mut self, entity: Bytes, request: RequestId, failed: Failed) {
        self.requests_bytes = self.requests_bytes.saturating_add(request_bytes(&entity, failed.text.len()));
        self.requests_by_time.insert((failed.applied_ms, entity.clone(), request));
        self.failed.insert((entity, request), failed);
    }

    fn remove_request(&mut self, entity: &Bytes, request: RequestId) {
        if let Some(was) = self.failed.remove(&(entity.clone(), request)) {
            self.requests_bytes = self.requests_bytes.saturating_sub(request_bytes(entity, was.text.len()));
            self.requests_by_time.remove(&(was.applied_ms, entity.clone(), request));
        }
        if let Some(was) = self.requests.remove(&(entity.clone(), request)) {
            self.requests_bytes = self.requests_bytes.saturating_sub(request_bytes(entity, was.answer.len()));
            self.requests_by_time.remove(&(was.applied_ms, entity.clone(), request));
        }
    }

    fn put_timer(&mut self, key: (Bytes, String), timer: Timer) {
        self.timers_bytes = self.timers_bytes.saturating_add(timer_bytes(&key.0, &key.1, &timer));
        self.timers_by_time.insert((timer.due_ms, key.0.clone(), key.1.clone()));
        self.timers.insert(key, timer);
    }

    fn remove_timer(&mut self, key: &(Bytes, String)) {
        if let Some(was) = self.timers.remove(key) {
            self.timers_bytes = self.timers_bytes.saturating_sub(timer_bytes(&key.0, &key.1, &was));
            self.timers_by_time.remove(&(was.due_ms, key.0.clone(), key.1.clone()));
        }
    }
}

/// What a remembered request costs in memory.
pub(super) fn request_bytes(entity: &Bytes, answer: usize) -> usize {
    entity.len().saturating_mul(2).saturating_add(answer).saturating_add(2 * ENTRY_BYTES)
}

/// What a timer costs in memory.
pub(super) fn timer_bytes(entity: &Bytes, name: &str, timer: &Timer) -> usize {
    let key = entity.len().saturating_add(name.len()).saturating_mul(2);
    key.saturating_add(timer.message.len()).saturating_add(2 * ENTRY_BYTES)
}

/// What an undelivered message costs in memory.
pub(super) fn outgoing_bytes(outgoing: &Outgoing) -> usize {
    let Outgoing { kind, key, message } = outgoing;
    kind.len().saturating_add(key.len()).saturating_add(message.len()).saturating_add(ENTRY_BYTES)
}

/// What a record for a topic costs in memory until it is there.
pub(super) fn publication_bytes(publication: &Publication) -> usize {
    publication.record.bytes().saturating_add(ENTRY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::super::records::{Event, Snapshot, record};
    use super::*;

    struct Log(Table, i64);

    impl Log {
        fn write(&mut self, key: &RecordKey, value: Option<RecordValue>) {
            let record = record(0, key, value.as_ref());
            self.0.take(Offset(self.1), Some(&record.key), record.value.as_deref());
            self.1 += 1;
        }

        fn event(&mut self, sequence: u64, is_there: bool) {
            let value = Event { version: 1, event: Bytes::new() };
            let key = RecordKey::Event { entity: a(), sequence };
            self.write(&key, is_there.then_some(RecordValue::Event(value)));
        }

        fn snapshot(&mut self, sequence: u64) {
            let value = RecordValue::Snapshot(Snapshot { sequence, version: 1, state: Bytes::new() });
            self.write(&RecordKey::Snapshot { entity: a() }, Some(value));
        }
    }

    fn a() -> Bytes {
        Bytes::from_static(b"a")
    }

    #[test]
    fn events_are_superfluous_once_a_snapshot_covers_them_until_they_are_tombstoned() {
        let mut log = Log(Table::default(), 0);
        for sequence in 1..=3 {
            log.event(sequence, true);
        }
        log.snapshot(2);
        let stored = log.0.stored(b"a").unwrap();
        assert_eq!(stored.events, BTreeMap::from([(3, Offset(2))]));
        assert_eq!(stored.snapshot, Some(Offset(3)));
        assert_eq!(log.0.superfluous().collect::<Vec<_>>(), [(&a(), 1), (&a(), 2)]);
        log.event(1, false);
        assert_eq!(log.0.superfluous().collect::<Vec<_>>(), [(&a(), 2)]);
    }

    #[test]
    fn an_event_found_behind_the_snapshot_that_covers_it_is_superfluous() {
        let mut log = Log(Table::default(), 0);
        log.snapshot(5);
        log.event(4, true);
        assert!(log.0.stored(b"a").unwrap().events.is_empty());
        assert_eq!(log.0.superfluous().count(), 1);
    }

    #[test]
    fn what_is_removed_leaves_no_bytes_behind() {
        let mut log = Log(Table::default(), 0);
        let request = RecordKey::Request { entity: a(), request: RequestId(uuid::Uuid::from_u128(1)) };
        let answer = Remembered { applied_ms: 5, answer: Bytes::from_static(b"answer") };
        let timer = RecordKey::Timer { entity: a(), name: "t".to_owned() };
        let due = Timer { due_ms: 9, message: Bytes::from_static(b"m") };
        let outgoing = RecordKey::Outgoing { sequence: 1 };
        let message = Outgoing { kind: "k".to_owned(), key: a(), message: Bytes::new() };
        for _ in 0..2 {
            log.write(&request, Some(RecordValue::Request(answer.clone())));
            log.write(&timer, Some(RecordValue::Timer(due.clone())));
            log.write(&outgoing, Some(RecordValue::Outgoing(message.clone())));
        }
        assert_eq!(log.0.requests_bytes(), request_bytes(&a(), 6));
        assert_eq!((log.0.requests_before(5).count(), log.0.requests_before(6).count()), (0, 1));
        assert_eq!((log.0.timers_due(8).count(), log.0.timers_due(9).count()), (0, 1));
        for key in [request, timer, outgoing] {
            log.write(&key, None);
        }
        assert_eq!(log.0.bytes(), 0);
        assert!(log.0.requests_by_time.is_empty() && log.0.timers_by_time.is_empty());
    }

    #[test]
    fn what_the_index_takes_grows_with_its_entities_and_events_and_goes_with_them() {
        let mut log = Log(Table::default(), 0);
        let empty = log.0.bytes();
        log.event(1, true);
        let one = log.0.bytes();
        log.event(2, true);
        assert_eq!((one - empty, log.0.bytes() - one), (ENTRY_BYTES + 1 + EVENT_BYTES, EVENT_BYTES));
        log.snapshot(2);
        assert_eq!(log.0.bytes(), 3 * ENTRY_BYTES + 1, "the entity, and two events to be removed");
        log.event(1, false);
        log.event(2, false);
        log.write(&RecordKey::Snapshot { entity: a() }, None);
        assert_eq!((log.0.bytes(), log.0.entities(), log.0.seen()), (empty, 0, 6));
    }

    #[test]
    fn a_record_that_is_not_of_this_program_makes_its_entity_unreadable_and_no_other() {
        let mut table = Table::default();
        table.take(Offset(0), Some(&RecordKey::Snapshot { entity: a() }.encode()), Some(&[9]));
        table.take(Offset(1), Some(&[200]), Some(&[1]));
        assert!(table.stored(b"a").unwrap().is_unreadable);
        assert_eq!((table.undecodable(), table.entities()), (2, 1));
    }
}
