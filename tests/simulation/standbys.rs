//! Followers of entities know where each lies: a new leader reads next to nothing, and is asked within a second. And while
//! nodes have different versions of a type, all that is written is read by each.

use std::time::Duration;

use futures::future::join_all;
use millstream::{ActorMessage, CallError, Client, Entity, EntityTypes, NodeId, Refused, Turn};
use millstream_tests::bank::{Account, Order, accounts};
use millstream_tests::simulated::{SimulatedCluster, over_seeds, tell};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::FAIL_OVER;

const PATIENCE: Duration = Duration::from_secs(30);

const SETTINGS: [(&str, &str); 1] = [("entity.partitions", "3")];

const ACCOUNTS: u64 = 120;

/// The sum of what a node tells under this name.
fn sum_of(cluster: &SimulatedCluster, node: NodeId, name: &str) -> f64 {
    let series = cluster.node(node).map(|node| node.metrics().render()).unwrap_or_default();
    let lines = series.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn sum(cluster: &SimulatedCluster, name: &str) -> f64 {
    cluster.nodes().into_iter().map(|node| sum_of(cluster, node, name)).sum()
}

const STANDBY: &str = "millstream_entities_indexed{role=\"standby\"}";
const REPLAYED: &str = "millstream_entity_records_replayed_total";

/// Waits until followers know of so many entities, all together.
async fn indexed(cluster: &SimulatedCluster, entities: u64) {
    let (wanted, until) = (f64::from(u32::try_from(entities).unwrap_or(u32::MAX)), Instant::now() + PATIENCE);
    while (sum(cluster, STANDBY) - wanted).abs() > 0.5 {
        assert!(Instant::now() < until, "{} of {wanted} are indexed", sum(cluster, STANDBY));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn each_receives(client: &Client) {
    let asks = (0..ACCOUNTS).map(|key| async move {
        client.entity::<Account>(&key).ask(&Order::Receive { cents: 1 }, PATIENCE).await
    });
    let answers = join_all(asks).await;
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
}

#[test]
fn entities_of_a_killed_node_answer_within_a_second_and_their_new_leader_has_read_next_to_nothing() {
    over_seeds("standbys_take_over", 0..3, |simulation| async move {
        let mut cluster = SimulatedCluster::start_hosting(&simulation, 3, &SETTINGS, accounts()).await;
        let client = cluster.client();
        for _ in 0..5 {
            each_receives(&client).await;
        }
        indexed(&cluster, 2 * ACCOUNTS).await;
        // Followers hear that the last turns are committed a moment after they are.
        tokio::time::sleep(Duration::from_secs(1)).await;
        for node in cluster.nodes() {
            let before = sum(&cluster, REPLAYED) - sum_of(&cluster, node, REPLAYED);
            let leads = sum_of(&cluster, node, "millstream_entities_indexed{role=\"leader\"}");
            cluster.kill(node);
            let killed = Instant::now();
            let look = |key: u64| {
                let client = client.clone();
                async move {
                    let looked = client.entity::<Account>(&key).ask(&Order::Look, PATIENCE).await;
                    (looked, killed.elapsed())
                }
            };
            for (looked, took) in join_all((0..ACCOUNTS).map(look)).await {
                assert_eq!(looked.map(|account| account.received), Ok(5));
                assert!(took < FAIL_OVER, "an account answered {took:?} after node {node} was killed");
            }
            let replayed = sum(&cluster, REPLAYED) - before;
            tell(&format!("node {node} led {leads} accounts; {replayed} records were read in its place"));
            assert!(replayed < 20.0, "{replayed} records were read to lead in the place of node {node}");
            cluster.restart(node).await;
            cluster.until_ready().await;
            cluster.until_in_sync(&client, &["__entity_account"]).await;
            // All of it is followed again: what one leads two others know.
            indexed(&cluster, 2 * ACCOUNTS).await;
        }
        cluster.stop_all().await;
    });
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Say {
    Add(u64),
    Look,
}

impl ActorMessage for Say {
    const NAME: &'static str = "say";
    type Answer = (u64, Option<u64>);
}

/// The first version of a type.
#[derive(Serialize, Deserialize)]
struct Old(u64);

impl Entity for Old {
    const TYPE: &'static str = "sum";
    type Key = u64;
    type Message = Say;

    fn new(_: &u64) -> Self {
        Self(0)
    }

    fn handle(&mut self, say: Say, _: &mut Turn<'_, Self>) -> Result<(u64, Option<u64>), Refused> {
        if let Say::Add(number) = say {
            self.0 += number;
        }
        Ok((self.0, None))
    }
}

/// The second: it also counts, and writes the first where `EARLIER`.
#[derive(Serialize, Deserialize)]
struct New<const EARLIER: bool> {
    sum: u64,
    count: u64,
}

impl<const EARLIER: bool> Entity for New<EARLIER> {
    const TYPE: &'static str = "sum";
    const VERSION: u16 = 2;
    type Key = u64;
    type Message = Say;

    fn new(_: &u64) -> Self {
        Self { sum: 0, count: 0 }
    }

    fn handle(&mut self, say: Say, _: &mut Turn<'_, Self>) -> Result<(u64, Option<u64>), Refused> {
        if let Say::Add(number) = say {
            (self.sum, self.count) = (self.sum + number, self.count + 1);
        }
        Ok((self.sum, Some(self.count)))
    }

    fn from_earlier(_: u16, bytes: &[u8]) -> Option<Result<Self, String>> {
        let read = postcard::from_bytes::<Old>(bytes).map_err(|error| error.to_string());
        Some(read.map(|Old(sum)| Self { sum, count: 0 }))
    }

    fn to_earlier(&self, _: u16) -> Option<Result<Vec<u8>, String>> {
        EARLIER.then(|| postcard::to_stdvec(&Old(self.sum)).map_err(|error| error.to_string()))
    }
}

fn old() -> EntityTypes {
    EntityTypes::new().and::<Old>().expect("it has a name")
}

fn new<const EARLIER: bool>() -> EntityTypes {
    EntityTypes::new().and::<New<EARLIER>>().expect("it has a name")
}

const SUMS: u64 = 12;

/// Adds one to each and gives the answers.
async fn add_to_each(client: &Client, within: Duration) -> Vec<Result<(u64, Option<u64>), CallError>> {
    let asks = (0..SUMS).map(|key| async move { client.entity::<Old>(&key).ask(&Say::Add(1), within).await });
    join_all(asks).await
}

/// A node is stopped and started with other code; its replicas are in sync again.
async fn upgrade(cluster: &mut SimulatedCluster, client: &Client, node: NodeId, types: EntityTypes) {
    cluster.stop(node).await;
    cluster.host_from_now(types);
    cluster.restart(node).await;
    cluster.until_ready().await;
    cluster.until_in_sync(client, &["__entity_sum"]).await;
}

#[test]
fn a_type_is_upgraded_node_by_node_and_each_reads_what_the_others_write() {
    over_seeds("a_type_is_upgraded", 0..2, |simulation| async move {
        let mut cluster = SimulatedCluster::start_hosting(&simulation, 3, &SETTINGS, old()).await;
        let client = cluster.client();
        let (nodes, mut wanted) = (cluster.nodes(), 0);
        for node in &nodes {
            upgrade(&mut cluster, &client, *node, new::<true>()).await;
            // Each of them leads in turn, as the others are stopped.
            for stopped in &nodes {
                wanted += 1;
                for answer in add_to_each(&client, PATIENCE).await {
                    assert_eq!(answer.map(|(sum, _)| sum), Ok(wanted), "{node} is upgraded, {stopped} goes");
                }
                let types = if stopped <= node { new::<true>() } else { old() };
                upgrade(&mut cluster, &client, *stopped, types).await;
            }
        }
        // Now that all read it the second version is written, once they know that: what only that says outlives any node.
        tokio::time::sleep(Duration::from_secs(2)).await;
        for stopped in &nodes {
            let before = add_to_each(&client, PATIENCE).await;
            upgrade(&mut cluster, &client, *stopped, new::<true>()).await;
            let sums = (0..SUMS).map(|key| client.entity::<Old>(&key));
            let after = join_all(sums.map(|sum| async move { sum.ask(&Say::Look, PATIENCE).await })).await;
            assert_eq!(before, after);
            wanted += 1;
            assert!(after.iter().all(|sum| matches!(sum, Ok((sum, _)) if *sum == wanted)), "{after:?}");
            assert!(after.iter().all(|sum| matches!(sum, Ok((_, Some(1..))))), "{after:?}");
        }
        cluster.stop_all().await;
    });
}

#[test]
fn what_a_host_could_not_read_is_not_written_and_the_answer_says_which_host() {
    over_seeds("a_type_cannot_write_earlier_versions", 0..1, |simulation| async move {
        let mut cluster = SimulatedCluster::start_hosting(&simulation, 3, &SETTINGS, old()).await;
        let client = cluster.client();
        assert!(add_to_each(&client, PATIENCE).await.iter().all(Result::is_ok));
        for node in [1, 2] {
            upgrade(&mut cluster, &client, NodeId(node), new::<false>()).await;
        }
        // The last host of the first version is away, and may come back.
        cluster.stop(NodeId(3)).await;
        for answer in add_to_each(&client, Duration::from_secs(3)).await {
            let Err(CallError::Timeout { last, .. } | CallError::Retry(last)) = answer else {
                panic!("it was written: {answer:?}");
            };
            assert!(last.contains("node 3 reads only up to version 1"), "{last}");
        }
        let look = client.entity::<Old>(&0).ask(&Say::Look, PATIENCE).await;
        assert_eq!(look, Ok((1, Some(0))), "it can be asked what it knows");
        cluster.host_from_now(new::<false>());
        cluster.restart(NodeId(3)).await;
        for answer in add_to_each(&client, PATIENCE).await {
            assert_eq!(answer, Ok((2, Some(1))));
        }
        cluster.stop_all().await;
    });
}
