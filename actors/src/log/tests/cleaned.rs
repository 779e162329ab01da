//! What cleanings leave of a compacted log: one by one.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::BytesMut;
use millstream_transport::world::simulation;

use super::*;
use crate::ids::{LeaderEpoch, ProducerId};
use crate::log::cleaning::{clean, clean_with};
use crate::record::{
    self, Batch, BatchBuilder, BatchHeader, Codec, Compression, EndMarker, MAX_UNPACKED_BYTES, ProducerStamp,
    Record,
};

/// A compacted topic that is cleaned as soon as anything is dirty.
pub(super) fn compacted() -> TopicConfig {
    TopicConfig {
        compact: true,
        delete: false,
        min_cleanable_dirty_ppm: 0,
        delete_retention_ms: 10_000,
        ..config()
    }
}

pub(super) type Keyed<'a> = (&'a str, Option<&'a [u8]>);

/// Appends one batch of these records.
pub(super) fn append_keyed(log: &mut Log, epoch: i32, codec: Codec, records: &[Keyed<'_>]) {
    append_stamped(log, epoch, codec, None, records).unwrap();
}

/// The same, by a producer; it may be refused.
pub(super) fn append_stamped(
    log: &mut Log,
    epoch: i32,
    codec: Codec,
    stamp: Option<ProducerStamp>,
    records: &[Keyed<'_>],
) -> Result<Appended, LogError> {
    let mut builder = BatchBuilder::new(1 << 20, Compression::of(codec));
    for (key, value) in records {
        let time_ms = 1000 + 10 * log.end().0 + i64::from(builder.count());
        builder.push(time_ms, Some(key.as_bytes()), *value, &[]).unwrap();
    }
    let mut bytes = BytesMut::from(builder.finish(stamp));
    record::assign(&mut bytes, log.end(), LeaderEpoch(epoch)).unwrap();
    log.append(vec![bytes.freeze()])
}

/// All batches of a log, which follow each other without a gap and are whole.
pub(super) fn batches_in(log: &Log) -> Vec<Batch> {
    let bytes = Bytes::from(read_all(log).unwrap());
    let batches: Vec<Batch> = record::batches(&bytes).map(Result::unwrap).collect();
    let mut next = batches.first().map_or(log.end(), |first| first.header.base_offset);
    for batch in &batches {
        batch.verify_checksum().unwrap();
        assert_eq!(batch.header.base_offset, next, "a gap");
        next = batch.header.next_offset();
    }
    assert_eq!(next, log.end());
    batches
}

/// All records of a log.
pub(super) fn records_in(log: &Log) -> Vec<Record> {
    let batches = batches_in(log);
    batches
        .iter()
        .flat_map(|batch| record::records(batch, MAX_UNPACKED_BYTES).unwrap())
        .map(Result::unwrap)
        .collect()
}

/// Offset and key of all records.
pub(super) fn keys_in(log: &Log) -> Vec<(i64, String)> {
    let text = |record: Record| String::from_utf8(record.key.unwrap().to_vec()).unwrap();
    records_in(log).into_iter().map(|record| (record.offset.0, text(record))).collect()
}

pub(super) fn keys(of: &[(i64, &str)]) -> Vec<(i64, String)> {
    of.iter().map(|(offset, key)| (*offset, (*key).to_owned())).collect()
}

/// What is left of a cleaning, which must have come to its end.
pub(super) fn cleaned(stepped: Stepped) -> Cleaned {
    match stepped {
        Stepped::Cleaned(cleaned) => cleaned,
        other => panic!("{other:?}"),
    }
}

/// A log on a simulated disk, which syncs in no time.
pub(super) fn with_log(run: impl AsyncFnOnce(Simulation, SimulatedDisk, Arc<LogDirectory>, Log) + 'static) {
    simulation::run(1, |simulation| async move {
        let disk = SimulatedDisk::new(1);
        let directory = open(&simulation, &disk);
        let (log, _) = directory.open_log(partition(0), &compacted()).unwrap();
        run(simulation, disk, directory, log).await;
    });
}

/// Opens the log again after a kill.
pub(super) fn reopened(simulation: &Simulation, disk: &SimulatedDisk, log: Log) -> (Arc<LogDirectory>, Log) {
    drop(log);
    disk.kill();
    let directory = open(simulation, disk);
    let (log, recovery) = directory.open_log(partition(0), &compacted()).unwrap();
    assert!(recovery.damage.is_none() && !recovery.in_doubt, "{recovery:?}");
    (directory, log)
}

pub(super) async fn sealed(log: &mut Log) -> Offset {
    log.roll().unwrap();
    synced(log).await.unwrap()
}

pub(super) const VALUE: Option<&[u8]> = Some(&[7; 100]);

#[test]
fn the_newest_record_of_each_key_is_kept_where_it_was_with_every_codec() {
    with_log(async |simulation, disk, _, mut log| {
        for codec in Codec::ALL {
            let base = log.end().0;
            append_keyed(&mut log, 0, codec, &[("a", VALUE), ("b", VALUE), ("a", VALUE), ("c", VALUE)]);
            append_keyed(&mut log, 0, codec, &[("b", VALUE), ("b", VALUE)]);
            append_keyed(&mut log, 0, codec, &[("b", VALUE)]);
            append_keyed(&mut log, 0, codec, &[("d", VALUE)]);
            let before = records_in(&log);
            let end = sealed(&mut log).await;
            cleaned(clean(&mut log, end));
            let left = [(base + 2, "a"), (base + 3, "c"), (base + 6, "b"), (base + 7, "d")];
            assert_eq!(keys_in(&log), keys(&left), "{codec}");
            assert!(records_in(&log).iter().all(|record| before.contains(record)));
            let spans: Vec<_> = batches_in(&log).iter().map(|batch| batch.header.count).collect();
            let holes = if base == 0 { vec![2, 0, 1, 1] } else { vec![0, 2, 0, 1, 1] };
            assert_eq!(spans, holes, "what went at one place is one hole");
        }
        let before = batches_in(&log);
        let (_directory, log) = reopened(&simulation, &disk, log);
        assert_eq!(batches_in(&log), before);
        assert!(!log.wants_cleaning(log.end(), 0), "it knows that it is clean");
    });
}

#[test]
fn what_is_written_where_a_cleaned_segment_was_cut_is_cleaned_after_a_restart_too() {
    with_log(async |simulation, disk, _, mut log| {
        for key in ["a", "b", "c"] {
            append_keyed(&mut log, 1, Codec::None, &[(key, VALUE)]);
        }
        let end = sealed(&mut log).await;
        cleaned(clean(&mut log, end));
        append_keyed(&mut log, 1, Codec::None, &[("d", VALUE)]);
        log.truncate_to(Offset(1)).unwrap();
        for _ in 0..2 {
            append_keyed(&mut log, 2, Codec::None, &[("x", VALUE)]);
        }
        let end = sealed(&mut log).await;
        let (_directory, mut log) = reopened(&simulation, &disk, log);
        append_keyed(&mut log, 2, Codec::None, &[("y", VALUE)]);
        synced(&log).await.unwrap();
        assert!(log.wants_cleaning(end, 0));
        cleaned(clean(&mut log, end));
        assert_eq!(keys_in(&log), keys(&[(0, "a"), (2, "x"), (3, "y")]));
    });
}

#[test]
fn a_log_deleted_between_two_steps_of_its_cleaning_does_not_fail_the_directory() {
    with_log(async |_, _, directory, mut log| {
        for _ in 0..3 {
            append_keyed(&mut log, 1, Codec::None, &[("a", VALUE)]);
        }
        let end = sealed(&mut log).await;
        let mut cleaning = log.cleaning(end, |_| KnownProducers::default()).unwrap();
        let cleaning = loop {
            match cleaning.step() {
                Stepped::More(next) => cleaning = next,
                Stepped::Prepared(cleaning, prepared) => {
                    let replaced = log.adopt(&prepared).unwrap();
                    assert!(replaced.is_some());
                    break cleaning.adopted(&prepared, replaced);
                }
                other => panic!("{other:?}"),
            }
        };
        drop(log);
        directory.delete_log(partition(0)).unwrap();
        assert!(matches!(cleaning.step(), Stepped::Nothing));
        let (mut other, _) = directory.open_log(partition(1), &compacted()).unwrap();
        append_keyed(&mut other, 1, Codec::None, &[("a", VALUE)]);
        assert_eq!(synced(&other).await.unwrap(), Offset(1));
    });
}

#[test]
fn a_read_within_a_hole_gets_the_hole_and_what_follows() {
    with_log(async |_, _, _, mut log| {
        for round in 0..30 {
            append_keyed(&mut log, 0, Codec::None, &[("a", VALUE), (["b", "c"][round % 2], VALUE)]);
        }
        let end = sealed(&mut log).await;
        cleaned(clean(&mut log, end));
        let log = log;
        let bytes = log.read(Offset(30), end, 1).unwrap();
        let hole = BatchHeader::parse(&bytes).unwrap();
        assert!(hole.is_hole() && hole.base_offset == Offset(0) && hole.next_offset() == Offset(56));
        let rest = log.read(hole.next_offset(), end, 1 << 20).unwrap();
        assert_eq!(BatchHeader::parse(&rest).unwrap().base_offset, Offset(56));
        assert_eq!(keys_in(&log), keys(&[(57, "b"), (58, "a"), (59, "c")]));
        // Record 57 is of 1000 + 560 + 1 ms, the last one of 1581; older ones there are no more.
        let at = |ms| log.since(ms, end).run().unwrap().map(|found| found.offset.0);
        assert_eq!(
            [at(0), at(1300), at(1561), at(1562), at(1581), at(1582)],
            [Some(57), Some(57), Some(57), Some(58), Some(59), None]
        );
    });
}

#[test]
fn many_small_segments_become_one_and_the_active_one_is_left_alone() {
    with_log(async |_, disk, _, mut log| {
        for _ in 0..20 {
            append_keyed(&mut log, 0, Codec::None, &[("a", VALUE)]);
            sealed(&mut log).await;
        }
        append_keyed(&mut log, 0, Codec::None, &[("a", VALUE)]);
        let end = synced(&log).await.unwrap();
        cleaned(clean(&mut log, Offset(19)));
        assert_eq!(keys_in(&log), keys(&[(18, "a"), (19, "a"), (20, "a")]), "19 is not committed");
        assert_eq!(log.segments.len(), 3);
        cleaned(clean(&mut log, end));
        assert_eq!(keys_in(&log), keys(&[(19, "a"), (20, "a")]), "20 is active");
        tokio::time::sleep(Duration::from_secs(3)).await;
        let directory = disk.disk().list(Path::new(ROOT)).unwrap();
        let directory = directory.iter().find(|path| path.ends_with(name())).unwrap();
        let logs = disk.disk().list(directory).unwrap();
        assert_eq!(logs.iter().filter(|path| path.to_string_lossy().ends_with(".log")).count(), 2);
        assert!(!log.wants_cleaning(end, 0));
    });
}

#[test]
fn a_tombstone_is_kept_until_its_horizon_and_then_goes() {
    with_log(async |_, _, _, mut log| {
        append_keyed(&mut log, 0, Codec::Lz4, &[("a", VALUE), ("b", VALUE)]);
        append_keyed(&mut log, 0, Codec::Lz4, &[("a", None), ("c", VALUE)]);
        let end = sealed(&mut log).await;
        let before = records_in(&log);
        let now_ms = log.shared().clock.wall_ms();
        let left = cleaned(clean(&mut log, end));
        assert_eq!(left.horizon_ms, Some(now_ms + 10_000));
        assert_eq!(records_in(&log), before[1..], "timestamps and all");
        let horizons: Vec<_> =
            batches_in(&log).iter().map(|batch| batch.header.delete_horizon_ms()).collect();
        assert_eq!(horizons, [None, Some(now_ms + 10_000)]);
        assert!(!log.wants_cleaning(end, now_ms + 9_999) && log.wants_cleaning(end, now_ms + 10_000));
        tokio::time::sleep(Duration::from_secs(9)).await;
        append_keyed(&mut log, 0, Codec::Lz4, &[("b", VALUE)]);
        let end = sealed(&mut log).await;
        cleaned(clean(&mut log, end));
        assert_eq!(keys_in(&log), keys(&[(2, "a"), (3, "c"), (4, "b")]), "its horizon is where it was");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(cleaned(clean(&mut log, end)).horizon_ms, None);
        assert_eq!(keys_in(&log), keys(&[(3, "c"), (4, "b")]));
    });
}

#[test]
fn a_living_producers_last_batch_stays_without_records() {
    with_log(async |_, _, _, mut log| {
        for sequence in 0..3 {
            for id in [5, 6] {
                let stamp = ProducerStamp { id: ProducerId(id), epoch: 1, base_sequence: sequence };
                append_stamped(&mut log, 0, Codec::None, Some(stamp), &[("a", VALUE)]).unwrap();
            }
        }
        append_keyed(&mut log, 0, Codec::None, &[("a", VALUE)]);
        let end = sealed(&mut log).await;
        let living = || BTreeMap::from([(ProducerId(5), Offset(4))]);
        for _ in 0..2 {
            cleaned(clean_with(
                &mut log,
                end,
                KnownProducers { last_batches: living(), ..KnownProducers::default() },
            ));
            let batches = batches_in(&log);
            let of = |batch: &Batch| {
                let header = &batch.header;
                (header.base_offset.0, header.producer_id, header.base_sequence, header.count)
            };
            let left: Vec<_> = batches.iter().map(of).collect();
            assert_eq!(left, [(0, -1, -1, 0), (4, 5, 2, 0), (5, -1, -1, 0), (6, -1, -1, 1)]);
            append_keyed(&mut log, 0, Codec::None, &[("b", VALUE)]);
            log.truncate_to(Offset(7)).unwrap();
            log.cleaning.cut_to(Offset(0));
        }
        append_keyed(&mut log, 0, Codec::None, &[("b", VALUE)]);
        let end = sealed(&mut log).await;
        cleaned(clean(&mut log, end));
        assert!(batches_in(&log).iter().all(|batch| batch.header.producer().is_none()), "it is forgotten");
    });
}

/// Appends a batch of a producer's transaction.
fn append_in_transaction(log: &mut Log, id: i64, sequence: i32, key: &str) {
    let mut builder = BatchBuilder::new(1 << 20, Compression::NONE);
    builder.push(1000, Some(key.as_bytes()), VALUE, &[]).unwrap();
    let mut bytes = BytesMut::from(builder.finish(None));
    let stamp = ProducerStamp { id: ProducerId(id), epoch: 1, base_sequence: sequence };
    record::make_transactional(&mut bytes, stamp).unwrap();
    record::assign(&mut bytes, log.end(), LeaderEpoch(0)).unwrap();
    log.append(vec![bytes.freeze()]).unwrap();
}

fn append_marker(log: &mut Log, id: i64, commits: bool) {
    let marker = EndMarker { producer_id: ProducerId(id), producer_epoch: 1, coordinator_epoch: 1, commits };
    let mut bytes = BytesMut::from(marker.batch(1000));
    record::assign(&mut bytes, log.end(), LeaderEpoch(0)).unwrap();
    log.append(vec![bytes.freeze()]).unwrap();
}

#[test]
fn what_was_aborted_goes_and_a_marker_when_nothing_of_its_transaction_is_left_for_long_enough() {
    with_log(async |_, _, _, mut log| {
        append_in_transaction(&mut log, 5, 0, "a");
        append_in_transaction(&mut log, 6, 0, "a");
        append_marker(&mut log, 6, false);
        append_marker(&mut log, 5, true);
        let mut end = sealed(&mut log).await;
        let known = || KnownProducers {
            aborted: BTreeMap::from([(ProducerId(6), vec![(Offset(1), Offset(2))])]),
            ..KnownProducers::default()
        };
        let is_marker = |batch: &Batch| EndMarker::of(batch).is_some();
        let markers = |log: &Log| batches_in(log).iter().filter(|batch| is_marker(batch)).count();
        let records = |log: &Log| -> Vec<i64> {
            let of_clients = batches_in(log).into_iter().filter(|batch| !is_marker(batch));
            of_clients
                .filter(|batch| batch.header.count > 0)
                .map(|batch| batch.header.base_offset.0)
                .collect()
        };
        let done = cleaned(clean_with(&mut log, end, known()));
        assert_eq!((done.upto, records(&log), markers(&log)), (end, vec![0], 2), "though it was the newest");
        // Found without records, the abort's marker gets its time; the commit's record is still there.
        for (wait_ms, left) in [(0, 2), (11_000, 1)] {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            append_keyed(&mut log, 0, Codec::None, &[("b", VALUE)]);
            end = sealed(&mut log).await;
            cleaned(clean(&mut log, end));
            assert_eq!(markers(&log), left);
        }
        assert!(records(&log).contains(&0));
    });
}

#[test]
fn leader_epochs_are_found_in_a_log_of_which_little_is_left() {
    with_log(async |simulation, disk, _, mut log| {
        for epoch in [1, 1, 4, 4, 6, 9] {
            append_keyed(&mut log, epoch, Codec::None, &[("a", VALUE), ("a", VALUE)]);
        }
        let end = sealed(&mut log).await;
        cleaned(clean(&mut log, end));
        assert_eq!(keys_in(&log), keys(&[(11, "a")]));
        let spans: Vec<_> = batches_in(&log)
            .iter()
            .map(|batch| (batch.header.base_offset.0, batch.header.leader_epoch.0))
            .collect();
        assert_eq!(spans, [(0, 1), (4, 4), (8, 6), (10, 9)], "no hole is of two epochs");
        let known = log.epochs().cache.clone();
        let epochs = log.ends.path().join("epochs");
        disk.disk().remove_file(&epochs).unwrap();
        let (_directory, log) = reopened(&simulation, &disk, log);
        assert_eq!(*log.epochs().cache, known);
    });
}

#[test]
fn more_keys_than_the_map_holds_take_several_cleanings() {
    simulation::run(1, |simulation| async move {
        let disk = SimulatedDisk::new(1);
        let cleaner = CleanerSettings { dedupe_bytes: 10 * 24, ..CleanerSettings::default() };
        let settings = DirectorySettings { cleaner, ..DirectorySettings::default() };
        let world = World::simulated(&simulation, &disk);
        let directory = LogDirectory::open(&world, Path::new(ROOT), settings, Events::uncounted()).unwrap();
        let (mut log, _) = directory.open_log(partition(0), &compacted()).unwrap();
        let names: Vec<String> = (0..40).map(|key| format!("key {key}")).collect();
        for _ in 0..2 {
            for pair in names.chunks(3) {
                let records: Vec<_> = pair.iter().map(|key| (key.as_str(), VALUE)).collect();
                append_keyed(&mut log, 0, Codec::Zstd, &records);
            }
        }
        let end = sealed(&mut log).await;
        let mut cleanings = 0;
        while cleaned(clean(&mut log, end)).is_part {
            cleanings += 1;
            assert!(cleanings < 20 && log.wants_cleaning(end, 0));
        }
        assert!(cleanings >= 4, "{cleanings}");
        let left: Vec<_> = records_in(&log).iter().map(|record| record.offset.0).collect();
        assert_eq!(left, (40..80).collect::<Vec<_>>());
    });
}

#[test]
fn a_compacted_topic_with_retention_loses_old_segments_whole_holes_or_not() {
    with_log(async |_, _, _, mut log| {
        for _ in 0..4 {
            (0..30).for_each(|_| append_keyed(&mut log, 0, Codec::None, &[("a", VALUE)]));
            append_keyed(&mut log, 0, Codec::None, &[("a", VALUE), ("b", Some(&[1; 3000]))]);
        }
        let end = sealed(&mut log).await;
        cleaned(clean(&mut log, end));
        assert_eq!(keys_in(&log), keys(&[(126, "a"), (127, "b")]));
        let both = TopicConfig { delete: true, retention_ms: Some(1000), ..compacted() };
        log.reconfigure(&both);
        // The last record is of 1000 + 1260 + 1 ms.
        log.retain(3261, end).unwrap();
        assert_eq!(keys_in(&log), keys(&[(126, "a"), (127, "b")]));
        log.retain(3262, end).unwrap();
        assert_eq!((log.start(), log.end()), (end, end));
    });
}
