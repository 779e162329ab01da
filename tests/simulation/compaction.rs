//! Compacted topics, committed offsets among them, while nodes die: what a reader makes of them is what was written last,
//! and little else is left.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream::{
    Client, Consumer, ConsumerEvent, ConsumerSettings, CreateTopic, Offset, Producer, ProducerRecord,
    ProducerSettings, SeekTo, TopicPartition,
};
use millstream_actors::ids::PartitionId;
use millstream_tests::simulated::{OFFSETS, SimulatedCluster, TOPIC, compacted, over_seeds};
use millstream_transport::world::simulation::Simulation;

const PARTITIONS: i32 = 2;
const KEYS: u64 = 9;
const COMMITTER: &str = "committer";

/// Segments are short and cleaned at once.
const EAGER: [(&str, &str); 3] =
    [("segment.ms", "300"), ("min.cleanable.dirty.ratio", "0.01"), ("delete.retention.ms", "700")];

type Values = BTreeMap<(i32, Vec<u8>), Vec<u8>>;

/// Writes to a compacted topic, and commits how far it is, every few records.
struct Writer {
    client: Client,
    producer: Producer,
    zero: PartitionId,
    written: u64,
    last: Values,
}

impl Writer {
    async fn start(cluster: &mut SimulatedCluster) -> Self {
        let client = cluster.client();
        let policy = [("cleanup.policy", "compact"), ("min.insync.replicas", "2")];
        let config = policy.iter().chain(&EAGER).map(|(name, value)| ((*name).into(), (*value).into()));
        let topic = CreateTopic {
            name: TOPIC.to_owned(),
            partitions: Some(PARTITIONS),
            replication_factor: Some(3),
            config: config.collect(),
        };
        let id = client.admin().create_topic(topic).await.expect("the topic is made");
        let producer = client.producer(ProducerSettings::default()).await.expect("a producer starts");
        let zero = PartitionId { topic: id, index: 0 };
        let mut writer = Self { client, producer, zero, written: 0, last: Values::new() };
        writer.commit().await;
        let eager = EAGER.iter().map(|(name, value)| ((*name).into(), Some((*value).into()))).collect();
        writer.client.admin().alter_topic(OFFSETS, eager).await.expect("the offsets topic is changed");
        writer
    }

    /// Writes so many records, one after the other, every tenth of them a tombstone.
    async fn write(&mut self, records: u64) {
        for _ in 0..records {
            self.written += 1;
            let (index, key) =
                (i32::from(self.written.is_multiple_of(3)), format!("key {}", self.written % KEYS));
            let value = format!("value {}", self.written);
            let mut record = ProducerRecord::to(TOPIC).partition(index).key(&key);
            let at = (index, key.clone().into_bytes());
            if self.written.is_multiple_of(10) {
                self.last.remove(&at);
            } else {
                record = record.value(&value);
                self.last.insert(at, value.clone().into_bytes());
            }
            let delivery = self.producer.send(record).await.expect("the router takes it");
            delivery.await.expect("it is acknowledged");
            if self.written.is_multiple_of(7) {
                self.commit().await;
            }
        }
    }

    async fn commit(&mut self) {
        let upto = Offset(i64::try_from(self.written).expect("a small number"));
        let offsets = BTreeMap::from([(self.zero, upto)]);
        let mut tries = 0;
        while let Err(error) = self.client.admin().reset_offsets(COMMITTER, offsets.clone()).await {
            tries += 1;
            assert!(tries < 20, "{error}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Reads everything from the start: what that comes to, and how many records it was.
    async fn read(&self) -> (Values, usize) {
        let mut consumer =
            Consumer::new(&self.client, ConsumerSettings::default()).expect("the settings are right");
        let all = (0..PARTITIONS).map(|index| (TopicPartition::new(TOPIC, index), SeekTo::Beginning));
        consumer.assign(all).await.expect("the topic is known");
        let (mut values, mut count, mut ends) = (Values::new(), 0, BTreeMap::new());
        while ends.len() < 2 || ends.values().any(|is_at_end| !is_at_end) {
            let event = tokio::time::timeout(Duration::from_secs(20), consumer.next()).await;
            let Ok(Ok(ConsumerEvent::Records(fetched))) = event else { panic!("{event:?}") };
            let index = fetched.partition.partition;
            for record in fetched.records() {
                let record = record.expect("records are whole");
                let at = (index, record.key.expect("each has a key").to_vec());
                match record.value {
                    Some(value) => values.insert(at, value.to_vec()),
                    None => values.remove(&at),
                };
                count += 1;
            }
            ends.insert(index, fetched.next_offset() >= fetched.high_watermark);
        }
        consumer.close().await;
        (values, count)
    }
}

async fn scenario(simulation: Simulation) {
    let often = [("log.retention.check.interval.ms", "200")];
    let mut cluster = SimulatedCluster::start_with(&simulation, 3, &often).await;
    let mut writer = Writer::start(&mut cluster).await;
    let client = writer.client.clone();
    writer.write(100).await;
    // One falls behind, over what the others clean meanwhile.
    let away = cluster.follower(&client, 0).await;
    cluster.kill(away);
    writer.write(150).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    writer.write(20).await;
    cluster.restart(away).await;
    writer.write(30).await;
    cluster.until_in_sync(&client, &[TOPIC, OFFSETS]).await;
    let leader = cluster.leader(&client, 0).await;
    cluster.cut_power(leader);
    writer.write(60).await;
    cluster.restart(leader).await;
    writer.write(60).await;
    for node in cluster.nodes() {
        cluster.cut_power(node);
    }
    for node in cluster.nodes() {
        cluster.restart(node).await;
    }
    cluster.heal().await;
    writer.write(40).await;
    writer.commit().await;
    cluster.until_in_sync(&client, &[TOPIC, OFFSETS]).await;
    // A last short segment is closed, and all is cleaned.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (values, count) = writer.read().await;
    assert_eq!(values, writer.last);
    let most = 4 * usize::try_from(KEYS * 2).expect("a small number");
    assert!(count < most, "{count} records are left of {}", writer.written);
    let coordinator = cluster.coordinator_of(&client, COMMITTER).await;
    cluster.kill(coordinator);
    let committed = client.admin().committed(COMMITTER).await.expect("another coordinator answers");
    let offset = committed.get(&writer.zero).map(|committed| committed.offset.0);
    assert_eq!(offset, i64::try_from(writer.written).ok());
    cluster.restart(coordinator).await;
    cluster.heal().await;
    cluster.until_in_sync(&client, &[TOPIC, OFFSETS]).await;
    let compacted = compacted(&client, &[TOPIC, OFFSETS]).await;
    assert_eq!(compacted.len(), 2);
    let differences = cluster.compare_replicas(&compacted).await;
    assert!(differences.is_empty(), "replicas differ: {differences:#?}");
}

#[test]
fn compacted_topics_tell_what_was_written_last_whatever_happens() {
    over_seeds("compacted_topics", 0..3, scenario);
}
