//! Results that are held back.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{Event, Stored, StreamBuilder, TopologyDriver};

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

/// A table of sums, sent as it is or held back.
fn sums(stored: Stored<String, i64>) -> TopologyDriver {
    let builder = StreamBuilder::new("app");
    let grouped = builder.stream::<String, i64>("in").group_by_key("g");
    grouped.reduce(|one, other| one + other, stored).changes().to("out");
    TopologyDriver::new(&builder.build().unwrap(), 2).unwrap()
}

#[test]
fn results_of_a_key_are_sent_once_a_commit_where_they_are_held_back() {
    let mut driver = sums(Stored::from("sums").cached(10_000));
    driver.hold_commits();
    for value in [1, 2, 3] {
        say(&mut driver, "a", value, value);
    }
    assert_eq!(driver.get::<String, i64>("sums", &"a".to_owned()).unwrap(), Some(6), "the store is ahead");
    driver.commit().unwrap();
    assert_eq!(sent(&mut driver), [one("a", 6, 3)]);
    driver.commit().unwrap();
    assert_eq!(sent(&mut driver), []);
}

#[test]
fn a_budget_that_is_full_sends_all_that_is_held_back() {
    let mut driver = sums(Stored::from("sums").cached(300));
    driver.hold_commits();
    for (key, value) in [("a", 1), ("a", 2), ("b", 3), ("c", 4), ("a", 5)] {
        say(&mut driver, key, value, value);
    }
    driver.commit().unwrap();
    let of_a: Vec<_> = sent(&mut driver).into_iter().filter(|(key, ..)| key == "a").collect();
    assert_eq!(of_a.last(), Some(&one("a", 8, 5)));
    assert!(of_a.len() < 3, "{of_a:?}");
}

/// What a table has in the end in which keys come and go with their sums: old values must be those that were sent.
fn filtered(bytes_max: Option<usize>, values: &[(u8, i64)], commits: &[bool]) -> Vec<(String, Option<i64>)> {
    let builder = StreamBuilder::new("app");
    let mut stored = Stored::from("sums");
    if let Some(bytes_max) = bytes_max {
        stored = stored.cached(bytes_max);
    }
    let sums = builder.stream::<String, i64>("in").group_by_key("g").reduce(|one, other| one + other, stored);
    sums.filter(|_, sum| sum % 3 != 0).changes().to("out");
    let mut driver = TopologyDriver::new(&builder.build().unwrap(), 2).unwrap();
    driver.hold_commits();
    for (number, (key, value)) in values.iter().enumerate() {
        say(&mut driver, &format!("k{key}"), *value, 0);
        if commits.get(number) == Some(&true) {
            driver.commit().unwrap();
        } else if number % 7 == 3 {
            driver.abort().unwrap();
        }
    }
    driver.commit().unwrap();
    let newest: BTreeMap<_, _> = sent(&mut driver).into_iter().map(|(key, value, _)| (key, value)).collect();
    newest.into_iter().filter(|(_, value)| value.is_some()).collect()
}

proptest! {
    #[test]
    fn what_is_held_back_ends_as_what_is_sent_at_once(
        values in prop::collection::vec((0..5_u8, 0..10_i64), 0..60),
        commits in prop::collection::vec(any::<bool>(), 60),
        bytes_max in 0..2_000_usize,
    ) {
        let at_once = filtered(None, &values, &commits);
        prop_assert_eq!(filtered(Some(bytes_max), &values, &commits), at_once);
    }
}
