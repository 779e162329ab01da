//! Changes that are held back, record by record.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::window::{Emit, Tumbling, Windowed};
use super::super::{DriverError, Event, StreamBuilder, StreamError, TopologyDriver};
use super::Buffer;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The table of a topic, held back for 10 ms.
fn driver(buffer: Buffer) -> TopologyDriver {
    let builder = StreamBuilder::new("app");
    let table = builder.table::<String, i64>("in", "kept").suppress(ms(10), buffer, "waiting");
    table.changes().to("out");
    TopologyDriver::new(&builder.build().unwrap(), 1).unwrap()
}

fn say(driver: &mut TopologyDriver, key: &str, value: i64, at_ms: i64) {
    driver.send("in", &key.to_owned(), &value, at_ms).unwrap();
}

fn sent(driver: &mut TopologyDriver) -> Vec<(String, Option<i64>, i64)> {
    let events: Vec<Event<String, Option<i64>>> = driver.read("out").unwrap();
    events.into_iter().map(|event| (event.key, event.value, event.timestamp_ms)).collect()
}

fn one(key: &str, value: i64, at_ms: i64) -> (String, Option<i64>, i64) {
    (key.to_owned(), Some(value), at_ms)
}

#[test]
fn of_the_changes_of_a_key_the_newest_is_sent_when_the_first_has_waited_its_time() {
    let mut driver = driver(Buffer::records(100));
    say(&mut driver, "a", 1, 0);
    say(&mut driver, "a", 2, 9);
    say(&mut driver, "b", 3, 9);
    assert_eq!(sent(&mut driver), []);
    say(&mut driver, "b", 4, 10);
    assert_eq!(sent(&mut driver), [one("a", 2, 9)]);
    driver.end().unwrap();
    assert_eq!(sent(&mut driver), [one("b", 4, 10)]);
}

#[test]
fn a_key_that_came_and_went_while_it_waited_is_not_sent_and_one_that_was_sent_is_deleted() {
    let mut driver = driver(Buffer::records(100));
    say(&mut driver, "a", 1, 0);
    driver.delete("in", &"a".to_owned(), 1).unwrap();
    say(&mut driver, "b", 2, 2);
    say(&mut driver, "c", 3, 12);
    assert_eq!(sent(&mut driver), [one("b", 2, 2)]);
    driver.delete("in", &"b".to_owned(), 13).unwrap();
    driver.end().unwrap();
    assert_eq!(sent(&mut driver), [one("c", 3, 12), ("b".to_owned(), None, 13)]);
}

#[test]
fn a_full_buffer_sends_early_what_has_waited_longest() {
    let mut driver = driver(Buffer::records(2));
    say(&mut driver, "c", 1, 0);
    say(&mut driver, "a", 2, 1);
    assert_eq!(sent(&mut driver), []);
    say(&mut driver, "b", 3, 2);
    assert_eq!(sent(&mut driver), [one("c", 1, 0)]);
    say(&mut driver, "a", 4, 3);
    assert_eq!(sent(&mut driver), []);
}

#[test]
fn bytes_bound_a_buffer_as_records_do() {
    let mut driver = driver(Buffer::bytes(500));
    for number in 0..10 {
        say(&mut driver, &format!("key {number}"), 1, number);
    }
    let early = sent(&mut driver).len();
    assert!((1..10).contains(&early), "{early}");
}

#[test]
fn a_full_buffer_that_sends_nothing_early_stops_the_application() {
    let mut driver = driver(Buffer::records(1).or_fail());
    say(&mut driver, "a", 1, 0);
    say(&mut driver, "a", 2, 1);
    let error = driver.send("in", &"b".to_owned(), &3_i64, 2).unwrap_err();
    assert!(matches!(error, DriverError::Stream(StreamError::BufferFull(_))), "{error}");
}

#[test]
fn what_waits_survives_a_kill() {
    let mut driver = driver(Buffer::records(100));
    say(&mut driver, "a", 1, 0);
    driver.abort().unwrap();
    say(&mut driver, "a", 2, 5);
    driver.hold_commits();
    say(&mut driver, "a", 3, 7);
    driver.abort().unwrap();
    say(&mut driver, "b", 4, 10);
    driver.commit().unwrap();
    assert_eq!(sent(&mut driver), [one("a", 3, 7)]);
    assert_eq!(driver.all::<String, i64>("kept").unwrap().len(), 2);
}

#[test]
fn what_waits_has_these_bytes() {
    let mut driver = driver(Buffer::records(100));
    say(&mut driver, "a", 1, 0);
    say(&mut driver, "b", 1, 11);
    say(&mut driver, "a", 258, 12);
    let waiting = driver.all::<String, Vec<u8>>("waiting").unwrap();
    let time = |ms: u8| [0x80, 0, 0, 0, 0, 0, 0, ms];
    let value = |high: u8, low: u8| [2, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, high, low];
    let of_a = [&[0][..], &time(12), &time(12), &value(1, 2), &value(0, 1)].concat();
    let of_b = [&[0][..], &time(11), &time(11), &value(0, 1), &[0]].concat();
    assert_eq!(waiting, [("a".to_owned(), of_a), ("b".to_owned(), of_b)]);
}

#[test]
fn more_windows_than_are_closed_at_once_are_closed_by_the_next_commit() {
    let builder = StreamBuilder::new("app");
    let grouped = builder.stream::<String, i64>("in").group_by_key("g");
    let counts = grouped.windowed_by(Tumbling::of(ms(10))).emit(Emit::OnClose).count("counts");
    counts.suppress_until_close("final").changes().to("out");
    let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
    driver.hold_commits();
    let keys = 5_000;
    for number in 0..keys {
        say(&mut driver, &number.to_string(), 1, 5);
    }
    say(&mut driver, "last", 1, 10);
    driver.commit().unwrap();
    let closed: Vec<Event<Windowed<String>, Option<i64>>> = driver.read("out").unwrap();
    assert_eq!(closed.len(), keys);
    driver.end().unwrap();
    assert_eq!(driver.read::<Windowed<String>, Option<i64>>("out").unwrap().len(), 1);
}

/// What a table has in the end whose changes are held back, or are not; `None` in a step deletes.
fn held_back(
    buffer: Option<Buffer>,
    steps: &[(u8, Option<i64>, i64)],
    commits: &[bool],
) -> BTreeMap<String, i64> {
    let builder = StreamBuilder::new("app");
    let mut table = builder.table::<String, i64>("in", "kept");
    if let Some(buffer) = buffer {
        table = table.suppress(ms(10), buffer, "waiting");
    }
    table.changes().to("out");
    let mut driver = TopologyDriver::new(&builder.build().unwrap(), 2).unwrap();
    driver.hold_commits();
    for (number, (key, value, at_ms)) in steps.iter().enumerate() {
        let key = format!("k{key}");
        match value {
            Some(value) => say(&mut driver, &key, *value, *at_ms),
            None => driver.delete("in", &key, *at_ms).unwrap(),
        }
        if commits.get(number) == Some(&true) {
            driver.commit().unwrap();
        } else if number % 5 == 2 {
            driver.abort().unwrap();
        }
    }
    driver.end().unwrap();
    let newest: BTreeMap<_, _> = sent(&mut driver).into_iter().map(|(key, value, _)| (key, value)).collect();
    newest.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

proptest! {
    #[test]
    fn what_is_held_back_for_a_time_ends_as_what_is_sent_at_once(
        steps in prop::collection::vec((0..6_u8, any::<Option<i64>>(), 0..60_i64), 0..60),
        commits in prop::collection::vec(any::<bool>(), 60),
        records_max in 0..6_usize,
        bytes_max in 0..2_000_usize,
        is_of_bytes in any::<bool>(),
    ) {
        let buffer = if is_of_bytes { Buffer::bytes(bytes_max) } else { Buffer::records(records_max) };
        let at_once = held_back(None, &steps, &commits);
        prop_assert_eq!(held_back(Some(buffer), &steps, &commits), at_once);
    }
}
