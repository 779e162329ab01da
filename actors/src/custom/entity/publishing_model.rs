//! Publications against a model: leaders of the entities' partition die and go on as zombies, requests and answers are lost or
//! come late, leaders of topics change and lose what was not committed. In the end each topic has what committed turns
//! published, once and in their order, and each message that could not be handled is one dead letter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::behaviour::{Behaviour, Fault, Handled, PoisonPolicy, Saved};
use super::partition::{Delivery, Effect, EntityPartition, Input};
use super::publication::{Output, OutputRecord, Publication, Publish, Together, Written};
use super::publisher::{Done, Errand, Errands, LastSequence};
use super::publishing::Publishing;
use super::records::{RecordKey, RecordValue, Source};
use super::settings::EntitySettings;
use super::table::Table;
use super::topics::{KnownTopic, KnownTopics};
use crate::custom::RequestId;
use crate::error::{ErrorCode, Refusal};
use crate::group::records::LogRecord;
use crate::ids::{NodeId, Offset, PartitionId, ProducerId, TopicId};
use crate::partition::append::{Check, ProducerTable};
use crate::record::{Batch, records};

const DEAD: &str = "dead";
const SOURCE: Source = Source { topic: TopicId(Uuid::from_u128(77)), partition: 0 };

/// Publishes what it is told.
#[derive(Debug)]
struct Teller(Output);

/// What it can be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Tell {
    /// Values for topics; one with a key stands for all of its partitions.
    Publish(Vec<(bool, String)>),
    Panic(u64),
}

impl Behaviour for Teller {
    type Entity = ();

    fn poison(&self) -> PoisonPolicy {
        PoisonPolicy::DeadLetter { topic: DEAD }
    }

    fn output(&self) -> Output {
        self.0
    }

    fn load(&self, _: &[u8], _: &Saved) -> Result<(), Fault> {
        Ok(())
    }

    fn handle(&self, (): &mut (), _: &[u8], _: i64, message: &[u8]) -> Result<Handled, Fault> {
        let values = match postcard::from_bytes(message).unwrap() {
            Tell::Publish(values) => values,
            Tell::Panic(_) => return Err(Fault::Panicked("so told".to_owned())),
        };
        let published = values.into_iter().map(|(is_first, value)| {
            let record = OutputRecord::new().key(value.clone()).value(value);
            Publish { topic: if is_first { "first" } else { "second" }.to_owned(), record }
        });
        Ok(Handled { published: published.collect(), ..Handled::default() })
    }

    fn snapshot(&self, (): &()) -> Result<Option<(u16, Bytes)>, Fault> {
        Ok(Some((1, Bytes::new())))
    }
}

#[derive(Debug)]
struct Topics;

fn topic(id: TopicId) -> KnownTopic {
    let (name, partitions) = match id.0.as_u128() {
        1 => ("first", 2),
        2 => ("second", 1),
        _ => (DEAD, 1),
    };
    let name = Arc::from(name);
    KnownTopic { id, name, partitions, message_max_bytes: 2_000, needs_keys: false, is_internal: false }
}

impl KnownTopics for Topics {
    fn named(&self, name: &str) -> Option<(u64, KnownTopic)> {
        let known = (1..=3).map(|id| topic(TopicId(Uuid::from_u128(id))));
        known.into_iter().find(|topic| &*topic.name == name).map(|topic| (1, topic))
    }

    fn of(&self, id: TopicId) -> (u64, Option<KnownTopic>) {
        (1, Some(topic(id)))
    }
}

/// A partition of a topic: its log, and what of it is committed.
#[derive(Default)]
struct Held {
    batches: Vec<Batch>,
    committed: usize,
    producers: ProducerTable,
    /// Those who wait until so many batches are committed.
    waiting: Vec<(usize, Request, Done)>,
}

impl Held {
    fn end(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, |batch| batch.header.next_offset())
    }

    /// What becomes of a batch: a refusal at once, or so many batches must be committed.
    fn append(&mut self, bytes: Bytes, takes_all: bool) -> Result<usize, Refusal> {
        let mut batch = Batch::parse(bytes).unwrap();
        if !takes_all && values(&batch).iter().any(|value| value.starts_with("bad")) {
            return Err(Refusal::new(ErrorCode::InvalidRecord, "a bad one is among them"));
        }
        match self.producers.check(&[batch.header])?[0] {
            Check::Fresh => {
                batch.header.base_offset = self.end();
                self.producers.record(&batch.header, None, 0);
                self.batches.push(batch);
                Ok(self.batches.len())
            }
            Check::Duplicate { last, .. } => {
                let place = self.batches.iter().position(|batch| batch.header.last_offset() == last);
                Ok(place.unwrap() + 1)
            }
        }
    }

    fn last(&self, producer: ProducerId) -> Option<LastSequence> {
        let known = self.producers.active().find(|known| known.id == producer)?;
        Some(LastSequence { epoch: known.epoch, sequence: known.last_sequence? })
    }
}

fn values(batch: &Batch) -> Vec<String> {
    records(batch, 1 << 20).unwrap().map(|record| text(record.unwrap().value)).collect()
}

fn text(value: Option<Bytes>) -> String {
    String::from_utf8_lossy(&value.unwrap_or_default()).into_owned()
}

/// An errand of a leader.
#[derive(Clone, Debug)]
struct Request {
    leader: usize,
    /// The epoch of its producer.
    producer: u64,
    errand: Errands,
}

/// One who led, or leads.
struct Leader {
    partition: EntityPartition<Teller, u64>,
    on_way: Option<(u64, Vec<LogRecord>)>,
    replay: Option<Table>,
    /// The epoch in which it began as a producer last.
    producer: u64,
}

/// What transactions have committed.
#[derive(Default)]
struct Committed {
    epoch: u64,
    next: u64,
    topics: BTreeMap<PartitionId, Vec<String>>,
}

struct World {
    output: Output,
    together: Committed,
    random: SmallRng,
    now_ms: i64,
    log: Vec<LogRecord>,
    leaders: Vec<Leader>,
    requests: Vec<Request>,
    held: BTreeMap<PartitionId, Held>,
    producers: i64,
    told: BTreeMap<u64, Tell>,
    open: BTreeSet<u64>,
    asked: BTreeSet<u64>,
    /// Messages of a source, by their sequences.
    source: Vec<Tell>,
    delivered: u64,
    delivering: Option<u64>,
}

const DELIVERY: u64 = u64::MAX;

impl World {
    fn new(seed: u64) -> Self {
        let output = if seed.is_multiple_of(3) { Output::Transactional } else { Output::EachTopic };
        let mut world = Self {
            output,
            together: Committed::default(),
            random: SmallRng::seed_from_u64(seed),
            now_ms: 0,
            log: Vec::new(),
            leaders: Vec::new(),
            requests: Vec::new(),
            held: BTreeMap::new(),
            producers: 0,
            told: BTreeMap::new(),
            open: BTreeSet::new(),
            asked: BTreeSet::new(),
            source: Vec::new(),
            delivered: 0,
            delivering: None,
        };
        world.lead();
        world
    }

    /// Another leads; who did before still sends, and commits nothing.
    fn lead(&mut self) {
        if let Some((_, records)) = self.leaders.last_mut().and_then(|leader| leader.on_way.take())
            && self.random.random_bool(0.5)
        {
            self.log.extend(records);
        }
        let settings = EntitySettings { batch_bytes: 1_000, ..EntitySettings::default() };
        let (partition, _) = EntityPartition::new(Teller(self.output), settings, Table::default());
        let publishing = Publishing { kind: Arc::from("teller"), node: NodeId(1), topics: Arc::new(Topics) };
        let partition = partition.publishing(publishing);
        let replay = Some(Table::default());
        self.leaders.push(Leader { partition, on_way: None, replay, producer: 0 });
        self.asked.clear();
        self.delivering = None;
    }

    fn leads(&mut self) -> (usize, &mut Leader) {
        let place = self.leaders.len() - 1;
        (place, &mut self.leaders[place])
    }

    fn take(&mut self, input: Input<u64>) {
        let now_ms = self.now_ms;
        let (_, leader) = self.leads();
        for effect in leader.partition.take(now_ms, input) {
            match effect {
                Effect::Answer { reply, answer, .. } => self.answered(reply, answer.map(|_| ())),
                Effect::Append { batch, records } => self.leads().1.on_way = Some((batch, records)),
                Effect::Load { .. } => panic!("these entities have no state"),
                Effect::Replay(table) => self.leads().1.replay = Some(table),
            }
        }
    }

    fn answered(&mut self, reply: u64, answer: Result<(), Fault>) {
        if reply == DELIVERY {
            let up_to = self.delivering.take();
            if answer.is_ok() && self.random.random_bool(0.8) {
                self.delivered = self.delivered.max(up_to.unwrap_or(0));
            }
            return;
        }
        self.asked.remove(&reply);
        match (answer, &self.told[&reply]) {
            (Ok(()), Tell::Publish(_)) | (Err(Fault::Panicked(_)), Tell::Panic(_)) => {
                // The answer itself may be lost: the same is asked again.
                if self.random.random_bool(0.9) {
                    self.open.remove(&reply);
                }
            }
            (Err(Fault::Retry(_)), _) => {}
            (answer, tell) => panic!("{tell:?} is answered {answer:?}"),
        }
    }

    fn draw(&mut self, name: &str) -> Tell {
        let number = self.told.len() + self.source.len();
        if self.random.random_bool(0.1) {
            return Tell::Panic(u64::try_from(number).unwrap());
        }
        let count = self.random.random_range(1..5);
        let each = (0..count).map(|place| {
            let bad = if self.random.random_bool(0.05) { "bad " } else { "" };
            (self.random.random_bool(0.6), format!("{bad}{name} {number} {place}"))
        });
        Tell::Publish(each.collect())
    }

    fn new_ask(&mut self) {
        let (id, tell) = (u64::try_from(self.told.len()).unwrap(), self.draw("ask"));
        self.told.insert(id, tell);
        self.open.insert(id);
        self.ask(id);
    }

    fn ask(&mut self, id: u64) {
        if self.open.contains(&id) && self.asked.insert(id) {
            let message = postcard::to_stdvec(&self.told[&id]).unwrap().into();
            let (entity, request) = (Bytes::from_static(b"one"), RequestId(Uuid::from_u128(id.into())));
            self.take(Input::Ask { entity, request, message, reply: id });
        }
    }

    fn ask_again(&mut self) {
        let open: Vec<_> = self.open.iter().copied().collect();
        if let Some(id) = open.get(self.random.random_range(0..open.len().max(1))) {
            self.ask(*id);
        }
    }

    fn deliver(&mut self) {
        if self.delivering.is_some() || usize::try_from(self.delivered).unwrap() == self.source.len() {
            return;
        }
        let last = u64::try_from(self.source.len()).unwrap();
        self.delivering = Some(last);
        let messages = (1..).zip(&self.source).filter(|(sequence, _)| *sequence > self.delivered);
        let messages = messages.map(|(sequence, tell)| Delivery {
            sequence,
            entity: Bytes::from_static(b"other"),
            message: postcard::to_stdvec(tell).unwrap().into(),
        });
        let messages = messages.collect();
        self.take(Input::Deliver { source: SOURCE, messages, through: None, reply: DELIVERY });
    }

    fn commit(&mut self) {
        if let Some((batch, records)) = self.leads().1.on_way.take() {
            let first = Offset(i64::try_from(self.log.len()).unwrap());
            self.log.extend(records);
            self.take(Input::Committed { batch, first });
        }
    }

    fn lose(&mut self) {
        if let Some((batch, records)) = self.leads().1.on_way.take() {
            if self.random.random_bool(0.5) {
                self.log.extend(records);
            }
            self.take(Input::Refused { batch });
        }
    }

    fn replay(&mut self) {
        if let Some(mut table) = self.leads().1.replay.take() {
            for (offset, record) in (0..).zip(&self.log) {
                table.take(Offset(offset), Some(&record.key), record.value.as_deref());
            }
            assert_eq!(table.undecodable(), 0);
            self.take(Input::Replayed(table));
        }
    }

    /// Leaders, zombies too, want something done.
    fn send(&mut self) {
        let now_ms = self.now_ms;
        for (place, leader) in self.leaders.iter_mut().enumerate() {
            let due = leader.partition.publications_due(now_ms);
            let producer = leader.producer;
            self.requests.extend(due.into_iter().map(|errand| Request { leader: place, producer, errand }));
        }
    }

    fn done(&mut self, request: &Request, done: Done) {
        let now_ms = self.now_ms;
        let Errands { target, number, .. } = request.errand;
        self.leaders[request.leader].partition.published(now_ms, target, number, done);
        if request.leader + 1 == self.leaders.len() {
            self.take(Input::Go);
        }
    }

    /// One request, whichever, gets where it goes; its sender may have given it up by then, and may never hear of it.
    fn carry(&mut self) {
        if self.requests.is_empty() {
            return;
        }
        let place = self.random.random_range(0..self.requests.len());
        if self.random.random_bool(0.1) {
            // It is on its way for longer than its sender waits.
            let request = self.requests[place].clone();
            return self.done(&request, unknown(&request));
        }
        let request = self.requests.swap_remove(place);
        if self.random.random_bool(0.05) {
            return self.done(&request, unknown(&request));
        }
        let Some(target) = request.errand.target else { return self.transact(&request) };
        let held = self.held.entry(target).or_default();
        match request.errand.errand.clone() {
            Errand::Name => {
                self.producers += 1;
                self.done(&request, Done::Named(Ok(ProducerId(self.producers))));
            }
            Errand::Ask(producer) => {
                let (needed, done) = (held.batches.len(), Done::Asked(Ok(held.last(producer))));
                held.waiting.push((needed, request, done));
            }
            Errand::Send { producer, sequence, records } => {
                let batch = Written::batch(&records, producer, sequence);
                match held.append(batch, is_dead(target)) {
                    Ok(needed) => held.waiting.push((needed, request, Done::Sent(Ok(())))),
                    Err(refusal) => self.done(&request, Done::Sent(Err(refusal))),
                }
            }
            Errand::Begin | Errand::Commit { .. } => panic!("{request:?} has no target"),
        }
        self.tell();
    }

    /// What the coordinator of transactions makes of an errand; the answer may be lost.
    fn transact(&mut self, request: &Request) {
        let is_heard = self.random.random_bool(0.8);
        let done = match request.errand.errand.clone() {
            Errand::Begin => {
                self.together.epoch += 1;
                if is_heard {
                    self.leaders[request.leader].producer = self.together.epoch;
                }
                Done::Began(Ok(self.together.next))
            }
            Errand::Commit { records, next } => Done::Committed(self.commit_together(request, records, next)),
            errand => panic!("{errand:?} has a target"),
        };
        self.done(request, if is_heard { done } else { unknown(request) });
    }

    fn commit_together(
        &mut self,
        request: &Request,
        records: Vec<(PartitionId, Written)>,
        next: u64,
    ) -> Result<(), Refusal> {
        if request.producer != self.together.epoch {
            return Err(Refusal::new(ErrorCode::ProducerFenced, "another has begun"));
        }
        let values = records.into_iter().map(|(target, record)| (target, text(record.value)));
        let values: Vec<_> = values.collect();
        if values.iter().any(|(target, value)| !is_dead(*target) && value.starts_with("bad")) {
            return Err(Refusal::new(ErrorCode::InvalidRecord, "a bad one is among them"));
        }
        for (target, value) in values {
            self.together.topics.entry(target).or_default().push(value);
        }
        self.together.next = next;
        Ok(())
    }

    /// Those who wait for what is committed are answered.
    fn tell(&mut self) {
        let mut told = Vec::new();
        for held in self.held.values_mut() {
            let committed = held.committed;
            told.extend(held.waiting.extract_if(.., |(needed, ..)| *needed <= committed));
        }
        for (_, request, done) in told {
            self.done(&request, done);
        }
    }

    fn commit_topics(&mut self) {
        for held in self.held.values_mut() {
            held.committed = self.random.random_range(held.committed..=held.batches.len());
        }
        self.tell();
    }

    /// Another leads a partition of a topic: what was not committed may be gone.
    fn lead_topic(&mut self) {
        let Some(target) = self.held.keys().nth(self.random.random_range(0..3)).copied() else { return };
        let held = self.held.get_mut(&target).unwrap();
        held.batches.truncate(self.random.random_range(held.committed..=held.batches.len()));
        held.producers = ProducerTable::default();
        for batch in &held.batches {
            held.producers.record(&batch.header, None, 0);
        }
        for (_, request, _) in std::mem::take(&mut held.waiting) {
            let moved = unknown(&request);
            self.done(&request, moved);
        }
    }

    fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        self.take(Input::Tick);
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..=9 => self.new_ask(),
            10..=14 => {
                let tell = self.draw("message");
                self.source.push(tell);
            }
            15..=19 => self.ask_again(),
            20..=24 => self.deliver(),
            25..=39 => self.commit(),
            40..=44 => self.replay(),
            45..=54 => self.send(),
            55..=79 => self.carry(),
            80..=89 => self.commit_topics(),
            90..=94 => {
                let ms = self.random.random_range(0..200);
                self.pass(ms);
            }
            95..=96 => self.lose(),
            97..=98 => self.lead_topic(),
            _ => self.lead(),
        }
    }

    fn settle(&mut self) {
        for _ in 0..20_000 {
            self.replay();
            self.commit();
            self.ask_again();
            self.deliver();
            self.send();
            for _ in 0..5 {
                self.carry();
            }
            self.commit_topics();
            self.pass(500);
            let is_told = usize::try_from(self.delivered).unwrap() == self.source.len();
            let table = self.leads().1.partition.table();
            let is_there = table.is_some_and(|table| table.publications() == 0);
            if is_there && is_told && self.open.is_empty() && self.leads().1.on_way.is_none() {
                return;
            }
        }
        panic!("not settled: {:?}", self.open);
    }

    /// What committed turns have published, in order: of each turn that is published together, and each by itself.
    fn published(&self) -> Vec<Vec<(PartitionId, String)>> {
        let mut all: BTreeMap<u64, Publication> = BTreeMap::new();
        for record in &self.log {
            let key = RecordKey::decode(&record.key).unwrap();
            if let (RecordKey::Publication { number }, Some(value)) = (&key, &record.value) {
                let RecordValue::Publication(publication) = key.decode_value(value).unwrap() else {
                    panic!()
                };
                assert!(all.insert(*number, publication).is_none(), "a number has one content");
            }
        }
        let (mut turns, mut turn) = (Vec::new(), Vec::new());
        for Publication { target, together, record, .. } in all.into_values() {
            turn.push((target, text(record.value)));
            if together != Together::WithNext {
                turns.push(std::mem::take(&mut turn));
            }
        }
        assert!(turn.is_empty());
        turns
    }

    fn check(&self) {
        let is_bad = |turn: &[(PartitionId, String)]| {
            turn.iter().any(|(target, value)| !is_dead(*target) && value.starts_with("bad"))
        };
        let mut wanted: BTreeMap<PartitionId, Vec<String>> = BTreeMap::new();
        let (mut refused, published) = (0, self.published());
        for turn in published {
            if is_bad(&turn) {
                refused += turn.len();
                continue;
            }
            for (target, value) in turn {
                wanted.entry(target).or_default().push(value);
            }
        }
        let mut there = self.together.topics.clone();
        for (target, held) in &self.held {
            there.entry(*target).or_default().extend(held.batches.iter().flat_map(values));
        }
        there.retain(|_, values| !values.is_empty());
        assert_eq!(there, wanted);
        let letters: usize =
            there.iter().filter(|(target, _)| is_dead(**target)).map(|(_, letters)| letters.len()).sum();
        let each = self.told.values().chain(&self.source);
        let panics = each.filter(|tell| matches!(tell, Tell::Panic(_))).count();
        assert_eq!(letters, panics + refused, "each is one dead letter");
    }
}

fn is_dead(target: PartitionId) -> bool {
    target.topic == TopicId(Uuid::from_u128(3))
}

fn unknown(request: &Request) -> Done {
    let refusal = Refusal::new(ErrorCode::RequestTimedOut, "nobody knows");
    match request.errand.errand {
        Errand::Name => Done::Named(Err(refusal)),
        Errand::Ask(_) => Done::Asked(Err(refusal)),
        Errand::Send { .. } => Done::Sent(Err(refusal)),
        Errand::Begin => Done::Began(Err(refusal)),
        Errand::Commit { .. } => Done::Committed(Err(refusal)),
    }
}

#[test]
fn what_committed_turns_publish_is_in_its_topic_once_and_in_order_whoever_dies_when() {
    for seed in 0..300 {
        let mut world = World::new(seed);
        for _ in 0..600 {
            world.step();
        }
        world.settle();
        world.check();
    }
}
