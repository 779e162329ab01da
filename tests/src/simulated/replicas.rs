//! What the replicas hold on disk, read after their nodes have ended.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_actors::events::Events;
use millstream_actors::ids::{NodeId, Offset, PartitionId};
use millstream_actors::log::{DirectorySettings, Log, LogDirectory};
use millstream_actors::record::BatchHeader;
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
    bytes: Vec<u8>,
}

impl SimulatedCluster {
    /// Kills all nodes at once and compares what their replicas hold, byte for byte; says what differs.
    pub(super) async fn compare_replicas(&mut self) -> Vec<String> {
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
                    Some((other, theirs)) if *theirs != held => {
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
    let mut bytes = Vec::new();
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
    Ok(Held { start: log.start(), end: log.end(), bytes })
}

fn difference(partition: PartitionId, first: (NodeId, &Held), second: (NodeId, &Held)) -> String {
    let place = first.1.bytes.iter().zip(&second.1.bytes).position(|(first, second)| first != second);
    let part = |(node, held): (NodeId, &Held)| {
        format!("node {node} holds {} to {}, {} bytes", held.start.0, held.end.0, held.bytes.len())
    };
    format!("{partition}: {}, {}; first different byte {place:?}", part(first), part(second))
}
