//! A stream with a global table.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::super::{StreamBuilder, TopologyDriver};
use super::{driver, put, values};

fn topology() -> TopologyDriver {
    let builder = StreamBuilder::new("app");
    let airports = builder.global_table::<String, String>("airports", "cities");
    let flights = builder.stream::<i64, String>("flights");
    flights.join_global(&airports, |_, code| code.clone(), |_, _, city| city).to("inner");
    let some = |_: &i64, code: &String| (code != "none").then(|| code.clone());
    flights.left_join_global(&airports, some, |_, code, city| (code, city)).to("left");
    driver(builder, 3)
}

#[test]
fn a_stream_meets_a_global_table_by_any_key_in_every_partition() {
    let mut driver = topology();
    for (code, city) in [("JFK", "New York"), ("SFO", "San Francisco"), ("AMS", "Amsterdam")] {
        put(&mut driver, "airports", &code.to_owned(), Some(city.to_owned()), 0);
    }
    for number in 0..20_i64 {
        put(&mut driver, "flights", &number, Some("JFK".to_owned()), 0);
    }
    let found = values::<i64, String>(&mut driver, "inner");
    assert_eq!(found.len(), 20);
    assert!(found.iter().all(|(_, city)| city == "New York"));
    assert_eq!(driver.get::<String, String>("cities", &"AMS".to_owned()).unwrap().unwrap(), "Amsterdam");
}

#[test]
fn what_is_not_in_a_global_table_is_left_out_or_joined_with_none() {
    let mut driver = topology();
    put(&mut driver, "airports", &"JFK".to_owned(), Some("New York".to_owned()), 0);
    put(&mut driver, "airports", &"JFK".to_owned(), None::<String>, 0);
    for code in ["JFK", "none"] {
        put(&mut driver, "flights", &1_i64, Some(code.to_owned()), 0);
    }
    assert!(values::<i64, String>(&mut driver, "inner").is_empty());
    let left = values::<i64, (String, Option<String>)>(&mut driver, "left");
    assert_eq!(left, [(1, ("JFK".to_owned(), None)), (1, ("none".to_owned(), None))]);
}

#[test]
fn a_topic_is_read_once_and_a_name_is_given_once() {
    let builder = StreamBuilder::new("app");
    builder.global_table::<String, String>("topic", "name");
    builder.global_table::<String, String>("other", "name");
    builder.stream::<String, String>("topic").to("out");
    let error = builder.build().unwrap_err().to_string();
    assert!(error.contains("\"topic\" is read twice") && error.contains("\"name\""), "{error}");
}

#[test]
fn a_global_table_is_shown_with_its_topic() {
    let builder = StreamBuilder::new("app");
    let table = builder.global_table::<String, String>("topic", "name");
    builder.stream::<String, String>("in").join_global(&table, |key, _| key.clone(), |_, _, it| it).to("out");
    let topology = builder.build().unwrap();
    assert!(topology.describe().contains("  Global table name (topic topic)\n"), "{}", topology.describe());
    assert!(topology.to_graphviz().contains("\"topic\" -> g0;"));
}

proptest! {
    #[test]
    fn each_record_meets_the_global_table_as_it_is_then(
        sent in prop::collection::vec((0..3_u8, 0..4_u8, any::<Option<u8>>()), 0..60),
    ) {
        let mut driver = topology();
        let (mut cities, mut inner, mut left) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (number, (what, code, city)) in (0_i64..).zip(sent) {
            let (code, city) = (code.to_string(), city.map(|city| city.to_string()));
            match what {
                0 => {
                    put(&mut driver, "flights", &number, Some(code.clone()), 0);
                    inner.extend(cities.get(&code).map(|city: &String| (number, city.clone())));
                    left.push((number, (code.clone(), cities.get(&code).cloned())));
                }
                1 => {
                    put(&mut driver, "airports", &code, city.clone(), 0);
                    match city {
                        Some(city) => drop(cities.insert(code, city)),
                        None => drop(cities.remove(&code)),
                    }
                }
                _ => driver.lose_stores().unwrap(),
            }
        }
        let mut found = values::<i64, String>(&mut driver, "inner");
        found.sort();
        prop_assert_eq!(found, inner);
        let mut found = values::<i64, (String, Option<String>)>(&mut driver, "left");
        found.sort();
        prop_assert_eq!(found, left);
    }
}
