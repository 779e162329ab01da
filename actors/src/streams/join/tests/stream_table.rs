//! A stream with a table.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::super::StreamBuilder;
use super::{Step, driver, put, steps, take, values};

fn topology(partitions: i32) -> super::TopologyDriver {
    let builder = StreamBuilder::new("app");
    let prices = builder.table::<String, i64>("prices", "kept").filter(|_, price| *price > 0);
    let orders = builder.stream::<String, i64>("orders");
    orders.join_table(&prices, |_, count, price| count * price).to("inner");
    orders.left_join_table(&prices, |_, count, price| count * price.unwrap_or(-1)).to("left");
    driver(builder, partitions)
}

#[test]
fn a_record_meets_what_the_table_has_of_its_key_when_it_comes() {
    let mut driver = topology(3);
    let order =
        |driver: &mut _, key: &str, count: i64| put(driver, "orders", &key.to_owned(), Some(count), 1);
    let price =
        |driver: &mut _, key: &str, price| put::<String, i64>(driver, "prices", &key.to_owned(), price, 1);
    order(&mut driver, "a", 1);
    price(&mut driver, "a", Some(10));
    order(&mut driver, "a", 2);
    order(&mut driver, "b", 3);
    price(&mut driver, "a", Some(20));
    order(&mut driver, "a", 4);
    price(&mut driver, "a", None);
    order(&mut driver, "a", 5);
    price(&mut driver, "a", Some(0));
    order(&mut driver, "a", 6);
    let of = |wanted: &[(&str, i64)]| -> Vec<(String, i64)> {
        wanted.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
    };
    let mut inner = values(&mut driver, "inner");
    inner.sort();
    assert_eq!(inner, of(&[("a", 20), ("a", 80)]));
    let mut left = values(&mut driver, "left");
    left.sort();
    assert_eq!(left, of(&[("a", -6), ("a", -5), ("a", -1), ("a", 20), ("a", 80), ("b", -3)]));
}

#[test]
fn a_record_meets_the_table_as_it_was_at_its_time_where_both_wait() {
    let mut driver = topology(1);
    driver.hold_commits();
    let key = "a".to_owned();
    // Neither is processed before the other is there: what is not committed is done again.
    put(&mut driver, "orders", &key, Some(1_i64), 20);
    put(&mut driver, "prices", &key, Some(10_i64), 10);
    driver.abort().unwrap();
    driver.commit().unwrap();
    assert_eq!(values(&mut driver, "inner"), [(key, 10_i64)]);
}

#[test]
fn a_stream_whose_key_was_changed_has_to_be_repartitioned_first() {
    let builder = StreamBuilder::new("app");
    let table = builder.table::<String, i64>("prices", "kept");
    let stream = builder.stream::<String, i64>("orders").select_key(|_, value| value.to_string());
    stream.join_table(&table, |_, left, right| left + right).to("out");
    let error = builder.build().unwrap_err().to_string();
    assert!(error.contains("\"select-key-2\"") && error.contains("call repartition() on it"), "{error}");
    let builder = StreamBuilder::new("app");
    let table = builder.table::<String, i64>("prices", "kept");
    let stream = builder.stream::<String, i64>("orders").select_key(|_, value| value.to_string());
    stream.repartition("by-value").join_table(&table, |_, left, right| left + right).to("out");
    let mut driver = driver(builder, 3);
    put(&mut driver, "prices", &"7".to_owned(), Some(1_i64), 0);
    put(&mut driver, "orders", &"a".to_owned(), Some(7_i64), 0);
    assert_eq!(values(&mut driver, "out"), [("7".to_owned(), 8_i64)]);
}

#[test]
fn topics_that_are_joined_and_cut_differently_are_told_with_what_to_do() {
    let builder = StreamBuilder::new("app");
    let table = builder.table::<String, i64>("prices", "kept");
    builder.stream::<String, i64>("orders").join_table(&table, |_, left, right| left + right).to("out");
    let topology = builder.build().unwrap();
    let counts = super::super::super::graph::PartitionCounts::new(&topology, |topic| {
        Some(if topic == "orders" { 4 } else { 3 })
    });
    let error = counts.unwrap_err().to_string();
    assert!(error.contains("\"orders\" has 4, \"prices\" has 3"), "{error}");
    assert!(error.contains("repartition()"), "{error}");
}

#[test]
fn time_goes_on_though_a_stream_comes_back_to_a_table_by_way_of_another_task() {
    let builder = StreamBuilder::new("app");
    let table = builder.table::<String, i64>("prices", "kept");
    let counts = builder.stream::<String, i64>("orders").join_table(&table, |_, left, right| left + right);
    let counts = counts.group_by(|_, value| *value, "by-value").count("counts").to_stream();
    let back = counts.map(|value, count| (value.to_string(), count)).repartition("back");
    back.join_table(&table, |_, count, price| count + price).to("out");
    let mut driver = driver(builder, 1);
    for at_ms in [10, 20] {
        put(&mut driver, "prices", &"3".to_owned(), Some(1_i64), at_ms);
        put(&mut driver, "orders", &"3".to_owned(), Some(2_i64), at_ms);
    }
    assert_eq!(driver.times_ms(), [20, 20]);
    assert_eq!(values(&mut driver, "out"), [("3".to_owned(), 2_i64), ("3".to_owned(), 3)]);
}

#[test]
fn what_is_of_two_builders_is_not_put_together() {
    let (one, other) = (StreamBuilder::new("app"), StreamBuilder::new("app"));
    let table = other.table::<String, i64>("prices", "kept");
    one.stream::<String, i64>("orders").join_table(&table, |_, left, right| left + right).to("out");
    for builder in [one, other] {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains("of two builders"), "{error}");
    }
}

proptest! {
    #[test]
    fn each_record_meets_the_table_as_it_was_then_whoever_was_killed(
        sent in steps((any::<bool>(), 0..4_u8, prop::option::weighted(0.7, -2..9_i64)), 60),
    ) {
        let mut driver = topology(3);
        let (mut prices, mut inner, mut left) = (BTreeMap::new(), Vec::new(), Vec::new());
        for step in &sent {
            match step {
                Step::Do((true, key, Some(price))) => drop(prices.insert(*key, *price)),
                Step::Do((true, key, None)) => drop(prices.remove(key)),
                Step::Do((false, key, count)) => {
                    let (key, count) = (*key, count.unwrap_or(1));
                    let price = prices.get(&key).copied().filter(|price| *price > 0);
                    inner.extend(price.map(|price| (key.to_string(), count * price)));
                    left.push((key.to_string(), count * price.unwrap_or(-1)));
                }
                Step::Commit | Step::Abort | Step::LoseStores => {}
            }
        }
        // Each has a later time than what was sent before it: so it is met when all of it is done again, too.
        let mut at_ms = 0;
        take(&mut driver, sent, |driver, (is_price, key, value)| {
            at_ms += 1;
            match is_price {
                true => put(driver, "prices", &key.to_string(), value, at_ms),
                false => put(driver, "orders", &key.to_string(), Some(value.unwrap_or(1)), at_ms),
            }
        });
        let by_key = |mut all: Vec<(String, i64)>| {
            all.sort_by(|one, other| one.0.cmp(&other.0));
            all
        };
        prop_assert_eq!(by_key(values(&mut driver, "inner")), by_key(inner));
        prop_assert_eq!(by_key(values(&mut driver, "left")), by_key(left));
    }
}
