//! Streams with streams.

use std::time::Duration;

use super::super::super::window::{Emit, Tumbling};
use super::super::super::{Event, JoinWindows, Stream, StreamBuilder, TopologyDriver};
use super::{driver, put};
use crate::record::Header;

mod any_order;

const fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A result: its key, its time, and both sides.
type Pair = (String, i64, Option<i64>, Option<i64>);

const KINDS: [&str; 3] = ["inner", "left", "outer"];

fn topology(kind: &str, windows: JoinWindows, partitions: i32) -> TopologyDriver {
    let builder = StreamBuilder::new("app");
    let left = builder.stream::<String, i64>("lefts");
    let right = builder.stream::<String, i64>("rights");
    match kind {
        "inner" => left.join(&right, |_, left, right| (Some(left), Some(right)), windows, "join"),
        "left" => left.left_join(&right, |_, left, right| (Some(left), right), windows, "join"),
        _ => left.outer_join(&right, |_, left, right| (left, right), windows, "join"),
    }
    .to("out");
    driver(builder, partitions)
}

fn left(driver: &mut TopologyDriver, value: i64, at_ms: i64) {
    put(driver, "lefts", &"k".to_owned(), Some(value), at_ms);
}

fn right(driver: &mut TopologyDriver, value: i64, at_ms: i64) {
    put(driver, "rights", &"k".to_owned(), Some(value), at_ms);
}

fn read(driver: &mut TopologyDriver) -> Vec<Pair> {
    let events = driver.read::<String, (Option<i64>, Option<i64>)>("out").unwrap();
    events.into_iter().map(|it| (it.key, it.timestamp_ms, it.value.0, it.value.1)).collect()
}

fn pair(at_ms: i64, left: Option<i64>, right: Option<i64>) -> Pair {
    ("k".to_owned(), at_ms, left, right)
}

#[test]
fn records_meet_up_to_the_bounds_of_the_window_and_in_either_order() {
    let windows = JoinWindows::within(milliseconds(0)).before(milliseconds(5)).after(milliseconds(10));
    let windows = windows.grace(milliseconds(100));
    for is_left_first in [true, false] {
        for (right_ms, meets) in [(94, false), (95, true), (100, true), (110, true), (111, false)] {
            let mut driver = topology("inner", windows, 3);
            if is_left_first {
                left(&mut driver, 1, 100);
                right(&mut driver, 2, right_ms);
            } else {
                right(&mut driver, 2, right_ms);
                left(&mut driver, 1, 100);
            }
            let wanted = meets.then(|| pair(right_ms.max(100), Some(1), Some(2)));
            assert_eq!(read(&mut driver), Vec::from_iter(wanted), "{right_ms}");
        }
    }
}

#[test]
fn each_pair_is_one_result_though_keys_and_times_are_alike() {
    let mut driver = topology("inner", JoinWindows::within(milliseconds(5)), 1);
    for value in [1, 2] {
        left(&mut driver, value, 10);
    }
    for value in [3, 4] {
        right(&mut driver, value, 10);
    }
    let mut found = read(&mut driver);
    found.sort();
    let wanted = [(1, 3), (1, 4), (2, 3), (2, 4)];
    assert_eq!(found, wanted.map(|(left, right)| pair(10, Some(left), Some(right))));
}

#[test]
fn who_met_none_is_a_result_once_the_window_has_closed_and_not_before() {
    let windows = JoinWindows::within(milliseconds(10)).grace(milliseconds(5));
    let mut driver = topology("left", windows, 1);
    left(&mut driver, 1, 100);
    // Its window closes when time is past 115; time is the least over both streams.
    left(&mut driver, 2, 200);
    right(&mut driver, 3, 115);
    assert_eq!(read(&mut driver), []);
    right(&mut driver, 4, 110);
    assert_eq!(read(&mut driver), [pair(110, Some(1), Some(4))], "out of order, and in time");
    right(&mut driver, 5, 300);
    assert_eq!(read(&mut driver), [], "it has met one");
    left(&mut driver, 6, 300);
    assert_eq!(read(&mut driver), [pair(300, Some(6), Some(5)), pair(200, Some(2), None)]);
    driver.end().unwrap();
    assert_eq!(read(&mut driver), [], "6 has met 5");
}

#[test]
fn who_met_none_is_sent_at_the_first_millisecond_past_its_window() {
    let windows = JoinWindows::within(milliseconds(10)).grace(milliseconds(5));
    for (right_ms, is_sent) in [(115, false), (116, true)] {
        let mut driver = topology("left", windows, 1);
        left(&mut driver, 1, 100);
        left(&mut driver, 2, 500);
        right(&mut driver, 3, right_ms);
        assert_eq!(read(&mut driver).len(), usize::from(is_sent), "{right_ms}");
    }
}

#[test]
fn a_late_record_is_counted_and_meets_none() {
    let mut driver = topology("outer", JoinWindows::within(milliseconds(10)), 1);
    left(&mut driver, 1, 100);
    right(&mut driver, 2, 100);
    assert_eq!(read(&mut driver), [pair(100, Some(1), Some(2))]);
    right(&mut driver, 3, 90);
    assert_eq!(read(&mut driver), [pair(100, Some(1), Some(3))], "its window closes when time is past 100");
    right(&mut driver, 4, 89);
    driver.end().unwrap();
    assert_eq!(read(&mut driver), []);
    assert_eq!(driver.counts().late, 1);
}

#[test]
fn a_stream_joined_with_itself_meets_itself() {
    let builder = StreamBuilder::new("app");
    let stream = builder.stream::<String, i64>("lefts");
    let windows = JoinWindows::within(milliseconds(10));
    stream.outer_join(&stream, |_, left, right| (left, right), windows, "join").to("out");
    let mut driver = driver(builder, 1);
    left(&mut driver, 1, 0);
    left(&mut driver, 2, 10);
    driver.end().unwrap();
    let mut found = read(&mut driver);
    found.sort();
    let wanted = [(0, 1, 1), (10, 1, 2), (10, 2, 1), (10, 2, 2)];
    assert_eq!(found, wanted.map(|(at_ms, left, right)| pair(at_ms, Some(left), Some(right))));
}

#[test]
fn a_stream_whose_key_was_changed_is_not_joined() {
    let builder = StreamBuilder::new("app");
    let one = builder.stream::<String, i64>("lefts");
    let other = builder.stream::<i64, i64>("rights").map(|key, value| (key.to_string(), value));
    one.join(&other, |_, left, right| left + right, JoinWindows::within(milliseconds(1)), "join").to("out");
    let error = builder.build().unwrap_err().to_string();
    assert!(error.contains("call repartition() on it"), "{error}");
}

#[test]
fn who_met_none_is_not_late_where_it_is_joined_again() {
    for is_repartitioned in [false, true] {
        let builder = StreamBuilder::new("app");
        let through = |stream: Stream<String, i64>, name: &str| match is_repartitioned {
            true => stream.repartition(name),
            false => stream,
        };
        let (left, right) = (builder.stream::<String, i64>("lefts"), builder.stream::<String, i64>("rights"));
        let windows = JoinWindows::within(milliseconds(10));
        let of_sum = |_: &String, left: i64, right: Option<i64>| left + right.unwrap_or(0);
        let first =
            through(left.left_join(&right, of_sum, windows.grace(milliseconds(50)), "first"), "again");
        let third = through(builder.stream::<String, i64>("thirds"), "third");
        first.left_join(&third, |_, left, right| (Some(left), right), windows, "second").to("out");
        let mut driver = driver(builder, 1);
        self::left(&mut driver, 1, 100);
        put(&mut driver, "thirds", &"k".to_owned(), Some(5_i64), 105);
        // It is sent when time is past 160, when windows of the second join that close at 110 could have closed long ago.
        for at_ms in [120, 140, 160, 180, 400, 401] {
            for topic in ["lefts", "rights", "thirds"] {
                put(&mut driver, topic, &"other".to_owned(), Some(0_i64), at_ms);
            }
            if at_ms == 180 {
                assert_eq!(
                    read(&mut driver).into_iter().find(|it| it.0 == "k"),
                    Some(pair(105, Some(1), Some(5)))
                );
            }
        }
        assert_eq!(driver.counts().late, 0, "{is_repartitioned}");
    }
}

#[test]
fn who_met_none_is_in_its_window_behind_the_join() {
    for emit in [Emit::OnUpdate, Emit::OnClose] {
        let builder = StreamBuilder::new("app");
        let (left, right) = (builder.stream::<String, i64>("lefts"), builder.stream::<String, i64>("rights"));
        let windows = JoinWindows::within(milliseconds(10)).grace(milliseconds(50));
        let joined = left.left_join(&right, |_, left, right| left + right.unwrap_or(0), windows, "join");
        let counted = joined.group_by_key("unused").windowed_by(Tumbling::of(milliseconds(20))).emit(emit);
        counted
            .count("counts")
            .to_stream()
            .map(|windowed, count| (windowed.window.start_ms, count))
            .to("out");
        let mut driver = driver(builder, 1);
        for at_ms in (0..500).step_by(5) {
            self::left(&mut driver, 1, at_ms);
            if at_ms % 20 == 0 {
                put(&mut driver, "rights", &"other".to_owned(), Some(1_i64), at_ms);
            }
        }
        driver.end().unwrap();
        assert_eq!(driver.counts().late, 0);
        let counts: std::collections::BTreeMap<i64, i64> = driver
            .read("out")
            .unwrap()
            .into_iter()
            .map(|event: Event<i64, i64>| (event.key, event.value))
            .collect();
        assert_eq!(counts, (0..25).map(|number| (number * 20, 4)).collect(), "{emit:?}");
    }
}

#[test]
fn many_windows_that_close_at_once_are_all_sent() {
    let mut driver = topology("left", JoinWindows::within(milliseconds(10)), 1);
    driver.hold_commits();
    for number in 0..10_000 {
        left(&mut driver, number, number / 100);
    }
    right(&mut driver, 0, 1_000);
    left(&mut driver, 0, 1_000);
    assert_eq!(read(&mut driver).len(), 0);
    driver.commit().unwrap();
    let found = read(&mut driver);
    let wanted = (0..10_000).map(|number| pair(number / 100, Some(number), None));
    assert!(found.into_iter().filter(|it| it.3.is_none()).eq(wanted));
    assert_eq!(driver.counts().late, 0);
}

#[test]
fn a_pair_has_the_headers_of_who_came_last_and_who_met_none_its_own() {
    let mut driver = topology("left", JoinWindows::within(milliseconds(10)), 1);
    let mut send = |topic: &str, value: i64, at_ms: i64| {
        let headers = [Header::new("of", format!("{topic} at {at_ms}"))];
        driver.send_with_headers(topic, &"k".to_owned(), &value, at_ms, headers).unwrap();
    };
    send("lefts", 1, 100);
    send("rights", 2, 105);
    send("lefts", 3, 200);
    send("rights", 4, 300);
    send("lefts", 5, 400);
    driver.end().unwrap();
    let of = |text: &str| vec![Header::new("of", text.to_owned())];
    assert_eq!(driver.headers("out"), [of("rights at 105"), of("lefts at 200"), of("lefts at 400")]);
}

#[test]
fn windows_that_have_closed_are_not_opened_by_an_idle_input_that_counts_again() {
    let mut driver = topology("left", JoinWindows::within(milliseconds(10)), 1);
    driver.idle_max(milliseconds(50)).unwrap();
    left(&mut driver, 1, 100);
    left(&mut driver, 2, 200);
    driver.advance_clock(milliseconds(60)).unwrap();
    left(&mut driver, 3, 200);
    assert_eq!(read(&mut driver), [pair(100, Some(1), None)]);
    driver.abort().unwrap();
    right(&mut driver, 4, 105);
    assert_eq!((read(&mut driver), driver.counts().late), (vec![], 1));
}
