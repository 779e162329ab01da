//! A reader: an actor on the users' threads, as it runs what the user makes of records.
//!
//! It decides nothing itself: [`Progress`] does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::behaviour::PoisonPolicy;
use super::super::doors::EntityDoors;
use super::super::input::Delivery;
use super::super::message::{Applied, Delivered, FeedEntities, PositionOfSource};
use super::declared::{Addressed, TopicRecord};
use super::lane::Errand;
use super::placed::{Assignment, ReaderKey};
use super::progress::{Due, Progress, ReaderSettings};
use super::unpacking::Unpacking;
use crate::custom::CallError;
use crate::error::{ErrorCode, Refusal};
use crate::events::{
    EntityInputBegan, EntityInputLeftOut, EntityInputMetrics, EntityInputMissed, EntityInputStands,
};
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

/// What a reader is told: what came of what it asked for, and the time.
pub(in crate::custom::entity) enum ReaderMessage {
    /// A receiver said how far it is.
    Told { receiver: u32, result: Result<Applied, CallError> },
    /// A delivery was applied, or not.
    Fed { receiver: u32, result: Result<(), CallError> },
    /// The source was read.
    Read(Result<Fetched, Refusal>),
    /// Where the source begins.
    Starts(Result<Offset, Refusal>),
    /// Time has passed.
    Tick,
}

impl ractor::Message for ReaderMessage {}

impl fmt::Debug for ReaderMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ReaderMessage")
    }
}

/// What a reader is for.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) key: ReaderKey,
    pub(super) assignment: Assignment,
    pub(super) doors: EntityDoors,
}

/// The actor.
pub(super) struct TopicReader;

/// The actor's state.
pub(super) struct Reading {
    work: Work,
    myself: ActorRef<ReaderMessage>,
    progress: Progress,
    metrics: EntityInputMetrics,
    /// What was read and is not taken into [`Progress`] yet.
    unpacking: Option<Unpacking>,
    /// A record that cannot be understood, and is tried again.
    held: Option<Record>,
    has_begun: bool,
    is_reading: bool,
    /// Tries that failed since the last that did not, and when the next is.
    failures: u32,
    not_before_ms: i64,
    /// The end of what may be read, as far as it is known.
    end: Offset,
    timer: Option<(i64, JoinHandle<()>)>,
    origin: Instant,
    /// What it is called where a handler that runs long is told.
    name: Arc<str>,
}

impl Actor for TopicReader {
    type Msg = ReaderMessage;
    type State = Reading;
    type Arguments = Work;

    async fn pre_start(
        &self,
        myself: ActorRef<ReaderMessage>,
        work: Work,
    ) -> Result<Reading, ActorProcessingErr> {
        let mut reading = Reading::new(work, myself);
        reading.go_on();
        Ok(reading)
    }

    async fn handle(
        &self,
        _myself: ActorRef<ReaderMessage>,
        message: ReaderMessage,
        reading: &mut Reading,
    ) -> Result<(), ActorProcessingErr> {
        reading.take(message);
        reading.go_on();
        Ok(())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some((_, timer)) = self.timer.take() {
            timer.abort();
        }
    }
}

impl Reading {
    fn new(work: Work, myself: ActorRef<ReaderMessage>) -> Self {
        let (topic, partition) = (&work.assignment.input.topic, work.key.source.partition);
        let metrics = EntityInputMetrics::of(&work.doors.events, &work.key.kind, topic, partition);
        let name = format!("{topic}-{partition}").into();
        Self {
            progress: Progress::new(work.assignment.receivers, ReaderSettings::default()),
            origin: work.doors.clock.now(),
            work,
            myself,
            metrics,
            unpacking: None,
            held: None,
            has_begun: false,
            is_reading: false,
            failures: 0,
            not_before_ms: 0,
            end: Offset::ZERO,
            timer: None,
            name,
        }
    }

    /// Milliseconds since it began: waits do not follow a clock that is set.
    fn now_ms(&self) -> i64 {
        let since = self.work.doors.clock.now().saturating_duration_since(self.origin);
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn take(&mut self, message: ReaderMessage) {
        let now_ms = self.now_ms();
        match message {
            ReaderMessage::Told { receiver, result } => {
                let position = result.ok().map(|Applied(position)| position);
                self.progress.told(now_ms, receiver, position);
                self.tell_began();
            }
            ReaderMessage::Fed { receiver, result } => {
                let applied = self.progress.fed(now_ms, receiver, result.is_ok());
                self.metrics.applied(applied);
                if let Err(error) = result
                    && !passes(&error)
                {
                    let text =
                        format!("partition {receiver} of the entities does not take its records: {error}");
                    self.stands(&text);
                }
            }
            ReaderMessage::Read(result) => {
                self.is_reading = false;
                self.read(result);
            }
            ReaderMessage::Starts(result) => {
                self.is_reading = false;
                self.starts(result);
            }
            ReaderMessage::Tick => self.timer = None,
        }
    }

    /// Does what can be done now.
    fn go_on(&mut self) {
        if self.not_before_ms <= self.now_ms() {
            self.unpack();
        }
        for Due { receiver, errand } in self.progress.due(self.now_ms()) {
            self.send(receiver, errand);
        }
        self.metrics.lag(self.progress.lag(self.end));
        self.ask_for_more();
        self.set_timer();
    }

    /// Gives records to the receivers' lanes while there is room.
    fn unpack(&mut self) {
        while self.progress.has_room() {
            let Some(record) = self.held.take().or_else(|| self.next_record()) else { return };
            if record.offset < self.progress.next() {
                continue;
            }
            match self.address(&record) {
                Ok(addressed) => {
                    self.failures = 0;
                    self.progress.take(record.offset, addressed);
                }
                Err(why) if !self.is_left_out(&record, &why) => {
                    self.held = Some(record);
                    return;
                }
                Err(_) => self.progress.take(record.offset, None),
            }
        }
    }

    fn next_record(&mut self) -> Option<Record> {
        match self.unpacking.as_mut()?.next_record() {
            Ok(Some(record)) => return Some(record),
            Ok(None) => {
                let read = self.unpacking.take()?;
                self.progress.read_through(read.behind());
            }
            Err(error) => {
                self.unpacking = None;
                self.stands(&format!("what was read cannot be unpacked: {error}"));
                self.pause(STAND_MOST_MS);
            }
        }
        None
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

    /// A record cannot be understood: whether it is done with, as the type's policy has it.
    fn is_left_out(&mut self, record: &Record, why: &str) -> bool {
        let at = record.offset;
        match self.work.assignment.input.poison {
            PoisonPolicy::Skip => {
                let (kind, topic, partition) = self.names();
                self.work.doors.events.emit(EntityInputLeftOut { kind, topic, partition, offset: at, why });
                true
            }
            PoisonPolicy::Fail => {
                self.stands(&format!("the record at offset {at} cannot be understood: {why}"));
                self.pause(STAND_MOST_MS);
                false
            }
        }
    }

    fn read(&mut self, result: Result<Fetched, Refusal>) {
        match result {
            Ok(fetched) => match Unpacking::of(&fetched, self.progress.next()) {
                Ok(unpacking) => {
                    self.failures = 0;
                    self.end = fetched.last_stable_offset;
                    if fetched.batches.is_empty() {
                        self.not_before_ms = self.now_ms().saturating_add(NOTHING_PAUSE_MS);
                    } else {
                        self.unpacking = Some(unpacking);
                    }
                }
                Err(error) => {
                    self.stands(&format!("what was read is damaged: {error}"));
                    self.pause(STAND_MOST_MS);
                }
            },
            Err(refusal) if refusal.code == ErrorCode::OffsetOutOfRange => {
                let start = self.work.doors.topics.start(self.source());
                self.look(async move { ReaderMessage::Starts(start.await) });
            }
            Err(refusal) => self.failed(&refusal),
        }
    }

    /// What was to be read next is not there: goes on where the source begins, if that is behind it, and nowhere else.
    fn starts(&mut self, result: Result<Offset, Refusal>) {
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
    fn ask_for_more(&mut self) {
        if self.is_reading || !self.wants_more() || self.not_before_ms > self.now_ms() {
            return;
        }
        let Some(from) = self.progress.reads_from() else { return };
        let read = self.work.doors.topics.read(self.source(), from, READ_BYTES);
        self.look(async move { ReaderMessage::Read(read.await) });
    }

    const fn wants_more(&self) -> bool {
        self.unpacking.is_none() && self.held.is_none()
    }

    fn look(&mut self, look: impl Future<Output = ReaderMessage> + Send + 'static) {
        self.is_reading = true;
        let myself = self.myself.clone();
        tokio::spawn(async move {
            let _ended = myself.cast(look.await);
        });
    }

    fn send(&self, receiver: u32, errand: Errand) {
        let Work { key, doors, .. } = &self.work;
        let (kind, source, myself) = (key.kind.to_string(), key.source, self.myself.clone());
        match errand {
            Errand::Ask => {
                let told = doors.lanes.position(PositionOfSource { kind, partition: receiver, source });
                tokio::spawn(async move {
                    let result = told.await;
                    let _ended = myself.cast(ReaderMessage::Told { receiver, result });
                });
            }
            Errand::Feed { through, messages } => {
                let each = |Delivery { sequence, entity, message }| Delivered { sequence, entity, message };
                let messages = messages.into_iter().map(each).collect();
                let fed =
                    doors.lanes.feed(FeedEntities { kind, partition: receiver, source, through, messages });
                tokio::spawn(async move {
                    let result = fed.await;
                    let _ended = myself.cast(ReaderMessage::Fed { receiver, result });
                });
            }
        }
    }

    /// One timer, whatever waits; none where nothing is to come by itself.
    fn set_timer(&mut self) {
        let now_ms = self.now_ms();
        let paused = self.not_before_ms > now_ms && !self.is_reading && self.progress.reads_from().is_some();
        let Some(at_ms) =
            self.progress.next_ms().into_iter().chain(paused.then_some(self.not_before_ms)).min()
        else {
            return;
        };
        if self.timer.as_ref().is_some_and(|(set_to_ms, _)| *set_to_ms <= at_ms) {
            return;
        }
        let wait = Duration::from_millis(u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0).max(1));
        let myself = self.myself.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ended = myself.cast(ReaderMessage::Tick);
        });
        if let Some((_, old)) = self.timer.replace((at_ms, task)) {
            old.abort();
        }
    }

    fn source(&self) -> PartitionId {
        let source = self.work.key.source;
        PartitionId { topic: source.topic, index: source.partition }
    }

    /// The type, the topic, the partition.
    fn names(&self) -> (&str, &str, i32) {
        (&self.work.key.kind, &self.work.assignment.input.topic, self.work.key.source.partition)
    }

    fn stands(&self, why: &str) {
        let (kind, topic, partition) = self.names();
        self.work.doors.events.emit(EntityInputStands { kind, topic, partition, why });
    }

    fn tell_began(&mut self) {
        if !self.has_begun && self.progress.has_begun() {
            self.has_begun = true;
            let ((kind, topic, partition), from) = (self.names(), self.progress.next());
            self.work.doors.events.emit(EntityInputBegan { kind, topic, partition, from });
        }
    }
}

/// Whether what a receiver said will change without anybody doing something about it.
const fn passes(error: &CallError) -> bool {
    error.is_retriable()
        || matches!(error, CallError::NoHost(_) | CallError::Timeout { .. } | CallError::Unsure(_))
}
