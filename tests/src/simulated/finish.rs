//! The end of a scenario: everything is healed, nothing may be missing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millstream::{Client, Consumer, ConsumerEvent, ConsumerSettings, SeekTo, TopicPartition};
use millstream_actors::ids::{Offset, PartitionId, TopicId};
use millstream_actors::partition::message::OffsetSpec;
use tokio::time::Instant;

use super::load::Load;
use super::{OFFSETS, PATIENCE, SimulatedCluster, TOPIC, until};
use crate::checker::check;
use crate::history::{History, Sent, Tag};

/// What a disk holds unless a scenario makes it smaller.
pub(super) const CAPACITY_BYTES: u64 = 1 << 40;

impl SimulatedCluster {
    /// Ends all faults and starts every node that does not run, or whose log directory has failed.
    pub async fn heal(&mut self) {
        self.network.heal();
        self.network.loss(0.0);
        self.network.delay(Duration::from_millis(1)..=Duration::from_millis(3));
        for node in self.nodes() {
            let disk = self.disk(node);
            self.free_disk(node);
            disk.fail_nothing();
            disk.slow(Duration::from_millis(1)..=Duration::from_millis(2));
            if self.node(node).is_some() && !self.lives(node) {
                self.kill(node);
            }
            if self.node(node).is_none() {
                self.restart(node).await;
            }
        }
        self.until_ready().await;
    }

    /// Heals everything, lets the load go on for a second, ends it, and holds what is there against what happened:
    /// every promise kept, all that was sent decided, all replicas the same, byte for byte; where they are compacted, by what
    /// a reader makes of them.
    ///
    /// # Panics
    /// If not.
    pub async fn finish(mut self, mut load: Load) -> History {
        self.heal().await;
        load.run(Duration::from_secs(1)).await;
        load.stop_producing().await;
        let client = self.client();
        self.until_in_sync(&client, &[TOPIC, OFFSETS]).await;
        let ends = ends(&client, load.settings.partitions).await;
        until("the reader by offset has read everything", || {
            let positions = load.shared.positions.borrow();
            ends.iter().all(|(partition, end)| end.0 == 0 || positions.get(partition) >= Some(end))
        })
        .await;
        until("the group has read everything", || {
            let read = load.shared.by_group.borrow();
            ends.iter().all(|(partition, end)| {
                end.0 == 0 || read.get(partition).is_some_and(|read| i64::try_from(read.len()) == Ok(end.0))
            })
        })
        .await;
        load.stop_reading().await;
        let mut history = load.shared.history.take();
        read_finals(&client, &ends, &mut history).await;
        let compacted = compacted(&client, &[TOPIC, OFFSETS]).await;
        let differences = self.compare_replicas(&compacted).await;
        assert!(differences.is_empty(), "replicas differ: {differences:#?}");
        let violations = check(&history);
        let shown: Vec<_> = violations.iter().take(10).collect();
        assert!(violations.is_empty(), "{} promises are broken, among them {shown:#?}", violations.len());
        let undecided = history.sends.values().flatten().filter(|(_, sent)| *sent == Sent::Unknown).count();
        assert_eq!(undecided, 0, "records whose fate nobody knows, though the cluster has healed");
        history
    }

    /// Waits until all replicas of these topics are in sync.
    pub async fn until_in_sync(&self, client: &Client, topics: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        for name in topics {
            loop {
                client.metadata().refresh();
                let topic = client.admin().describe_topic(name).await.expect("the topic is known");
                if topic
                    .partitions
                    .iter()
                    .all(|partition| partition.in_sync.len() == partition.replicas.len())
                {
                    break;
                }
                assert!(Instant::now() < deadline, "replicas do not catch up: {topic:#?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Those of these topics whose logs are compacted.
pub async fn compacted(client: &Client, topics: &[&str]) -> BTreeSet<TopicId> {
    let mut compacted = BTreeSet::new();
    for name in topics {
        let topic = client.admin().describe_topic(name).await.expect("the topic is known");
        if topic.config.get("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
            compacted.insert(topic.id);
        }
    }
    compacted
}

/// The high watermarks.
async fn ends(client: &Client, partitions: i32) -> BTreeMap<PartitionId, Offset> {
    let wanted: Vec<_> = (0..partitions)
        .map(|partition| (TopicPartition::new(TOPIC, partition), OffsetSpec::Latest))
        .collect();
    let listed = client.admin().offsets(&wanted).await.expect("leaders tell their ends");
    let view = client.metadata().view();
    listed
        .into_iter()
        .map(|(name, listed)| {
            (view.id(&name).expect("the topic is known"), listed.offset.expect("a leader has an end"))
        })
        .collect()
}

/// Reads every partition once from its start.
async fn read_finals(client: &Client, ends: &BTreeMap<PartitionId, Offset>, history: &mut History) {
    let mut consumer =
        Consumer::new(client, ConsumerSettings::default()).expect("a reader's settings are right");
    let all = ends.keys().map(|partition| (TopicPartition::new(TOPIC, partition.index), SeekTo::Beginning));
    consumer.assign(all).await.expect("the topic is known");
    let mut left = ends.clone();
    left.retain(|_, end| end.0 > 0);
    let deadline = Instant::now() + PATIENCE;
    while !left.is_empty() {
        let event = tokio::time::timeout_at(deadline, consumer.next()).await;
        let Ok(Ok(ConsumerEvent::Records(fetched))) = event else {
            assert!(Instant::now() < deadline, "partitions are not read to their end: {left:?}");
            continue;
        };
        let found = ends.keys().find(|partition| partition.index == fetched.partition.partition);
        let partition = *found.expect("only these partitions are read");
        for record in fetched.records() {
            let record = record.expect("records are whole");
            let tag = record.value.as_deref().and_then(Tag::from_bytes).expect("each record carries its tag");
            history.hold(partition, record.offset, tag);
        }
        if left.get(&partition) <= Some(&fetched.next_offset()) {
            left.remove(&partition);
        }
    }
    consumer.close().await;
}
