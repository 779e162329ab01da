//! Tables by a foreign key.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::super::{StreamBuilder, TopologyDriver};
use super::{Step, driver, put, steps, table, take, values};

/// Of an order: its customer, and what it is worth.
type Order = (Option<String>, i64);

fn topology(partitions: i32) -> TopologyDriver {
    let builder = StreamBuilder::new("app");
    let orders = builder.table::<String, Order>("orders", "kept-orders");
    let customers = builder.table::<String, String>("customers", "kept-customers");
    let customer = |_: &String, order: &Order| order.0.clone();
    let inner = orders.join_foreign(&customers, customer, |_, order, name| (order.1, name), "inner-join");
    inner.changes().to("inner");
    let left = orders.left_join_foreign(&customers, customer, |_, order, name| (order.1, name), "left-join");
    left.changes().to("left");
    builder.stream::<String, i64>("asked").join_table(&inner, |_, _, found| found).to("found");
    driver(builder, partitions)
}

fn order(driver: &mut TopologyDriver, key: &str, of: Option<(&str, i64)>) {
    let of: Option<Order> = of.map(|(customer, worth)| (Some(customer.to_owned()), worth));
    put(driver, "orders", &key.to_owned(), of, 0);
}

fn customer(driver: &mut TopologyDriver, key: &str, name: Option<&str>) {
    put(driver, "customers", &key.to_owned(), name.map(str::to_owned), 0);
}

type Inner = Vec<Option<(i64, String)>>;
type Left = Vec<Option<(i64, Option<String>)>>;

fn read(driver: &mut TopologyDriver) -> (Inner, Left) {
    let inner = values::<String, _>(driver, "inner").into_iter().map(|(_, value)| value).collect();
    (inner, values::<String, _>(driver, "left").into_iter().map(|(_, value)| value).collect())
}

fn named(worth: i64, name: &str) -> Option<(i64, String)> {
    Some((worth, name.to_owned()))
}

fn perhaps_named(worth: i64, name: Option<&str>) -> Option<(i64, Option<String>)> {
    Some((worth, name.map(str::to_owned)))
}

#[test]
fn a_change_of_either_side_reaches_all_that_it_touches() {
    let mut driver = topology(3);
    order(&mut driver, "o", Some(("c", 1)));
    assert_eq!(read(&mut driver), (vec![], vec![perhaps_named(1, None)]));
    customer(&mut driver, "c", Some("Ann"));
    assert_eq!(read(&mut driver), (vec![named(1, "Ann")], vec![perhaps_named(1, Some("Ann"))]));
    order(&mut driver, "o", Some(("c", 2)));
    assert_eq!(read(&mut driver), (vec![named(2, "Ann")], vec![perhaps_named(2, Some("Ann"))]));
    customer(&mut driver, "c", None);
    assert_eq!(read(&mut driver), (vec![None], vec![perhaps_named(2, None)]));
    order(&mut driver, "o", None);
    assert_eq!(read(&mut driver), (vec![], vec![None]));
    customer(&mut driver, "c", Some("Bo"));
    assert_eq!(read(&mut driver), (vec![], vec![]), "nobody asks any more");
}

#[test]
fn a_foreign_key_that_changes_is_one_change_of_the_joined_table() {
    let mut driver = topology(3);
    for (key, name) in [("c", "Ann"), ("d", "Bo")] {
        customer(&mut driver, key, Some(name));
    }
    order(&mut driver, "o", Some(("c", 1)));
    read(&mut driver);
    order(&mut driver, "o", Some(("d", 1)));
    assert_eq!(read(&mut driver), (vec![named(1, "Bo")], vec![perhaps_named(1, Some("Bo"))]));
    order(&mut driver, "o", Some(("e", 1)));
    assert_eq!(read(&mut driver), (vec![None], vec![perhaps_named(1, None)]));
    customer(&mut driver, "d", Some("Bob"));
    assert_eq!(read(&mut driver), (vec![], vec![]), "it has left that customer");
    let subscriptions = driver.all::<Bytes, Bytes>("inner-join-subscriptions").unwrap();
    assert_eq!(subscriptions.len(), 1, "at the customer that it names now");
    order(&mut driver, "o", None);
    assert!(driver.all::<Bytes, Bytes>("inner-join-subscriptions").unwrap().is_empty());
}

#[test]
fn an_answer_that_is_outdated_when_it_comes_is_dropped() {
    let mut driver = topology(3);
    customer(&mut driver, "c", Some("Ann"));
    customer(&mut driver, "d", Some("Bo"));
    driver.hold_commits();
    // All of it is under way before the first answer comes back.
    for (to, worth) in [("c", 1), ("d", 2), ("c", 3), ("d", 4), ("c", 5)] {
        order(&mut driver, "o", Some((to, worth)));
    }
    driver.commit().unwrap();
    assert_eq!(read(&mut driver), (vec![named(5, "Ann")], vec![perhaps_named(5, Some("Ann"))]));
    order(&mut driver, "o", Some(("d", 6)));
    order(&mut driver, "o", None);
    driver.commit().unwrap();
    assert_eq!(read(&mut driver), (vec![None], vec![None]));
}

#[test]
fn a_row_without_a_foreign_key_is_in_the_left_join_alone() {
    let mut driver = topology(3);
    customer(&mut driver, "c", Some("Ann"));
    put::<String, Order>(&mut driver, "orders", &"o".to_owned(), Some((None, 1)), 0);
    assert_eq!(read(&mut driver), (vec![], vec![perhaps_named(1, None)]));
    order(&mut driver, "o", Some(("c", 2)));
    assert_eq!(read(&mut driver), (vec![named(2, "Ann")], vec![perhaps_named(2, Some("Ann"))]));
    put::<String, Order>(&mut driver, "orders", &"o".to_owned(), Some((None, 3)), 0);
    assert_eq!(read(&mut driver), (vec![None], vec![perhaps_named(3, None)]));
}

#[test]
fn the_topics_of_a_foreign_key_join_are_cut_as_those_that_they_lead_to() {
    let builder = StreamBuilder::new("app");
    let orders = builder.table::<String, Order>("orders", "kept-orders");
    let customers = builder.table::<String, String>("customers", "kept-customers");
    let customer = |_: &String, order: &Order| order.0.clone();
    orders.join_foreign(&customers, customer, |_, order, name| (order.1, name), "j").changes().to("out");
    let topology = builder.build().unwrap();
    let known = |topic: &str| Some(if topic == "orders" { 5 } else { 2 });
    let counts = super::super::super::graph::PartitionCounts::new(&topology, known).unwrap();
    assert_eq!(counts.of("app-j-subscription-repartition"), 2);
    assert_eq!(counts.of("app-j-answer-repartition"), 5);
    let tasks: Vec<i32> = topology.parts.iter().map(|part| counts.tasks(part)).collect();
    assert_eq!(tasks, [5, 2]);
}

#[test]
fn time_goes_on_though_records_go_in_a_circle() {
    let mut driver = topology(1);
    for at_ms in [10, 20] {
        put::<String, Order>(&mut driver, "orders", &"o".to_owned(), Some((Some("c".to_owned()), 1)), at_ms);
        put(&mut driver, "customers", &"c".to_owned(), Some("Ann".to_owned()), at_ms);
        put(&mut driver, "asked", &"o".to_owned(), Some(1_i64), at_ms);
    }
    assert_eq!(driver.times_ms(), [20, 20]);
}

#[test]
fn a_table_may_be_joined_with_itself() {
    let builder = StreamBuilder::new("app");
    let people = builder.table::<String, (Option<String>, String)>("people", "kept");
    let heads = people.join_foreign(
        &people,
        |_, person| person.0.clone(),
        |_, person, head| format!("{} under {}", person.1, head.1),
        "heads",
    );
    heads.changes().to("out");
    let mut driver = driver(builder, 2);
    let person = |driver: &mut TopologyDriver, key: &str, head: Option<&str>, at_ms| {
        let person = (head.map(str::to_owned), key.to_uppercase());
        put(driver, "people", &key.to_owned(), Some(person), at_ms);
    };
    person(&mut driver, "ann", Some("bo"), 1);
    person(&mut driver, "bo", None, 2);
    person(&mut driver, "cy", Some("bo"), 3);
    person(&mut driver, "bo", Some("bo"), 4);
    let found: BTreeMap<String, String> = table(&mut driver, "out");
    let wanted = [("ann", "ANN under BO"), ("bo", "BO under BO"), ("cy", "CY under BO")];
    assert_eq!(found, wanted.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
}

#[derive(Clone, Debug)]
enum Put {
    Order(u8, Option<(Option<u8>, i8)>),
    Customer(u8, Option<u8>),
    Ask(u8),
}

fn puts() -> impl Strategy<Value = Put> {
    let of_order = prop::option::weighted(0.8, (prop::option::weighted(0.8, 0..3_u8), any::<i8>()));
    prop_oneof![
        3 => (0..4_u8, of_order).prop_map(|(key, order)| Put::Order(key, order)),
        2 => (0..3_u8, any::<Option<u8>>()).prop_map(|(key, name)| Put::Customer(key, name)),
        1 => (0..4_u8).prop_map(Put::Ask),
    ]
}

proptest! {
    #[test]
    fn joined_tables_are_the_join_of_the_tables_by_foreign_key_whoever_was_killed(steps in steps(puts(), 60)) {
        let mut driver = topology(3);
        let (mut orders, mut customers) = (BTreeMap::new(), BTreeMap::new());
        for step in &steps {
            match step {
                Step::Do(Put::Order(key, order)) => drop(orders.insert(key.to_string(), *order)),
                Step::Do(Put::Customer(key, name)) => drop(customers.insert(*key, *name)),
                Step::Do(Put::Ask(_)) | Step::Commit | Step::Abort | Step::LoseStores => {}
            }
        }
        take(&mut driver, steps, |driver, put_| match put_ {
            Put::Order(key, order) => {
                let order = order.map(|(customer, worth)| (customer.map(|it| it.to_string()), i64::from(worth)));
                put::<String, Order>(driver, "orders", &key.to_string(), order, 0);
            }
            Put::Customer(key, name) => {
                put(driver, "customers", &key.to_string(), name.map(|name| name.to_string()), 0);
            }
            Put::Ask(key) => put(driver, "asked", &key.to_string(), Some(0_i64), 0),
        });
        let left: BTreeMap<String, (i64, Option<String>)> = orders
            .iter()
            .filter_map(|(key, order)| {
                let (customer, worth) = (*order)?;
                let name = customer.and_then(|it| *customers.get(&it)?);
                Some((key.clone(), (i64::from(worth), name.map(|name: u8| name.to_string()))))
            })
            .collect();
        let inner: BTreeMap<String, (i64, String)> =
            left.iter().filter_map(|(key, (worth, name))| Some((key.clone(), (*worth, name.clone()?)))).collect();
        prop_assert_eq!(table(&mut driver, "left"), left);
        let found: BTreeMap<_, _> = table(&mut driver, "inner");
        prop_assert_eq!(&found, &inner);
        values::<String, (i64, String)>(&mut driver, "found");
        for key in orders.keys() {
            put(&mut driver, "asked", key, Some(0_i64), 0);
        }
        driver.commit().unwrap();
        let found: BTreeMap<_, _> = values(&mut driver, "found").into_iter().collect();
        prop_assert_eq!(found, inner);
    }
}
