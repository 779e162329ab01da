//! Readers and receivers against a model of a topic: readers are killed and doubled, what they send is lost, late, doubled
//! and out of order, receivers lose batches and die. Each record is applied once, and those of one entity in their order.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::super::behaviour::{Behaviour, Change, Fault, Handled, PoisonPolicy, Saved};
use super::super::input::Delivery;
use super::super::partition::{Effect, EntityPartition, Input};
use super::super::records::Source;
use super::super::settings::EntitySettings;
use super::super::table::Table;
use super::lane::{Errand, Fed};
use super::progress::{Due, Progress};
use super::settings::ReaderSettings;
use crate::group::records::LogRecord;
use crate::ids::{Offset, TopicId};

const SOURCE: Source = Source { topic: TopicId(Uuid::from_u128(5)), partition: 3 };

const RECEIVERS: u32 = 3;

/// Keeps the numbers it was told, in their order.
#[derive(Debug)]
struct Keeper;

impl Behaviour for Keeper {
    type Entity = Vec<u8>;

    fn poison(&self) -> PoisonPolicy {
        PoisonPolicy::Fail
    }

    fn load(&self, _: &[u8], saved: &Saved) -> Result<Vec<u8>, Fault> {
        Ok(saved.snapshot.as_ref().map(|(_, state)| state.to_vec()).unwrap_or_default())
    }

    fn handle(&self, kept: &mut Vec<u8>, _: &[u8], _: i64, message: &[u8]) -> Result<Handled, Fault> {
        kept.extend_from_slice(message);
        let change = Change::State { version: 1, state: kept.clone().into() };
        Ok(Handled { change, ..Handled::default() })
    }

    fn snapshot(&self, kept: &Vec<u8>) -> Result<Option<(u16, Bytes)>, Fault> {
        Ok(Some((1, kept.clone().into())))
    }
}

/// A delivery, and the reader that waits for its answer; `None` where that has given it up.
type Ticket = (Option<usize>, u32);

/// A partition of entities with its log.
struct Receiver {
    partition: EntityPartition<Keeper, Ticket>,
    log: Vec<LogRecord>,
    on_way: Option<(u64, Vec<LogRecord>)>,
    loads: Vec<(u64, Bytes, Vec<Offset>)>,
    replay: Option<Table>,
}

impl Receiver {
    fn begin(log: Vec<LogRecord>) -> Self {
        let settings = EntitySettings { live_max: 2, batch_bytes: 300, ..EntitySettings::default() };
        let (partition, _) = EntityPartition::new(Keeper, settings, Table::default());
        Self { partition, log, on_way: None, loads: Vec::new(), replay: Some(Table::default()) }
    }

    /// The answers that this gives.
    fn take(&mut self, now_ms: i64, input: Input<Ticket>) -> Vec<(Ticket, bool)> {
        let mut answers = Vec::new();
        for effect in self.partition.take(now_ms, input) {
            match effect {
                Effect::Answer { reply, answer, .. } => answers.push((reply, answer.is_ok())),
                Effect::Append { batch, records } => assert!(self.on_way.replace((batch, records)).is_none()),
                Effect::Load { life, entity, offsets } => self.loads.push((life, entity, offsets)),
                Effect::Replay(table) => self.replay = Some(table),
            }
        }
        answers
    }

    fn commit(&mut self, now_ms: i64) -> Vec<(Ticket, bool)> {
        let Some((batch, records)) = self.on_way.take() else { return Vec::new() };
        let first = Offset(i64::try_from(self.log.len()).unwrap());
        self.log.extend(records);
        self.take(now_ms, Input::Committed { batch, first })
    }

    /// Nobody knows whether the log took it.
    fn lose(&mut self, now_ms: i64, has_it: bool) -> Vec<(Ticket, bool)> {
        let Some((batch, records)) = self.on_way.take() else { return Vec::new() };
        if has_it {
            self.log.extend(records);
        }
        self.take(now_ms, Input::Refused { batch })
    }

    fn read(&mut self, now_ms: i64) -> Vec<(Ticket, bool)> {
        let mut answers = Vec::new();
        if let Some(mut table) = self.replay.take() {
            self.show(&mut table);
            answers.extend(self.take(now_ms, Input::Replayed(table)));
        }
        for (life, entity, offsets) in std::mem::take(&mut self.loads) {
            let at = |offset: &Offset| self.log[usize::try_from(offset.0).unwrap()].value.clone().unwrap();
            let values = Ok(offsets.iter().map(at).collect());
            answers.extend(self.take(now_ms, Input::Loaded { life, entity, values }));
        }
        answers
    }

    fn show(&self, table: &mut Table) {
        for (offset, record) in (0..).zip(&self.log) {
            table.take(Offset(offset), Some(&record.key), record.value.as_deref());
        }
    }

    /// What an entity was told, by what the log says.
    fn kept(&self, entity: &Bytes) -> Vec<u8> {
        let mut table = Table::default();
        self.show(&mut table);
        let Some(at) = table.stored(entity).and_then(|stored| stored.snapshot) else { return Vec::new() };
        let value = self.log[usize::try_from(at.0).unwrap()].value.clone().unwrap();
        let (mut reader, _) =
            EntityPartition::<_, ()>::new(Keeper, EntitySettings::default(), Table::default());
        reader.take(0, Input::Replayed(table));
        let saved = reader.saved(entity, &[value]).unwrap();
        Keeper.load(entity, &saved).unwrap()
    }
}

/// A delivery that may arrive, now or late, once or twice.
#[derive(Clone)]
struct OnWay {
    ticket: Ticket,
    through: u64,
    messages: Vec<Delivery>,
}

struct World {
    random: SmallRng,
    now_ms: i64,
    /// For each offset the receiver, the entity and the number of its record; none where there is no record for anybody.
    topic: Vec<Option<(u32, Bytes, u8)>>,
    receivers: Vec<Receiver>,
    /// By number; a number is given once.
    readers: BTreeMap<usize, Progress>,
    begun: usize,
    on_way: Vec<OnWay>,
}

impl World {
    fn new(seed: u64) -> Self {
        let receivers = (0..RECEIVERS).map(|_| Receiver::begin(Vec::new())).collect();
        let random = SmallRng::seed_from_u64(seed);
        let (topic, on_way) = (Vec::new(), Vec::new());
        let mut world =
            Self { random, now_ms: 0, topic, receivers, readers: BTreeMap::new(), begun: 0, on_way };
        world.begin_reader();
        world
    }

    fn write(&mut self) {
        for _ in 0..self.random.random_range(0..20) {
            let number = u8::try_from(self.topic.len() % 256).unwrap();
            // The last receiver has few records.
            let receiver = if self.random.random_bool(0.02) { 2 } else { self.random.random_range(0..2) };
            let entity = Bytes::from(format!("{receiver}-{}", self.random.random_range(0..4)));
            let is_for_one = self.random.random_bool(0.8);
            self.topic.push(is_for_one.then_some((receiver, entity, number)));
        }
    }

    fn begin_reader(&mut self) {
        let settings = ReaderSettings {
            records_max: 15,
            bytes_max: 2_000,
            delivery_records: 3,
            delivery_bytes: 200,
            mark_records: 20,
            mark_ms: 100,
        };
        self.begun += 1;
        self.readers.insert(self.begun, Progress::new(RECEIVERS, settings));
    }

    /// A reader dies; another begins before or after that, so that for a while there may be two, or none.
    fn change_readers(&mut self) {
        if self.readers.len() > 1 || self.random.random_bool(0.5) {
            let dying = *self.readers.keys().next().unwrap_or(&0);
            self.readers.remove(&dying);
        }
        if self.readers.len() < 2 {
            self.begin_reader();
        }
    }

    fn any_reader(&mut self) -> Option<usize> {
        let place = self.random.random_range(0..self.readers.len().max(1));
        self.readers.keys().nth(place).copied()
    }

    fn read(&mut self) {
        let Some(number) = self.any_reader() else { return };
        let most = self.random.random_range(1..12);
        let end = Offset(i64::try_from(self.topic.len()).unwrap());
        let reader = self.readers.get_mut(&number).unwrap();
        for _ in 0..most {
            let Some(at) = reader.reads_from().filter(|at| *at < end) else { return };
            match self.topic[usize::try_from(at.0).unwrap()].clone() {
                Some((receiver, entity, number)) => {
                    reader.take(at, Some((receiver, entity, Bytes::from(vec![number]))));
                }
                // Of an aborted transaction, or for nobody.
                None if at.0 % 2 == 0 => reader.read_through(at.plus(1)),
                None => reader.take(at, None),
            }
        }
        assert!(reader.lag(end) <= u64::try_from(end.0).unwrap());
    }

    fn send(&mut self) {
        let Some(number) = self.any_reader() else { return };
        let due = self.readers.get_mut(&number).unwrap().due(self.now_ms);
        for Due { receiver, errand } in due {
            match errand {
                Errand::Ask => {
                    let table = self.receivers[usize::try_from(receiver).unwrap()].partition.table();
                    let position = table.map(|table| table.position(SOURCE));
                    let is_heard = self.random.random_bool(0.9);
                    let reader = self.readers.get_mut(&number).unwrap();
                    reader.told(self.now_ms, receiver, position.filter(|_| is_heard));
                }
                Errand::Feed { through, messages } => {
                    let ticket = (Some(number), receiver);
                    self.on_way.push(OnWay { ticket, through, messages });
                }
            }
        }
    }

    /// Something that is on its way arrives, is lost, is given up and arrives later, or arrives twice.
    fn arrive(&mut self) {
        if self.on_way.is_empty() {
            return;
        }
        let place = self.random.random_range(0..self.on_way.len());
        let mut arriving = self.on_way.swap_remove(place);
        match self.random.random_range(0..10) {
            0 => return self.answered(arriving.ticket, false),
            1 => {
                self.answered(arriving.ticket, false);
                arriving.ticket.0 = None;
                return self.on_way.push(arriving);
            }
            2 => {
                let twice = OnWay { ticket: (None, arriving.ticket.1), ..arriving.clone() };
                self.on_way.push(twice);
            }
            _ => {}
        }
        let OnWay { ticket, through, messages } = arriving;
        let input = Input::Deliver { source: SOURCE, through: Some(through), messages, reply: ticket };
        let answers = self.receivers[usize::try_from(ticket.1).unwrap()].take(self.now_ms, input);
        self.answer(answers);
    }

    fn answer(&mut self, answers: Vec<(Ticket, bool)>) {
        for (ticket, is_applied) in answers {
            // The answer itself may be lost.
            let is_heard = is_applied && self.random.random_bool(0.9);
            self.answered(ticket, is_heard);
        }
    }

    fn answered(&mut self, (reader, receiver): Ticket, is_applied: bool) {
        if let Some(reader) = reader.and_then(|reader| self.readers.get_mut(&reader)) {
            reader.fed(self.now_ms, receiver, if is_applied { Fed::Applied } else { Fed::NotNow });
        }
    }

    fn of_a_receiver(&mut self, act: impl FnOnce(&mut Receiver, i64, bool) -> Vec<(Ticket, bool)>) {
        let place = self.random.random_range(0..self.receivers.len());
        let coin = self.random.random_bool(0.5);
        let answers = act(&mut self.receivers[place], self.now_ms, coin);
        self.answer(answers);
    }

    /// A receiver's process ends; another leads. Who waits for it hears nothing, for as long as an ask takes.
    fn kill_receiver(&mut self) {
        let place = self.random.random_range(0..self.receivers.len());
        let receiver = &mut self.receivers[place];
        let mut log = std::mem::take(&mut receiver.log);
        if let Some((_, records)) = receiver.on_way.take()
            && self.random.random_bool(0.5)
        {
            log.extend(records);
        }
        *receiver = Receiver::begin(log);
        let receiver = u32::try_from(place).unwrap();
        let is_open = |number: &usize, on_way: &[OnWay]| {
            on_way.iter().any(|one| one.ticket == (Some(*number), receiver))
        };
        let unheard: Vec<_> =
            self.readers.keys().filter(|number| !is_open(number, &self.on_way)).copied().collect();
        for number in unheard {
            self.answered((Some(number), receiver), false);
        }
    }

    fn step(&mut self) {
        self.now_ms += self.random.random_range(0..5);
        match self.random.random_range(0..100) {
            0..=9 => self.write(),
            10..=34 => self.read(),
            35..=54 => self.send(),
            55..=74 => self.arrive(),
            75..=84 => self.of_a_receiver(|receiver, now_ms, _| receiver.commit(now_ms)),
            85..=94 => self.of_a_receiver(|receiver, now_ms, _| receiver.read(now_ms)),
            95..=96 => self.of_a_receiver(Receiver::lose),
            97..=98 => self.change_readers(),
            _ => self.kill_receiver(),
        }
    }

    fn settle(&mut self) {
        for _ in 0..20_000 {
            self.now_ms += 10;
            self.read();
            self.send();
            self.arrive();
            for place in 0..self.receivers.len() {
                let now_ms = self.now_ms;
                let answers = self.receivers[place].commit(now_ms);
                self.answer(answers);
                let answers = self.receivers[place].read(now_ms);
                self.answer(answers);
            }
            if self.readers.is_empty() {
                self.begin_reader();
            }
            let end = u64::try_from(self.topic.len()).unwrap();
            let position =
                |receiver: &Receiver| receiver.partition.table().map(|table| table.position(SOURCE));
            if self.receivers.iter().all(|receiver| position(receiver) == Some(end)) {
                return;
            }
        }
        panic!("not settled");
    }

    /// What each entity is to be told.
    fn wanted(&self) -> BTreeMap<(u32, Bytes), Vec<u8>> {
        let mut wanted: BTreeMap<_, Vec<u8>> = BTreeMap::new();
        for (receiver, entity, number) in self.topic.iter().flatten().cloned() {
            wanted.entry((receiver, entity)).or_default().push(number);
        }
        wanted
    }
}

#[test]
fn each_record_is_applied_once_and_in_order_whatever_ends_when() {
    for seed in 0..300 {
        let mut world = World::new(seed);
        for _ in 0..600 {
            world.step();
        }
        world.settle();
        for ((receiver, entity), wanted) in world.wanted() {
            let kept = world.receivers[usize::try_from(receiver).unwrap()].kept(&entity);
            assert_eq!(kept, wanted, "seed {seed}, {entity:?}");
        }
    }
}
