//! What entities publish is in its topics once and in order, while nodes are killed and cut off: topic by topic, and in
//! transactions. What they cannot handle is one dead letter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use millstream::testing::with_hosts;
use millstream::{
    ActorMessage, CallError, Client, Consumer, ConsumerEvent, ConsumerSettings, Entity, EntityTypes,
    IsolationLevel, NodeId, OffsetReset, Output, OutputRecord, PoisonPolicy, Refused, Turn,
};
use millstream_tests::simulated::{SimulatedCluster, over_seeds, tell};
use millstream_transport::world::simulation::Simulation;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const TOPICS: [&str; 2] = ["left", "right"];
const DEAD: &str = "dead";
const KEYS: u64 = 6;

/// How long all may stand still for a node's death.
const PATIENCE: Duration = Duration::from_secs(60);

const SETTINGS: [(&str, &str); 2] =
    [("entity.partitions", "2"), ("transaction.state.log.num.partitions", "2")];

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Order {
    /// Publishes the next number to both topics.
    Say,
    /// Tells the last number.
    Look,
    Panic,
}

impl ActorMessage for Order {
    const NAME: &'static str = "order";
    type Answer = u64;
}

fn handle<E: Entity<Key = u64>>(
    said: &mut u64,
    order: Order,
    turn: &mut Turn<'_, E>,
) -> Result<u64, Refused> {
    match order {
        Order::Say => {
            *said += 1;
            for topic in TOPICS {
                let record = OutputRecord::new().key(turn.key().to_string()).value(said.to_string());
                turn.publish(topic, record);
            }
        }
        Order::Look => {}
        Order::Panic => panic!("so told"),
    }
    Ok(*said)
}

/// Publishes to each topic by itself.
#[derive(Serialize, Deserialize)]
struct Herald(u64);

impl Entity for Herald {
    const TYPE: &'static str = "herald";
    const POISON: PoisonPolicy = PoisonPolicy::DeadLetter { topic: DEAD };
    type Key = u64;
    type Message = Order;

    fn new(_: &u64) -> Self {
        Self(0)
    }

    fn handle(&mut self, order: Order, turn: &mut Turn<'_, Self>) -> Result<u64, Refused> {
        handle(&mut self.0, order, turn)
    }
}

/// Publishes to both topics together.
#[derive(Serialize, Deserialize)]
struct Choir(u64);

impl Entity for Choir {
    const TYPE: &'static str = "choir";
    const OUTPUT: Output = Output::Transactional;
    type Key = u64;
    type Message = Order;

    fn new(_: &u64) -> Self {
        Self(0)
    }

    fn handle(&mut self, order: Order, turn: &mut Turn<'_, Self>) -> Result<u64, Refused> {
        handle(&mut self.0, order, turn)
    }
}

/// Asks entities to say the next number, one after the other, until it is stopped.
struct Talk {
    said: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
    asking: Vec<JoinHandle<()>>,
}

impl Talk {
    fn begin<E: Entity<Key = u64, Message = Order>>(client: &Client) -> Self {
        let (said, stopped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let ask = |key| {
            let entity = client.entities().entity::<E>(&key);
            let (said, stopped) = (Arc::clone(&said), Arc::clone(&stopped));
            tokio::spawn(async move {
                while !stopped.load(Ordering::Acquire) {
                    if entity.ask(&Order::Say, Duration::from_secs(3)).await.is_ok() {
                        said.fetch_add(1, Ordering::AcqRel);
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        };
        let asking = (0..KEYS).map(ask).collect();
        Self { said, stopped, asking }
    }

    async fn flows(&self, numbers: u64) {
        let (wanted, until) = (self.said.load(Ordering::Acquire) + numbers, Instant::now() + PATIENCE);
        while self.said.load(Ordering::Acquire) < wanted {
            assert!(Instant::now() < until, "{} of {wanted} numbers", self.said.load(Ordering::Acquire));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops, and reads: of each key each number up to the last is in both topics, once and in order.
    async fn end<E: Entity<Key = u64, Message = Order>>(self, client: &Client) {
        self.stopped.store(true, Ordering::Release);
        for asking in self.asking {
            asking.await.expect("who asks does not panic");
        }
        let mut wanted = BTreeMap::new();
        for key in 0..KEYS {
            let last = client.entities().entity::<E>(&key).ask(&Order::Look, PATIENCE).await;
            let numbers = 1..=last.expect("it can be asked");
            wanted.insert(key.to_string(), numbers.map(|number| number.to_string()).collect::<Vec<_>>());
        }
        let count: usize = wanted.values().map(Vec::len).sum();
        for topic in TOPICS {
            assert_eq!(read(client, topic, count).await, wanted, "{topic}");
        }
        tell(&format!("{count} numbers in each topic"));
    }
}

/// What is in a topic, by key, once it has so many records and no more come.
async fn read(client: &Client, topic: &str, count: usize) -> BTreeMap<String, Vec<String>> {
    let settings = ConsumerSettings {
        offset_reset: OffsetReset::Earliest,
        auto_commit: None,
        isolation: IsolationLevel::ReadCommitted,
        ..ConsumerSettings::group(format!("readers of {topic}"))
    };
    let mut consumer = Consumer::new(client, settings).expect("the settings are right");
    consumer.subscribe([topic]).expect("a topic");
    let (mut seen, mut read) = (BTreeMap::<String, Vec<String>>::new(), 0);
    loop {
        let quiet = if read < count { PATIENCE } else { Duration::from_secs(5) };
        let Ok(event) = timeout(quiet, consumer.next()).await else { break };
        if let ConsumerEvent::Records(fetched) = event.expect("an event") {
            for record in fetched.records() {
                let record = record.expect("a record");
                let text = |bytes: Option<bytes::Bytes>| {
                    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
                };
                seen.entry(text(record.key)).or_default().push(text(record.value));
                read += 1;
            }
        }
    }
    consumer.close().await;
    seen
}

fn types() -> EntityTypes {
    EntityTypes::new().and::<Herald>().and_then(|types| types.and::<Choir>()).expect("they have names")
}

async fn start<E: Entity<Key = u64, Message = Order>>(
    simulation: &Simulation,
) -> (SimulatedCluster, Client, Talk) {
    let mut cluster = SimulatedCluster::start_hosting(simulation, 3, &SETTINGS, types()).await;
    let client = cluster.client();
    for topic in TOPICS {
        cluster.make_topic(&client, topic, 2).await;
    }
    let talk = Talk::begin::<E>(&client);
    talk.flows(30).await;
    (cluster, client, talk)
}

/// Nodes are killed, one after the other, and one is cut off.
async fn over_faults<E: Entity<Key = u64, Message = Order>>(simulation: Simulation) {
    let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
    let (mut cluster, client, talk) = start::<E>(&simulation).await;
    for round in 0..4 {
        let node = NodeId(rng.random_range(1..=3));
        let pause = Duration::from_millis(rng.random_range(0..2000));
        if round == 2 {
            cluster.cut_off(&[node]);
            tell(&format!("node {node} is cut off"));
        } else {
            cluster.kill(node);
            tell(&format!("node {node} is killed"));
        }
        talk.flows(20).await;
        tokio::time::sleep(pause).await;
        if round == 2 {
            cluster.network().heal();
        } else {
            cluster.restart(node).await;
        }
        talk.flows(20).await;
    }
    cluster.until_ready().await;
    talk.end::<E>(&client).await;
    cluster.stop_all().await;
}

#[test]
fn what_entities_publish_is_there_once_and_in_order_while_nodes_are_killed() {
    over_seeds("publications_over_faults", 0..2, over_faults::<Herald>);
}

#[test]
fn what_entities_publish_together_is_there_once_and_in_order_while_nodes_are_killed() {
    over_seeds("transactions_of_entities_over_faults", 0..2, over_faults::<Choir>);
}

#[test]
fn what_entities_publish_outlives_a_kill_of_all_nodes_at_once() {
    over_seeds("publications_after_all_were_killed", 0..1, |simulation| async move {
        let (mut cluster, client, talk) = start::<Herald>(&simulation).await;
        for _ in 0..2 {
            cluster.kill_all();
            cluster.restart_all().await;
            talk.flows(20).await;
        }
        talk.end::<Herald>(&client).await;
        cluster.stop_all().await;
    });
}

#[test]
fn a_message_that_panics_its_handler_is_one_dead_letter_and_its_sender_is_told() {
    with_hosts(3, 1, &types(), async |nodes| {
        let (client, entities) = (nodes.client(1), nodes.entities(1).clone());
        let herald = entities.entity::<Herald>(&7);
        let refused = herald.ask(&Order::Say, PATIENCE).await;
        assert!(
            matches!(&refused, Err(CallError::Refused(text)) if text.contains("no topic")),
            "{refused:?}"
        );
        for topic in [TOPICS[0], TOPICS[1], DEAD] {
            let topic = millstream::CreateTopic {
                name: topic.to_owned(),
                partitions: Some(1),
                replication_factor: Some(1),
                config: BTreeMap::new(),
            };
            client.admin().create_topic(topic).await.expect("the topic is made");
        }
        assert_eq!(herald.ask(&Order::Say, PATIENCE).await, Ok(1));
        let panicked = herald.ask(&Order::Panic, PATIENCE).await;
        assert!(
            matches!(&panicked, Err(CallError::Stopped(text)) if text.contains("so told")),
            "{panicked:?}"
        );
        assert_eq!(herald.ask(&Order::Say, PATIENCE).await, Ok(2));
        let letters = read(&client, DEAD, 1).await;
        assert_eq!(letters.into_values().map(|letters| letters.len()).collect::<Vec<_>>(), [1]);
        let numbers = read(&client, TOPICS[1], 2).await;
        assert_eq!(numbers, BTreeMap::from([("7".to_owned(), vec!["1".to_owned(), "2".to_owned()])]));
    });
}
