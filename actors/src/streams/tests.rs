//! Topologies record by record.

use super::{StreamBuilder, TopologyDriver};

fn word_count() -> TopologyDriver {
    let builder = StreamBuilder::new("word-count");
    builder
        .stream::<Option<String>, String>("lines")
        .flat_map_values(|_, line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .group_by(|_, word| word.clone(), "words")
        .count("counts")
        .to_stream()
        .to("word-counts");
    TopologyDriver::new(&builder.build().unwrap(), 3).unwrap()
}

fn say(driver: &mut TopologyDriver, line: &str, at_ms: i64) {
    driver.send("lines", &None::<String>, &line.to_owned(), at_ms).unwrap();
}

fn counted(driver: &TopologyDriver) -> Vec<(String, i64)> {
    let mut all = driver.all::<String, i64>("counts").unwrap();
    all.sort();
    all
}

#[test]
fn words_are_counted_over_a_topic_that_brings_those_alike_together() {
    let mut driver = word_count();
    say(&mut driver, "to be or not to be", 1);
    say(&mut driver, "be", 2);
    let wanted = [("be", 3), ("not", 1), ("or", 1), ("to", 2)].map(|(word, count)| (word.to_owned(), count));
    assert_eq!(counted(&driver), wanted);
    let out = driver.read::<String, i64>("word-counts").unwrap();
    let of_be: Vec<_> = out.iter().filter(|event| event.key == "be").map(|event| event.value).collect();
    assert_eq!(of_be, [1, 2, 3]);
}

#[test]
fn what_was_not_committed_when_a_process_is_killed_is_done_once_all_the_same() {
    let mut driver = word_count();
    driver.hold_commits();
    say(&mut driver, "a b", 1);
    driver.abort().unwrap();
    driver.commit().unwrap();
    say(&mut driver, "a", 2);
    driver.abort().unwrap();
    driver.abort().unwrap();
    driver.commit().unwrap();
    assert_eq!(counted(&driver), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    assert_eq!(driver.read::<String, i64>("word-counts").unwrap().len(), 3);
}

#[test]
fn a_topology_is_shown_as_text_and_as_a_picture() {
    let builder = StreamBuilder::new("app");
    builder.stream::<String, i64>("in").filter(|_, value| *value > 0).to("out");
    builder.table::<String, i64>("latest", "kept").filter(|_, value| *value > 1).changes().to("many");
    let topology = builder.build().unwrap();
    let text = "\
Topology of app
  Sub-topology 0
    source source-0 (topic in) --> filter-1
    operator filter-1 --> sink-2
    sink sink-2 (topic out)
  Sub-topology 1
    source source-3 (topic latest) with kept --> filter-4
    operator filter-4 --> changes-5
    operator changes-5 --> sink-6
    sink sink-6 (topic many)
    store kept (changelog is its source latest)
";
    assert_eq!(topology.describe(), text);
    let picture = topology.to_graphviz();
    assert!(picture.contains("v0 -> v1;") && picture.contains("\"in\" -> v0;"), "{picture}");
}

#[test]
fn all_that_is_wrong_with_a_topology_is_told_at_once() {
    let builder = StreamBuilder::new("app");
    builder.stream::<String, i64>("in").group_by_key("g").count("same");
    builder.stream::<String, i64>("in").group_by_key("g").count("same");
    let error = builder.build().unwrap_err().to_string();
    assert!(error.contains("\"in\" is read twice") && error.contains("\"same\" is given twice"), "{error}");
    assert!(StreamBuilder::new("app").build().unwrap_err().to_string().contains("reads no topic"));
}

#[test]
fn a_table_knows_the_newest_value_of_each_key_and_a_filter_takes_out_what_it_had() {
    let builder = StreamBuilder::new("app");
    builder.table::<String, i64>("in", "kept").filter(|_, value| *value > 1).changes().to("out");
    let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
    let key = "k".to_owned();
    for value in [1_i64, 5, 0] {
        driver.send("in", &key, &value, 0).unwrap();
    }
    driver.delete("in", &key, 0).unwrap();
    let values: Vec<Option<i64>> =
        driver.read("out").unwrap().into_iter().map(|event: super::Event<String, _>| event.value).collect();
    assert_eq!(values, [Some(5), None]);
    assert_eq!(driver.get::<String, i64>("kept", &key).unwrap(), None);
}

#[test]
fn a_record_goes_to_the_one_branch_or_to_the_other() {
    let builder = StreamBuilder::new("app");
    let (small, others) = builder.stream::<String, i64>("in").branch(|_, value| *value < 10);
    let (medium, large) = others.branch(|_, value| *value < 20);
    for (branch, topic) in [(small, "out-0"), (medium, "out-1"), (large, "out-2")] {
        branch.to(topic);
    }
    let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
    for value in [5_i64, 15, 25] {
        driver.send("in", &"k".to_owned(), &value, 0).unwrap();
    }
    for (number, value) in [5, 15, 25].into_iter().enumerate() {
        let events = driver.read::<String, i64>(&format!("out-{number}")).unwrap();
        assert_eq!(events.iter().map(|event| event.value).collect::<Vec<_>>(), [value]);
    }
}

#[test]
fn a_panic_of_an_operator_is_an_error_of_its_record() {
    let builder = StreamBuilder::new("app");
    let stream = builder.stream::<String, i64>("in");
    stream
        .map_values(|_, value| {
            assert!(value != 13, "no 13 here");
            value
        })
        .to("out");
    let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
    let error = driver.send("in", &"k".to_owned(), &13_i64, 0).unwrap_err();
    assert!(error.to_string().contains("no 13 here"), "{error}");
}

fn merged(driver: &mut TopologyDriver) -> Vec<i64> {
    driver.read::<String, i64>("out").unwrap().into_iter().map(|event| event.value).collect()
}

#[test]
fn several_topics_are_one_stream_in_the_order_of_their_times() {
    let builder = StreamBuilder::new("app");
    builder.stream::<String, i64>(["two", "one"]).to("out");
    let topology = builder.build().unwrap();
    assert!(topology.describe().contains("source source-0 (topics one, two)"), "{}", topology.describe());
    let mut driver = TopologyDriver::new(&topology, 1).unwrap();
    driver.hold_commits();
    for (topic, at_ms) in [("one", 1), ("one", 4), ("two", 2), ("two", 3)] {
        // Held back until both are there: what is read together is processed by time.
        driver.send(topic, &"k".to_owned(), &at_ms, at_ms).unwrap();
    }
    driver.abort().unwrap();
    driver.commit().unwrap();
    assert_eq!(merged(&mut driver), [1, 2, 3, 4]);
    assert_eq!(driver.times_ms(), [3], "the least of both");
}

#[test]
fn a_pattern_takes_the_topics_that_match_and_those_that_come_later_and_loses_nothing_meanwhile() {
    let builder = StreamBuilder::new("app");
    let orders = builder.stream(super::Consumed::<String, i64>::pattern("orders-.*"));
    orders.group_by_key("g").count("counts").to_stream().to("out");
    builder.stream::<String, i64>("other").to("copy");
    let topology = builder.build().unwrap();
    let error = TopologyDriver::new(&topology, 1).unwrap_err().to_string();
    assert!(error.contains("no topic matches \"orders-.*\""), "{error}");
    let mut driver = TopologyDriver::with_topics(&topology, 1, &["orders-m", "orders-z", "strange"]).unwrap();
    let key = "k".to_owned();
    driver.send("orders-m", &key, &1_i64, 10).unwrap();
    driver.send("orders-z", &key, &1_i64, 20).unwrap();
    assert!(driver.send("orders-a", &key, &1_i64, 0).is_err());
    driver.add_topic("orders-a").unwrap();
    assert_eq!(driver.times_ms(), [10, i64::MIN]);
    driver.send("orders-z", &key, &1_i64, 30).unwrap();
    driver.send("orders-m", &key, &1_i64, 30).unwrap();
    assert_eq!(driver.times_ms(), [10, i64::MIN], "the new one holds time where it was");
    driver.send("orders-a", &key, &1_i64, 25).unwrap();
    assert_eq!(driver.times_ms(), [25, i64::MIN]);
    assert_eq!(merged(&mut driver), [1, 2, 3, 4, 5]);
}

#[test]
fn a_topic_that_two_sources_would_read_is_told_when_it_is_there() {
    let builder = StreamBuilder::new("app");
    builder.stream(super::Consumed::<String, i64>::pattern("a.*")).to("out");
    builder.stream::<String, i64>("ab").to("copy");
    let error = TopologyDriver::with_topics(&builder.build().unwrap(), 1, &["ab"]).unwrap_err().to_string();
    assert!(error.contains("\"ab\" is read by two sources"), "{error}");
    let builder = StreamBuilder::new("app");
    builder.stream(super::Consumed::<String, i64>::pattern("(")).to("out");
    builder.table(super::Consumed::<String, i64>::pattern("b"), "kept").changes().to("copy");
    let error = builder.build().unwrap_err().to_string();
    assert!(error.contains("\"(\" is none") && error.contains("a table is read from one topic"), "{error}");
}

#[test]
fn the_end_of_all_input_ends_time_in_every_task_however_far_down_and_is_not_undone_by_a_kill() {
    let mut driver = word_count();
    driver.hold_commits();
    say(&mut driver, "a b", 5);
    driver.end().unwrap();
    driver.abort().unwrap();
    driver.commit().unwrap();
    assert_eq!(driver.times_ms(), [i64::MAX; 6]);
    assert_eq!(counted(&driver), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
}
