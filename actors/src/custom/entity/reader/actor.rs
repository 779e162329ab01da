//! A reader: an actor on the users' threads, as it runs what the user makes of records.
//!
//! It decides nothing itself: [`Progress`] does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::doors::EntityDoors;
use super::super::input::Delivery;
use super::super::message::{Applied, Delivered, FeedEntities, PositionOfSource};
use super::lane::{Errand, Fed};
use super::placed::{Assignment, ReaderKey};
use super::progress::{Due, Progress};
use super::settings::ReaderSettings;
use super::unpacking::Unpacking;
use crate::custom::CallError;
use crate::error::Refusal;
use crate::events::EntityInputMetrics;
use crate::ids::Offset;
use crate::kinds::ENTITY_READER;
use crate::partition::message::Fetched;
use crate::supervision::roster::{Entry, Seat};

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
    pub(super) work: Work,
    pub(super) myself: ActorRef<ReaderMessage>,
    pub(super) progress: Progress,
    pub(super) metrics: EntityInputMetrics,
    /// What was read and is not taken into [`Progress`] yet.
    pub(super) unpacking: Option<Unpacking>,
    pub(super) has_begun: bool,
    pub(super) is_reading: bool,
    /// Tries that failed since it got on, and when the next is.
    pub(super) failures: u32,
    pub(super) not_before_ms: i64,
    /// The end of what may be read, as far as it is known.
    pub(super) end: Offset,
    pub(super) timer: Option<(i64, JoinHandle<()>)>,
    pub(super) origin: Instant,
    /// What it is called where a handler that runs long is told.
    pub(super) name: Arc<str>,
    seat: Seat,
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
        let _turn = reading.seat.turn();
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
        let name = work.assignment.name(&work.key);
        let entry = Entry::new(ENTITY_READER, format!("{} of {}", name, work.key.kind));
        let seat = work.doors.events.seat(entry);
        Self {
            progress: Progress::new(work.assignment.receivers, ReaderSettings::default()),
            origin: work.doors.clock.now(),
            work,
            myself,
            metrics,
            unpacking: None,
            has_begun: false,
            is_reading: false,
            failures: 0,
            not_before_ms: 0,
            end: Offset::ZERO,
            timer: None,
            name: name.into(),
            seat,
        }
    }

    /// Milliseconds since it began: waits do not follow a clock that is set.
    pub(super) fn now_ms(&self) -> i64 {
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
                let fed = match result {
                    Ok(()) => Fed::Applied,
                    Err(error) if passes(&error) => Fed::NotNow,
                    Err(error) => {
                        self.stands(&format!(
                            "partition {receiver} of the entities does not take a record: {error}"
                        ));
                        Fed::Stands
                    }
                };
                self.metrics.applied(self.progress.fed(now_ms, receiver, fed));
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
}

/// Whether what a receiver said will change without anybody doing something about it.
const fn passes(error: &CallError) -> bool {
    error.is_retriable()
        || matches!(error, CallError::NoHost(_) | CallError::Timeout { .. } | CallError::Unsure(_))
}
