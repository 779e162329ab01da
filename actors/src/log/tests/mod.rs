//! Logs as wholes, on the machine's disk and on one that loses what was not synced.

mod cleaned;
mod cleaning;
mod disturbed;
mod faults;
mod life;
mod power;
mod removed;

use std::path::Path;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use millstream_transport::world::simulation::Simulation;
use millstream_transport::world::{Clock, Random, RealDisk, SimulatedDisk, Threads, World};
use uuid::Uuid;

use super::batches::fixture::batch;
use super::*;
use crate::events::Events;
use crate::ids::{Offset, PartitionId, TopicId};
use crate::topic_config::{FlushPolicy, TopicConfig};

const ROOT: &str = "/data";

/// The machine, without cores: only the group sync has threads.
fn machine() -> World {
    World {
        clock: Clock::real(),
        disk: Arc::new(RealDisk::new()),
        random: Random::seeded(1),
        threads: Threads::real(Vec::new()),
    }
}

fn open_at(world: &World, path: &Path) -> Result<Arc<LogDirectory>, LogError> {
    LogDirectory::open(world, path, DirectorySettings::default(), Events::uncounted())
}

/// The directory of a simulated node in its next life.
fn open(simulation: &Simulation, disk: &SimulatedDisk) -> Arc<LogDirectory> {
    open_at(&World::simulated(simulation, disk), Path::new(ROOT)).unwrap()
}

fn partition(index: i32) -> PartitionId {
    PartitionId { topic: TopicId(Uuid::from_u128(0xabc)), index }
}

/// Segments are small, so that tests roll.
fn config() -> TopicConfig {
    TopicConfig { segment_bytes: 4096, retention_ms: None, ..TopicConfig::default() }
}

fn os() -> TopicConfig {
    TopicConfig { flush_policy: FlushPolicy::Os, ..config() }
}

fn open_log(directory: &Arc<LogDirectory>) -> (Log, Recovery) {
    directory.open_log(partition(0), &config()).unwrap()
}

/// Appends one batch of so many records.
fn append(log: &mut Log, records: i32, epoch: i32, body: usize) -> Bytes {
    let bytes = batch(log.end().0, records, epoch, body, u8::try_from(log.end().0 % 251).unwrap());
    log.append(vec![bytes.clone()]).unwrap();
    bytes
}

/// Syncs and waits.
fn sync(log: &Log) -> Result<Offset, LogError> {
    let (send, receive) = mpsc::channel();
    log.sync(Box::new(move |result| send.send(result).unwrap()));
    receive.recv().unwrap()
}

/// The same where time is simulated.
async fn synced(log: &Log) -> Result<Offset, LogError> {
    let (send, receive) = tokio::sync::oneshot::channel();
    log.sync(Box::new(move |result| send.send(result).unwrap()));
    receive.await.unwrap()
}

/// All batches from `from` on, read `max_bytes` at a time.
fn read_from(log: &Log, from: Offset, max_bytes: usize) -> Result<Vec<u8>, LogError> {
    let mut all = Vec::new();
    let mut at = from;
    while at < log.end() {
        let bytes = log.read(at, log.end(), max_bytes)?;
        at = batches::headers(&bytes).last().unwrap().unwrap().next_offset();
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

fn read_all(log: &Log) -> Result<Vec<u8>, LogError> {
    read_from(log, log.start(), 3000)
}

/// Files of the first partition with this ending, in order.
fn files(world: &World, root: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let directory = world.disk.list(root).unwrap().into_iter().find(|path| path.ends_with(name())).unwrap();
    let files = world.disk.list(&directory).unwrap();
    files.into_iter().filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

fn name() -> String {
    format!("{}-0", Uuid::from_u128(0xabc))
}
