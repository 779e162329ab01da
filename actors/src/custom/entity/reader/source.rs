//! What a reader does with its source: reads it, makes messages of records, and says why it does not get on.

use bytes::Bytes;

use super::super::behaviour::PoisonPolicy;
use super::super::dead_letter::largest_letter;
use super::super::message::{Unread, truncate};
use super::actor::{ReaderMessage, Reading, Work};
use super::declared::{Addressed, TopicRecord};
use super::unpacking::Unpacking;
use crate::error::{ErrorCode, Refusal};
use crate::events::{EntityInputBegan, EntityInputLeftOut, EntityInputMissed, EntityInputStands};
use crate::ids::{Offset, PartitionId};
use crate::partition::message::Fetched;
use crate::record::Record;
use crate::record::key_hash::partition_for_key;

/// Bytes of one read.
const READ_BYTES: u32 = 256 << 10;

/// The pause after a read that found nothing new: reads wait by themselves, unless the node is short of memory.
const NOTHING_PAUSE_MS: i64 = 10;

/// How long something that failed waits, at first. It doubles: up to [`AGAIN_MOST_MS`] where the cluster is about to change
/// that, up to [`STAND_MOST_MS`] where a person has to.
const AGAIN_MS: i64 = 50;
const AGAIN_MOST_MS: i64 = 2_000;
const STAND_MOST_MS: i64 = 30_000;

impl Reading {
    /// Gives records to the receivers' lanes while there is room.
    pub(super) fn unpack(&mut self) {
        while self.progress.has_room() {
            let Some(record) = self.next_record() else { return };
            if record.offset < self.progress.next() {
                continue;
            }
            match self.address(&record) {
                Ok(addressed) => {
                    self.failures = 0;
                    self.progress.take(record.offset, addressed);
                }
                Err(why) if self.buries() => {
                    self.failures = 0;
                    self.bury(record, why);
                }
                Err(why) if self.is_left_out(&record, &why) => {
                    self.progress.take(record.offset, None);
                }
                // It is read again: an operator may have deleted it by then.
                Err(_) => {
                    self.unpacking = None;
                    return;
                }
            }
        }
    }

    fn next_record(&mut self) -> Option<Record> {
        loop {
            let unpacking = self.unpacking.as_mut()?;
            let result = unpacking.next_record();
            let (first, behind) = unpacking.batch();
            match result {
                Ok(Some(record)) => return Some(record),
                Ok(None) => {
                    let read = self.unpacking.take()?;
                    self.failures = 0;
                    self.progress.read_through(read.behind());
                    return None;
                }
                Err(error) if self.work.assignment.input.poison == PoisonPolicy::Fail => {
                    self.unpacking = None;
                    self.stands(&format!("what was read cannot be unpacked: {error}"));
                    self.pause(STAND_MOST_MS);
                    return None;
                }
                Err(error) => {
                    let why = format!("what was read cannot be unpacked up to offset {behind}: {error}");
                    self.left_out(first.max(self.progress.next()), &why);
                    self.failures = 0;
                    self.progress.read_through(behind);
                }
            }
        }
    }

    /// The partition and the message that the user's code makes of a record.
    fn address(&self, record: &Record) -> Result<Option<(u32, Bytes, Bytes)>, String> {
        let Work { key, assignment, doors } = &self.work;
        let input = &assignment.input;
        let (message_max_bytes, panics_max) = {
            let settings = doors.settings.borrow();
            (settings.turn_max_bytes, settings.panics_max)
        };
        let running = doors.threads.turn(&key.kind, &self.name, "a record of a topic");
        let record = TopicRecord::new(&input.topic, key.source.partition, record);
        let addressed = input.address(&record, message_max_bytes, panics_max);
        drop(running);
        Ok(addressed?.map(|Addressed { entity, message }| {
            (partition_for_key(&entity, assignment.receivers), entity, message)
        }))
    }

    /// Whether records that cannot be understood go to the dead letters.
    fn buries(&self) -> bool {
        matches!(self.work.assignment.input.poison, PoisonPolicy::DeadLetter { .. })
    }

    /// The partition beside which this reader lives puts the record into the dead letters, with how far the topic is: once.
    fn bury(&mut self, record: Record, why: String) {
        let receiver = self.work.assignment.beside.index.unsigned_abs();
        let most = largest_letter(self.work.doors.settings.borrow().turn_max_bytes);
        let Record { offset, mut key, mut value, .. } = record;
        let truncated = truncate(&mut key, &mut value, most);
        let unread = Unread { key, value, why, truncated };
        self.progress.take(offset, Some((receiver, Bytes::new(), unread.stored())));
    }

    /// A record cannot be understood: whether it is done with, as the type's policy has it.
    fn is_left_out(&mut self, record: &Record, why: &str) -> bool {
        let at = record.offset;
        match self.work.assignment.input.poison {
            PoisonPolicy::Skip => {
                self.left_out(at, why);
                true
            }
            PoisonPolicy::Fail | PoisonPolicy::DeadLetter { .. } => {
                self.stands(&format!("the record at offset {at} cannot be understood: {why}"));
                self.pause(STAND_MOST_MS);
                false
            }
        }
    }

    fn left_out(&self, offset: Offset, why: &str) {
        let (kind, topic, partition) = self.names();
        self.work.doors.events.emit(EntityInputLeftOut { kind, topic, partition, offset, why });
    }

    pub(super) fn read(&mut self, result: Result<Fetched, Refusal>) {
        match result {
            Ok(fetched) => self.fetched(fetched),
            Err(refusal) if refusal.code == ErrorCode::OffsetOutOfRange => {
                let start = self.work.doors.sources.start(self.source());
                self.look(async move { ReaderMessage::Starts(start.await) });
            }
            Err(refusal) => self.failed(&refusal),
        }
    }

    fn fetched(&mut self, fetched: Fetched) {
        self.end = fetched.last_stable_offset;
        if fetched.batches.is_empty() {
            self.failures = 0;
            self.not_before_ms = self.now_ms().saturating_add(NOTHING_PAUSE_MS);
            return;
        }
        match Unpacking::of(fetched, self.progress.next()) {
            Ok(unpacking) => self.unpacking = Some(unpacking),
            Err(error) => {
                self.stands(&format!("what was read is damaged: {error}"));
                self.pause(STAND_MOST_MS);
            }
        }
    }

    /// What was to be read next is not there: goes on where the source begins, if that is behind it, and nowhere else.
    pub(super) fn starts(&mut self, result: Result<Offset, Refusal>) {
        let next = self.progress.next();
        match result {
            Ok(start) if start > next => {
                let records = self.progress.overtaken(start);
                if records > 0 {
                    let (kind, topic, partition) = self.names();
                    let missed = EntityInputMissed { kind, topic, partition, from: next, start, records };
                    self.work.doors.events.emit(missed);
                }
            }
            Ok(start) => {
                self.stands(&format!("its log begins at {start} and has no offset {next} yet, or no more"));
                self.pause(STAND_MOST_MS);
            }
            Err(refusal) => self.failed(&refusal),
        }
    }

    fn failed(&mut self, refusal: &Refusal) {
        if refusal.code.is_retriable() {
            return self.pause(AGAIN_MOST_MS);
        }
        self.stands(&format!("it cannot be read: {refusal}"));
        self.pause(STAND_MOST_MS);
    }

    fn pause(&mut self, most_ms: i64) {
        let wait_ms = AGAIN_MS.saturating_mul(1 << self.failures.min(20)).min(most_ms);
        self.failures = self.failures.saturating_add(1);
        self.not_before_ms = self.now_ms().saturating_add(wait_ms);
    }

    /// Reads, where all that was read is taken in and there is room.
    pub(super) fn ask_for_more(&mut self) {
        if self.is_reading || self.unpacking.is_some() || self.not_before_ms > self.now_ms() {
            return;
        }
        let Some(from) = self.progress.reads_from() else { return };
        let read = self.work.doors.sources.read(self.source(), from, READ_BYTES);
        self.look(async move { ReaderMessage::Read(read.await) });
    }

    fn look(&mut self, look: impl Future<Output = ReaderMessage> + Send + 'static) {
        self.is_reading = true;
        let myself = self.myself.clone();
        tokio::spawn(async move {
            let _ended = myself.cast(look.await);
        });
    }

    fn source(&self) -> PartitionId {
        let source = self.work.key.source;
        PartitionId { topic: source.topic, index: source.partition }
    }

    /// The type, the topic, the partition.
    fn names(&self) -> (&str, &str, i32) {
        (&self.work.key.kind, &self.work.assignment.input.topic, self.work.key.source.partition)
    }

    pub(super) fn stands(&self, why: &str) {
        let (kind, topic, partition) = self.names();
        self.work.doors.events.emit(EntityInputStands { kind, topic, partition, why });
    }

    pub(super) fn tell_began(&mut self) {
        if !self.has_begun && self.progress.has_begun() {
            self.has_begun = true;
            let ((kind, topic, partition), from) = (self.names(), self.progress.next());
            self.work.doors.events.emit(EntityInputBegan { kind, topic, partition, from });
        }
    }
}
