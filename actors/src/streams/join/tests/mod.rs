//! Joins over topologies that run record by record, and against what a few loops over all records find.

mod foreign_key;
mod stream_global;
mod stream_stream;
mod stream_table;
mod table_table;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{Coded, StreamBuilder, TopologyDriver};

/// What a test does with a driver.
#[derive(Clone, Debug)]
pub(super) enum Step<T> {
    Do(T),
    Commit,
    Abort,
    LoseStores,
}

/// Steps, most of which are something to do.
pub(super) fn steps<T: std::fmt::Debug + Clone + 'static>(
    each: impl Strategy<Value = T> + 'static,
    most: usize,
) -> impl Strategy<Value = Vec<Step<T>>> {
    let step = prop_oneof![
        16 => each.prop_map(Step::Do),
        2 => Just(Step::Commit),
        2 => Just(Step::Abort),
        1 => Just(Step::LoseStores),
    ];
    prop::collection::vec(step, 0..most)
}

/// Takes all steps, with commits at those that say so alone, and at the end.
pub(super) fn take<T>(
    driver: &mut TopologyDriver,
    steps: Vec<Step<T>>,
    mut each: impl FnMut(&mut TopologyDriver, T),
) {
    driver.hold_commits();
    for step in steps {
        match step {
            Step::Do(what) => each(driver, what),
            Step::Commit => driver.commit().unwrap(),
            Step::Abort => driver.abort().unwrap(),
            Step::LoseStores => driver.lose_stores().unwrap(),
        }
    }
    driver.commit().unwrap();
}

pub(super) fn driver(builder: StreamBuilder, partitions: i32) -> TopologyDriver {
    TopologyDriver::new(&builder.build().unwrap(), partitions).unwrap()
}

/// Puts a key into a table's topic, or deletes it.
pub(super) fn put<K: Coded, V: Coded>(
    driver: &mut TopologyDriver,
    topic: &str,
    key: &K,
    value: Option<V>,
    at_ms: i64,
) {
    match value {
        Some(value) => driver.send(topic, key, &value, at_ms).unwrap(),
        None => driver.delete(topic, key, at_ms).unwrap(),
    }
}

/// All values that came out of a topic, by partition and in order.
pub(super) fn values<K: Coded, V: Coded>(driver: &mut TopologyDriver, topic: &str) -> Vec<(K, V)> {
    let events = driver.read::<K, V>(topic).unwrap();
    events.into_iter().map(|event| (event.key, event.value)).collect()
}

/// What a topic of changes says that a table is.
pub(super) fn table<K: Coded + Ord, V: Coded>(driver: &mut TopologyDriver, topic: &str) -> BTreeMap<K, V> {
    let mut table = BTreeMap::new();
    for (key, value) in values::<K, Option<V>>(driver, topic) {
        match value {
            Some(value) => table.insert(key, value),
            None => table.remove(&key),
        };
    }
    table
}
