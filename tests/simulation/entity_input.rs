//! Entities read topics: each record is applied once and in order, whatever becomes of readers, receivers and leaders.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream::testing::{TestNodes, with_hosts};
use millstream::{
    ActorMessage, Client, CreateTopic, Entity, EntityCaller, EntityTypes, NodeId, PoisonPolicy,
    ProducerRecord, ProducerSettings, Refused, TopicInput, Turn,
};
use millstream_tests::simulated::{SimulatedCluster, over_seeds, tell};
use millstream_transport::world::simulation::Simulation;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

const TOPIC: &str = "numbers";
const PARTITIONS: i32 = 4;
const KEYS: i64 = 10;
const SETTINGS: [(&str, &str); 1] = [("entity.partitions", "3")];
const PATIENCE: Duration = Duration::from_secs(30);

/// What an entity has been told by records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    count: i64,
    sum: i64,
    /// The last offset of each partition.
    last: BTreeMap<i32, i64>,
    /// Records that came behind later ones of their partition, or again.
    disorder: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Tell {
    Number { number: i64, partition: i32, offset: i64 },
    Look,
}

impl ActorMessage for Tell {
    const NAME: &'static str = "tell";
    type Answer = Tally;
}

impl Entity for Tally {
    const TYPE: &'static str = "tally";
    const POISON: PoisonPolicy = PoisonPolicy::Skip;
    type Key = u64;
    type Message = Tell;

    fn new(_: &u64) -> Self {
        Self::default()
    }

    fn handle(&mut self, told: Tell, _: &mut Turn<'_, Self>) -> Result<Self, Refused> {
        if let Tell::Number { number, partition, offset } = told {
            self.count += 1;
            self.sum += number;
            let last = self.last.insert(partition, offset);
            self.disorder += u64::from(last.is_some_and(|last| last >= offset));
        }
        Ok(self.clone())
    }
}

/// Values are numbers; the entity is the number modulo [`KEYS`], whatever the record's key.
fn tallies() -> EntityTypes {
    let numbers = TopicInput::<Tally>::new(TOPIC, |record| {
        let text =
            std::str::from_utf8(record.value().unwrap_or_default()).map_err(|error| error.to_string())?;
        let number: i64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
        let (partition, offset) = (record.partition(), record.offset().0);
        let key = u64::try_from(number % KEYS).map_err(|error| error.to_string())?;
        Ok(Some((key, Tell::Number { number, partition, offset })))
    });
    EntityTypes::new().and::<Tally>().and_then(|types| types.reading(numbers)).expect("a type and its topic")
}

/// Sends these numbers; they are there once, whatever happens meanwhile.
async fn send(client: &Client, numbers: std::ops::Range<i64>) {
    let settings = ProducerSettings { delivery_timeout: PATIENCE, ..ProducerSettings::default() };
    let producer = client.producer(settings).await.expect("a producer");
    let mut written = Vec::new();
    for number in numbers {
        let (key, value) = ((number / 7).to_string(), number.to_string());
        written.push(
            producer.send(ProducerRecord::to(TOPIC).key(&key).value(&value)).await.expect("it is taken"),
        );
    }
    for written in written {
        written.await.expect("it is written");
    }
    producer.close(PATIENCE).await;
}

/// Waits until the entities have been told as many numbers, and holds them against those from 0 to `end`.
async fn are_told(entities: &EntityCaller, end: i64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut tallies = BTreeMap::new();
        for key in 0..KEYS {
            let tally = entities.entity::<Tally>(&key.unsigned_abs());
            tallies.insert(key, tally.ask(&Tell::Look, PATIENCE).await.expect("it can be asked"));
        }
        let count: i64 = tallies.values().map(|tally| tally.count).sum();
        assert!(count <= end, "{count} of {end} are told: {tallies:?}");
        if count == end {
            for (key, tally) in tallies {
                let numbers = || (0..end).filter(|number| number % KEYS == key);
                let wanted = (i64::try_from(numbers().count()).unwrap_or(i64::MAX), numbers().sum(), 0);
                assert_eq!((tally.count, tally.sum, tally.disorder), wanted, "{key}: {tally:?}");
            }
            return;
        }
        assert!(Instant::now() < until, "{count} of {end} are told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn start(simulation: &Simulation) -> (SimulatedCluster, Client, SmallRng) {
    let mut cluster = SimulatedCluster::start_hosting(simulation, 3, &SETTINGS, tallies()).await;
    let client = cluster.client();
    cluster.make_topic(&client, TOPIC, PARTITIONS).await;
    (cluster, client, SmallRng::seed_from_u64(simulation.seed_of("scenario")))
}

#[test]
fn each_record_is_applied_once_while_nodes_are_killed() {
    over_seeds("input_while_nodes_are_killed", 0..3, |simulation| async move {
        let (mut cluster, client, mut rng) = start(&simulation).await;
        for round in 0..4 {
            let numbers = round * 500..(round + 1) * 500;
            let sending = tokio::spawn({
                let client = client.clone();
                async move { send(&client, numbers).await }
            });
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..300))).await;
            let node = NodeId(rng.random_range(1..=3));
            cluster.kill(node);
            tell(&format!("node {node} is killed"));
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..3_000))).await;
            cluster.restart(node).await;
            sending.await.unwrap();
        }
        are_told(&client.entities(), 2_000).await;
        cluster.stop_all().await;
    });
}

#[test]
fn each_record_is_applied_once_while_nodes_are_cut_off_and_all_die_at_once() {
    over_seeds("input_while_nodes_are_cut_off", 0..2, |simulation| async move {
        let (mut cluster, client, mut rng) = start(&simulation).await;
        for round in 0..3 {
            let numbers = round * 300..(round + 1) * 300;
            let sending = tokio::spawn({
                let client = client.clone();
                async move { send(&client, numbers).await }
            });
            let node = NodeId(rng.random_range(1..=3));
            cluster.cut_off(&[node]);
            tell(&format!("node {node} is cut off"));
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..4_000))).await;
            cluster.network().heal();
            sending.await.unwrap();
            cluster.kill_all();
            cluster.restart_all().await;
        }
        are_told(&client.entities(), 900).await;
        cluster.stop_all().await;
    });
}

async fn make_topic(client: &Client) {
    let topic = CreateTopic {
        name: TOPIC.to_owned(),
        partitions: Some(2),
        replication_factor: Some(1),
        config: BTreeMap::new(),
    };
    client.admin().create_topic(topic).await.expect("the topic is made");
}

async fn told(nodes: &TestNodes, key: u64) -> i64 {
    nodes.entities(1).entity::<Tally>(&key).ask(&Tell::Look, PATIENCE).await.expect("it can be asked").count
}

#[test]
fn what_is_aborted_or_cannot_be_understood_is_not_told_and_a_topic_made_anew_is_another() {
    with_hosts(11, 1, &tallies(), async |nodes| {
        let client = nodes.client(1);
        make_topic(&client).await;
        let mut producer =
            client.transactional_producer(ProducerSettings::transactional("numbers")).await.unwrap();
        for (numbers, commits) in [(["1", "11"], true), (["21", "31"], false), (["41", "none"], true)] {
            let mut transaction = producer.begin().await.unwrap();
            for number in numbers {
                drop(transaction.send(ProducerRecord::to(TOPIC).value(number)).await.unwrap());
            }
            if commits { transaction.commit().await.unwrap() } else { transaction.abort().await.unwrap() }
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(told(nodes, 1).await, 3);
        let series = nodes.scrape(1);
        let of_input = r#"{kind="tally",topic="numbers"}"#;
        for (name, count) in [("records", 3), ("left_out", 1)] {
            let line = format!("millstream_entity_input_{name}_total{of_input} {count}");
            assert!(series.contains(&line), "{line} is not in\n{series}");
        }
        client.admin().delete_topic(TOPIC).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        make_topic(&client).await;
        send(&client, 1..2).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(told(nodes, 1).await, 4, "the offsets of the first are not those of the second");
    });
}
