//! What streams read on a cluster: topics that come later, and tables that all tasks read; and what each record does at least
//! once, where no more is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millstream::streams::{Consumed, Guarantee, StreamBuilder, Streams, StreamsSettings, Topology};
use millstream::{Client, ProducerRecord, ProducerSettings};
use millstream_tests::simulated::{SimulatedCluster, over_seeds, tell};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::streams::{PATIENCE, WORDS, begin, read_counts, until_told_once, with_topics, word};

/// Longer than it takes until topics that a pattern takes are looked for again.
const LOOKED: Duration = Duration::from_secs(40);

/// Sends numbers under keys that are drawn at random; each key with its number.
async fn send_numbers(
    client: &Client,
    rng: &mut SmallRng,
    topic: &str,
    numbers: std::ops::Range<i64>,
) -> Vec<(&'static str, i64)> {
    let producer = client.producer(ProducerSettings::default()).await.expect("a producer");
    let mut sent = Vec::new();
    for number in numbers {
        let (key, value) = (word(rng), number.to_be_bytes());
        let record = ProducerRecord::to(topic).key(key).value(&value).timestamp_ms(number);
        drop(producer.send(record).await.expect("the number is taken"));
        sent.push((key, number));
    }
    producer.flush().await;
    producer.close(Duration::from_secs(1)).await;
    sent
}

/// All orders of all regions, each under a key of its own.
fn orders_of_all_regions() -> Topology {
    let builder = StreamBuilder::new("orders");
    builder
        .stream(Consumed::<String, i64>::pattern("orders-.*"))
        .map(|who, number| (format!("{who}-{number}"), 1_i64))
        .to("counted");
    builder.build().expect("the topology is right")
}

#[test]
fn a_topic_that_comes_later_is_read_from_its_beginning_and_each_record_once_though_nodes_are_killed() {
    over_seeds("topics_that_come_later", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let client = with_topics(&mut cluster, &["orders-eu", "counted"]).await;
        let streams = begin(&client, &orders_of_all_regions()).await;
        let mut wanted = BTreeMap::new();
        for (round, topic) in (0..).zip(["orders-eu", "orders-us", "orders-asia"]) {
            if round > 0 {
                with_topics(&mut cluster, &[topic]).await;
            }
            let sent = send_numbers(&client, &mut rng, topic, round * 100..round * 100 + 100).await;
            wanted.extend(sent.into_iter().map(|(who, number)| (format!("{who}-{number}"), 1)));
            let (nodes, after) = (cluster.nodes(), rng.random_range(0..40_000));
            let node = nodes[rng.random_range(0..nodes.len())];
            tokio::time::sleep(Duration::from_millis(after)).await;
            tell(&format!("node {node} is killed"));
            cluster.kill(node);
            tokio::time::sleep(LOOKED).await;
            cluster.restart(node).await;
            cluster.until_ready().await;
        }
        until_told_once(&client, &wanted).await;
        streams.close(PATIENCE).await.expect("it closes");
        cluster.stop_all().await;
    });
}

/// Orders with the names of who gave them, which every task reads.
fn globally_named_orders() -> Topology {
    let builder = StreamBuilder::new("orders");
    let names = builder.global_table::<String, String>("names", "names");
    builder
        .stream::<String, i64>("orders")
        .join_global(&names, |who, _| who.clone(), |_, number, name| (format!("{name}-{number}"), 1_i64))
        .map(|_, named| named)
        .to("counted");
    builder.build().expect("the topology is right")
}

#[test]
fn each_record_meets_a_global_table_once_though_application_and_nodes_are_killed() {
    over_seeds("global_tables", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let client = with_topics(&mut cluster, &["names", "orders", "counted"]).await;
        let producer = client.producer(ProducerSettings::default()).await.expect("a producer");
        for word in WORDS {
            let name = word.to_uppercase();
            let known = ProducerRecord::to("names").key(word).value(&name);
            drop(producer.send(known).await.expect("the name is taken"));
        }
        producer.close(PATIENCE).await;
        let (topology, mut wanted) = (globally_named_orders(), BTreeMap::new());
        for (round, node) in (0..).zip(cluster.nodes()) {
            let streams = begin(&client, &topology).await;
            tell(&format!("node {node} is killed"));
            cluster.kill(node);
            let sent = send_numbers(&client, &mut rng, "orders", round * 100..round * 100 + 100).await;
            wanted.extend(
                sent.into_iter().map(|(who, number)| (format!("{}-{number}", who.to_uppercase()), 1)),
            );
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..400))).await;
            tell("the application is killed");
            drop(streams);
            cluster.restart(node).await;
            cluster.until_ready().await;
        }
        let streams = begin(&client, &topology).await;
        until_told_once(&client, &wanted).await;
        streams.close(PATIENCE).await.expect("it closes");
        cluster.stop_all().await;
    });
}

/// Numbers, each under a key of its own.
fn copied() -> Topology {
    let builder = StreamBuilder::new("copies");
    builder
        .stream::<String, i64>("numbers")
        .map(|who, number| (format!("{who}-{number}"), 1_i64))
        .to("counted");
    builder.build().expect("the topology is right")
}

async fn begin_at_least_once(client: &Client, topology: &Topology) -> Streams {
    let settings = StreamsSettings { guarantee: Guarantee::AtLeastOnce, ..StreamsSettings::default() };
    let streams = Streams::start(client, topology, settings).await.expect("it starts");
    streams.running(PATIENCE).await.expect("it runs");
    streams
}

#[test]
fn at_least_once_no_record_is_left_out_though_application_and_nodes_are_killed() {
    over_seeds("at_least_once", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let client = with_topics(&mut cluster, &["numbers", "counted"]).await;
        let (topology, mut left) = (copied(), BTreeSet::new());
        for (round, node) in (0..).zip(cluster.nodes()) {
            let streams = begin_at_least_once(&client, &topology).await;
            tell(&format!("node {node} is killed"));
            cluster.kill(node);
            let sent = send_numbers(&client, &mut rng, "numbers", round * 100..round * 100 + 100).await;
            left.extend(sent.into_iter().map(|(who, number)| format!("{who}-{number}")));
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..400))).await;
            tell("the application is killed");
            drop(streams);
            cluster.restart(node).await;
            cluster.until_ready().await;
        }
        let streams = begin_at_least_once(&client, &topology).await;
        let sent = left.clone();
        read_counts(&client, "counted", |number, _| {
            assert!(sent.contains(&number), "{number} was never sent");
            left.remove(&number);
            left.is_empty()
        })
        .await;
        assert_eq!(left, BTreeSet::new());
        streams.close(PATIENCE).await.expect("it closes");
        cluster.stop_all().await;
    });
}
