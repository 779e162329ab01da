//! Windows behind windows: what the first send late is in time for the second.

use super::super::super::{GroupedStream, Stored, Table};
use super::*;

type Count = Table<Windowed<String>, i64>;
type Way = fn(&GroupedStream<String, i64>) -> Count;

/// Counts in the ways of `first`, puts the results into windows of 100 ms, and counts those.
fn counted(first: Way, is_scattered: bool, times: &[i64]) -> (Results, u64) {
    let mut driver = driver(|builder| {
        let results = first(&builder.stream::<String, i64>("in").group_by_key("g")).to_stream();
        let windows = Tumbling::of(ms(100));
        if is_scattered {
            let again = results.group_by(|key, _| key.key.clone(), "again");
            again.windowed_by(windows).count("second").changes().to("out");
        } else {
            results.group_by_key("same").windowed_by(windows).count("second").changes().to("of windows");
        }
    });
    driver.hold_commits();
    for (number, at_ms) in times.iter().enumerate() {
        say(&mut driver, "a", *at_ms);
        if number % 3 == 2 {
            driver.commit().unwrap();
        }
    }
    driver.end().unwrap();
    (results(&mut driver), driver.counts().late)
}

#[test]
fn results_that_are_held_back_are_not_late_for_windows_behind_them() {
    let ways: [Way; 5] = [
        |it| it.windowed_by(Tumbling::of(ms(10)).grace(ms(40))).emit(Emit::OnClose).count("first"),
        |it| it.windowed_by(Sliding::of(ms(10)).grace(ms(40))).emit(Emit::OnClose).count("first"),
        |it| it.windowed_by(Session::gap(ms(10)).grace(ms(40))).emit(Emit::OnClose).count("first"),
        |it| it.windowed_by(Tumbling::of(ms(10)).grace(ms(40))).count("first").suppress_until_close("final"),
        |it| it.windowed_by(Tumbling::of(ms(10))).count(Stored::from("first").cached(100_000)),
    ];
    for (number, way) in ways.into_iter().enumerate() {
        for is_scattered in [false, true] {
            let (found, late) = counted(way, is_scattered, &[0, 20, 95, 120, 1_000, 1_001, 90_000]);
            assert_eq!(late, 0, "way {number}, {is_scattered}");
            if is_scattered {
                let in_first = found.iter().rfind(|(_, start_ms, ..)| *start_ms == 0).and_then(|it| it.3);
                assert_eq!(in_first, Some(3), "way {number}: {found:?}");
            }
        }
    }
}
