//! The entities of one partition, led here: what comes in, what is to be done about it. Pure but for the handlers.
//!
//! A turn runs on what the turns before it left, committed or not, and goes into the batch that is being filled; one
//! batch is on its way at a time, so that none is committed whose predecessor is not. Whatever may have seen a turn leaves
//! when that is committed. When a batch is refused, or nobody knows, all since the last commit is forgotten: the entities
//! that were touched, the answers, what was remembered; and the log is read on to its end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::batch::{Adds, Batch};
use super::behaviour::{Behaviour, Fault, Saved};
pub use super::input::{Delivery, Effect, Input};
use super::outbox::{Lane, Outbound, Outbox};
use super::publication::Target;
use super::publisher::Publisher;
use super::publishing::{Note, Publishing};
use super::records::{RecordKey, Source};
use super::series::Load;
use super::settings::EntitySettings;
use super::table::Table;
use super::topics::NoTopics;
use crate::custom::RequestId;
use crate::ids::{NodeId, Offset, PartitionId};

/// Timers that ring at one look.
const TIMERS_MAX: usize = 500;

/// Bytes of tombstones that a batch takes along at least, if there are as many. A larger batch takes as many bytes of them
/// as its turns have, and half as many more: each record comes to one tombstone at most, so garbage never grows.
const CHORES_BYTES: usize = 64 << 10;

/// How long tombstones wait for a turn that takes them along, and timers that could not ring.
pub(super) const CHORES_EVERY_MS: i64 = 1_000;

/// The least time between two looks at what time has brought.
const TICK_LEAST_MS: i64 = 10;

/// An entity in memory.
#[derive(Debug)]
pub(super) struct Live<E> {
    /// None after a fault, until the next turn builds it anew.
    pub(super) entity: Option<E>,
    /// What is or will be in the log.
    pub(super) saved: Saved,
    /// The batch of its last turn that changed it.
    pub(super) batch: u64,
    pub(super) used_ms: i64,
}

/// A message that waits for its entity.
#[derive(Debug)]
pub(super) struct Asked<T> {
    pub(super) request: RequestId,
    pub(super) message: Bytes,
    pub(super) reply: T,
}

/// Messages of a source that are being applied.
#[derive(Debug)]
pub(super) struct Stream<T> {
    pub(super) messages: VecDeque<Delivery>,
    /// Bytes of all that came with it.
    pub(super) bytes: usize,
    /// Up to where nothing of the source is missing.
    pub(super) through: Option<u64>,
    pub(super) reply: T,
    /// The last batch that one of them is in.
    pub(super) batch: u64,
}

/// What was decided since the last commit.
#[derive(Debug, Default)]
pub(super) struct Uncommitted {
    pub(super) requests: BTreeMap<(Bytes, RequestId), (u64, Result<Bytes, Fault>)>,
    pub(super) positions: BTreeMap<Source, (u64, u64)>,
    pub(super) timers: BTreeMap<(Bytes, String), u64>,
    pub(super) outbox_next: Option<u64>,
    pub(super) published_next: Option<u64>,
    pub(super) targets: BTreeMap<PartitionId, (Target, u64)>,
}

/// The entities of one partition.
#[derive(Debug)]
pub struct EntityPartition<B: Behaviour, T> {
    pub(super) behaviour: B,
    pub(super) settings: EntitySettings,
    /// None while the log is being read.
    pub(super) table: Option<Table>,
    pub(super) live: BTreeMap<Bytes, Live<B::Entity>>,
    pub(super) by_use: BTreeSet<(i64, Bytes)>,
    pub(super) loading: BTreeMap<Bytes, VecDeque<Asked<T>>>,
    /// Bytes of the messages in that.
    pub(super) loading_bytes: usize,
    pub(super) streams: BTreeMap<Source, Stream<T>>,
    pub(super) uncommitted: Uncommitted,
    pub(super) in_flight: Option<Batch<T>>,
    pub(super) pending: VecDeque<Batch<T>>,
    next_batch: u64,
    pub(super) committed: u64,
    pub(super) life: u64,
    /// Timers whose message stays, as the policy of the type has it, until the partition is led anew.
    pub(super) blocked_timers: BTreeSet<(Bytes, String)>,
    /// None rings before then, after one for which there was no room.
    pub(super) timers_rest_until_ms: i64,
    pub(super) outbox: Outbox,
    pub(super) publishing: Publishing,
    pub(super) publisher: Publisher,
    pub(super) notes: Vec<Note>,
    pub(super) effects: Vec<Effect<T>>,
}

impl<B: Behaviour, T> EntityPartition<B, T> {
    /// A partition of which this much is known, or nothing; the effect reads the rest of its log.
    #[must_use]
    pub fn new(behaviour: B, settings: EntitySettings, known: Table) -> (Self, Effect<T>) {
        let partition = Self {
            behaviour,
            settings,
            table: None,
            live: BTreeMap::new(),
            by_use: BTreeSet::new(),
            loading: BTreeMap::new(),
            loading_bytes: 0,
            streams: BTreeMap::new(),
            uncommitted: Uncommitted::default(),
            in_flight: None,
            pending: VecDeque::new(),
            next_batch: 1,
            committed: 0,
            life: 0,
            blocked_timers: BTreeSet::new(),
            timers_rest_until_ms: i64::MIN,
            outbox: Outbox::default(),
            publishing: Publishing { kind: Arc::from(""), node: NodeId(0), topics: Arc::new(NoTopics) },
            publisher: Publisher::default(),
            notes: Vec::new(),
            effects: Vec::new(),
        };
        (partition, Effect::Replay(known))
    }

    /// The same, which publishes: without this there is no topic.
    #[must_use]
    pub fn publishing(mut self, publishing: Publishing) -> Self {
        self.publishing = publishing;
        self
    }

    /// What the log says; `None` while it is being read.
    #[must_use]
    pub const fn table(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    /// Entities in memory.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// What they are now.
    pub(super) fn load(&self) -> Load {
        let table = self.table.as_ref();
        Load {
            known: table.map_or(0, Table::entities),
            live: self.live.len(),
            waiting_bytes: self.waiting_bytes(),
            timers: table.map_or(0, Table::timers_set),
            outbox_messages: table.map_or(0, Table::outbox_messages),
        }
    }

    /// Takes something in; what is to be done, in this order.
    pub fn take(&mut self, now_ms: i64, input: Input<T>) -> Vec<Effect<T>> {
        match input {
            Input::Ask { entity, request, message, reply } => {
                self.ask(now_ms, entity, Asked { request, message, reply });
            }
            Input::Deliver { source, through, messages, reply } => {
                self.deliver(now_ms, source, through, messages, reply);
            }
            Input::Loaded { life, entity, values } => {
                if life == self.life {
                    self.loaded(now_ms, &entity, values);
                }
            }
            Input::Committed { batch, first } => self.committed(now_ms, batch, first),
            Input::Refused { batch } => {
                if self.in_flight.as_ref().is_some_and(|flying| flying.number == batch) {
                    self.forget();
                }
            }
            Input::Replayed(table) => {
                self.uncommitted.outbox_next = None;
                self.outbox.begin_anew();
                self.uncommitted.published_next = None;
                self.publisher.begin_anew();
                self.table = Some(table);
            }
            Input::Go => {}
            Input::Tick => self.tick(now_ms),
        }
        self.send(now_ms, false);
        std::mem::take(&mut self.effects)
    }

    /// Messages to other entities that are to be delivered now; [`Self::delivered`] tells what became of each.
    pub fn outbound(&mut self, now_ms: i64, partitions: impl Fn(&str) -> Option<u32>) -> Vec<Outbound> {
        let Some(table) = &self.table else { return Vec::new() };
        self.outbox.due(table, now_ms, partitions)
    }

    /// What [`Self::outbound`] gave was applied over there, or not.
    pub fn delivered(&mut self, now_ms: i64, lane: &Lane, number: u64, is_applied: bool) {
        self.outbox.answered(lane, number, now_ms, is_applied);
    }

    /// When [`Input::Tick`] is due next; `None` where nothing is to come.
    #[must_use]
    pub fn next_ms(&self, now_ms: i64) -> Option<i64> {
        let table = self.table.as_ref()?;
        let soon = |has: bool| has.then_some(now_ms.saturating_add(CHORES_EVERY_MS));
        let later = |ms: i64| ms.max(now_ms.saturating_add(TICK_LEAST_MS));
        let due = table.timers().find(|(_, entity, name)| {
            let timer = ((*entity).clone(), (*name).to_owned());
            !self.blocked_timers.contains(&timer) && !self.uncommitted.timers.contains_key(&timer)
        });
        let due = due.map(|(due_ms, ..)| later(due_ms.max(self.timers_rest_until_ms)));
        let idle =
            self.by_use.first().map(|(used_ms, _)| later(used_ms.saturating_add(self.settings.idle_ms)));
        let old = table.first_request_ms().map(|ms| {
            let over_ms = ms.saturating_add(self.settings.dedupe_ms);
            over_ms.max(now_ms.saturating_add(CHORES_EVERY_MS))
        });
        let is_settled =
            self.outbox.delivered().next().is_some() || self.publisher.settled().next().is_some();
        let chores = soon(table.superfluous().next().is_some() || is_settled);
        let lanes = self.outbox.next_ms(now_ms).map(later);
        let publications = self.publisher.next_ms().map(later);
        [due, idle, old, chores, lanes, publications].into_iter().flatten().min()
    }

    pub(super) fn answer(&mut self, reply: T, answer: Result<Bytes, Fault>) {
        self.effects.push(Effect::Answer { reply, answer, needs_lease: false });
    }

    /// Answers from memory, once this batch is committed.
    pub(super) fn answer_behind(&mut self, batch: u64, reply: T, answer: Result<Bytes, Fault>) {
        if batch <= self.committed {
            self.effects.push(Effect::Answer { reply, answer, needs_lease: true });
            return;
        }
        let mut flying = self.in_flight.iter_mut().chain(&mut self.pending);
        match flying.find(|flying| flying.number == batch) {
            Some(flying) => flying.answers.push((reply, answer)),
            None => self.answer(reply, Err(reading())),
        }
    }

    /// Puts something into the batch that turns go into, which has room for so many bytes; the batch's number.
    pub(super) fn put(&mut self, bytes: usize, put: impl FnOnce(&mut Batch<T>)) -> u64 {
        let fits = |batch: &Batch<T>| {
            batch.is_empty() || batch.bytes().saturating_add(bytes) <= self.settings.batch_bytes
        };
        let mut batch = match self.pending.pop_back() {
            Some(batch) if fits(&batch) => batch,
            full => {
                self.pending.extend(full);
                self.new_batch()
            }
        };
        put(&mut batch);
        let number = batch.number;
        self.pending.push_back(batch);
        number
    }

    fn new_batch(&mut self) -> Batch<T> {
        self.next_batch += 1;
        Batch::new(self.next_batch - 1)
    }

    /// What turns that are not committed add.
    pub(super) fn adds(&self) -> Adds {
        let batches = self.in_flight.iter().chain(&self.pending);
        batches.fold(Adds::default(), |sum, batch| sum.plus(batch.adds))
    }

    /// Sends the next batch if none is under way; one with nothing but tombstones only when it is `time`.
    fn send(&mut self, now_ms: i64, time: bool) {
        if self.in_flight.is_some() || (self.pending.is_empty() && !time) {
            return;
        }
        let Some(table) = self.table.as_ref() else { return };
        let forgotten_before_ms = now_ms.saturating_sub(self.settings.dedupe_ms);
        let gone = if time { self.targets_gone() } else { Vec::new() };
        let has_chores = chores(table, &self.outbox, &self.publisher, forgotten_before_ms).next().is_some();
        if self.pending.is_empty() && !has_chores && gone.is_empty() {
            return;
        }
        let mut batch = match self.pending.pop_front() {
            Some(batch) => batch,
            None => self.new_batch(),
        };
        let Some(table) = self.table.as_ref() else { return };
        // The rest goes with the next: a batch of the log has a bound, and none of its turns may be refused for chores.
        let turns = batch.bytes();
        let room = turns.saturating_add(CHORES_BYTES.max(turns.saturating_add(turns / 2)));
        let room = room.min(self.settings.turn_max_bytes);
        let gone = gone.into_iter().map(|target| RecordKey::Target { target });
        for key in chores(table, &self.outbox, &self.publisher, forgotten_before_ms).chain(gone) {
            if batch.bytes() >= room {
                break;
            }
            batch.put_unless_there(&key);
        }
        self.effects.push(Effect::Append { batch: batch.number, records: batch.records(now_ms) });
        self.in_flight = Some(batch);
    }

    fn committed(&mut self, now_ms: i64, number: u64, first: Offset) {
        let Some(batch) = self.in_flight.take_if(|flying| flying.number == number) else { return };
        let Some(table) = &mut self.table else { return };
        for (place, record) in (0..).zip(batch.records(now_ms)) {
            table.take(first.plus(place), Some(&record.key), record.value.as_deref());
        }
        self.outbox.retain(table);
        self.publisher.committed(table, number);
        self.committed = number;
        self.uncommitted.requests.retain(|_, (batch, _)| *batch > number);
        self.uncommitted.positions.retain(|_, (_, batch)| *batch > number);
        self.uncommitted.timers.retain(|_, batch| *batch > number);
        self.uncommitted.targets.retain(|_, (_, batch)| *batch > number);
        for (reply, answer) in batch.answers {
            self.answer(reply, answer);
        }
    }

    /// All since the last commit counts no more; the log says what became of it.
    fn forget(&mut self) {
        let Some(table) = self.table.take() else { return };
        self.life += 1;
        let batches = self.in_flight.take().into_iter().chain(std::mem::take(&mut self.pending));
        let mut refused: Vec<T> = batches.flat_map(|batch| batch.answers).map(|(reply, _)| reply).collect();
        let loading = std::mem::take(&mut self.loading).into_values().flatten();
        self.loading_bytes = 0;
        refused.extend(loading.map(|asked| asked.reply));
        refused.extend(std::mem::take(&mut self.streams).into_values().map(|stream| stream.reply));
        for reply in refused {
            let text = "the log did not take the turn, or nobody knows; the same request again finds out";
            self.answer(reply, Err(Fault::Retry(text.to_owned())));
        }
        let committed = self.committed;
        self.live.retain(|_, live| live.batch <= committed);
        let live = self.live.iter().map(|(entity, live)| (live.used_ms, entity.clone()));
        self.by_use = live.collect();
        self.uncommitted = Uncommitted::default();
        self.blocked_timers.clear();
        self.effects.push(Effect::Replay(table));
    }

    fn tick(&mut self, now_ms: i64) {
        let Some(table) = &self.table else { return };
        let due = table.timers_due(now_ms).map(|(entity, name)| (entity.clone(), name.to_owned()));
        let free = due.filter(|timer| {
            !self.blocked_timers.contains(timer) && !self.uncommitted.timers.contains_key(timer)
        });
        let may_ring = now_ms >= self.timers_rest_until_ms;
        let due: Vec<_> = free.take(if may_ring { TIMERS_MAX } else { 0 }).collect();
        for (entity, name) in due {
            if self.begin(now_ms, &entity) {
                self.turn_of_timer(now_ms, &entity, &name);
            }
        }
        self.rest(now_ms.saturating_sub(self.settings.idle_ms), usize::MAX);
        self.send(now_ms, true);
    }
}

/// What the log can be rid of, a little of each kind in turn: answers that were remembered for long enough, events that a
/// snapshot covers, messages that were delivered.
fn chores<'a>(
    table: &'a Table,
    outbox: &'a Outbox,
    publisher: &'a Publisher,
    remembered_since_ms: i64,
) -> impl Iterator<Item = RecordKey> + 'a {
    let mut requests = table
        .requests_before(remembered_since_ms)
        .map(|(entity, request)| RecordKey::Request { entity: entity.clone(), request });
    let mut events =
        table.superfluous().map(|(entity, sequence)| RecordKey::Event { entity: entity.clone(), sequence });
    let mut outgoing = outbox.delivered().map(|sequence| RecordKey::Outgoing { sequence });
    let mut published = publisher.settled().map(|number| RecordKey::Publication { number });
    std::iter::from_fn(move || {
        let next = [requests.next(), events.next(), outgoing.next(), published.next()];
        next.iter().any(Option::is_some).then_some(next)
    })
    .flat_map(|each| each.into_iter().flatten())
}

pub(super) fn reading() -> Fault {
    Fault::Retry("the entities of this partition are being read; ask again".to_owned())
}
