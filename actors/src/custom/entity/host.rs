//! The entities of one partition: an actor on its leader, on the users' threads.
//!
//! It decides nothing itself: [`partition`](super::partition) does.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::behaviour::{Behaviour, Fault};
use super::doors::{Begun, EntityDoors, EntityTransactions};
use super::formats::Formats;
use super::message::{DeliverToEntities, Delivered};
use super::outbox::{Lane, Outbound};
use super::outward::{Outward, Performed, PublicationsWaiting};
use super::partition::{Delivery, Effect, EntityPartition, Input, reading};
use super::publisher::{Done, Errands};
use super::publishing::Publishing;
use super::records::Source;
use super::series::{EntitySeries, Shown, Tally};
use super::standby::Handed;
use super::table::Table;
use crate::custom::RequestId;
use crate::error::Refusal;
use crate::events::{EntitiesBroken, EntitiesLoaded, EntityIndex, EntityIndexOf};
use crate::group::doors::OwnershipLease;
use crate::group::request::Reply;
use crate::ids::{LeaderEpoch, Offset, PartitionId};
use crate::kinds::ENTITY_HOST;
use crate::supervision::roster::{Entry, Seat, waiting};

/// Where an answer goes.
pub(super) type EntityReply = Reply<Result<Bytes, Fault>>;

/// How long a replay that failed waits before the next, at first; it doubles up to [`REPLAY_AGAIN_MOST`].
const REPLAY_AGAIN: Duration = Duration::from_millis(50);
const REPLAY_AGAIN_MOST: Duration = Duration::from_secs(5);

/// What is told to the entities of a partition.
pub(super) enum HostMessage {
    /// Somebody asks an entity.
    Ask { entity: Bytes, request: RequestId, message: Bytes, reply: EntityReply },
    /// Messages of other entities, or of a topic.
    Deliver { source: Source, through: Option<u64>, messages: Vec<Delivery>, reply: EntityReply },
    /// Somebody wants to know how far a source is applied.
    Position { source: Source, reply: Reply<Result<u64, Fault>> },
    /// A batch is committed, or not.
    Settled { batch: u64, result: Result<Offset, Refusal> },
    /// Records were read.
    Loaded { life: u64, entity: Bytes, result: Result<Vec<Bytes>, Refusal> },
    /// The log was read.
    Replayed(Box<(Table, Result<(), Refusal>)>),
    /// A delivery was applied, or not.
    Delivered { lane: Lane, number: u64, is_applied: bool },
    /// An errand for publications is done, or failed.
    Published { target: Option<PartitionId>, number: u64, done: Done },
    /// The partition has begun as a transactional producer, or could not.
    Began { number: u64, result: Result<Begun, Refusal> },
    /// Time has passed.
    Tick,
}

impl ractor::Message for HostMessage {}

impl fmt::Debug for HostMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HostMessage")
    }
}

/// The leadership of a partition of entities.
#[derive(Clone, Debug)]
pub(super) struct Leadership {
    pub(super) kind: Arc<str>,
    pub(super) partition: PartitionId,
    pub(super) epoch: LeaderEpoch,
    pub(super) lease: Arc<dyn OwnershipLease>,
    /// For those who ask.
    pub(super) places: Arc<Semaphore>,
    pub(super) series: EntitySeries,
    pub(super) doors: EntityDoors,
    pub(super) formats: Formats,
}

impl Leadership {
    /// What the actor of the partition is called.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.kind, self.partition.index)
    }
}

/// The actor.
pub(super) struct EntityHost<B>(PhantomData<fn() -> B>);

impl<B> EntityHost<B> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

/// The actor's state.
pub(super) struct Hosted<B: Behaviour> {
    leadership: Leadership,
    myself: ActorRef<HostMessage>,
    partition: EntityPartition<B, EntityReply>,
    replays_failed: u32,
    replay: Option<JoinHandle<()>>,
    timer: Option<(i64, JoinHandle<()>)>,
    began: Instant,
    waiting: PublicationsWaiting,
    transactions: Option<Arc<dyn EntityTransactions>>,
    /// The epoch of the last record that was handed over, until the log was found to go on from there.
    after: Option<LeaderEpoch>,
    /// How many records were known before the log was read.
    known: u64,
    index: EntityIndex,
    tally: Tally,
    /// Since when the batch is on its way.
    appended_at: Option<Instant>,
    seat: Seat,
}

impl<B> Actor for EntityHost<B>
where
    B: Behaviour + Send + Sync + 'static,
    B::Entity: Send,
{
    type Msg = HostMessage;
    type State = Hosted<B>;
    type Arguments = (Leadership, Handed, B);

    async fn pre_start(
        &self,
        myself: ActorRef<HostMessage>,
        (leadership, Handed { table, after }, behaviour): (Leadership, Handed, B),
    ) -> Result<Hosted<B>, ActorProcessingErr> {
        let settings = leadership.doors.settings.borrow().as_ref().clone();
        let known = table.seen();
        let (partition, effect) = EntityPartition::new(behaviour, settings, table);
        let Leadership { kind, doors, .. } = &leadership;
        let partition = partition.publishing(Publishing {
            kind: Arc::clone(kind),
            node: doors.events.node(),
            topics: Arc::clone(&doors.topics) as _,
        });
        let (began, events) = (doors.clock.now(), &doors.events);
        let waiting_publications = PublicationsWaiting::new(events, kind);
        let index = EntityIndex::new(events, EntityIndexOf::Leader);
        let shown = Arc::<Shown>::default();
        let tally = Tally::new(leadership.series.clone(), Arc::clone(&shown));
        let entry = Entry::new(ENTITY_HOST, leadership.name())
            .waiting(waiting([&leadership.places]))
            .about(move || shown.to_string());
        let seat = events.seat(entry);
        let mut hosted = Hosted {
            leadership,
            myself,
            partition,
            replays_failed: 0,
            replay: None,
            timer: None,
            began,
            waiting: waiting_publications,
            transactions: None,
            after,
            known,
            index,
            tally,
            appended_at: None,
            seat,
        };
        hosted.perform(vec![effect]);
        Ok(hosted)
    }

    async fn handle(
        &self,
        _myself: ActorRef<HostMessage>,
        message: HostMessage,
        hosted: &mut Hosted<B>,
    ) -> Result<(), ActorProcessingErr> {
        let _turn = hosted.seat.turn();
        hosted.take(message);
        hosted.send();
        hosted.publish();
        hosted.set_timer();
        hosted.tally.tell(hosted.partition.load());
        Ok(())
    }
}

impl<B: Behaviour> Drop for Hosted<B> {
    fn drop(&mut self) {
        let tasks = self.replay.take().into_iter().chain(self.timer.take().map(|(_, task)| task));
        tasks.for_each(|task| task.abort());
    }
}

impl<B> Hosted<B>
where
    B: Behaviour + Send + Sync + 'static,
    B::Entity: Send,
{
    fn now_ms(&self) -> i64 {
        self.leadership.doors.clock.wall_ms()
    }

    fn take(&mut self, message: HostMessage) {
        let input = match message {
            HostMessage::Ask { entity, request, message, reply } => {
                Input::Ask { entity, request, message, reply }
            }
            HostMessage::Deliver { source, through, messages, reply } => {
                Input::Deliver { source, through, messages, reply }
            }
            HostMessage::Position { source, reply } => {
                let position = self.partition.table().map(|table| table.position(source));
                return reply.give(position.ok_or_else(reading));
            }
            HostMessage::Settled { batch, result } => match result {
                Ok(first) => {
                    if let Some(since) = self.appended_at.take() {
                        let now = self.leadership.doors.clock.now();
                        self.leadership.series.commit_seconds.record(now.saturating_duration_since(since));
                    }
                    Input::Committed { batch, first }
                }
                Err(refusal) => {
                    self.broken(&refusal);
                    Input::Refused { batch }
                }
            },
            HostMessage::Loaded { life, entity, result } => {
                let values = result.map_err(|refusal| Fault::Retry(refusal.text));
                Input::Loaded { life, entity, values }
            }
            HostMessage::Replayed(replayed) => match *replayed {
                (table, Ok(())) => {
                    self.replays_failed = 0;
                    self.after = None;
                    self.tell_loaded(&table);
                    Input::Replayed(table)
                }
                (table, Err(refusal)) => {
                    if table.seen() != self.known {
                        // It was found to go on, or has begun anew: what was read is of this log.
                        self.after = None;
                    }
                    self.broken(&refusal);
                    self.replays_failed = self.replays_failed.saturating_add(1);
                    return self.read(table);
                }
            },
            HostMessage::Delivered { lane, number, is_applied } => {
                return self.partition.delivered(self.now_ms(), &lane, number, is_applied);
            }
            HostMessage::Published { target, number, done } => {
                self.partition.published(self.now_ms(), target, number, done);
                // What follows may be a batch.
                Input::Go
            }
            HostMessage::Began { number, result } => {
                let began = result.map(|(transactions, next)| {
                    self.transactions = Some(transactions);
                    next
                });
                self.partition.published(self.now_ms(), None, number, Done::Began(began));
                Input::Go
            }
            HostMessage::Tick => {
                self.timer = None;
                Input::Tick
            }
        };
        let effects = self.partition.take(self.now_ms(), input);
        self.perform(effects);
        if let Some(table) = self.partition.table() {
            self.index.is(table.entities(), table.bytes());
        }
    }

    fn perform(&mut self, effects: Vec<Effect<EntityReply>>) {
        let Leadership { partition, epoch, doors, .. } = &self.leadership;
        for effect in effects {
            match effect {
                Effect::Answer { reply, answer, needs_lease } => {
                    if matches!(answer, Err(Fault::Busy(_))) {
                        self.leadership.series.refused.increment(1);
                    }
                    if !needs_lease || self.leadership.lease.holds() {
                        reply.give(answer);
                        continue;
                    }
                    let confirmed = self.leadership.lease.confirm();
                    tokio::spawn(async move {
                        reply.give(match confirmed.await {
                            Ok(()) => answer,
                            Err(refusal) => Err(Fault::Retry(refusal.text)),
                        });
                    });
                }
                Effect::Append { batch, records } => {
                    self.appended_at = Some(doors.clock.now());
                    let done = doors.log.append(*partition, *epoch, records);
                    let myself = self.myself.clone();
                    tokio::spawn(async move {
                        let result = done.await;
                        let _ended = myself.cast(HostMessage::Settled { batch, result });
                    });
                }
                Effect::Load { life, entity, offsets } => {
                    self.leadership.series.loads.increment(1);
                    let read = doors.log.read(*partition, *epoch, offsets);
                    let myself = self.myself.clone();
                    tokio::spawn(async move {
                        let result = read.await;
                        let _ended = myself.cast(HostMessage::Loaded { life, entity, result });
                    });
                }
                Effect::Replay(table) => {
                    self.known = table.seen();
                    // What was handed over is no reload.
                    if table.end() > Offset::ZERO && self.after.is_none() {
                        self.leadership.series.reloads.increment(1);
                    }
                    self.read(table);
                    return;
                }
            }
        }
    }

    /// Reads the log, after a pause where that failed before.
    fn read(&mut self, table: Table) {
        let wait = match self.replays_failed {
            0 => Duration::ZERO,
            failures => REPLAY_AGAIN.saturating_mul(1 << failures.min(10)).min(REPLAY_AGAIN_MOST),
        };
        let Leadership { partition, epoch, doors, .. } = self.leadership.clone();
        let (myself, after) = (self.myself.clone(), self.after);
        self.replay = Some(tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let replayed = doors.log.replay(partition, epoch, table, after).await;
            let _ended = myself.cast(HostMessage::Replayed(Box::new(replayed)));
        }));
    }

    /// Messages to other entities leave.
    fn send(&mut self) {
        let Leadership { partition, doors, .. } = &self.leadership;
        let due = self.partition.outbound(doors.clock.wall_ms(), |kind| doors.lanes.partitions(kind));
        let source = Source { topic: partition.topic, partition: partition.index };
        for Outbound { lane, number, messages } in due {
            let each = |Delivery { sequence, entity, message }| Delivered { sequence, entity, message };
            let delivery = DeliverToEntities {
                kind: lane.kind.clone(),
                partition: lane.partition,
                source,
                messages: messages.into_iter().map(each).collect(),
            };
            let (delivered, myself) = (doors.lanes.deliver(delivery), self.myself.clone());
            tokio::spawn(async move {
                let is_applied = delivered.await.is_ok();
                let _ended = myself.cast(HostMessage::Delivered { lane, number, is_applied });
            });
        }
    }

    /// Records leave for their topics, and what became of others is told.
    fn publish(&mut self) {
        let Leadership { kind, partition, doors, .. } = &self.leadership;
        let outward = Outward { kind, partition: *partition, doors, lease: &self.leadership.lease };
        for Errands { target, number, errand } in self.partition.publications_due(doors.clock.wall_ms()) {
            let (done, myself) =
                (outward.perform(target, errand, &mut self.transactions), self.myself.clone());
            tokio::spawn(async move {
                let message = match done.await {
                    Performed::Done(done) => HostMessage::Published { target, number, done },
                    Performed::Began(result) => HostMessage::Began { number, result },
                };
                let _ended = myself.cast(message);
            });
        }
        for note in self.partition.take_notes() {
            outward.tell(&note);
        }
        self.waiting.set(self.partition.table().map_or(0, Table::publications));
    }

    /// One timer, whatever the number of entities; none where nothing is to come.
    fn set_timer(&mut self) {
        let now_ms = self.now_ms();
        let Some(at_ms) = self.partition.next_ms(now_ms) else { return };
        if self.timer.as_ref().is_some_and(|(set_to_ms, _)| *set_to_ms <= at_ms) {
            return;
        }
        let wait = Duration::from_millis(u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0));
        let myself = self.myself.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ended = myself.cast(HostMessage::Tick);
        });
        if let Some((_, old)) = self.timer.replace((at_ms, task)) {
            old.abort();
        }
    }

    fn tell_loaded(&self, table: &Table) {
        // Fewer than were known where the table had to begin anew.
        let replayed = table.seen().checked_sub(self.known).unwrap_or_else(|| table.seen());
        let Leadership { kind, partition, doors, .. } = &self.leadership;
        let took = doors.clock.now().saturating_duration_since(self.began);
        doors.events.emit(EntitiesLoaded {
            kind,
            partition: partition.index,
            entities: table.entities(),
            replayed,
            undecodable: table.undecodable(),
            took,
        });
    }

    fn broken(&self, refusal: &Refusal) {
        let Leadership { kind, partition, doors, .. } = &self.leadership;
        doors.events.emit(EntitiesBroken { kind, partition: partition.index, refusal });
    }
}
