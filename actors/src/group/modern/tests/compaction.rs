//! A coordinator that reads its partition after it was compacted knows what it would have known before.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use millstream_transport::world::simulation::{self, Simulation};
use millstream_transport::world::{SimulatedDisk, World};
use proptest::prelude::*;
use uuid::Uuid;

use super::histories::{Play, any_step};
use super::*;
use crate::events::Events;
use crate::group::doors::Replay;
use crate::ids::{LeaderEpoch, Offset, TopicId};
use crate::log::{DirectorySettings, Log, LogDirectory, cleaning};
use crate::record::{self, BatchBuilder, Compression, MAX_UNPACKED_BYTES};
use crate::topic_config::TopicConfig;

fn append(log: &mut Log, records: &[LogRecord]) {
    let mut builder = BatchBuilder::new(1 << 20, Compression::NONE);
    for record in records {
        builder.push(record.timestamp_ms, Some(&record.key), record.value.as_deref(), &[]).unwrap();
    }
    let mut bytes = BytesMut::from(builder.finish(None));
    record::assign(&mut bytes, log.end(), LeaderEpoch(0)).unwrap();
    log.append(vec![bytes.freeze()]).unwrap();
}

/// The groups that a coordinator finds in the log, and the records it had to read for that.
fn load(log: &Log) -> (BTreeMap<Arc<str>, Group>, u64) {
    let (mut replay, mut at) = (Replay::default(), Offset(0));
    while at < log.end() {
        let bytes: Bytes = log.read(at, log.end(), 1 << 20).unwrap();
        for batch in record::batches(&bytes) {
            let batch = batch.unwrap();
            for record in record::records(&batch, MAX_UNPACKED_BYTES).unwrap() {
                let record = record.unwrap();
                replay.take(record.timestamp_ms, record.key.as_deref(), record.value.as_deref());
            }
            at = batch.header.next_offset();
        }
    }
    let (records, undecodable) = replay.counts();
    assert_eq!(undecodable, 0);
    (replay.into_groups(), records)
}

async fn compacted(simulation: Simulation, records: Vec<LogRecord>, pieces: usize) {
    let disk = SimulatedDisk::new(1);
    let world = World::simulated(&simulation, &disk);
    let settings = DirectorySettings::default();
    let directory = LogDirectory::open(&world, Path::new("/log"), settings, Events::uncounted()).unwrap();
    // Tombstones go at the cleaning after their first.
    let config = TopicConfig {
        compact: true,
        delete_retention_ms: 0,
        min_cleanable_dirty_ppm: 0,
        segment_bytes: 4096,
        ..TopicConfig::default()
    };
    let partition = PartitionId { topic: TopicId(Uuid::from_u128(9)), index: 0 };
    let (mut log, _) = directory.open_log(partition, &config).unwrap();
    for piece in records.chunks(records.len().div_ceil(pieces).max(1)) {
        piece.chunks(5).for_each(|batch| append(&mut log, batch));
        let before = load(&log);
        log.roll().unwrap();
        let (tell, told) = tokio::sync::oneshot::channel();
        log.sync(Box::new(move |result| tell.send(result).unwrap()));
        let end = told.await.unwrap().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        cleaning::clean(&mut log, end);
        let after = load(&log);
        assert_eq!(after.0, before.0);
        assert!(after.1 <= before.1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_compacted_partition_tells_the_same_groups(
        steps in proptest::collection::vec(any_step(), 1..120),
        pieces in 1_usize..6,
    ) {
        let mut play = Play::new();
        for step in &steps {
            play.perform(step);
        }
        let records = std::mem::take(&mut play.bench.log);
        simulation::run(1, |simulation| compacted(simulation, records, pieces));
    }
}
