//! What a partition publishes, case by case; the whole is held against a model beside this.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use uuid::Uuid;

use super::behaviour::{Behaviour, Fault, Handled, PoisonPolicy, Saved};
use super::message::{Unread, stored};
use super::partition::{Delivery, Effect, EntityPartition, Input};
use super::publication::{OutputRecord, Publish, Written};
use super::publisher::{Done, Errand, Errands, LastSequence};
use super::publishing::{Note, Publishing};
use super::records::{Source, Timer};
use super::settings::EntitySettings;
use super::table::Table;
use super::topics::{KnownTopic, KnownTopics};
use crate::custom::{Envelope, RequestId};
use crate::error::{ErrorCode, Refusal};
use crate::group::records::LogRecord;
use crate::ids::{NodeId, Offset, PartitionId, ProducerId, TopicId};

/// Publishes each message to the topic `news`; `panic` panics, `no` is refused, `later` sets a timer that panics, `far` is for
/// a partition that is not there.
#[derive(Debug)]
struct Herald(PoisonPolicy);

impl Behaviour for Herald {
    type Entity = ();

    fn poison(&self) -> PoisonPolicy {
        self.0
    }

    fn load(&self, _: &[u8], _: &Saved) -> Result<(), Fault> {
        Ok(())
    }

    fn handle(&self, (): &mut (), _: &[u8], now_ms: i64, message: &[u8]) -> Result<Handled, Fault> {
        let mut handled = Handled::default();
        let record = OutputRecord::new().value(message.to_vec());
        match message {
            b"no" => return Err(Fault::Refused("so told".to_owned())),
            b"later" => {
                let timer = Timer { due_ms: now_ms + 100, message: enveloped("panic") };
                handled.timers.push(("t".to_owned(), Some(timer)));
            }
            b"far" => {
                let record = record.partition(9);
                handled.published.push(Publish { topic: "news".to_owned(), record });
            }
            _ if message.ends_with(b"panic") => return Err(Fault::Panicked("so told".to_owned())),
            _ => handled.published.push(Publish { topic: "news".to_owned(), record }),
        }
        Ok(handled)
    }

    fn snapshot(&self, (): &()) -> Result<Option<(u16, Bytes)>, Fault> {
        Ok(Some((1, Bytes::new())))
    }
}

fn enveloped(text: &'static str) -> Bytes {
    let body = Bytes::from_static(text.as_bytes());
    stored(&Envelope { name: "tell".to_owned(), version: 1, body })
}

/// The topics there are, by their numbers, and the version of their image.
#[derive(Clone, Debug, Default)]
struct Topics(Arc<Mutex<(u64, BTreeMap<u128, &'static str>)>>);

impl Topics {
    fn set(&self, version: u64, topics: &[(u128, &'static str)]) {
        *self.0.lock().unwrap() = (version, topics.iter().copied().collect());
    }
}

fn known(id: u128, name: &str) -> KnownTopic {
    KnownTopic {
        id: TopicId(Uuid::from_u128(id)),
        name: Arc::from(name),
        partitions: 1,
        message_max_bytes: if name == "dead" { 20_000 } else { 1_000 },
        needs_keys: name == "table",
        is_internal: name.starts_with("__"),
    }
}

impl KnownTopics for Topics {
    fn named(&self, name: &str) -> Option<(u64, KnownTopic)> {
        let topics = self.0.lock().unwrap();
        let (id, name) = topics.1.iter().find(|(_, known)| **known == name)?;
        Some((topics.0, known(*id, name)))
    }

    fn of(&self, id: TopicId) -> (u64, Option<KnownTopic>) {
        let topics = self.0.lock().unwrap();
        let number = id.0.as_u128();
        (topics.0, topics.1.get(&number).map(|name| known(number, name)))
    }
}

const NEWS: PartitionId = PartitionId { topic: TopicId(Uuid::from_u128(1)), index: 0 };
const DEAD: PartitionId = PartitionId { topic: TopicId(Uuid::from_u128(2)), index: 0 };
const SOURCE: Source = Source { topic: TopicId(Uuid::from_u128(3)), partition: 5 };
const BURY: PoisonPolicy = PoisonPolicy::DeadLetter { topic: "dead" };

struct Rig {
    partition: EntityPartition<Herald, u32>,
    topics: Topics,
    now_ms: i64,
    log: Vec<LogRecord>,
    append: Option<(u64, Vec<LogRecord>)>,
    answers: Vec<(u32, Result<Bytes, Fault>)>,
    /// What each target was sent, by text.
    sent: BTreeMap<PartitionId, Vec<Written>>,
    producers: i64,
}

impl Rig {
    fn begin(poison: PoisonPolicy) -> Self {
        Self::with(poison, EntitySettings::default())
    }

    fn with(poison: PoisonPolicy, settings: EntitySettings) -> Self {
        let topics = Topics::default();
        topics.set(1, &[(1, "news"), (2, "dead"), (3, "__entity_other"), (4, "table")]);
        let partition = Self::partition(poison, settings, &topics);
        let mut rig = Self {
            partition,
            topics,
            now_ms: 0,
            log: Vec::new(),
            append: None,
            answers: Vec::new(),
            sent: BTreeMap::new(),
            producers: 0,
        };
        rig.take(Input::Replayed(Table::default()));
        rig
    }

    fn partition(
        poison: PoisonPolicy,
        settings: EntitySettings,
        topics: &Topics,
    ) -> EntityPartition<Herald, u32> {
        let (partition, _) = EntityPartition::new(Herald(poison), settings, Table::default());
        let topics = Arc::new(topics.clone());
        partition.publishing(Publishing { kind: Arc::from("herald"), node: NodeId(4), topics })
    }

    /// Another leads, with what the log says.
    fn lead_anew(&mut self, poison: PoisonPolicy) {
        self.partition = Self::partition(poison, EntitySettings::default(), &self.topics);
        self.append = None;
        let mut table = Table::default();
        for (offset, record) in (0..).zip(&self.log) {
            table.take(Offset(offset), Some(&record.key), record.value.as_deref());
        }
        self.take(Input::Replayed(table));
    }

    fn take(&mut self, input: Input<u32>) {
        for effect in self.partition.take(self.now_ms, input) {
            match effect {
                Effect::Answer { reply, answer, .. } => self.answers.push((reply, answer)),
                Effect::Append { batch, records } => {
                    assert!(self.append.replace((batch, records)).is_none());
                }
                Effect::Load { .. } | Effect::Replay(_) => {}
            }
        }
    }

    fn ask_as(&mut self, request: u32, text: &'static str, reply: u32) {
        let message = if text == "panic" { enveloped(text) } else { Bytes::from_static(text.as_bytes()) };
        let (entity, request) = (Bytes::from_static(b"a"), RequestId(Uuid::from_u128(request.into())));
        self.take(Input::Ask { entity, request, message, reply });
    }

    fn ask(&mut self, text: &'static str, reply: u32) {
        self.ask_as(reply, text, reply);
        self.commit();
    }

    fn deliver(&mut self, texts: &[&'static str], reply: u32) {
        let messages = (1..).zip(texts).map(|(sequence, text)| Delivery {
            sequence,
            entity: Bytes::from_static(b"a"),
            message: Bytes::from_static(text.as_bytes()),
        });
        self.take(Input::Deliver { source: SOURCE, messages: messages.collect(), through: None, reply });
        self.commit();
    }

    fn commit(&mut self) {
        while let Some((batch, records)) = self.append.take() {
            let first = Offset(i64::try_from(self.log.len()).unwrap());
            self.log.extend(records);
            self.take(Input::Committed { batch, first });
        }
    }

    fn due(&mut self) -> Vec<Errands> {
        self.partition.publications_due(self.now_ms)
    }

    fn done(&mut self, errand: &Errands, done: Done) {
        self.partition.published(self.now_ms, errand.target, errand.number, done);
        self.take(Input::Go);
        self.commit();
    }

    /// Carries errands out until nothing is left; those that send, by what `takes` says of their records.
    fn publish(&mut self, takes: impl Fn(&Written) -> Result<(), Refusal>) {
        for _ in 0..20 {
            for errand in self.due() {
                let done = match &errand.errand {
                    Errand::Name => {
                        self.producers += 1;
                        Done::Named(Ok(ProducerId(self.producers)))
                    }
                    Errand::Ask(_) => Done::Asked(Ok(None)),
                    Errand::Send { records, .. } => {
                        let taken: Result<Vec<()>, _> = records.iter().map(&takes).collect();
                        if taken.is_ok() {
                            self.sent.entry(errand.target.unwrap()).or_default().extend(records.clone());
                        }
                        Done::Sent(taken.map(|_| ()))
                    }
                    Errand::Begin | Errand::Commit { .. } => panic!("{errand:?}"),
                };
                self.done(&errand, done);
            }
            self.now_ms += 3_000;
            self.take(Input::Tick);
            self.commit();
        }
    }

    fn sent(&self, target: PartitionId) -> Vec<&[u8]> {
        let sent = self.sent.get(&target).into_iter().flatten();
        sent.map(|record| &**record.value.as_ref().unwrap()).collect()
    }

    fn answer(&self, reply: u32) -> &Result<Bytes, Fault> {
        &self.answers.iter().find(|(to, _)| *to == reply).unwrap().1
    }
}

fn all(_: &Written) -> Result<(), Refusal> {
    Ok(())
}

fn invalid() -> Refusal {
    Refusal::new(ErrorCode::InvalidRecord, "not this one")
}

fn header<'a>(record: &'a Written, name: &str) -> Option<&'a [u8]> {
    record.headers.iter().find(|(it, _)| it == name).and_then(|(_, value)| value.as_deref())
}

#[test]
fn what_turns_publish_is_sent_in_their_order_and_then_the_log_is_rid_of_it() {
    let mut rig = Rig::begin(PoisonPolicy::Fail);
    for (reply, text) in (1..).zip(["one", "two", "three"]) {
        rig.ask(text, reply);
    }
    assert_eq!(rig.partition.table().unwrap().publications(), 3);
    rig.publish(all);
    assert_eq!(rig.sent(NEWS), [b"one".as_slice(), b"two", b"three"]);
    let table = rig.partition.table().unwrap();
    assert_eq!((table.publications(), table.publications_bytes()), (0, 0));
    assert_eq!((table.target(NEWS).unwrap().next, table.published_next()), (3, 4));
    assert!(rig.partition.take_notes().contains(&Note::Published(3)));
}

#[test]
fn a_turn_that_publishes_what_cannot_be_in_its_topic_is_refused() {
    let mut rig = Rig::begin(PoisonPolicy::Fail);
    rig.ask("far", 1);
    rig.topics.set(2, &[(2, "dead")]);
    rig.ask("one", 2);
    rig.topics.set(3, &[(3, "news")]);
    let large: &'static str = "x".repeat(2_000).leak();
    rig.ask(large, 3);
    for (reply, text) in [(1, "none is number 9"), (2, "no topic \"news\""), (3, "too large")] {
        let Err(Fault::Unpublishable(told)) = rig.answer(reply) else { panic!("{:?}", rig.answer(reply)) };
        assert!(told.contains(text), "{told}");
    }
    assert!(rig.log.is_empty());
}

#[test]
fn a_successor_goes_on_behind_what_the_topic_has() {
    let mut rig = Rig::begin(PoisonPolicy::Fail);
    for (reply, text) in (1..).zip(["one", "two", "three"]) {
        rig.ask(text, reply);
    }
    let named = rig.due().remove(0);
    rig.done(&named, Done::Named(Ok(ProducerId(7))));
    rig.lead_anew(PoisonPolicy::Fail);
    let asked = rig.due().remove(0);
    assert_eq!(asked.errand, Errand::Ask(ProducerId(7)));
    rig.done(&asked, Done::Asked(Ok(Some(LastSequence { epoch: 0, sequence: 1 }))));
    let Errand::Send { sequence, records, .. } = rig.due().remove(0).errand else { panic!() };
    assert_eq!((sequence, records.len()), (2, 1));
    assert_eq!(records[0].value.as_deref(), Some(b"three".as_slice()));
}

#[test]
fn a_topic_that_lost_records_gets_the_rest_in_a_new_epoch() {
    let mut rig = Rig::begin(PoisonPolicy::Fail);
    rig.ask("one", 1);
    rig.ask("two", 2);
    rig.publish(all);
    rig.ask("three", 3);
    rig.lead_anew(PoisonPolicy::Fail);
    let asked = rig.due().remove(0);
    // It had two of them, and has one.
    rig.done(&asked, Done::Asked(Ok(Some(LastSequence { epoch: 0, sequence: 0 }))));
    assert_eq!(rig.partition.take_notes(), [Note::Lost(NEWS)]);
    let asked = rig.due().remove(0);
    rig.done(&asked, Done::Asked(Ok(Some(LastSequence { epoch: 0, sequence: 0 }))));
    let Errand::Send { producer, sequence, records } = rig.due().remove(0).errand else { panic!() };
    assert_eq!((producer.epoch, sequence, records.len()), (1, 0, 1));
}

#[test]
fn a_record_that_its_topic_does_not_take_holds_up_none_behind_it() {
    for poison in [PoisonPolicy::Fail, BURY] {
        let mut rig = Rig::begin(poison);
        for (reply, text) in (1..).zip(["one", "bad", "three"]) {
            rig.ask(text, reply);
        }
        let is_bad = |record: &Written| record.value.as_deref() == Some(b"bad".as_slice());
        rig.publish(|record| {
            if is_bad(record) && header(record, "millstream.node").is_none() {
                Err(invalid())
            } else {
                Ok(())
            }
        });
        assert_eq!(rig.sent(NEWS), [b"one".as_slice(), b"three"]);
        let is_kept = poison == BURY;
        assert_eq!(rig.sent(DEAD), if is_kept { vec![b"bad".as_slice()] } else { vec![] });
        let refused = Note::Refused { target: NEWS, refusal: invalid(), is_kept };
        assert!(rig.partition.take_notes().contains(&refused));
    }
}

#[test]
fn what_was_on_its_way_to_a_deleted_topic_is_dropped_and_told() {
    let mut rig = Rig::begin(PoisonPolicy::Fail);
    rig.ask("one", 1);
    rig.topics.set(0, &[]);
    assert!(rig.due().is_empty());
    assert!(rig.partition.take_notes().is_empty(), "an image that is older does not tell");
    rig.topics.set(9, &[]);
    rig.publish(all);
    assert_eq!(rig.partition.take_notes(), [Note::Gone(NEWS, 1)]);
    let table = rig.partition.table().unwrap();
    assert_eq!((table.publications(), table.targets().count()), (0, 0));
}

#[test]
fn a_message_that_panics_is_one_dead_letter_that_says_why_and_those_behind_it_go_on() {
    let mut rig = Rig::begin(BURY);
    rig.deliver(&["one", "a panic", "no", "four"], 1);
    assert!(rig.answer(1).is_ok());
    rig.publish(all);
    assert_eq!(rig.sent(NEWS), [b"one".as_slice(), b"four"]);
    assert_eq!(rig.sent(DEAD), [b"a panic".as_slice(), b"no"]);
    let letter = &rig.sent[&DEAD][0];
    for (name, value) in [
        ("millstream.error.kind", "panic"),
        ("millstream.error", "so told"),
        ("millstream.entity.type", "herald"),
        ("millstream.entity.key", "a"),
        ("millstream.node", "4"),
        ("millstream.tries", "3"),
        ("millstream.source", "entity"),
        ("millstream.source.topic", "__entity_other"),
        ("millstream.source.partition", "5"),
        ("millstream.source.sequence", "2"),
    ] {
        assert_eq!(header(letter, name), Some(value.as_bytes()), "{name}");
    }
    assert_eq!(letter.key.as_deref(), Some(b"a".as_slice()));
    rig.deliver(&["one", "a panic", "no", "four"], 2);
    rig.publish(all);
    assert_eq!(rig.sent(DEAD).len(), 2);
}

#[test]
fn a_dead_letter_of_a_record_of_a_topic_tells_its_offset() {
    let mut rig = Rig::begin(BURY);
    rig.topics.set(2, &[(1, "news"), (2, "dead"), (3, "orders")]);
    rig.deliver(&["one", "a panic"], 1);
    rig.publish(all);
    let letter = &rig.sent[&DEAD][0];
    assert_eq!(header(letter, "millstream.source"), Some(b"topic".as_slice()));
    assert_eq!(header(letter, "millstream.source.topic"), Some(b"orders".as_slice()));
    assert_eq!(header(letter, "millstream.source.offset"), Some(b"1".as_slice()));
}

#[test]
fn an_ask_that_panics_is_told_and_is_one_dead_letter_however_often_it_comes() {
    let mut rig = Rig::begin(BURY);
    rig.ask_as(9, "panic", 1);
    rig.ask_as(9, "panic", 2);
    assert!(rig.answers.is_empty(), "who asked hears it with the batch");
    rig.commit();
    rig.ask_as(9, "panic", 3);
    rig.lead_anew(BURY);
    rig.ask_as(9, "panic", 4);
    for reply in 1..=4 {
        assert_eq!(rig.answer(reply), &Err(Fault::Panicked("so told".to_owned())));
    }
    rig.ask("no", 5);
    rig.publish(all);
    assert_eq!(rig.sent(DEAD), [b"panic".as_slice()], "a no of the handler is no dead letter");
    let letter = &rig.sent[&DEAD][0];
    assert_eq!(header(letter, "millstream.source"), Some(b"ask".as_slice()));
    assert_eq!(header(letter, "millstream.message"), Some(b"tell".as_slice()));
}

#[test]
fn a_timer_that_panics_is_a_dead_letter_and_rings_no_more() {
    let mut rig = Rig::begin(BURY);
    rig.ask("later", 1);
    rig.publish(all);
    assert_eq!(rig.sent(DEAD), [b"panic".as_slice()]);
    assert_eq!(header(&rig.sent[&DEAD][0], "millstream.timer"), Some(b"t".as_slice()));
    assert_eq!(rig.partition.table().unwrap().timers().count(), 0);
}

#[test]
fn a_record_of_a_topic_that_was_not_understood_is_a_dead_letter_as_it_stood_there() {
    let mut rig = Rig::begin(BURY);
    let source = Source { topic: NEWS.topic, partition: 2 };
    let unread = Unread {
        key: None,
        value: Some(Bytes::from_static(b"xyz")),
        why: "no number".to_owned(),
        truncated: None,
    };
    let message = Delivery { sequence: 8, entity: Bytes::new(), message: unread.stored() };
    rig.take(Input::Deliver { source, messages: vec![message], through: Some(9), reply: 1 });
    rig.commit();
    assert!(rig.answer(1).is_ok());
    assert_eq!(rig.partition.table().unwrap().position(source), 9);
    rig.publish(all);
    let [letter] = rig.sent[&DEAD].as_slice() else { panic!("one letter, not {:?}", rig.sent) };
    assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (None, Some(b"xyz".as_slice())));
    for (name, value) in [
        ("millstream.error", "no number"),
        ("millstream.source", "topic"),
        ("millstream.source.partition", "2"),
        ("millstream.source.offset", "7"),
    ] {
        assert_eq!(header(letter, name), Some(value.as_bytes()), "{name}");
    }
    assert_eq!(header(letter, "millstream.entity.key"), None);
}

#[test]
fn without_the_topic_of_dead_letters_a_message_stays() {
    let mut rig = Rig::begin(BURY);
    rig.topics.set(2, &[(1, "news")]);
    rig.deliver(&["a panic", "two"], 1);
    let Err(Fault::Busy(told)) = rig.answer(1) else { panic!("{:?}", rig.answer(1)) };
    assert!(told.contains("so told") && told.contains("no topic \"dead\""), "{told}");
    assert!(rig.log.is_empty());
    rig.topics.set(3, &[(1, "news"), (2, "dead")]);
    rig.deliver(&["a panic", "two"], 2);
    assert!(rig.answer(2).is_ok());
    rig.publish(all);
    assert_eq!((rig.sent(DEAD).len(), rig.sent(NEWS).len()), (1, 1));
}

#[test]
fn a_timer_whose_dead_letter_has_no_topic_yet_is_tried_again_and_then_is_one() {
    let mut rig = Rig::begin(BURY);
    rig.topics.set(2, &[(1, "news")]);
    rig.ask("later", 1);
    rig.publish(all);
    assert_eq!(rig.partition.table().unwrap().timers().count(), 1);
    rig.topics.set(3, &[(1, "news"), (2, "dead")]);
    rig.publish(all);
    assert_eq!(rig.sent(DEAD), [b"panic".as_slice()]);
    assert_eq!(rig.partition.table().unwrap().timers().count(), 0);
}

#[test]
fn a_message_whose_turn_publishes_to_a_topic_that_is_not_there_waits_for_it() {
    let mut rig = Rig::begin(BURY);
    rig.topics.set(2, &[(2, "dead")]);
    rig.deliver(&["one"], 1);
    assert!(matches!(rig.answer(1), Err(Fault::Busy(_))), "{:?}", rig.answer(1));
    rig.topics.set(3, &[(1, "news"), (2, "dead")]);
    rig.deliver(&["one"], 2);
    rig.publish(all);
    assert_eq!((rig.sent(NEWS), rig.sent(DEAD).len()), (vec![b"one".as_slice()], 0));
}

#[test]
fn of_a_large_message_the_beginning_is_the_dead_letter_which_tells_its_length() {
    let settings = EntitySettings { turn_max_bytes: 900, ..EntitySettings::default() };
    let mut rig = Rig::with(BURY, settings);
    let text: &'static str = ("é".repeat(500) + "panic").leak();
    rig.deliver(&[text, "one"], 1);
    assert_eq!(rig.answer(1), &Err(Fault::Panicked("so told".to_owned())), "its headers have no room");
    let settings = EntitySettings { turn_max_bytes: 9_000, ..EntitySettings::default() };
    let mut rig = Rig::with(BURY, settings);
    let text: &'static str = ("é".repeat(4_500) + "panic").leak();
    rig.deliver(&[text], 1);
    assert!(rig.answer(1).is_ok(), "{:?}", rig.answer(1));
    rig.publish(all);
    let letter = &rig.sent[&DEAD][0];
    assert_eq!(header(letter, "millstream.truncated"), Some(b"9006".as_slice()));
    assert_eq!(letter.value.as_ref().unwrap().len(), 8_099);
}

#[test]
fn records_that_wait_for_their_topic_are_bounded_and_messages_may_cause_twice_as_many() {
    let settings = EntitySettings { publications_max_bytes: 600, ..EntitySettings::default() };
    let mut rig = Rig::with(PoisonPolicy::Fail, settings);
    let text: &'static str = "x".repeat(200).leak();
    for reply in 1..=3 {
        rig.ask(text, reply);
    }
    assert!(matches!(rig.answer(3), Err(Fault::Busy(_))), "{:?}", rig.answer(3));
    rig.deliver(&[text], 4);
    assert!(rig.answer(4).is_ok());
    rig.publish(all);
    rig.ask(text, 5);
    assert!(rig.answer(5).is_ok());
}

#[test]
fn topics_that_fail_are_asked_again_later_and_it_is_told() {
    let mut rig = Rig::begin(PoisonPolicy::Fail);
    rig.ask("one", 1);
    let named = rig.due().remove(0);
    rig.done(&named, Done::Named(Ok(ProducerId(7))));
    let away = Refusal::new(ErrorCode::NotLeaderOrFollower, "moved");
    let mut waits_ms = Vec::new();
    for _ in 0..8 {
        let asked = rig.due().remove(0);
        rig.done(&asked, Done::Asked(Err(away.clone())));
        assert!(rig.due().is_empty());
        let next_ms = rig.partition.next_ms(rig.now_ms).unwrap();
        waits_ms.push(next_ms - rig.now_ms);
        rig.now_ms = next_ms;
    }
    assert_eq!(waits_ms, [50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
    assert_eq!(rig.partition.take_notes(), [Note::Delayed(Some(NEWS), 8, away)]);
}
