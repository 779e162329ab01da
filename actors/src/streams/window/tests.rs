//! Windows record by record, at their bounds.

use std::time::Duration;

use super::super::{Event, StreamBuilder, Topology, TopologyDriver};
use super::{Emit, Hopping, Session, Sliding, Tumbling, Window, Windowed};

mod chained;
mod cogrouped;
mod finals;
mod look_up;
mod restart;

type Results = Vec<(String, i64, i64, Option<i64>)>;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A topology of one input, `in`, and one output, `out`, that counts.
fn driver(count: impl FnOnce(&StreamBuilder)) -> TopologyDriver {
    let builder = StreamBuilder::new("app");
    count(&builder);
    TopologyDriver::new(&builder.build().unwrap(), 1).unwrap()
}

fn tumbling(grace_ms: u64, emit: Emit) -> TopologyDriver {
    driver(|builder| {
        let grouped = builder.stream::<String, i64>("in").group_by_key("g");
        let windows = Tumbling::of(ms(10)).grace(ms(grace_ms));
        let table = grouped.windowed_by(windows).emit(emit).late_to("late").count("counts");
        table.changes().to("out");
    })
}

fn say(driver: &mut TopologyDriver, key: &str, at_ms: i64) {
    driver.send("in", &key.to_owned(), &1_i64, at_ms).unwrap();
}

/// What was sent since this was last asked: key, start, end, value.
fn results(driver: &mut TopologyDriver) -> Results {
    let events = driver.read::<Windowed<String>, Option<i64>>("out").unwrap();
    let each = events.into_iter().map(|event| {
        let Windowed { key, window: Window { start_ms, end_ms } } = event.key;
        (key, start_ms, end_ms, event.value)
    });
    each.collect()
}

fn of_a(wanted: &[(i64, i64, i64)]) -> Results {
    wanted
        .iter()
        .map(|(start_ms, end_ms, count)| ("a".to_owned(), *start_ms, *end_ms, Some(*count)))
        .collect()
}

fn problems(write: impl FnOnce(&StreamBuilder)) -> String {
    let builder = StreamBuilder::new("app");
    write(&builder);
    builder.build().map(|topology: Topology| topology.describe()).unwrap_err().to_string()
}

#[test]
fn a_tumbling_window_begins_with_its_start_and_ends_before_its_end() {
    let mut driver = tumbling(0, Emit::OnUpdate);
    for at_ms in [0, 9, 10, 19, 20] {
        say(&mut driver, "a", at_ms);
    }
    let wanted = [(0, 10, 1), (0, 10, 2), (10, 20, 1), (10, 20, 2), (20, 30, 1)];
    assert_eq!(results(&mut driver), of_a(&wanted));
}

#[test]
fn windows_before_1970_are_as_those_after() {
    let mut driver = tumbling(0, Emit::OnUpdate);
    for at_ms in [-11, -10, -1, 0] {
        say(&mut driver, "a", at_ms);
    }
    assert_eq!(results(&mut driver), of_a(&[(-20, -10, 1), (-10, 0, 1), (-10, 0, 2), (0, 10, 1)]));
}

#[test]
fn a_window_takes_records_until_stream_time_reaches_its_end_and_grace() {
    let mut driver = tumbling(5, Emit::OnUpdate);
    for at_ms in [1, 14, 2, 15, 3] {
        say(&mut driver, "a", at_ms);
    }
    assert_eq!(results(&mut driver), of_a(&[(0, 10, 1), (10, 20, 1), (0, 10, 2), (10, 20, 2)]));
    assert_eq!(driver.counts().late, 1);
    let late = driver.read_records("late");
    let headers = late[0].headers.iter().map(|header| {
        let value = header.value.clone().unwrap_or_default();
        format!("{}={}", String::from_utf8_lossy(&header.name), String::from_utf8_lossy(&value))
    });
    let wanted = [
        "late.reason=its window has closed",
        "late.window.start.ms=0",
        "late.window.end.ms=10",
        "late.windows=1 of 1",
        "late.stream.time.ms=15",
    ];
    assert_eq!(headers.collect::<Vec<_>>(), wanted);
    assert_eq!((late.len(), late[0].timestamp_ms), (1, 3));
}

#[test]
fn on_close_a_window_is_sent_once_with_all_that_came_in_time() {
    let mut driver = tumbling(5, Emit::OnClose);
    for at_ms in [1, 14, 2] {
        say(&mut driver, "a", at_ms);
    }
    assert_eq!(results(&mut driver), []);
    say(&mut driver, "b", 15);
    assert_eq!(results(&mut driver), of_a(&[(0, 10, 2)]));
    say(&mut driver, "a", 3);
    say(&mut driver, "a", 16);
    assert_eq!(results(&mut driver), []);
    driver.end().unwrap();
    let mut wanted = of_a(&[(10, 20, 2)]);
    wanted.push(("b".to_owned(), 10, 20, Some(1)));
    assert_eq!(results(&mut driver), wanted);
}

#[test]
fn what_is_sent_on_close_is_of_the_last_time_of_its_window() {
    let mut driver = tumbling(5, Emit::OnClose);
    say(&mut driver, "a", 1);
    driver.end().unwrap();
    let events: Vec<Event<Windowed<String>, Option<i64>>> = driver.read("out").unwrap();
    assert_eq!(events[0].timestamp_ms, 9);
}

#[test]
fn hopping_windows_that_overlap_count_a_record_each_and_are_late_each_by_itself() {
    let mut driver = driver(|builder| {
        let grouped = builder.stream::<String, i64>("in").group_by_key("g");
        let table = grouped.windowed_by(Hopping::of(ms(10), ms(4))).late_to("late").count("counts");
        table.changes().to("out");
    });
    say(&mut driver, "a", 8);
    assert_eq!(results(&mut driver), of_a(&[(0, 10, 1), (4, 14, 1), (8, 18, 1)]));
    say(&mut driver, "b", 10);
    results(&mut driver);
    say(&mut driver, "a", 9);
    assert_eq!(results(&mut driver), of_a(&[(4, 14, 2), (8, 18, 2)]));
    assert_eq!(driver.counts().late, 1);
    let late = driver.read_records("late");
    let is_count = |header: &&crate::record::Header| header.name.as_ref() == b"late.windows";
    let count = late[0].headers.iter().find(is_count).and_then(|header| header.value.clone());
    assert_eq!(count.unwrap().as_ref(), b"1 of 3");
}

fn sliding(grace_ms: u64, emit: Emit) -> TopologyDriver {
    driver(|builder| {
        let grouped = builder.stream::<String, i64>("in").group_by_key("g");
        let windows = Sliding::of(ms(10)).grace(ms(grace_ms));
        grouped.windowed_by(windows).emit(emit).count("counts").changes().to("out");
    })
}

#[test]
fn sliding_windows_end_with_each_record_and_begin_behind_each_that_others_follow() {
    let mut driver = sliding(0, Emit::OnUpdate);
    say(&mut driver, "a", 100);
    assert_eq!(results(&mut driver), of_a(&[(90, 100, 1)]));
    say(&mut driver, "a", 110);
    assert_eq!(results(&mut driver), of_a(&[(101, 111, 1), (100, 110, 2)]));
    say(&mut driver, "a", 111);
    // The one that ends with it is that which began behind the first.
    assert_eq!(results(&mut driver), of_a(&[(101, 111, 2), (111, 121, 1)]));
    say(&mut driver, "a", 122);
    assert_eq!(results(&mut driver), of_a(&[(112, 122, 1)]));
}

#[test]
fn a_sliding_window_is_closed_when_its_end_and_grace_have_passed() {
    let mut driver = sliding(5, Emit::OnClose);
    say(&mut driver, "a", 100);
    say(&mut driver, "b", 105);
    say(&mut driver, "a", 100);
    assert_eq!(results(&mut driver), []);
    say(&mut driver, "b", 106);
    assert_eq!(results(&mut driver), of_a(&[(90, 100, 2)]));
    say(&mut driver, "a", 100);
    assert_eq!(driver.counts().late, 1);
}

fn sessions(grace_ms: u64, emit: Emit) -> TopologyDriver {
    driver(|builder| {
        let grouped = builder.stream::<String, i64>("in").group_by_key("g");
        let windows = Session::gap(ms(10)).grace(ms(grace_ms));
        grouped.windowed_by(windows).emit(emit).count("counts").changes().to("out");
    })
}

#[test]
fn a_session_goes_on_with_a_record_at_its_gap_and_two_become_one_by_a_record_between() {
    let mut driver = sessions(100, Emit::OnUpdate);
    say(&mut driver, "a", 0);
    say(&mut driver, "a", 10);
    say(&mut driver, "a", 21);
    let gone = |start_ms, end_ms| ("a".to_owned(), start_ms, end_ms, None);
    let one = |start_ms, end_ms, count| ("a".to_owned(), start_ms, end_ms, Some(count));
    assert_eq!(results(&mut driver), [one(0, 0, 1), gone(0, 0), one(0, 10, 2), one(21, 21, 1)]);
    say(&mut driver, "a", 15);
    assert_eq!(results(&mut driver), [gone(0, 10), gone(21, 21), one(0, 21, 4)]);
    say(&mut driver, "a", 3);
    assert_eq!(results(&mut driver), [one(0, 21, 5)]);
}

#[test]
fn a_session_is_closed_when_its_gap_and_grace_have_passed_and_no_record_opens_it() {
    let mut driver = sessions(5, Emit::OnClose);
    say(&mut driver, "a", 0);
    say(&mut driver, "b", 15);
    say(&mut driver, "a", 0);
    assert_eq!(results(&mut driver), []);
    say(&mut driver, "b", 16);
    assert_eq!(results(&mut driver), of_a(&[(0, 0, 2)]));
    say(&mut driver, "a", 0);
    assert_eq!(driver.counts().late, 1);
    // It borders on the closed one, and is of one of its own.
    say(&mut driver, "a", 10);
    driver.end().unwrap();
    assert_eq!(
        results(&mut driver),
        [of_a(&[(10, 10, 1)]), vec![("b".to_owned(), 15, 16, Some(2))]].concat()
    );
}

#[test]
fn a_session_that_grew_around_a_closed_one_goes_on_growing() {
    let mut driver = sessions(5, Emit::OnUpdate);
    for at_ms in [117, 133, 118, 108] {
        say(&mut driver, "a", at_ms);
    }
    results(&mut driver);
    say(&mut driver, "a", 98);
    assert_eq!(results(&mut driver), [("a".to_owned(), 108, 118, None), ("a".to_owned(), 98, 118, Some(3))]);
}

#[test]
fn lengths_that_cannot_be_are_problems_of_the_topology() {
    let error = problems(|builder| {
        let grouped = builder.stream::<String, i64>("in").group_by_key("g");
        grouped.windowed_by(Tumbling::of(ms(0))).count("a");
        grouped.windowed_by(Hopping::of(ms(10), ms(0))).count("b");
        grouped.windowed_by(Hopping::of(ms(10), ms(11))).count("c");
        grouped.windowed_by(Sliding::of(ms(0))).count("d");
        grouped.windowed_by(Session::gap(ms(0))).count("e");
        grouped.windowed_by(Session::gap(Duration::MAX)).count("f");
        grouped.windowed_by(Tumbling::of(Duration::from_micros(1_500))).count("g2");
        grouped.windowed_by(Tumbling::of(ms(10)).grace(ms(5)).retention(ms(14))).count("h");
    });
    for text in [
        "the size of windows is less than 1 ms",
        "the advance of windows is less than 1 ms",
        "the advance of windows, 11 ms, is more than their size",
        "the time difference of windows is less than 1 ms",
        "the gap of sessions is less than 1 ms",
        "the gap of sessions is longer than",
        "the size of windows is no whole number of milliseconds: 1.5ms",
        "the retention of windows, 14 ms, is less than their windows and grace need: 15 ms",
    ] {
        assert!(error.contains(text), "{text}: {error}");
    }
}

#[test]
fn a_time_whose_window_cannot_be_written_is_an_error_of_its_record() {
    for make in [tumbling, sliding, sessions] {
        for at_ms in [i64::MAX, i64::MAX - 9, i64::MIN, i64::MIN + 1] {
            let mut driver = make(0, Emit::OnUpdate);
            let sent = driver.send("in", &"a".to_owned(), &1_i64, at_ms);
            let is_refused =
                matches!(&sent, Err(error) if error.to_string().contains("no numbers of 64 bits"));
            assert!(is_refused, "{at_ms}: {sent:?}");
        }
        let mut driver = make(0, Emit::OnUpdate);
        for at_ms in [i64::MIN + 30, i64::MAX - 30] {
            say(&mut driver, "a", at_ms);
        }
        assert_eq!(results(&mut driver).len(), 2);
    }
}

#[test]
fn a_suppressed_window_is_sent_once_when_it_closes_and_a_kill_changes_nothing() {
    let mut driver = driver(|builder| {
        let grouped = builder.stream::<String, i64>("in").group_by_key("g");
        let windows = Tumbling::of(ms(10)).grace(ms(5));
        let table = grouped.windowed_by(windows).count("counts");
        table.filter(|_, count| *count > 1).suppress_until_close("final").changes().to("out");
    });
    for at_ms in [1, 2, 12, 3, 14] {
        say(&mut driver, "a", at_ms);
        driver.abort().unwrap();
    }
    assert_eq!(results(&mut driver), []);
    say(&mut driver, "a", 15);
    assert_eq!(results(&mut driver), of_a(&[(0, 10, 3)]));
    driver.abort().unwrap();
    driver.end().unwrap();
    assert_eq!(results(&mut driver), of_a(&[(10, 20, 3)]));
}

#[test]
fn suppress_until_close_needs_windows_before_it() {
    let error = problems(|builder| {
        builder
            .table::<Windowed<String>, i64>("in", "kept")
            .suppress_until_close("final")
            .changes()
            .to("out");
    });
    assert!(
        error.contains("\"final\" waits for windows to close, but no windowed aggregate is before it"),
        "{error}"
    );
}
