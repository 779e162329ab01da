//! Tables with tables.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::super::StreamBuilder;
use super::{Step, driver, put, steps, table, take, values};

fn topology(partitions: i32) -> super::TopologyDriver {
    let builder = StreamBuilder::new("app");
    let left = builder.table::<String, i64>("left", "kept-left");
    let right = builder.table::<String, i64>("right", "kept-right");
    let inner = left.join(&right, |_, left, right| (left, right));
    inner.changes().to("inner");
    left.left_join(&right, |_, left, right| (left, right)).changes().to("left-joined");
    left.outer_join(&right, |_, left, right| (left, right)).changes().to("outer");
    builder.stream::<String, i64>("asked").join_table(&inner, |_, _, found| found).to("found");
    driver(builder, partitions)
}

#[test]
fn a_change_of_either_side_is_one_of_the_joined_table() {
    let mut driver = topology(1);
    let key = "a".to_owned();
    put(&mut driver, "left", &key, Some(1_i64), 0);
    put(&mut driver, "right", &key, Some(2_i64), 1);
    put(&mut driver, "left", &key, None::<i64>, 2);
    put(&mut driver, "right", &key, None::<i64>, 3);
    let inner = values::<String, Option<(i64, i64)>>(&mut driver, "inner");
    assert_eq!(inner, [(key.clone(), Some((1, 2))), (key.clone(), None)]);
    let left = values::<String, Option<(i64, Option<i64>)>>(&mut driver, "left-joined");
    let wanted = [Some((1, None)), Some((1, Some(2))), None];
    assert_eq!(left, wanted.map(|value| (key.clone(), value)));
    let outer = values::<String, Option<(Option<i64>, Option<i64>)>>(&mut driver, "outer");
    let wanted = [Some((Some(1), None)), Some((Some(1), Some(2))), Some((None, Some(2))), None];
    assert_eq!(outer, wanted.map(|value| (key.clone(), value)));
}

#[test]
fn what_never_was_in_a_joined_table_does_not_leave_it() {
    let mut driver = topology(1);
    let key = "a".to_owned();
    put(&mut driver, "right", &key, Some(2_i64), 0);
    put(&mut driver, "right", &key, None::<i64>, 1);
    put(&mut driver, "left", &key, None::<i64>, 2);
    assert!(values::<String, Option<(i64, i64)>>(&mut driver, "inner").is_empty());
    assert!(values::<String, Option<(i64, Option<i64>)>>(&mut driver, "left-joined").is_empty());
}

#[test]
fn a_joined_table_can_be_looked_up_though_it_is_not_kept() {
    let mut driver = topology(3);
    let key = "a".to_owned();
    put(&mut driver, "left", &key, Some(1_i64), 0);
    put(&mut driver, "asked", &key, Some(0_i64), 1);
    put(&mut driver, "right", &key, Some(2_i64), 2);
    put(&mut driver, "asked", &key, Some(0_i64), 3);
    assert_eq!(values(&mut driver, "found"), [(key, (1_i64, 2_i64))]);
}

type Sides = (BTreeMap<String, i64>, BTreeMap<String, i64>);

proptest! {
    #[test]
    fn joined_tables_are_the_join_of_the_tables_whoever_was_killed(
        changes in steps((any::<bool>(), 0..4_u8, any::<Option<i8>>()), 60),
    ) {
        let mut driver = topology(3);
        let mut sides = Sides::default();
        for change in &changes {
            if let Step::Do((is_left, key, value)) = change {
                let side = if *is_left { &mut sides.0 } else { &mut sides.1 };
                match value {
                    Some(value) => side.insert(key.to_string(), i64::from(*value)),
                    None => side.remove(&key.to_string()),
                };
            }
        }
        take(&mut driver, changes, |driver, (is_left, key, value)| {
            let topic = if is_left { "left" } else { "right" };
            put(driver, topic, &key.to_string(), value.map(i64::from), 0);
        });
        let (left, right) = sides;
        let inner = left.iter().filter_map(|(key, value)| Some((key.clone(), (*value, *right.get(key)?))));
        prop_assert_eq!(table(&mut driver, "inner"), inner.collect::<BTreeMap<_, (i64, i64)>>());
        let of_left = left.iter().map(|(key, value)| (key.clone(), (*value, right.get(key).copied())));
        prop_assert_eq!(table(&mut driver, "left-joined"), of_left.collect::<BTreeMap<_, (i64, Option<i64>)>>());
        let keys = left.keys().chain(right.keys());
        let outer = keys.map(|key| (key.clone(), (left.get(key).copied(), right.get(key).copied())));
        let outer: BTreeMap<String, (Option<i64>, Option<i64>)> = outer.collect();
        prop_assert_eq!(table(&mut driver, "outer"), outer);
    }
}
