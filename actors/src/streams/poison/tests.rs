//! Applications whose input has records that cannot be processed: the result is as if those had never been sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;

use super::super::codec::Coded;
use super::super::event::Event;
use super::super::graph::{Role, Vertex, VertexId};
use super::super::operator::{Assembly, Hook, Outcome, Outlet, Port, RawRecord, Receive, entered};
use super::super::scope::{Scope, StreamError};
use super::super::{Grouped, Stream, StreamBuilder, TopologyDriver};
use super::Poison;
use crate::record::Header;

mod tables;

type Shape = fn(&Stream<String, i64>) -> Stream<String, i64>;

/// What comes through after 5 and before 13 panic, with this policy.
fn driver(policy: Poison, shape: Shape) -> TopologyDriver {
    let builder = StreamBuilder::new("app");
    builder.on_poison(policy);
    let stream = builder.stream::<String, i64>("in");
    shape(&stream).to("out");
    TopologyDriver::new(&builder.build().unwrap(), 1).unwrap()
}

fn refuse_13(stream: &Stream<String, i64>) -> Stream<String, i64> {
    stream.map_values(|_, value| {
        assert!(value != 13, "no 13 here");
        value
    })
}

fn summed(stream: &Stream<String, i64>, store: &str) -> Stream<String, i64> {
    let grouped = stream.group_by_key(Grouped::from("group"));
    grouped.reduce(|sum, value| sum + value, store).to_stream()
}

fn send(driver: &mut TopologyDriver, values: &[i64]) {
    for value in values {
        driver.send("in", &"k".to_owned(), value, 0).unwrap();
    }
}

fn values(driver: &mut TopologyDriver) -> Vec<i64> {
    driver.read::<String, i64>("out").unwrap().into_iter().map(|event| event.value).collect()
}

fn get(driver: &TopologyDriver, store: &str) -> Option<i64> {
    driver.get::<String, i64>(store, &"k".to_owned()).unwrap()
}

#[test]
fn what_cannot_be_read_is_left_out_counted_and_tells_no_time() {
    let mut driver = driver(Poison::Skip, |stream| stream.clone());
    send(&mut driver, &[1]);
    driver
        .send_with(
            "in",
            (&String::codec(), &"k".to_owned()),
            Some((&String::codec(), &"no i64".to_owned())),
            99,
        )
        .unwrap();
    send(&mut driver, &[2]);
    assert_eq!(values(&mut driver), [1, 2]);
    assert_eq!((driver.counts().processed, driver.counts().skipped), (2, 1));
    assert_eq!(driver.times_ms(), [0]);
}

#[test]
fn a_key_that_is_too_long_to_keep_state_by_is_a_matter_of_its_record() {
    let mut driver = driver(Poison::Skip, |stream| summed(stream, "one"));
    driver.send("in", &"k".repeat(30_000), &1_i64, 0).unwrap();
    send(&mut driver, &[2]);
    assert_eq!((values(&mut driver), driver.counts().skipped), (vec![2], 1));
}

#[test]
fn a_record_whose_time_cannot_be_read_is_left_out() {
    let builder = StreamBuilder::new("app");
    builder.on_poison(Poison::Skip);
    let consumed = super::super::Consumed::<String, i64>::from("in").timestamp(|event| {
        assert!(event.value != 13);
        event.value
    });
    builder.stream(consumed).to("out");
    let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
    send(&mut driver, &[12, 13, 14]);
    assert_eq!(values(&mut driver), [12, 14]);
    assert_eq!((driver.counts().processed, driver.counts().skipped), (2, 1));
}

#[test]
fn what_a_record_had_changed_in_several_stores_before_it_failed_is_taken_back() {
    let shape: Shape = |stream| refuse_13(&summed(&summed(stream, "one"), "two"));
    let mut driver = driver(Poison::Skip, shape);
    driver.hold_commits();
    // 5, 13, 14: the second makes 13 of the sum of sums.
    send(&mut driver, &[5, 3, 1, 7]);
    driver.commit().unwrap();
    assert_eq!((get(&driver, "one"), get(&driver, "two")), (Some(13), Some(5 + 6 + 13)));
    assert_eq!(values(&mut driver), [5, 11, 24]);
    assert_eq!((driver.counts().processed, driver.counts().skipped), (3, 1));
}

#[test]
fn many_poisoned_records_in_a_transaction_are_each_left_out_and_stay_so_after_a_kill() {
    let shape: Shape = |stream| {
        let sums = summed(stream, "one");
        sums.filter(|_, sum| {
            assert!(sum % 10 != 3);
            true
        })
    };
    let mut driver = driver(Poison::Skip, shape);
    driver.hold_commits();
    send(&mut driver, &[3, 1, 2, 12, 1, 9]);
    driver.abort().unwrap();
    driver.commit().unwrap();
    assert_eq!(values(&mut driver), [1, 2, 11]);
    assert_eq!((get(&driver, "one"), driver.counts().skipped), (Some(11), 3));
}

#[test]
fn a_poisoned_record_goes_into_the_topic_for_it_once_as_it_was() {
    let mut driver = driver(Poison::dead_letter("dead"), |stream| refuse_13(&summed(stream, "one")));
    send(&mut driver, &[6, 7, 8]);
    let dead = driver.read::<String, i64>("dead").unwrap();
    assert_eq!(dead, [Event::new("k".to_owned(), 7, 0)]);
    assert_eq!((get(&driver, "one"), values(&mut driver)), (Some(14), vec![6, 14]));
}

#[test]
fn a_letter_says_why_and_where_in_the_words_of_kafka() {
    let record = RawRecord {
        offset: 7,
        timestamp_ms: 5,
        key: None,
        value: Some(Bytes::from_static(b"v")),
        headers: Arc::from([Header::new("trace", "1")]),
    };
    let error = StreamError::Panicked("no 13 here".to_owned());
    let letter = Poison::dead_letter("dead").letter(&record, ("in", 2), ("app", "0_2"), &error).unwrap();
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let headers: Vec<_> =
        letter.headers.iter().map(|it| (text(&it.name), text(it.value.as_ref().unwrap()))).collect();
    let wanted = [
        ("trace", "1"),
        ("__streams.errors.exception", "panic"),
        ("__streams.errors.message", "an operator panicked: no 13 here"),
        ("__streams.errors.topic", "in"),
        ("__streams.errors.partition", "2"),
        ("__streams.errors.offset", "7"),
        ("__millstream.application", "app"),
        ("__millstream.task", "0_2"),
    ];
    assert_eq!(headers, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!((letter.key, letter.value, letter.timestamp_ms), (record.key, record.value, 5));
    assert_eq!(
        Poison::Skip.letter(&RawRecord { offset: 0, ..letter_source() }, ("", 0), ("", ""), &error),
        None
    );
}

fn letter_source() -> RawRecord {
    RawRecord { offset: 0, timestamp_ms: 0, key: None, value: None, headers: Arc::from([]) }
}

#[test]
fn a_task_fails_again_and_again_where_nothing_is_said_and_nothing_is_lost() {
    let mut driver = driver(Poison::Fail, |stream| refuse_13(&summed(stream, "one")));
    send(&mut driver, &[6]);
    for _ in 0..3 {
        let error = driver.send("in", &"k".to_owned(), &7_i64, 0).unwrap_err();
        assert!(error.to_string().contains("no 13 here"), "{error}");
        assert!(driver.abort().is_err());
    }
    assert_eq!(values(&mut driver), [6]);
}

/// Keeps the newest value of each key in memory until a commit, as a cache does.
struct Held {
    values: BTreeMap<String, i64>,
    outlet: Outlet<String, i64>,
}

impl Hook for Held {
    fn flush(&mut self, scope: &mut Scope) -> Outcome {
        for (key, value) in std::mem::take(&mut self.values) {
            self.outlet.give(Event { key, value, timestamp_ms: 0 }, scope)?;
        }
        Ok(())
    }
}

struct Entrance(Arc<Mutex<Held>>);

impl Receive<String, i64> for Entrance {
    fn receive(&mut self, event: Event<String, i64>, scope: &mut Scope) -> Outcome {
        scope.touch();
        *entered(&self.0).values.entry(event.key).or_insert(0) += event.value;
        match event.value {
            // As where more is held than may be.
            100 => entered(&self.0).flush(scope),
            99 => Err(StreamError::Failed("no 99 here".to_owned())),
            _ => Ok(()),
        }
    }
}

fn held(stream: &Stream<String, i64>) -> Stream<String, i64> {
    let from = stream.vertex;
    let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
        let outlet = assembly.outlet::<String, i64>(id)?;
        let held = Arc::new(Mutex::new(Held { values: BTreeMap::new(), outlet }));
        let port: Port<String, i64> = Arc::new(Mutex::new(Entrance(Arc::clone(&held))));
        assembly.attach(from, port);
        assembly.hooks.push(held);
        Ok(())
    };
    let vertex = entered(&stream.graph).add(Vertex {
        name: Arc::from("held"),
        role: Role::Operator,
        parents: vec![from],
        stores: Vec::new(),
        needs_copartitioned: false,
        build: Arc::new(build),
    });
    Stream::new(Arc::clone(&stream.graph), vertex, false)
}

#[test]
fn what_an_operator_held_in_memory_of_a_poisoned_record_is_gone_too() {
    let mut driver = driver(Poison::Skip, held);
    driver.hold_commits();
    send(&mut driver, &[1, 99, 2]);
    driver.commit().unwrap();
    assert_eq!((values(&mut driver), driver.counts().skipped), (vec![1, 2], 1));
}

#[test]
fn a_record_that_makes_another_one_fail_that_was_held_back_is_not_the_poisoned_one() {
    let mut driver = driver(Poison::dead_letter("dead"), |stream| refuse_13(&held(stream)));
    driver.hold_commits();
    for (key, value) in [("a", 1_i64), ("b", 13), ("c", 100), ("d", 2)] {
        driver.send("in", &key.to_owned(), &value, 0).unwrap();
    }
    driver.commit().unwrap();
    assert_eq!(driver.read::<String, i64>("dead").unwrap(), [Event::new("b".to_owned(), 13, 0)]);
    assert_eq!(values(&mut driver), [1, 100, 2]);
}

#[test]
fn a_failure_over_what_was_held_back_is_one_of_the_record_that_caused_it() {
    let mut driver = driver(Poison::dead_letter("dead"), |stream| refuse_13(&held(stream)));
    driver.hold_commits();
    send(&mut driver, &[1, 13, -1]);
    driver.commit().unwrap();
    assert_eq!(driver.read::<String, i64>("dead").unwrap(), [Event::new("k".to_owned(), 13, 0)]);
    assert_eq!(values(&mut driver), [1, -1], "sent one by one in the transaction that is done again");
    send(&mut driver, &[3, 4]);
    driver.commit().unwrap();
    assert_eq!(values(&mut driver), [7], "and held back again in the next");
}

/// What an application does over a topic between and with two stores and something in memory; a record of 13 fails somewhere.
fn long(stream: &Stream<String, i64>) -> Stream<String, i64> {
    let refused_early = stream.filter(|_, value| {
        assert!(*value != 113, "early");
        true
    });
    // What a record is, is told on by its remainder, whatever it is added to.
    let counted = refused_early.group_by(|key, _| format!("{key}-"), "again").aggregate(
        |_| (0_i64, 0_i64),
        |_, value, (sum, _)| (sum + value % 100, value),
        "sums",
    );
    let late = counted.to_stream().map_values(|_, (sum, value)| {
        assert!(value != 213, "late");
        sum
    });
    held(&late)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_result_is_as_if_poisoned_records_had_never_been_sent(
        sent in prop::collection::vec((0..4_i64, prop::sample::select(vec![1_i64, 2, 113, 213]), 0..8_u8), 0..40),
    ) {
        let run = |with_poison: bool| {
            let mut driver = driver(Poison::Skip, long);
            driver.hold_commits();
            for (key, value, then) in &sent {
                if with_poison || *value < 100 {
                    driver.send("in", &key.to_string(), value, 0).unwrap();
                }
                match then {
                    0 => driver.commit().unwrap(),
                    1 if with_poison => driver.abort().unwrap(),
                    _ => {}
                }
            }
            driver.commit().unwrap();
            let mut sums = driver.all::<String, (i64, i64)>("sums").unwrap();
            sums.sort();
            // More often, where each record's is sent by itself; the same in all.
            let mut out = BTreeMap::new();
            for event in driver.read::<String, i64>("out").unwrap() {
                *out.entry(event.key).or_insert(0) += event.value;
            }
            (sums, out, driver.counts())
        };
        let (clean, poisoned) = (run(false), run(true));
        prop_assert_eq!((&clean.0, &clean.1), (&poisoned.0, &poisoned.1));
        let of_poison = sent.iter().filter(|(_, value, _)| *value > 100).count();
        prop_assert_eq!(usize::try_from(poisoned.2.skipped).unwrap(), of_poison);
    }
}
