//! What a partition does, case by case; the whole is held against a model beside this.

use bytes::Bytes;
use uuid::Uuid;

use super::behaviour::{Behaviour, Change, Fault, Handled, PoisonPolicy, Saved};
use super::partition::{Delivery, Effect, EntityPartition, Input};
use super::records::{Event, Outgoing, RecordKey, Source, Timer};
use super::settings::EntitySettings;
use super::table::Table;
use crate::custom::RequestId;
use crate::group::records::LogRecord;
use crate::ids::{Offset, TopicId};

/// Keeps the last text it was told, and answers with the one before. `read` only reads, `panic` panics, `no` is refused,
/// `later` sets a timer that tells `rang`, `worse` one that panics, `gone` forgets. `events`, `end` and `send` write much.
#[derive(Debug)]
pub(super) struct Note(PoisonPolicy);

impl Behaviour for Note {
    type Entity = Bytes;

    fn poison(&self) -> PoisonPolicy {
        self.0
    }

    fn load(&self, key: &[u8], saved: &Saved) -> Result<Bytes, Fault> {
        if key == b"later version" {
            return Err(Fault::Unreadable("so is its key".to_owned()));
        }
        Ok(saved.snapshot.as_ref().map(|(_, state)| state.clone()).unwrap_or_default())
    }

    fn handle(&self, note: &mut Bytes, _: &[u8], now_ms: i64, message: &[u8]) -> Result<Handled, Fault> {
        let mut handled = Handled { answer: note.clone(), ..Handled::default() };
        match message {
            b"read" => {}
            b"panic" => return Err(Fault::Panicked("so told".to_owned())),
            b"no" => return Err(Fault::Refused("so told".to_owned())),
            b"later" => {
                let timer = Timer { due_ms: now_ms + 100, message: Bytes::from_static(b"rang") };
                handled.timers.push(("t".to_owned(), Some(timer)));
            }
            b"worse" => {
                let timer = Timer { due_ms: now_ms + 100, message: Bytes::from_static(b"panic") };
                handled.timers.push(("t".to_owned(), Some(timer)));
            }
            b"later send" => {
                let timer = Timer { due_ms: now_ms + 100, message: Bytes::from_static(b"send") };
                handled.timers.push(("t".to_owned(), Some(timer)));
            }
            b"gone" => handled.change = Change::Gone,
            b"events" => {
                let event = Event { version: 1, event: Bytes::from_static(b"it was so") };
                handled.change = Change::Events(vec![event; 600]);
            }
            b"end" => handled.timers = (0..600).map(|number| (format!("t{number}"), None)).collect(),
            b"send" => {
                let outgoing =
                    Outgoing { kind: "note".to_owned(), key: KEY, message: Bytes::from(vec![0; 400]) };
                handled.outgoing.push(outgoing);
            }
            text => {
                *note = Bytes::copy_from_slice(text);
                handled.change = Change::State { version: 1, state: note.clone() };
            }
        }
        Ok(handled)
    }

    fn snapshot(&self, note: &Bytes) -> Result<Option<(u16, Bytes)>, Fault> {
        Ok(Some((1, note.clone())))
    }
}

pub(super) type Answer = (u32, Result<Bytes, Fault>, bool);

/// A partition with its log: what it wants appended waits until the test says what becomes of it.
pub(super) struct Rig {
    pub(super) partition: EntityPartition<Note, u32>,
    now_ms: i64,
    log: Vec<LogRecord>,
    pub(super) append: Option<(u64, Vec<LogRecord>)>,
    loads: Vec<(u64, Bytes, Vec<Offset>)>,
    replay: Option<Table>,
    answers: Vec<Answer>,
}

impl Rig {
    pub(super) fn begin(poison: PoisonPolicy, settings: EntitySettings) -> Self {
        let (partition, _) = EntityPartition::new(Note(poison), settings, Table::default());
        let (log, loads, answers) = (Vec::new(), Vec::new(), Vec::new());
        let mut rig = Self { partition, now_ms: 0, log, append: None, loads, replay: None, answers };
        rig.take(Input::Replayed(Table::default()));
        rig
    }

    pub(super) fn take(&mut self, input: Input<u32>) {
        for effect in self.partition.take(self.now_ms, input) {
            match effect {
                Effect::Answer { reply, answer, needs_lease } => {
                    self.answers.push((reply, answer, needs_lease));
                }
                Effect::Append { batch, records } => {
                    assert!(self.append.replace((batch, records)).is_none());
                }
                Effect::Load { life, entity, offsets } => self.loads.push((life, entity, offsets)),
                Effect::Replay(table) => self.replay = Some(table),
            }
        }
    }

    fn ask_as(&mut self, request: u128, entity: &'static str, message: &'static str, reply: u32) {
        self.take(Input::Ask {
            entity: Bytes::from_static(entity.as_bytes()),
            request: RequestId(Uuid::from_u128(request)),
            message: Bytes::from_static(message.as_bytes()),
            reply,
        });
    }

    pub(super) fn ask(&mut self, entity: &'static str, message: &'static str, reply: u32) {
        self.ask_as(reply.into(), entity, message, reply);
    }

    pub(super) fn commit(&mut self) {
        let (batch, records) = self.append.take().expect("a batch is on its way");
        let first = Offset(i64::try_from(self.log.len()).unwrap());
        self.log.extend(records);
        self.take(Input::Committed { batch, first });
    }

    pub(super) fn refuse(&mut self) {
        let (batch, _) = self.append.take().expect("a batch is on its way");
        self.take(Input::Refused { batch });
    }

    fn load(&mut self) {
        for (life, entity, offsets) in std::mem::take(&mut self.loads) {
            let at = |offset: &Offset| self.log[usize::try_from(offset.0).unwrap()].value.clone().unwrap();
            let values = Ok(offsets.iter().map(at).collect());
            self.take(Input::Loaded { life, entity, values });
        }
    }

    pub(super) fn replay(&mut self) {
        let mut table = self.replay.take().expect("a replay is wished");
        for (offset, record) in (0..).zip(&self.log) {
            table.take(Offset(offset), Some(&record.key), record.value.as_deref());
        }
        self.take(Input::Replayed(table));
    }

    fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        self.take(Input::Tick);
    }

    pub(super) fn deliver(&mut self, messages: &[(u64, &'static str, &'static str)], reply: u32) {
        let each = messages.iter().map(|(sequence, entity, message)| Delivery {
            sequence: *sequence,
            entity: Bytes::from_static(entity.as_bytes()),
            message: Bytes::from_static(message.as_bytes()),
        });
        self.take(Input::Deliver { source: SOURCE, through: None, messages: each.collect(), reply });
    }

    pub(super) fn answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }
}

pub(super) const SOURCE: Source = Source { topic: TopicId(Uuid::from_u128(7)), partition: 0 };

pub(super) fn rig() -> Rig {
    Rig::begin(PoisonPolicy::Fail, EntitySettings::default())
}

pub(super) fn ok(reply: u32, answer: &'static str, needs_lease: bool) -> Answer {
    (reply, Ok(Bytes::from_static(answer.as_bytes())), needs_lease)
}

fn is_retry(answer: &Answer) -> bool {
    matches!(answer.1, Err(Fault::Retry(_)))
}

const KEY: Bytes = Bytes::from_static(&[b'k'; 4_000]);

fn ask_long(rig: &mut Rig, message: &'static str, reply: u32) {
    let request = RequestId(Uuid::from_u128(reply.into()));
    rig.take(Input::Ask { entity: KEY, request, message: Bytes::from_static(message.as_bytes()), reply });
}

#[test]
fn a_turn_whose_records_have_long_keys_is_weighed_with_them_and_refused_alone() {
    let mut rig = rig();
    ask_long(&mut rig, "one", 1);
    ask_long(&mut rig, "events", 2);
    ask_long(&mut rig, "end", 3);
    rig.commit();
    let answers = rig.answers();
    let of = |reply: u32| &answers.iter().find(|(to, ..)| *to == reply).unwrap().1;
    assert_eq!(*of(1), Ok(Bytes::new()));
    assert!(matches!(of(2), Err(Fault::TooLarge { .. })) && matches!(of(3), Err(Fault::TooLarge { .. })));
}

#[test]
fn chores_make_no_batch_larger_than_a_turn_may_be() {
    let settings = EntitySettings { turn_max_bytes: 100_000, ..EntitySettings::default() };
    let mut rig = Rig::begin(PoisonPolicy::Fail, settings.clone());
    for reply in 1..=400 {
        ask_long(&mut rig, "one", reply);
        if rig.append.is_some() {
            rig.commit();
        }
    }
    while rig.append.is_some() {
        rig.commit();
    }
    rig.pass(settings.dedupe_ms + 1);
    let mut forgotten = 0;
    while let Some((_, records)) = &rig.append {
        let bytes: usize = records.iter().map(|record| record.key.len()).sum();
        assert!(bytes < settings.turn_max_bytes + 2 * KEY.len(), "{bytes}");
        forgotten += records.iter().filter(|record| record.value.is_none()).count();
        rig.commit();
        rig.pass(2_000);
    }
    assert_eq!(forgotten, 400);
}

#[test]
fn a_full_outbox_refuses_asks_and_lets_in_what_messages_cause() {
    let settings = EntitySettings { outbox_max_bytes: 10_000, ..EntitySettings::default() };
    let mut rig = Rig::begin(PoisonPolicy::Fail, settings);
    for reply in 1..=3 {
        ask_long(&mut rig, "send", reply);
    }
    rig.deliver(&[(1, "a", "send")], 9);
    while rig.append.is_some() {
        rig.commit();
    }
    let answers = rig.answers();
    let of = |reply: u32| &answers.iter().find(|(to, ..)| *to == reply).unwrap().1;
    assert!(of(1).is_ok() && of(2).is_ok() && of(9).is_ok(), "{answers:?}");
    assert!(matches!(of(3), Err(Fault::Busy(_))), "{:?}", of(3));
}

#[test]
fn a_read_of_a_turn_that_is_not_committed_leaves_with_it_and_of_no_other() {
    let mut rig = rig();
    rig.ask("a", "one", 1);
    rig.ask("a", "read", 2);
    rig.ask("b", "read", 3);
    assert_eq!(rig.answers(), [ok(3, "", true)]);
    rig.commit();
    assert_eq!(rig.answers(), [ok(1, "", false), ok(2, "one", false)]);
    rig.ask("a", "read", 4);
    assert_eq!(rig.answers(), [ok(4, "one", true)]);
}

#[test]
fn turns_that_wait_for_a_batch_share_the_next() {
    let mut rig = rig();
    rig.ask("a", "one", 1);
    rig.ask("a", "two", 2);
    rig.ask("b", "three", 3);
    rig.commit();
    assert_eq!(rig.answers(), [ok(1, "", false)]);
    let keys: Vec<_> = rig.append.as_ref().unwrap().1.iter().map(|record| record.key.clone()).collect();
    assert_eq!(keys.len(), 4, "two states and two requests: {keys:?}");
    rig.commit();
    assert_eq!(rig.answers(), [ok(2, "one", false), ok(3, "", false)]);
}

#[test]
fn a_request_that_comes_again_is_answered_as_before_and_not_applied() {
    let mut rig = rig();
    rig.ask_as(9, "a", "one", 1);
    rig.ask_as(9, "a", "one", 2);
    rig.commit();
    assert_eq!(rig.answers(), [ok(1, "", false), ok(2, "", false)]);
    assert!(rig.append.is_none());
    rig.ask_as(9, "a", "one", 3);
    assert_eq!(rig.answers(), [ok(3, "", true)]);
}

#[test]
fn a_request_is_remembered_for_its_time() {
    let mut rig = Rig::begin(PoisonPolicy::Fail, EntitySettings { dedupe_ms: 1_000, ..Default::default() });
    rig.ask_as(9, "a", "one", 1);
    rig.commit();
    rig.pass(1_000);
    assert!(rig.append.is_none());
    rig.pass(1);
    rig.commit();
    rig.answers();
    rig.ask_as(9, "a", "two", 2);
    rig.commit();
    assert_eq!(rig.answers(), [ok(2, "one", false)]);
}

#[test]
fn what_would_be_remembered_beyond_the_bound_is_refused_and_reads_are_not() {
    let settings = EntitySettings { dedupe_max_bytes: 300, ..Default::default() };
    let mut rig = Rig::begin(PoisonPolicy::Fail, settings);
    rig.ask("a", "one", 1);
    rig.ask("a", "two", 2);
    rig.commit();
    let answers = rig.answers();
    assert!(matches!(answers[1].1, Err(Fault::Busy(_))), "{answers:?}");
    rig.ask("a", "read", 3);
    assert_eq!(rig.answers(), [ok(3, "one", true)]);
}

#[test]
fn after_a_refused_batch_those_who_wait_ask_again_and_find_what_the_log_has() {
    let mut rig = rig();
    rig.ask("a", "one", 1);
    rig.commit();
    rig.answers();
    rig.ask("a", "two", 2);
    rig.ask("b", "three", 3);
    rig.ask("a", "read", 4);
    rig.refuse();
    assert!(rig.answers().iter().all(is_retry));
    rig.ask("a", "read", 5);
    assert!(rig.answers().iter().all(is_retry), "nothing is known yet");
    rig.replay();
    rig.ask("a", "read", 6);
    rig.load();
    assert_eq!(rig.answers(), [ok(6, "one", true)]);
}

#[test]
fn an_entity_that_nobody_asks_is_put_to_rest_and_read_again() {
    let mut rig = rig();
    rig.ask("a", "one", 1);
    rig.pass(100_000);
    assert_eq!(rig.partition.live(), 1, "its turn is under way");
    rig.commit();
    rig.pass(100_000);
    assert_eq!(rig.partition.live(), 0);
    rig.answers();
    rig.ask("a", "read", 2);
    rig.ask("a", "two", 3);
    assert!(rig.answers().is_empty());
    rig.load();
    assert_eq!(rig.answers(), [ok(2, "one", true)]);
    rig.commit();
    assert_eq!(rig.answers(), [ok(3, "one", false)]);
}

#[test]
fn no_more_entities_are_in_memory_than_may_be() {
    let mut rig = Rig::begin(PoisonPolicy::Fail, EntitySettings { live_max: 2, ..Default::default() });
    for (reply, entity) in (1..).zip(["a", "b", "c", "d"]) {
        rig.now_ms += 1;
        rig.ask(entity, "read", reply);
    }
    assert_eq!(rig.partition.live(), 2);
}

#[test]
fn a_refusal_and_a_panic_change_nothing() {
    let mut rig = rig();
    rig.ask("a", "no", 1);
    rig.ask("a", "panic", 2);
    let answers = rig.answers();
    assert!(matches!(answers[0].1, Err(Fault::Refused(_))));
    assert!(matches!(answers[1].1, Err(Fault::Panicked(_))));
    assert!(rig.append.is_none());
}

#[test]
fn a_message_of_another_entity_that_panics_stays_or_is_left_out_as_the_type_wants() {
    for (poison, is_applied) in [(PoisonPolicy::Fail, false), (PoisonPolicy::Skip, true)] {
        let mut rig = Rig::begin(poison, EntitySettings::default());
        rig.deliver(&[(1, "a", "one"), (2, "a", "panic"), (3, "a", "three")], 1);
        rig.commit();
        while rig.append.is_some() {
            rig.commit();
        }
        let answers = rig.answers();
        assert_eq!(answers.iter().any(|(_, answer, _)| answer.is_ok()), is_applied, "{answers:?}");
        rig.ask("a", "read", 2);
        let text = if is_applied { "three" } else { "one" };
        assert_eq!(rig.answers(), [ok(2, text, true)]);
    }
}

#[test]
fn messages_of_a_source_are_applied_once_in_their_order_though_an_entity_has_to_be_read() {
    let mut rig = rig();
    rig.ask("b", "zero", 1);
    rig.commit();
    rig.pass(100_000);
    rig.answers();
    let messages = [(1, "a", "one"), (5, "b", "two"), (6, "a", "three")];
    rig.deliver(&messages, 2);
    rig.deliver(&messages, 3);
    assert!(is_retry(&rig.answers()[0]), "one delivery of a source at a time");
    rig.commit();
    rig.load();
    rig.commit();
    assert_eq!(rig.answers(), [ok(2, "", false)]);
    rig.deliver(&messages, 4);
    assert_eq!(rig.answers(), [ok(4, "", true)]);
    assert!(rig.append.is_none(), "they are known");
    rig.ask("a", "read", 5);
    assert_eq!(rig.answers(), [ok(5, "three", true)]);
}

#[test]
fn a_timer_rings_once_also_where_another_leads_by_then() {
    let mut rig = rig();
    rig.ask("a", "later", 1);
    rig.commit();
    rig.pass(99);
    assert!(rig.append.is_none());
    assert_eq!(rig.partition.next_ms(rig.now_ms), Some(rig.now_ms + 10));
    let settings = EntitySettings::default();
    let (partition, _) = EntityPartition::new(Note(PoisonPolicy::Fail), settings, Table::default());
    rig.partition = partition;
    rig.replay = Some(Table::default());
    rig.replay();
    rig.pass(1);
    rig.pass(1);
    rig.commit();
    assert!(rig.append.is_none());
    rig.pass(1_000);
    assert!(rig.append.is_none());
    rig.answers();
    rig.ask("a", "read", 2);
    assert_eq!(rig.answers(), [ok(2, "rang", true)]);
}

#[test]
fn an_entity_that_is_forgotten_is_new_for_its_next_message() {
    let mut rig = rig();
    rig.ask("a", "one", 1);
    rig.commit();
    rig.ask("a", "gone", 2);
    rig.ask("a", "read", 3);
    rig.commit();
    assert_eq!(rig.answers(), [ok(1, "", false), ok(2, "one", false), ok(3, "", false)]);
    assert_eq!(rig.partition.table().unwrap().entities(), 0);
    let key = RecordKey::Snapshot { entity: Bytes::from_static(b"a") }.encode();
    assert!(rig.log.iter().any(|record| record.key == key && record.value.is_none()));
}

#[test]
fn a_message_to_an_entity_that_cannot_be_read_here_is_never_left_out() {
    let mut rig = Rig::begin(PoisonPolicy::Skip, EntitySettings::default());
    for reply in [1, 2] {
        rig.deliver(&[(1, "later version", "one")], reply);
        assert!(matches!(rig.answers()[..], [(_, Err(Fault::Unreadable(_)), _)]), "it is not done with");
    }
}

#[test]
fn a_timer_that_could_not_be_handled_rings_again_once_it_is_set_anew() {
    let mut rig = rig();
    rig.ask("a", "worse", 1);
    rig.commit();
    rig.pass(100);
    assert!(rig.append.is_none(), "its handler panicked");
    rig.ask("a", "later", 2);
    rig.commit();
    rig.pass(100);
    rig.commit();
    rig.ask("a", "read", 3);
    assert_eq!(rig.answers().last(), Some(&ok(3, "rang", true)));
}

#[test]
fn what_a_log_is_rid_of_keeps_up_with_what_is_put_into_it() {
    let settings = EntitySettings { dedupe_ms: 1_000, ..EntitySettings::default() };
    let mut rig = Rig::begin(PoisonPolicy::Fail, settings);
    for round in 0..20 {
        for number in 0..1_000 {
            rig.ask("a", if number % 2 == 0 { "one" } else { "two" }, round * 1_000 + number);
        }
        while rig.append.is_some() {
            rig.commit();
        }
        rig.answers();
        let remembered = rig.partition.table().unwrap().requests_before(i64::MAX).count();
        assert!(remembered < 3_000, "{remembered} requests are remembered after {round} rounds");
        rig.now_ms += 1_000;
    }
    for _ in 0..3 {
        rig.pass(1_000);
        while rig.append.is_some() {
            rig.commit();
        }
    }
    assert_eq!(rig.partition.table().unwrap().requests_before(i64::MAX).count(), 0);
}

#[test]
fn a_timer_for_whose_turn_there_is_no_room_is_not_tried_at_every_look() {
    let settings = EntitySettings { outbox_max_bytes: 0, ..EntitySettings::default() };
    let mut rig = Rig::begin(PoisonPolicy::Fail, settings);
    rig.ask("a", "later send", 1);
    rig.commit();
    rig.pass(100);
    assert!(rig.append.is_none());
    assert_eq!(rig.partition.next_ms(rig.now_ms), Some(rig.now_ms + 1_000));
}

#[test]
fn a_timer_of_an_entity_that_cannot_be_read_does_not_make_it_be_read_at_every_look() {
    for (fault, loads) in
        [(Fault::Retry("not now".to_owned()), 1), (Fault::Unreadable("of a later program".to_owned()), 0)]
    {
        let mut rig = rig();
        rig.ask("a", "one", 1);
        rig.ask("a", "later", 2);
        while rig.append.is_some() {
            rig.commit();
        }
        // Another leads, which has the entity not in memory.
        let settings = EntitySettings::default();
        rig.partition = EntityPartition::new(Note(PoisonPolicy::Fail), settings, Table::default()).0;
        rig.replay = Some(Table::default());
        rig.replay();
        rig.pass(100);
        let (life, entity, _) = rig.loads.pop().expect("it is read");
        rig.take(Input::Loaded { life, entity, values: Err(fault) });
        rig.pass(10);
        assert!(rig.loads.is_empty());
        rig.pass(1_000);
        assert_eq!(rig.loads.len(), loads);
    }
}
