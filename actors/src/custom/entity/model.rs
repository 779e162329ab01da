//! A partition against a model of its log: batches are committed, refused, taken without anybody hearing of it; the
//! process is killed at any point. Every acknowledged turn is applied once, and nothing is answered that a later leader
//! does not know.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::behaviour::{Behaviour, Change, Fault, Handled, PoisonPolicy, Saved};
use super::outbox::Outbound;
use super::partition::{Effect, EntityPartition, Input};
use super::records::{Event, Outgoing, Source, Timer};
use super::settings::EntitySettings;
use super::table::Table;
use crate::custom::RequestId;
use crate::group::records::LogRecord;
use crate::ids::{Offset, TopicId};

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Order {
    Add(i64),
    Get,
    Send(Vec<u8>, i64),
    Later(i64, i64),
    Panic,
    Refuse,
    Huge,
}

fn encoded(order: &Order) -> Bytes {
    postcard::to_stdvec(order).unwrap().into()
}

/// Sums what it is told to add; writes whole states, or events.
#[derive(Debug)]
struct Adder {
    by_events: bool,
    poison: PoisonPolicy,
}

impl Behaviour for Adder {
    type Entity = i64;

    fn poison(&self) -> PoisonPolicy {
        self.poison
    }

    fn load(&self, _: &[u8], saved: &Saved) -> Result<i64, Fault> {
        let number = |bytes: &Bytes| postcard::from_bytes::<i64>(bytes).unwrap();
        let start = saved.snapshot.as_ref().map_or(0, |(_, state)| number(state));
        Ok(saved.events.iter().fold(start, |sum, event| sum + number(&event.event)))
    }

    fn handle(&self, entity: &mut i64, _: &[u8], now_ms: i64, message: &[u8]) -> Result<Handled, Fault> {
        let mut handled = Handled::default();
        let added = match postcard::from_bytes(message).unwrap() {
            Order::Add(number) => number,
            Order::Get => 0,
            Order::Send(to, number) => {
                let message = encoded(&Order::Add(number));
                handled.outgoing.push(Outgoing { kind: "adder".to_owned(), key: to.into(), message });
                -number
            }
            Order::Later(wait_ms, number) => {
                let timer = Timer { due_ms: now_ms + wait_ms, message: encoded(&Order::Add(number)) };
                handled.timers.push((format!("add {number}"), Some(timer)));
                0
            }
            Order::Panic => {
                *entity += 1_000_000;
                return Err(Fault::Panicked("so told".to_owned()));
            }
            Order::Refuse => {
                *entity += 1_000_000;
                return Err(Fault::Refused("so told".to_owned()));
            }
            Order::Huge => {
                *entity += 1_000_000;
                handled.outgoing.push(Outgoing {
                    kind: "adder".to_owned(),
                    key: Bytes::new(),
                    message: vec![0; 4_000].into(),
                });
                0
            }
        };
        *entity += added;
        let bytes = |number: i64| Bytes::from(postcard::to_stdvec(&number).unwrap());
        if added != 0 {
            handled.change = match self.by_events {
                true => Change::Events(vec![Event { version: 1, event: bytes(added) }]),
                false => Change::State { version: 1, state: bytes(*entity) },
            };
        }
        handled.answer = bytes(*entity);
        Ok(handled)
    }

    fn snapshot(&self, entity: &i64) -> Result<Option<(u16, Bytes)>, Fault> {
        Ok(Some((1, postcard::to_stdvec(entity).unwrap().into())))
    }
}

const SOURCE: Source = Source { topic: TopicId(Uuid::from_u128(1)), partition: 0 };

fn settings() -> EntitySettings {
    EntitySettings {
        idle_ms: 50,
        live_max: 3,
        turn_max_bytes: 2_000,
        batch_bytes: 1_000,
        snapshot_events: 4,
        dedupe_ms: 1_000_000,
        ..EntitySettings::default()
    }
}

/// One who waits: for an ask, or for a delivery.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Waiter {
    Ask(u64),
    Deliver(u64),
}

#[derive(Debug)]
struct Request {
    entity: Bytes,
    order: Order,
    /// What had been answered for this entity when it was asked.
    floor: i64,
    answered: bool,
}

struct World {
    partition: EntityPartition<Adder, Waiter>,
    random: SmallRng,
    by_events: bool,
    now_ms: i64,
    log: Vec<LogRecord>,
    on_way: Option<(u64, Vec<LogRecord>)>,
    loads: VecDeque<(u64, Bytes, Vec<Offset>)>,
    replay: Option<Table>,
    outbound: BTreeMap<u64, Outbound>,
    requests: BTreeMap<u64, Request>,
    /// The greatest answer for each entity that only ever grows.
    heard: BTreeMap<Bytes, i64>,
    asked_in_life: BTreeSet<u64>,
    life_answers: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        let by_events = seed.is_multiple_of(2);
        let poison = if seed.is_multiple_of(3) { PoisonPolicy::Skip } else { PoisonPolicy::Fail };
        let (partition, effect) =
            EntityPartition::new(Adder { by_events, poison }, settings(), Table::default());
        let mut world = Self {
            partition,
            random,
            by_events,
            now_ms: 0,
            log: Vec::new(),
            on_way: None,
            loads: VecDeque::new(),
            replay: None,
            outbound: BTreeMap::new(),
            requests: BTreeMap::new(),
            heard: BTreeMap::new(),
            asked_in_life: BTreeSet::new(),
            life_answers: 0,
        };
        world.perform(vec![effect]);
        world
    }

    fn take(&mut self, input: Input<Waiter>) {
        let effects = self.partition.take(self.now_ms, input);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect<Waiter>>) {
        for effect in effects {
            match effect {
                Effect::Answer { reply, answer, .. } => self.answered(reply, answer),
                Effect::Append { batch, records } => {
                    assert!(self.on_way.is_none(), "one batch at a time");
                    let bytes: usize = records.iter().filter_map(|r| r.value.as_ref()).map(Bytes::len).sum();
                    assert!(bytes < 4_000, "a batch is bounded");
                    self.on_way = Some((batch, records));
                }
                Effect::Load { life, entity, offsets } => self.loads.push_back((life, entity, offsets)),
                Effect::Replay(table) => self.replay = Some(table),
            }
        }
    }

    fn answered(&mut self, waiter: Waiter, answer: Result<Bytes, Fault>) {
        match waiter {
            Waiter::Ask(id) => {
                assert!(self.asked_in_life.remove(&id), "each request has one answer");
                self.life_answers += 1;
                let request = self.requests.get_mut(&id).unwrap();
                match (answer, &request.order) {
                    (Ok(answer), Order::Add(_) | Order::Get) => {
                        let sum: i64 = postcard::from_bytes(&answer).unwrap();
                        if request.entity.starts_with(b"grows") {
                            assert!(request.answered || sum >= request.floor, "{request:?} saw {sum}");
                            let heard = self.heard.entry(request.entity.clone()).or_default();
                            *heard = (*heard).max(sum);
                        }
                        request.answered = true;
                    }
                    (Ok(_), Order::Send(..) | Order::Later(..)) => request.answered = true,
                    (Err(Fault::Panicked(_)), Order::Panic)
                    | (Err(Fault::Refused(_)), Order::Refuse)
                    | (Err(Fault::TooLarge { .. }), Order::Huge) => request.answered = true,
                    (Err(Fault::Retry(_)), _) => {}
                    (answer, order) => panic!("{order:?} is answered {answer:?}"),
                }
            }
            Waiter::Deliver(number) => {
                let Some(outbound) = self.outbound.remove(&number) else { return };
                // The answer itself may be lost on its way: then who sent takes it for refused.
                let is_heard = answer.is_ok() && self.random.random_bool(0.9);
                self.partition.delivered(self.now_ms, &outbound.lane, number, is_heard);
            }
        }
    }

    fn ask(&mut self, id: u64) {
        if !self.asked_in_life.insert(id) {
            return;
        }
        let request = &self.requests[&id];
        let (entity, message) = (request.entity.clone(), encoded(&request.order));
        let request = RequestId(Uuid::from_u128(id.into()));
        self.take(Input::Ask { entity, request, message, reply: Waiter::Ask(id) });
    }

    fn new_request(&mut self) {
        let grows = self.random.random_bool(0.5);
        let name = if grows { "grows" } else { "free" };
        let entity = Bytes::from(format!("{name}{}", self.random.random_range(0..4)));
        let to = format!("free{}", self.random.random_range(0..4)).into_bytes();
        let number = self.random.random_range(1..100);
        let order = match (self.random.random_range(0..10), grows) {
            (0..=4, _) => Order::Add(number),
            (5, _) => Order::Get,
            (6, false) => Order::Later(self.random.random_range(0..100), number),
            (7..=8, false) => Order::Send(to, number),
            (9, _) if number < 30 => Order::Panic,
            (9, _) if number < 60 => Order::Refuse,
            (9, _) => Order::Huge,
            _ => Order::Get,
        };
        let id = u64::try_from(self.requests.len()).unwrap() + 1;
        let floor = self.heard.get(&entity).copied().unwrap_or(0);
        self.requests.insert(id, Request { entity, order, floor, answered: false });
        self.ask(id);
    }

    fn ask_again(&mut self) {
        let ids: Vec<u64> = self.requests.iter().filter(|(_, r)| !r.answered).map(|(id, _)| *id).collect();
        if let Some(id) = ids.get(self.random.random_range(0..ids.len().max(1))) {
            self.ask(*id);
        }
    }

    fn commit(&mut self) {
        if let Some((batch, records)) = self.on_way.take() {
            let first = Offset(i64::try_from(self.log.len()).unwrap());
            self.log.extend(records);
            self.take(Input::Committed { batch, first });
        }
    }

    /// Nobody knows whether the log took it.
    fn lose(&mut self) {
        if let Some((batch, records)) = self.on_way.take() {
            if self.random.random_bool(0.5) {
                self.log.extend(records);
            }
            self.take(Input::Refused { batch });
        }
    }

    fn load(&mut self) {
        if let Some((life, entity, offsets)) = self.loads.pop_front() {
            let at = |offset: &Offset| self.log[usize::try_from(offset.0).unwrap()].value.clone().unwrap();
            let values = offsets.iter().map(at).collect();
            self.take(Input::Loaded { life, entity, values: Ok(values) });
        }
    }

    fn replay(&mut self) {
        if let Some(mut table) = self.replay.take() {
            for (offset, record) in (0..).zip(&self.log) {
                table.take(Offset(offset), Some(&record.key), record.value.as_deref());
            }
            assert_eq!(table.undecodable(), 0);
            self.take(Input::Replayed(table));
        }
    }

    /// What a follower knows of the log: some of it, from its beginning.
    fn known(&mut self) -> Table {
        let mut table = Table::default();
        let some = self.random.random_range(0..=self.log.len());
        for (offset, record) in (0..).zip(self.log.iter().take(some)) {
            table.take(Offset(offset), Some(&record.key), record.value.as_deref());
        }
        table
    }

    /// The process ends, and another leads.
    fn kill(&mut self) {
        if let Some((_, records)) = self.on_way.take()
            && self.random.random_bool(0.5)
        {
            self.log.extend(records);
        }
        let poison = self.partition.behaviour.poison;
        let adder = Adder { by_events: self.by_events, poison };
        let known = self.known();
        let (partition, effect) = EntityPartition::new(adder, settings(), known);
        self.partition = partition;
        self.loads.clear();
        self.outbound.clear();
        self.asked_in_life.clear();
        self.replay = None;
        self.perform(vec![effect]);
    }

    fn send(&mut self) {
        for outbound in self.partition.outbound(self.now_ms, |_| Some(1)) {
            let (number, messages) = (outbound.number, outbound.messages.clone());
            self.outbound.insert(number, outbound);
            let reply = Waiter::Deliver(number);
            self.take(Input::Deliver { source: SOURCE, through: None, messages, reply });
        }
    }

    fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        self.take(Input::Tick);
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..=29 => self.new_request(),
            30..=39 => self.ask_again(),
            40..=59 => self.commit(),
            60..=74 => self.load(),
            75..=84 => self.replay(),
            85..=91 => self.send(),
            92..=96 => {
                let ms = self.random.random_range(0..60);
                self.pass(ms);
            }
            97..=98 => self.lose(),
            _ => self.kill(),
        }
    }

    /// All that was asked is answered, and all that follows from it is done.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.replay();
            self.load();
            self.commit();
            self.ask_again();
            self.send();
            self.pass(60);
            let table = self.partition.table();
            let is_done = table
                .is_some_and(|table| table.outbox_from(0).count() + table.timers_due(i64::MAX).count() == 0);
            if is_done && self.requests.values().all(|request| request.answered) {
                return;
            }
        }
        let open: Vec<_> = self.requests.values().filter(|request| !request.answered).collect();
        panic!("not settled: {open:?}");
    }

    /// What each entity has, by what the log says.
    fn sums(&self) -> BTreeMap<Bytes, i64> {
        let mut table = Table::default();
        for (offset, record) in (0..).zip(&self.log) {
            table.take(Offset(offset), Some(&record.key), record.value.as_deref());
        }
        let names = (0..4).flat_map(|number| [format!("grows{number}"), format!("free{number}")]);
        let (mut reader, _) = EntityPartition::<_, ()>::new(
            Adder { by_events: self.by_events, poison: PoisonPolicy::Fail },
            settings(),
            Table::default(),
        );
        let mut sums = BTreeMap::new();
        for name in names.map(Bytes::from) {
            let Some(stored) = table.stored(&name).cloned() else { continue };
            let offsets = stored.snapshot.into_iter().chain(stored.events.into_values());
            let at = |offset: Offset| self.log[usize::try_from(offset.0).unwrap()].value.clone().unwrap();
            let values: Vec<_> = offsets.map(at).collect();
            reader.take(0, Input::Replayed(table.clone()));
            let saved = reader.saved(&name, &values).unwrap();
            sums.insert(name, reader.behaviour.load(b"", &saved).unwrap());
        }
        sums
    }
}

fn expected(requests: &BTreeMap<u64, Request>) -> BTreeMap<Bytes, i64> {
    let mut sums: BTreeMap<Bytes, i64> = BTreeMap::new();
    for request in requests.values() {
        let entity = || request.entity.clone();
        match &request.order {
            Order::Add(number) => *sums.entry(entity()).or_default() += number,
            Order::Send(to, number) => {
                *sums.entry(entity()).or_default() -= number;
                *sums.entry(to.clone().into()).or_default() += number;
            }
            Order::Later(_, _) | Order::Get | Order::Panic | Order::Refuse | Order::Huge => {}
        }
    }
    // Of timers with one name the last counts, so what they add is at least one of each and known only together.
    sums
}

#[test]
fn every_turn_that_is_acknowledged_is_applied_once_whatever_ends_when() {
    for seed in 0..400 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.step();
        }
        world.settle();
        let timers = world.requests.values().any(|request| matches!(request.order, Order::Later(..)));
        let (sums, expected) = (world.sums(), expected(&world.requests));
        for (entity, sum) in &sums {
            let wanted = expected.get(entity).copied().unwrap_or(0);
            if entity.starts_with(b"grows") || !timers {
                assert_eq!(*sum, wanted, "seed {seed}, {entity:?}");
            } else {
                let added = sum - wanted;
                let most: i64 = world.requests.values().filter(|r| r.entity == *entity).map(later).sum();
                assert!(added >= 0 && added <= most, "seed {seed}, {entity:?}: {added} of at most {most}");
            }
        }
    }
}

fn later(request: &Request) -> i64 {
    if let Order::Later(_, number) = request.order { number } else { 0 }
}
