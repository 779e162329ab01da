//! What sources and sinks promise, held against nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream::testing::{TestNodes, with_nodes};
use millstream::{
    ActorContext, ActorEnd, ActorMessage, ActorSettings, CallError, Client, ConsumerSettings, CreateTopic,
    Handled, NamedActor, OffsetReset, ProducerRecord, ProducerSettings, RestartBudget, SeekTo, SinkRecord,
    SinkSettings, SourceHandler, SourceRecord, SourceSettings, StopReason, TopicPartition, each, hand_to,
};
use serde::{Deserialize, Serialize};

async fn make(client: &Client, name: &str, partitions: i32, replicas: i16) {
    let topic = CreateTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replication_factor: Some(replicas),
        config: BTreeMap::new(),
    };
    client.admin().create_topic(topic).await.expect("the topic is made");
}

/// Sends so many records to each partition.
async fn send(client: &Client, topic: &str, partitions: i32, each: i64) {
    let producer = client.producer(ProducerSettings::default()).await.expect("a producer");
    let mut deliveries = Vec::new();
    for number in 0..each {
        for partition in 0..partitions {
            let value = number.to_string();
            let record = ProducerRecord::to(topic).partition(partition).value(&value);
            deliveries.push(producer.send(record).await.expect("it is taken"));
        }
    }
    for delivery in deliveries {
        delivery.await.expect("it is acknowledged");
    }
    producer.close(Duration::from_secs(1)).await;
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap_or_else(|_| panic!("not so in time: {what}"));
}

/// Who handled what, in order.
type Seen = Arc<Mutex<Vec<(u8, i32, i64)>>>;

/// Notes what it handles; at some offsets of partition 0 it fails the first time.
struct Clerk {
    node: u8,
    seen: Seen,
    panics_at: Arc<Mutex<BTreeSet<i64>>>,
    refuses_at: Arc<Mutex<BTreeSet<i64>>>,
}

impl Clerk {
    fn of(node: u8, seen: &Seen) -> Self {
        Self { node, seen: Arc::clone(seen), panics_at: Arc::default(), refuses_at: Arc::default() }
    }
}

impl SourceHandler for Clerk {
    const KIND: &'static str = "clerk";

    async fn handle(&mut self, record: SourceRecord, _: &ActorContext) -> Result<(), CallError> {
        let (partition, offset) = (record.partition, record.offset.0);
        if partition == 0 && self.refuses_at.lock().expect("nobody panics with it").remove(&offset) {
            return Err(CallError::Refused("not now".to_owned()));
        }
        let panics = partition == 0 && self.panics_at.lock().expect("nobody panics with it").remove(&offset);
        assert!(!panics, "on purpose");
        self.seen.lock().expect("nobody panics with it").push((self.node, partition, offset));
        Ok(())
    }
}

/// What was handled of each partition, the first time each.
fn first_times(seen: &Seen) -> BTreeMap<i32, Vec<i64>> {
    let mut first: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for (_, partition, offset) in seen.lock().expect("nobody panics with it").iter() {
        let offsets = first.entry(*partition).or_default();
        if !offsets.contains(offset) {
            offsets.push(*offset);
        }
    }
    first
}

fn value_of(scrape: &str, series: &str) -> u64 {
    let line = scrape.lines().find(|line| line.starts_with(series));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn a_source_hands_out_every_record_in_order_whatever_fails_and_goes_on_where_it_was() {
    with_nodes(21, 1, async |nodes| {
        let client = nodes.client(1);
        make(&client, "clicks", 2, 1).await;
        send(&client, "clicks", 2, 50).await;
        let seen = Seen::default();
        let (panics_at, refuses_at) = (Arc::default(), Arc::default());
        *Mutex::lock(&panics_at).unwrap() = BTreeSet::from([7, 8, 30]);
        *Mutex::lock(&refuses_at).unwrap() = BTreeSet::from([3, 30, 49]);
        let clerk = {
            let seen = Arc::clone(&seen);
            move || Clerk {
                panics_at: Arc::clone(&panics_at),
                refuses_at: Arc::clone(&refuses_at),
                ..Clerk::of(1, &seen)
            }
        };
        let settings = SourceSettings::group("clerks");
        let source =
            nodes.flows(1).source(["clicks"], settings.clone(), clerk.clone()).await.expect("a source");
        let whole: Vec<i64> = (0..50).collect();
        let all = BTreeMap::from([(0, whole.clone()), (1, whole)]);
        until("all is handled", || first_times(&seen) == all).await;
        source.stop().await;
        assert_eq!(source.ended().await, ActorEnd::Stopped(StopReason::Asked));
        let scrape = nodes.scrape(1);
        assert_eq!(value_of(&scrape, "millstream_source_failures_total{kind=\"clerk\"}"), 6, "{scrape}");
        assert_eq!(value_of(&scrape, "millstream_user_actor_panics_total{kind=\"clerk\"}"), 3);
        assert_eq!(value_of(&scrape, "millstream_source_records_total{kind=\"clerk\"}"), 100);

        // What was handled is committed: another one of the group begins behind it.
        seen.lock().expect("nobody panics with it").clear();
        send(&client, "clicks", 2, 1).await;
        let next = nodes.flows(1).source(["clicks"], settings, clerk).await.expect("a source");
        until("the new ones are handled", || seen.lock().expect("nobody panics with it").len() == 2).await;
        assert_eq!(first_times(&seen), BTreeMap::from([(0, vec![50]), (1, vec![50])]));
        next.stop().await;
    });
}

#[test]
fn a_source_whose_handler_panics_too_often_ends_and_its_records_are_anothers() {
    with_nodes(22, 1, async |nodes| {
        let client = nodes.client(1);
        make(&client, "clicks", 1, 1).await;
        send(&client, "clicks", 1, 10).await;
        let restarts = RestartBudget {
            deaths: 2,
            within: Duration::from_secs(60),
            first_wait: Duration::from_millis(100),
        };
        let settings = SourceSettings { restarts, ..SourceSettings::group("clerks") };
        let bad = || {
            each(|record| async move {
                assert!(record.offset.0 < 4, "always here");
                Ok(())
            })
        };
        let source = nodes.flows(1).source(["clicks"], settings.clone(), bad).await.expect("a source");
        let end = source.ended().await;
        assert!(
            matches!(&end, ActorEnd::Stopped(StopReason::GaveUp(why)) if why.contains("always here")),
            "{end:?}"
        );
        let seen = Seen::default();
        let clerk = {
            let seen = Arc::clone(&seen);
            move || Clerk::of(1, &seen)
        };
        nodes.flows(1).source(["clicks"], settings, clerk).await.expect("a source");
        until("the rest is handled", || first_times(&seen).get(&0).is_some_and(|seen| seen.contains(&9)))
            .await;
        assert_eq!(first_times(&seen)[&0], [4, 5, 6, 7, 8, 9]);
    });
}

#[test]
fn partitions_that_are_led_here_are_handled_here_and_go_on_where_their_leader_was() {
    with_nodes(23, 3, async |nodes| {
        let client = nodes.client(1);
        make(&client, "clicks", 6, 3).await;
        send(&client, "clicks", 6, 10).await;
        let seen = Seen::default();
        for node in 1..=3 {
            let seen = Arc::clone(&seen);
            let clerk = move || Clerk::of(node, &seen);
            let settings = SourceSettings::led_here("clerks");
            nodes.flows(node).source(["clicks"], settings, clerk).await.expect("a source");
        }
        let ten: Vec<i64> = (0..10).collect();
        let all: BTreeMap<i32, Vec<i64>> = (0..6).map(|partition| (partition, ten.clone())).collect();
        until("all is handled", || first_times(&seen) == all).await;
        let by = |partition| {
            let seen = seen.lock().expect("nobody panics with it");
            seen.iter().filter(|(_, of, _)| *of == partition).map(|(node, ..)| *node).collect::<BTreeSet<_>>()
        };
        let nodes_of: Vec<BTreeSet<u8>> = (0..6).map(by).collect();
        assert!(nodes_of.iter().all(|nodes| nodes.len() == 1), "{nodes_of:?}");
        assert_eq!(nodes_of.iter().flatten().collect::<BTreeSet<_>>().len(), 3, "{nodes_of:?}");

        // Positions are committed within a second.
        tokio::time::sleep(Duration::from_secs(2)).await;
        seen.lock().expect("nobody panics with it").clear();
        nodes.kill(3).await;
        let client = nodes.client(2);
        send(&client, "clicks", 6, 5).await;
        let five: Vec<i64> = (10..15).collect();
        let all: BTreeMap<i32, Vec<i64>> = (0..6).map(|partition| (partition, five.clone())).collect();
        until("what is new is handled", || first_times(&seen) == all).await;
        let moved = (0..6).filter(|partition| nodes_of[usize::try_from(*partition).unwrap()].contains(&3));
        for partition in moved {
            let now: BTreeSet<u8> = seen
                .lock()
                .unwrap()
                .iter()
                .filter(|(_, of, _)| *of == partition)
                .map(|(node, ..)| *node)
                .collect();
            assert!(now.len() == 1 && !now.contains(&3), "{partition}: {now:?}");
        }
    });
}

async fn read(client: &Client, topic: &str, count: usize) -> Vec<String> {
    let settings = ConsumerSettings { offset_reset: OffsetReset::Earliest, ..ConsumerSettings::default() };
    let mut consumer = millstream::Consumer::new(client, settings).expect("a consumer");
    let from = (TopicPartition::new(topic, 0), SeekTo::Beginning);
    consumer.assign([from]).await.expect("it is there");
    let mut values = Vec::new();
    while values.len() < count {
        if let millstream::ConsumerEvent::Records(fetched) = consumer.next().await.expect("an event") {
            let value = |record: millstream::Record| {
                String::from_utf8_lossy(&record.value.expect("a value")).into_owned()
            };
            values.extend(fetched.records().map(|record| value(record.expect("a record"))));
        }
    }
    consumer.close().await;
    values
}

#[test]
fn a_sink_publishes_in_order_what_it_is_sent_and_answers_each_record() {
    with_nodes(24, 3, async |nodes: &mut TestNodes| {
        let client = nodes.client(1);
        make(&client, "results", 1, 3).await;
        let refused =
            nodes.flows(1).sink("nowhere", SinkSettings::default()).await.expect_err("no such topic");
        assert!(refused.to_string().contains("nowhere"), "{refused}");
        // A mailbox so small that senders wait.
        let settings = SinkSettings { mailbox_max: 3, ..SinkSettings::default() };
        let sink = nodes.flows(1).sink("results", settings).await.expect("a sink");
        let mut under_way = Vec::new();
        for number in 0..50 {
            under_way
                .push(sink.send(SinkRecord::of(number.to_string()).key("k")).await.expect("it is taken"));
        }
        for (number, publishing) in (0..).zip(under_way) {
            assert_eq!(
                publishing.await.expect("it is published").offset.map(|offset| offset.0),
                Some(number)
            );
        }
        sink.tell(SinkRecord::of("told")).await.expect("it is taken");
        // Closing waits for what was told.
        sink.close().await;
        assert!(sink.ask(SinkRecord::of("late")).await.is_err());
        let expected: Vec<String> =
            (0..50).map(|number| number.to_string()).chain(["told".to_owned()]).collect();
        assert_eq!(read(&client, "results", 51).await, expected);
        assert_eq!(value_of(&nodes.scrape(1), "millstream_sink_records_total{topic=\"results\"}"), 51);

        // A node that is killed leaves nobody waiting for an answer.
        let sink = nodes.flows(3).sink("results", SinkSettings::default()).await.expect("a sink");
        let asked = sink.send(SinkRecord::of("lost?")).await.expect("it is taken");
        nodes.kill(3).await;
        let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
        assert!(matches!(answer, Ok(Err(_))), "{answer:?}");
    });
}

#[derive(Debug, Serialize, Deserialize)]
struct Add(u64);

impl ActorMessage for Add {
    const NAME: &'static str = "add";
    type Answer = u64;
}

struct Sum(u64);

impl NamedActor for Sum {
    const KIND: &'static str = "sum";
    type Message = Add;

    async fn handle(&mut self, add: Add, _: &ActorContext) -> Handled<Add> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.0 += add.0;
        Ok(self.0)
    }
}

#[test]
fn a_source_hands_on_to_a_named_actor_and_waits_while_that_one_moves() {
    with_nodes(25, 3, async |nodes| {
        let client = nodes.client(1);
        make(&client, "clicks", 1, 3).await;
        send(&client, "clicks", 1, 20).await;
        let settings = ActorSettings { mailbox_max: Some(1), ..ActorSettings::default() };
        for node in [3, 1] {
            nodes
                .actors(node)
                .host_singleton("sum", settings, || Sum(0))
                .await
                .expect("it stands for the name");
        }
        let to_sum = || {
            hand_to("sum", Duration::from_secs(1), |record: &SourceRecord| {
                let value = record.value.as_deref().unwrap_or_default();
                let number = String::from_utf8_lossy(value).parse();
                Ok(Add(number.map_err(|_| CallError::Malformed("no number".to_owned()))?))
            })
        };
        nodes.flows(2).source(["clicks"], SourceSettings::group("sums"), to_sum).await.expect("a source");
        let total = async |nodes: &TestNodes| {
            nodes.actors(1).ask("sum", &Add(0), Duration::from_secs(5)).await.unwrap_or(0)
        };
        let waiting = async {
            while total(nodes).await != (0..20).sum::<u64>() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("all is handed on");
        // Its state is in memory: the next owner begins with nothing, and gets what comes from now on, all of it.
        tokio::time::sleep(Duration::from_secs(2)).await;
        nodes.kill(3).await;
        send(&nodes.client(1), "clicks", 1, 5).await;
        let waiting = async {
            while total(nodes).await < (0..5).sum::<u64>() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("the rest is handed on");
    });
}

#[test]
fn a_source_that_is_stuck_gives_up_what_is_revoked_and_ends_when_it_is_told() {
    with_nodes(26, 1, async |nodes| {
        let client = nodes.client(1);
        make(&client, "clicks", 2, 1).await;
        send(&client, "clicks", 2, 5).await;
        let seen = Seen::default();
        let refusing = || each(|_| async { Err(CallError::Refused("never".to_owned())) });
        let settings = SourceSettings::group("clerks");
        let stuck = nodes.flows(1).source(["clicks"], settings.clone(), refusing).await.expect("a source");
        tokio::time::sleep(Duration::from_secs(5)).await;
        let clerk = {
            let seen = Arc::clone(&seen);
            move || Clerk::of(1, &seen)
        };
        // One of the two partitions is given to it, long before max.poll.interval.ms.
        nodes.flows(1).source(["clicks"], settings, clerk).await.expect("a source");
        let five: Vec<i64> = (0..5).collect();
        until("its share is handled", || first_times(&seen).values().any(|offsets| *offsets == five)).await;
        assert_eq!(first_times(&seen).len(), 1);
        // The other one, when the source that is stuck ends.
        stuck.stop().await;
        let all = BTreeMap::from([(0, five.clone()), (1, five)]);
        until("all is handled", || first_times(&seen) == all).await;
    });
}
