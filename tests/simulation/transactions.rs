//! Transactional copies by native clients while leaders, coordinators and the copiers themselves die: a reader of
//! committed records sees each record once, in order, and the last stable offset reaches the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix_rt::task::JoinHandle;
use millstream::{
    Client, Consumer, ConsumerEvent, ConsumerSettings, IsolationLevel, NodeId, Offset, OffsetReset,
    ProducerRecord, ProducerSettings, SeekTo, TopicPartition, TransactionError, TransactionalProducer,
};
use millstream_actors::group::front::coordinator_partition;
use millstream_actors::partition::message::OffsetSpec;
use millstream_tests::simulated::{OFFSETS, SimulatedCluster, TRANSACTIONS, over_seeds, tell};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

pub(super) const SOURCE: &str = "source";
pub(super) const COPIES: &str = "copies";
const GROUP: &str = "copiers";
pub(super) const PARTITIONS: i32 = 3;

/// Records of each partition.
const RECORDS: i64 = 400;

/// Records of one transaction, at most.
const AT_ONCE: usize = 7;

/// The longest that a transaction of a copier may be open, and that the last stable offset may lag behind the end once all
/// is healed: a copier that died leaves one open for so long.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
const STABLE_WITHIN: Duration = Duration::from_secs(13);

/// How long the copy may take after the last fault.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

pub(super) const SETTINGS: [(&str, &str); 1] = [("transaction.state.log.num.partitions", "2")];

type Failure = Box<dyn std::error::Error>;

pub(super) fn writing(id: &str) -> ProducerSettings {
    ProducerSettings {
        transaction_timeout: TIMEOUT,
        max_block: Duration::from_secs(20),
        delivery_timeout: Duration::from_secs(20),
        ..ProducerSettings::transactional(id)
    }
}

pub(super) fn reading() -> ConsumerSettings {
    ConsumerSettings {
        offset_reset: OffsetReset::Earliest,
        auto_commit: None,
        isolation: IsolationLevel::ReadCommitted,
        ..ConsumerSettings::group(GROUP)
    }
}

/// What a copier does until it is killed.
pub(super) struct Copier {
    pub(super) client: Client,
    pub(super) id: &'static str,
}

impl Copier {
    pub(super) async fn run(self) {
        loop {
            // Whatever ends a producer's life, the next one begins from what is committed.
            if let Err(error) = self.live().await {
                tell(&format!("{} begins anew: {error}", self.id));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn live(&self) -> Result<(), Failure> {
        let mut producer = self.client.transactional_producer(writing(self.id)).await?;
        let mut consumer = Consumer::new(&self.client, reading())?;
        consumer.subscribe([SOURCE])?;
        loop {
            let Err(error) = copy_some(&mut producer, &mut consumer).await else { continue };
            if error.downcast_ref::<TransactionError>().is_some_and(TransactionError::is_fatal) {
                return Err(error);
            }
            tell(&format!("{} goes back to what is committed: {error}", self.id));
            for partition in consumer.assignment() {
                consumer.seek(&partition, SeekTo::Committed)?;
            }
        }
    }
}

/// Copies what comes next, in as many transactions as that takes.
async fn copy_some(producer: &mut TransactionalProducer, consumer: &mut Consumer) -> Result<(), Failure> {
    let ConsumerEvent::Records(fetched) = consumer.next().await? else { return Ok(()) };
    let records = fetched.records().collect::<Result<Vec<_>, _>>()?;
    for some in records.chunks(AT_ONCE) {
        let mut transaction = producer.begin().await?;
        let mut next = Offset::ZERO;
        for record in some {
            let value = record.value.clone().unwrap_or_default();
            let copy = ProducerRecord::to(COPIES).partition(fetched.partition.partition).value(&value);
            // Its fate is the transaction's.
            drop(transaction.send(copy).await?);
            next = Offset(record.offset.0 + 1);
        }
        let group = consumer.group_metadata().ok_or("it has a group")?;
        transaction.send_offsets(&group, [(fetched.partition.clone(), next)]).await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// Where what comes from a partition is put.
pub(super) type Seen = Rc<RefCell<BTreeMap<i32, Vec<i64>>>>;

pub(super) async fn watch(client: Client, seen: Seen) {
    let settings =
        ConsumerSettings { isolation: IsolationLevel::ReadCommitted, ..ConsumerSettings::default() };
    let mut consumer = Consumer::new(&client, settings).expect("a reader's settings are right");
    let all = (0..PARTITIONS).map(|index| (TopicPartition::new(COPIES, index), SeekTo::Beginning));
    consumer.assign(all).await.expect("the topic is known");
    loop {
        let event = consumer.next().await.expect("an event");
        let ConsumerEvent::Records(fetched) = event else { continue };
        let values = fetched.records().map(|record| {
            let value = record.expect("records are whole").value.expect("it has a value");
            String::from_utf8_lossy(&value).parse::<i64>().expect("a number")
        });
        seen.borrow_mut().entry(fetched.partition.partition).or_default().extend(values);
    }
}

pub(super) async fn fill(client: &Client, records: i64) {
    let producer = client.producer(ProducerSettings::default()).await.expect("a producer starts");
    for number in 0..records {
        for index in 0..PARTITIONS {
            let value = number.to_string();
            let record = ProducerRecord::to(SOURCE).partition(index).value(&value);
            drop(producer.send(record).await.expect("the record is taken"));
        }
    }
    producer.flush().await;
    producer.close(Duration::from_secs(1)).await;
}

async fn ends(client: &Client, spec: OffsetSpec) -> Vec<Offset> {
    let wanted: Vec<_> = (0..PARTITIONS).map(|index| (TopicPartition::new(COPIES, index), spec)).collect();
    let listed = client.admin().offsets(&wanted).await.expect("leaders tell their ends");
    listed.into_values().map(|listed| listed.offset.expect("a leader has an end")).collect()
}

/// Who does what for the copy.
#[derive(Clone, Copy, Debug)]
enum Victim {
    LeaderOfCopies,
    LeaderOfSource,
    CoordinatorOfTransactions,
    CoordinatorOfGroup,
    Controller,
    Copier,
}

const VICTIMS: [Victim; 6] = [
    Victim::LeaderOfCopies,
    Victim::LeaderOfSource,
    Victim::CoordinatorOfTransactions,
    Victim::CoordinatorOfGroup,
    Victim::Controller,
    Victim::Copier,
];

struct Scene {
    cluster: SimulatedCluster,
    client: Client,
    copier: JoinHandle<()>,
}

impl Scene {
    async fn node_of(&self, victim: Victim, rng: &mut SmallRng) -> Option<NodeId> {
        let (cluster, client) = (&self.cluster, &self.client);
        let index = rng.random_range(0..PARTITIONS);
        Some(match victim {
            Victim::LeaderOfCopies => cluster.leader_in(client, COPIES, index).await,
            Victim::LeaderOfSource => cluster.leader_in(client, SOURCE, index).await,
            Victim::CoordinatorOfTransactions => {
                let index = coordinator_partition("first", 2);
                cluster.leader_in(client, TRANSACTIONS, index).await
            }
            Victim::CoordinatorOfGroup => cluster.coordinator_of(client, GROUP).await,
            Victim::Controller => cluster.controller(client).await,
            Victim::Copier => return None,
        })
    }

    /// The copier made last dies where it stands, and another one with the same name takes over on another machine.
    fn kill_copier(&mut self) {
        self.copier.abort();
        self.cluster.unplug_last_client();
        self.copier = actix_rt::spawn(Copier { client: self.cluster.client(), id: "second" }.run());
    }

    async fn strike(&mut self, rng: &mut SmallRng) {
        let victim = *VICTIMS.choose(rng).expect("there are victims");
        let lasts = Duration::from_millis(rng.random_range(10..3000));
        let node = self.node_of(victim, rng).await;
        tell(&format!("the {victim:?} dies for {lasts:?}: {node:?}"));
        match node {
            None => self.kill_copier(),
            Some(node) => {
                if rng.random() {
                    self.cluster.kill(node);
                } else {
                    self.cluster.cut_power(node);
                }
                tokio::time::sleep(lasts).await;
                self.cluster.restart(node).await;
            }
        }
        self.cluster.until_ready().await;
        self.cluster.until_in_sync(&self.client, &[SOURCE, COPIES, OFFSETS, TRANSACTIONS]).await;
    }
}

#[test]
fn a_transactional_copy_is_read_once_whoever_dies_meanwhile() {
    over_seeds("a_transactional_copy", 0..1, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start_with(&simulation, 3, &SETTINGS).await;
        let client = cluster.client();
        for topic in [SOURCE, COPIES] {
            cluster.make_topic(&client, topic, PARTITIONS).await;
        }
        fill(&client, RECORDS).await;
        let seen = Seen::default();
        let watching = actix_rt::spawn(watch(client.clone(), Rc::clone(&seen)));
        let first = actix_rt::spawn(Copier { client: cluster.client(), id: "first" }.run());
        let copier = actix_rt::spawn(Copier { client: cluster.client(), id: "second" }.run());
        let count = || seen.borrow().values().map(Vec::len).sum::<usize>();
        let mut scene = Scene { cluster, client, copier };
        let begun = Instant::now();
        while count() == 0 {
            assert!(begun.elapsed() < PATIENCE, "nothing is copied");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for _ in 0..5 {
            scene.strike(&mut rng).await;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..500))).await;
        }
        let healed = Instant::now();
        tell(&format!("healed with {} copies", count()));
        while count() < usize::try_from(RECORDS * i64::from(PARTITIONS)).expect("it is positive") {
            assert!(healed.elapsed() < PATIENCE, "copied so far: {:?}", seen.borrow());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        first.abort();
        scene.copier.abort();
        let copied = Instant::now();
        while ends(&scene.client, OffsetSpec::LastStable).await
            != ends(&scene.client, OffsetSpec::Latest).await
        {
            assert!(copied.elapsed() < STABLE_WITHIN, "the last stable offset stands before the end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        watching.abort();
        let wanted: BTreeMap<_, Vec<_>> =
            (0..PARTITIONS).map(|index| (index, (0..RECORDS).collect())).collect();
        assert_eq!(*seen.borrow(), wanted, "what was read while it happened");
        let again = Seen::default();
        let reading = actix_rt::spawn(watch(scene.client.clone(), Rc::clone(&again)));
        tokio::time::sleep(Duration::from_secs(5)).await;
        reading.abort();
        assert_eq!(*again.borrow(), wanted, "what is read afterwards");
        scene.cluster.stop_all().await;
    });
}
