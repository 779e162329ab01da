//! What the replicas hold on disk, read after their nodes have ended.
//!
//! Replicas of a compacted topic clean their logs each for itself, so their bytes differ: what must be the same is where
//! they begin and end, and the last value of each key, at its offset.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millstream_actors::events::Events;
use millstream_actors::ids::{NodeId, Offset, PartitionId, TopicId};
use millstream_actors::log::{DirectorySettings, Log, LogDirectory};
use millstream_actors::record::{BatchHeader, MAX_UNPACKED_BYTES, Record, batches, records};
use millstream_actors::topic_config::TopicConfig;
use millstream_transport::world::World;

use super::SimulatedCluster;

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// One replica's log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    start: Offset,
    end: Offset,
    bytes: Bytes,
}

impl Held {
    fn is_like(&self, other: &Self, is_compacted: bool) -> bool {
        if !is_compacted {
            return self == other;
        }
        (self.start, self.end) == (other.start, other.end) && self.last_values() == other.last_values()
    }

    /// The last record of each key that has a value: of a deleted key the tombstone may be there or not.
    fn last_values(&self) -> BTreeMap<Bytes, Record> {
        let mut last = BTreeMap::new();
        for batch in batches(&self.bytes) {
            let batch = batch.expect("batches are whole");
            for record in records(&batch, MAX_UNPACKED_BYTES).expect("batches can be unpacked") {
                let record = record.expect("records are whole");
                let key = record.key.clone().expect("a compacted topic has no record without a key");
                match record.value {
                    Some(_) => last.insert(key, record),
                    None => last.remove(&key),
                };
            }
        }
        last
    }
}

impl SimulatedCluster {
    /// Kills all nodes at once and compares what their replicas hold, byte for byte but for topics that are compacted;
    /// says what differs.
    pub async fn compare_replicas(&mut self, compacted: &BTreeSet<TopicId>) -> Vec<String> {
        for node in self.nodes() {
            self.kill(node);
        }
        // What was under way ends.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut first: BTreeMap<PartitionId, (NodeId, Held)> = BTreeMap::new();
        let mut differences = Vec::new();
        for node in self.nodes() {
            for (partition, held) in self.held(node) {
                match first.get(&partition) {
                    None => {
                        first.insert(partition, (node, held));
                    }
                    Some((other, theirs)) if !theirs.is_like(&held, compacted.contains(&partition.topic)) => {
                        differences.push(difference(partition, (*other, theirs), (node, &held)));
                    }
                    Some(_) => {}
                }
            }
        }
        differences
    }

    fn held(&self, node: NodeId) -> BTreeMap<PartitionId, Held> {
        let world = World::simulated(&self.simulation, self.disk(node));
        let path = self.log_directory();
        let directory = LogDirectory::open(&world, &path, DirectorySettings::default(), Events::uncounted())
            .unwrap_or_else(|error| panic!("the log directory of node {node} cannot be opened: {error}"));
        let found = directory.logs().into_iter().map(|partition| {
            let opened = directory.open_log(partition, &TopicConfig::default());
            let (log, _) = opened.unwrap_or_else(|error| panic!("{partition} of node {node}: {error}"));
            (partition, read(&log).unwrap_or_else(|error| panic!("{partition} of node {node}: {error}")))
        });
        let found = found.collect();
        self.disk(node).kill();
        found
    }
}

fn read(log: &Log) -> Result<Held, String> {
    let mut bytes = BytesMut::new();
    let mut at = log.start();
    while at < log.end() {
        let read = log.read(at, log.end(), READ_BYTES).map_err(|error| error.to_string())?;
        let mut rest = &read[..];
        while !rest.is_empty() {
            let header = BatchHeader::parse(rest).map_err(|error| error.to_string())?;
            at = header.next_offset();
            rest = rest.get(header.total_bytes()..).unwrap_or_default();
        }
        bytes.extend_from_slice(&read);
    }
    Ok(Held { start: log.start(), end: log.end(), bytes: bytes.freeze() })
}

fn difference(partition: PartitionId, first: (NodeId, &Held), second: (NodeId, &Held)) -> String {
    let place = first.1.bytes.iter().zip(&second.1.bytes).position(|(first, second)| first != second);
    let part = |(node, held): (NodeId, &Held)| {
        format!("node {node} holds {} to {}, {} bytes", held.start.0, held.end.0, held.bytes.len())
    };
    format!("{partition}: {}, {}; first different byte {place:?}", part(first), part(second))
}
