//! What the native client promises, held against nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream::testing::with_nodes;
use millstream::{
    Client, ClientError, Consumer, ConsumerEvent, ConsumerSettings, CreateTopic, IsolationLevel, Offset,
    OffsetReset, ProducerRecord, ProducerSettings, SeekTo, TopicPartition,
};
use millstream_tests::simulated::{SimulatedCluster, over_seeds};

async fn make(client: &Client, name: &str) {
    let topic = CreateTopic {
        name: name.to_owned(),
        partitions: Some(1),
        replication_factor: Some(1),
        config: BTreeMap::new(),
    };
    client.admin().create_topic(topic).await.expect("the topic is made");
}

/// Sends records with the numbers as values, and as times.
async fn send(client: &Client, topic: &str, numbers: std::ops::Range<i64>) {
    let producer = client.producer(ProducerSettings::default()).await.expect("a producer");
    for number in numbers {
        let value = number.to_string();
        let record = ProducerRecord::to(topic).value(&value).timestamp_ms(number);
        drop(producer.send(record).await.expect("the record is taken"));
    }
    producer.flush().await;
    producer.close(Duration::from_secs(1)).await;
}

fn member(group: &str) -> ConsumerSettings {
    ConsumerSettings {
        offset_reset: OffsetReset::Earliest,
        auto_commit: None,
        ..ConsumerSettings::group(group)
    }
}

/// The values of the next records, by topic.
async fn take(consumer: &mut Consumer, count: usize) -> BTreeMap<String, Vec<i64>> {
    let mut taken: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    while taken.values().map(Vec::len).sum::<usize>() < count {
        if let ConsumerEvent::Records(fetched) = consumer.next().await.expect("an event") {
            let values = taken.entry(fetched.partition.topic.to_string()).or_default();
            for record in fetched.records() {
                let value = record.expect("a record").value.expect("it has a value");
                values.push(String::from_utf8_lossy(&value).parse().expect("a number"));
            }
        }
    }
    taken
}

#[test]
fn a_pattern_finds_the_topics_there_are_and_those_that_come_later() {
    over_seeds("a_pattern_finds_topics", 0..2, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 1).await;
        let client = cluster.client();
        for name in ["flights", "trains"] {
            make(&client, name).await;
            send(&client, name, 0..3).await;
        }
        let mut consumer = Consumer::new(&client, member("g")).expect("a consumer");
        consumer.subscribe_pattern("flights(-.*)?").expect("it has a group");
        let taken = take(&mut consumer, 3).await;
        assert_eq!(taken, BTreeMap::from([("flights".to_owned(), vec![0, 1, 2])]));
        make(&client, "flights-late").await;
        make(&client, "late-flights").await;
        send(&client, "late-flights", 0..3).await;
        send(&client, "flights-late", 5..8).await;
        let taken = take(&mut consumer, 3).await;
        assert_eq!(taken, BTreeMap::from([("flights-late".to_owned(), vec![5, 6, 7])]));
        consumer.close().await;
        cluster.stop_all().await;
    });
}

#[test]
fn offsets_committed_in_the_background_and_at_once_are_where_the_next_member_begins() {
    over_seeds("commits_of_members", 0..2, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 1).await;
        let client = cluster.client();
        make(&client, "flights").await;
        send(&client, "flights", 0..10).await;
        let all = [TopicPartition::new("flights", 0)];
        let mut consumer = Consumer::new(&client, member("g")).expect("a consumer");
        consumer.subscribe(["flights"]).expect("it has a group");
        take(&mut consumer, 10).await;
        consumer.commit_async().await.expect("it is committed");
        assert_eq!(consumer.committed(&all).await.expect("offsets"), [(all[0].clone(), Offset(10))]);
        consumer.commit_offsets([(all[0].clone(), Offset(4))]).await.expect("it is committed");
        // Left without a word: the session ends by time.
        drop(consumer);
        let mut next = Consumer::new(&client, member("g")).expect("a consumer");
        next.subscribe(["flights"]).expect("it has a group");
        assert_eq!(take(&mut next, 6).await["flights"], [4, 5, 6, 7, 8, 9]);
        next.commit().await.expect("it is committed");
        assert_eq!(next.committed(&all).await.expect("offsets"), [(all[0].clone(), Offset(10))]);
        next.close().await;
        cluster.stop_all().await;
    });
}

#[test]
fn a_time_is_sought_and_a_paused_partition_waits() {
    over_seeds("seek_and_pause", 0..2, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 1).await;
        let client = cluster.client();
        make(&client, "flights").await;
        send(&client, "flights", 1_000..1_010).await;
        send(&client, "flights", 2_000..2_010).await;
        let flights = TopicPartition::new("flights", 0);
        let mut consumer = Consumer::new(&client, ConsumerSettings::default()).expect("a consumer");
        consumer.assign([(flights.clone(), SeekTo::Timestamp(1_500))]).await.expect("it is there");
        assert_eq!(take(&mut consumer, 10).await["flights"], (2_000..2_010).collect::<Vec<_>>());
        consumer.seek(&flights, SeekTo::Timestamp(1_007)).expect("it is read");
        assert_eq!(take(&mut consumer, 3).await["flights"][0], 1_007);
        consumer.seek(&flights, SeekTo::Timestamp(9_000)).expect("it is read");
        while consumer.position(&flights).expect("it is read") != Some(Offset(20)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        consumer.pause(&flights).expect("it is read");
        send(&client, "flights", 3_000..3_001).await;
        let nothing = tokio::time::timeout(Duration::from_secs(5), consumer.next()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        consumer.resume(&flights).expect("it is read");
        assert_eq!(take(&mut consumer, 1).await["flights"], [3_000]);
        consumer.close().await;
        cluster.stop_all().await;
    });
}

#[test]
fn the_client_of_a_node_works_with_all_nodes_and_ends_with_its_own() {
    with_nodes(11, 3, async |nodes| {
        let client = nodes.client(1);
        make(&client, "flights").await;
        send(&client, "flights", 0..5).await;
        // Of another node, whose leader may be a third one.
        let other = nodes.client(2);
        let mut producer = other
            .transactional_producer(ProducerSettings::transactional("t"))
            .await
            .expect("a transactional producer");
        let transaction = producer.begin().await.expect("a transaction");
        drop(transaction.send(ProducerRecord::to("flights").value("99")).await.expect("it is taken"));
        drop(transaction);
        let mut transaction = producer.begin().await.expect("a transaction");
        drop(transaction.send(ProducerRecord::to("flights").value("5")).await.expect("it is taken"));
        transaction.commit().await.expect("it commits");

        let settings = ConsumerSettings { isolation: IsolationLevel::ReadCommitted, ..member("g") };
        let mut consumer = Consumer::new(&nodes.client(3), settings).expect("a consumer");
        consumer.subscribe(["flights"]).expect("it has a group");
        assert_eq!(take(&mut consumer, 6).await["flights"], [0, 1, 2, 3, 4, 5]);
        consumer.close().await;

        // Who is done with it takes it from nobody; with its node it is gone, and says so.
        client.close().await;
        nodes.client(1).admin().delete_topic("flights").await.expect("it is deleted");
        nodes.kill(1).await;
        let gone = client.producer(ProducerSettings::default()).await.expect("a producer");
        let refused =
            gone.send(ProducerRecord::to("flights").value("6")).await.expect_err("its node is gone");
        assert!(refused.to_string().contains(&ClientError::Closed.to_string()), "{refused}");
    });
}
