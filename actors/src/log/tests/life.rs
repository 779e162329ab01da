//! What a log does in a life without faults.

use super::*;
use crate::ids::LeaderEpoch;
use crate::record::{BatchBuilder, Compression};

#[test]
fn a_log_gives_back_what_was_appended_across_segments_and_restarts() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let mut appended = Vec::new();
    for life in 0..3 {
        let directory = open_at(&world, root.path()).unwrap();
        let (mut log, recovery) = open_log(&directory);
        assert_eq!(recovery.created, life == 0);
        assert!(!recovery.in_doubt && recovery.scanned_bytes == 0, "{recovery:?}");
        for _ in 0..20 {
            appended.extend_from_slice(&append(&mut log, 3, life, 700));
        }
        assert_eq!(read_all(&log).unwrap(), appended);
        assert_eq!(sync(&log).unwrap(), log.end());
        assert_eq!(log.durable_end(), Offset(60 * (i64::from(life) + 1)));
        drop(log);
        directory.close_cleanly().unwrap();
    }
    assert!(files(&world, root.path(), ".log").len() > 5);
}

#[test]
fn a_read_begins_with_the_batch_that_holds_the_offset_and_ends_at_its_bounds() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    for budget in [0, 2000, 1 << 20] {
        let settings = DirectorySettings { tail: TailBudget::new(budget), ..DirectorySettings::default() };
        let path = root.path().join(budget.to_string());
        let directory = LogDirectory::open(&world, &path, settings, Events::uncounted()).unwrap();
        let (mut log, _) = open_log(&directory);
        let batches: Vec<Bytes> = (0..10).map(|_| append(&mut log, 5, 0, 439)).collect();
        let read = |from, upto, max| log.read(Offset(from), Offset(upto), max).unwrap();
        assert_eq!(read(7, 50, 1), batches[1], "whole, though it is larger");
        assert_eq!(read(10, 50, 1000), [&batches[2][..], &batches[3][..]].concat());
        assert_eq!(read(10, 19, 9000), batches[2], "nothing at or above the bound");
        assert_eq!(read(10, 12, 9000), Bytes::new());
        assert_eq!(read(50, 60, 9000), Bytes::new(), "the end is no error");
        let past = log.read(Offset(51), Offset(60), 9000).unwrap_err();
        assert!(matches!(past, LogError::OutOfRange { .. }), "{past}");
    }
}

#[test]
fn several_buffers_of_several_batches_are_one_append() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    let (mut log, _) = open_log(&directory);
    let two = Bytes::from([batch(0, 2, 1, 50, 1), batch(2, 3, 1, 60, 2)].concat());
    let one = batch(5, 1, 2, 10, 3);
    let appended = log.append(vec![two.clone(), one.clone()]).unwrap();
    assert_eq!((appended.base, appended.end, appended.position), (Offset(0), Offset(6), 0));
    assert_eq!(log.read(Offset(3), Offset(6), 9000).unwrap(), [&two[111..], &one[..]].concat());
    assert_eq!(log.epochs().end_offset_for(LeaderEpoch(1)), Some((LeaderEpoch(1), Offset(5))));
}

#[test]
fn what_does_not_continue_the_log_is_refused_and_nothing_is_written() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    let (mut log, _) = open_log(&directory);
    append(&mut log, 2, 4, 10);
    let cut_off = batch(2, 1, 4, 30, 0).slice(..70);
    for wrong in [batch(3, 1, 4, 9, 0), batch(1, 1, 4, 9, 0), batch(2, 1, 3, 9, 0), cut_off] {
        let refused = log.append(vec![batch(2, 0, 4, 9, 0).slice(..0), wrong]).unwrap_err();
        assert!(matches!(refused, LogError::NotNext { .. }), "{refused}");
    }
    assert_eq!((log.end(), log.bytes()), (Offset(2), 71));
    assert_eq!(directory.health(), DirectoryHealth::Well);
}

#[test]
fn a_truncated_log_goes_on_where_it_was_cut() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    let (mut log, _) = open_log(&directory);
    let mut kept = Vec::new();
    for epoch in 0..30 {
        let bytes = append(&mut log, 2, epoch, 700);
        if log.end() <= Offset(22) {
            kept.extend_from_slice(&bytes);
        }
    }
    log.save_producers(b"of what will be cut").unwrap();
    sync(&log).unwrap();
    assert_eq!(log.truncate_to(Offset(23)).unwrap(), Offset(22), "a batch goes whole");
    assert_eq!((log.end(), log.durable_end()), (Offset(22), Offset(22)));
    assert_eq!(log.epochs().last(), Some(LeaderEpoch(10)));
    assert_eq!(log.load_producers().unwrap(), None);
    kept.extend_from_slice(&append(&mut log, 1, 40, 100));
    assert_eq!(read_all(&log).unwrap(), kept);
    sync(&log).unwrap();
    drop(log);
    directory.close_cleanly().unwrap();
    drop(directory);
    let directory = open_at(&world, root.path()).unwrap();
    let (log, recovery) = open_log(&directory);
    assert!(!recovery.in_doubt, "{recovery:?}");
    assert_eq!(read_all(&log).unwrap(), kept);
    assert_eq!(log.epochs().end_offset_for(LeaderEpoch(12)), Some((LeaderEpoch(10), Offset(22))));
}

#[test]
fn a_reset_log_begins_anew_at_its_new_start() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    let (mut log, _) = open_log(&directory);
    (0..10).for_each(|epoch| drop(append(&mut log, 2, epoch, 700)));
    log.reset_to(Offset(500)).unwrap();
    assert_eq!((log.start(), log.end(), log.durable_end()), (Offset(500), Offset(500), Offset(500)));
    assert_eq!(log.epochs().last(), None);
    let bytes = append(&mut log, 2, 3, 100);
    drop(log);
    directory.close_cleanly().unwrap();
    drop(directory);
    let directory = open_at(&world, root.path()).unwrap();
    let (log, recovery) = open_log(&directory);
    assert!(!recovery.in_doubt, "{recovery:?}");
    assert_eq!((log.start(), log.end()), (Offset(500), Offset(502)));
    assert_eq!(read_all(&log).unwrap(), bytes);
}

#[test]
fn retention_lets_go_of_whole_segments_and_of_none_above_the_high_watermark() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    let settings = TopicConfig { retention_bytes: Some(9000), ..config() };
    let (mut log, _) = directory.open_log(partition(0), &settings).unwrap();
    (0..40).for_each(|_| drop(append(&mut log, 1, 0, 939)));
    let whole = log.bytes();
    assert_eq!(log.retain(0, Offset(7)).unwrap(), 1);
    assert_eq!(log.start(), Offset(4), "the segment that holds the high watermark stays");
    log.retain(0, Offset(40)).unwrap();
    assert!((9000..13_000).contains(&log.bytes()), "{} of {whole}", log.bytes());
    let start = log.start();
    assert_eq!(read_from(&log, start, 900).unwrap().len(), usize::try_from(log.bytes()).unwrap());
    assert!(matches!(log.read(Offset(start.0 - 1), Offset(40), 1), Err(LogError::OutOfRange { .. })));
    drop(log);
    directory.close_cleanly().unwrap();
    drop(directory);
    let directory = open_at(&world, root.path()).unwrap();
    let (log, recovery) = open_log(&directory);
    assert_eq!((log.start(), log.end(), recovery.in_doubt), (start, Offset(40), false));
    assert_eq!(files(&world, root.path(), ".log").len(), log.segments.len());
}

#[test]
fn a_log_whose_records_are_all_too_old_becomes_empty() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    let settings = TopicConfig { retention_ms: Some(1000), ..config() };
    let (mut log, _) = directory.open_log(partition(0), &settings).unwrap();
    (0..9).for_each(|_| drop(append(&mut log, 1, 0, 939)));
    assert_eq!(log.retain(1000, Offset(9)).unwrap(), 0, "timestamps are 0 to 8");
    assert_eq!(log.retain(1006, Offset(9)).unwrap(), 1);
    assert_eq!(log.start(), Offset(4));
    log.retain(1009, Offset(8)).unwrap();
    assert_eq!(log.start(), Offset(8), "not above the high watermark");
    log.retain(1009, Offset(9)).unwrap();
    assert_eq!((log.start(), log.end(), log.bytes()), (Offset(9), Offset(9), 0));
    append(&mut log, 1, 0, 10);
}

#[test]
fn the_start_can_be_advanced_within_a_segment_and_stays_so() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    let (mut log, _) = open_log(&directory);
    (0..10).for_each(|epoch| drop(append(&mut log, 1, epoch, 939)));
    log.advance_start(Offset(6)).unwrap();
    assert!(matches!(log.advance_start(Offset(11)), Err(LogError::OutOfRange { .. })));
    assert_eq!((log.start(), log.segments.len()), (Offset(6), 2));
    log.checkpoint(Offset(8));
    drop(log);
    directory.close_cleanly().unwrap();
    drop(directory);
    let (log, recovery) = open_log(&open_at(&world, root.path()).unwrap());
    assert_eq!((log.start(), recovery.high_watermark), (Offset(6), Offset(8)));
    assert_eq!(log.epochs().epoch_of(Offset(6)), Some(LeaderEpoch(6)));
    let gone = log.epochs().end_as_asked(LeaderEpoch(2));
    assert_eq!(gone, Some((LeaderEpoch(2), Offset(6))), "nothing is told to end where nothing is any more");
}

#[test]
fn a_segment_is_closed_when_it_is_old() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    let settings = TopicConfig { segment_ms: 0, ..config() };
    let (mut log, _) = directory.open_log(partition(0), &settings).unwrap();
    append(&mut log, 1, 0, 10);
    assert!(log.append(vec![batch(1, 1, 0, 10, 0)]).unwrap().rolled);
}

#[test]
fn a_missing_or_damaged_index_is_made_again_from_the_batches() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let mut appended = Vec::new();
    let directory = open_at(&world, root.path()).unwrap();
    let (mut log, _) = open_log(&directory);
    (0..40).for_each(|_| appended.extend_from_slice(&append(&mut log, 1, 0, 700)));
    drop(log);
    directory.close_cleanly().unwrap();
    drop(directory);
    let indexes = files(&world, root.path(), ".index");
    for (place, index) in indexes.iter().enumerate() {
        match place % 3 {
            0 => std::fs::remove_file(index).unwrap(),
            1 => std::fs::write(index, b"not an index").unwrap(),
            _ => std::fs::write(index, &std::fs::read(index).unwrap()[..20]).unwrap(),
        }
    }
    let (log, recovery) = open_log(&open_at(&world, root.path()).unwrap());
    assert!(!recovery.in_doubt && recovery.end == Offset(40), "{recovery:?}");
    assert_eq!(read_all(&log).unwrap(), appended);
    assert!(files(&world, root.path(), ".index").len() >= indexes.len() - 1);
}

#[test]
fn a_record_is_found_by_its_time() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    let (mut log, _) = open_log(&directory);
    for base in 0..40 {
        let mut builder = BatchBuilder::new(1 << 20, Compression::NONE);
        for record in 0..5 {
            let time = 1000 + base * 50 + record * 10;
            builder.push(time, None, Some(&[7; 100]), &[]).unwrap();
        }
        let mut bytes = bytes::BytesMut::from(builder.finish(None));
        crate::record::assign(&mut bytes, log.end(), LeaderEpoch(0)).unwrap();
        log.append(vec![bytes.freeze()]).unwrap();
    }
    let at =
        |time| log.since(time, log.end()).run().unwrap().map(|found| (found.offset.0, found.timestamp_ms));
    assert_eq!(at(0), Some((0, 1000)));
    assert_eq!(at(1010), Some((1, 1010)));
    assert_eq!(at(1011), Some((2, 1020)));
    assert_eq!(at(2990), Some((199, 2990)));
    assert_eq!(at(2991), None);
    assert_eq!(log.since(2990, Offset(195)).run().unwrap(), None, "nothing at or above the bound");
    log.advance_start(Offset(3)).unwrap();
    let first = log.since(0, log.end()).run().unwrap().unwrap();
    assert_eq!((first.offset, first.timestamp_ms), (Offset(3), 1030), "nothing below the start");
}

#[test]
fn the_first_of_the_newest_records_is_found_in_whichever_segment_it_lies() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    let (mut log, _) = open_log(&directory);
    assert_eq!(log.newest(log.end()).run().unwrap(), None, "of an empty log");
    let add = |log: &mut Log, time: i64| {
        let mut builder = BatchBuilder::new(1 << 20, Compression::NONE);
        for record in 0..5 {
            builder.push(time + record, None, Some(&[7; 200]), &[]).unwrap();
        }
        let mut bytes = bytes::BytesMut::from(builder.finish(None));
        crate::record::assign(&mut bytes, log.end(), LeaderEpoch(0)).unwrap();
        log.append(vec![bytes.freeze()]).unwrap();
    };
    let newest = |log: &Log| {
        let found = log.newest(log.end()).run().unwrap();
        found.map(|found| (found.offset.0, found.timestamp_ms))
    };
    for time in [100, 900, 300, 904, 200, 100, 150, 120] {
        add(&mut log, time);
    }
    assert!(files(&world, root.path(), ".log").len() > 1, "of several segments");
    assert_eq!(newest(&log), Some((19, 908)));
    let committed = log.newest(Offset(15)).run().unwrap().unwrap();
    assert_eq!((committed.offset, committed.timestamp_ms), (Offset(9), 904), "a newer one is not committed");
    log.advance_start(Offset(21)).unwrap();
    assert_eq!(newest(&log), Some((24, 204)), "nothing below the start counts");
    add(&mut log, 500);
    assert_eq!(newest(&log), Some((44, 504)));
    let hole = crate::record::hole(log.end(), Offset(log.end().0 + 3), LeaderEpoch(0), 9_000);
    log.append(vec![hole]).unwrap();
    assert_eq!(newest(&log), Some((44, 504)), "what compaction removed does not count");
}

#[test]
fn the_newest_of_a_batch_that_has_lost_its_first_records_is_one_that_is_left() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    let (mut log, _) = open_log(&directory);
    for times in [[500, 40, 30], [20, 35, 35]] {
        let mut builder = BatchBuilder::new(1 << 20, Compression::NONE);
        for time in times {
            builder.push(time, None, Some(b"value"), &[]).unwrap();
        }
        let mut bytes = bytes::BytesMut::from(builder.finish(None));
        crate::record::assign(&mut bytes, log.end(), LeaderEpoch(0)).unwrap();
        log.append(vec![bytes.freeze()]).unwrap();
    }
    let newest =
        |log: &Log| log.newest(log.end()).run().unwrap().map(|found| (found.offset.0, found.timestamp_ms));
    assert_eq!(newest(&log), Some((0, 500)));
    log.advance_start(Offset(1)).unwrap();
    assert_eq!(newest(&log), Some((1, 40)));
    log.advance_start(Offset(2)).unwrap();
    assert_eq!(newest(&log), Some((4, 35)), "the first of two");
}

#[test]
fn the_newest_readable_snapshot_of_producers_is_found_and_the_rest_is_replayed() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    let (mut log, _) = open_log(&directory);
    for state in [&b"one"[..], b"two", b"three"] {
        (0..7).for_each(|_| drop(append(&mut log, 1, 0, 700)));
        log.save_producers(state).unwrap();
    }
    assert_eq!(files(&world, root.path(), ".producers").len(), 2);
    append(&mut log, 2, 0, 5);
    let found = log.load_producers().unwrap().unwrap();
    assert_eq!((found.offset, &found.state[..]), (Offset(21), &b"three"[..]));
    let mut seen = Vec::new();
    log.replay_headers(found.offset, |header, _| seen.push(header.base_offset.0)).unwrap();
    assert_eq!(seen, [21]);
    seen.clear();
    log.replay_headers(Offset(0), |header, _| seen.push(header.base_offset.0)).unwrap();
    assert_eq!(seen, (0..22).collect::<Vec<_>>());
    let newest = files(&world, root.path(), ".producers").pop().unwrap();
    std::fs::write(newest, b"damaged").unwrap();
    assert_eq!(&log.load_producers().unwrap().unwrap().state[..], b"two");
}

#[test]
fn a_thousand_logs_need_few_descriptors() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let settings = DirectorySettings { open_files: 32, ..DirectorySettings::default() };
    let directory = LogDirectory::open(&world, root.path(), settings, Events::uncounted()).unwrap();
    let mut logs: Vec<Log> =
        (0..1000).map(|index| directory.open_log(partition(index), &config()).unwrap().0).collect();
    for _ in 0..2 {
        logs.iter_mut().for_each(|log| drop(append(log, 1, 0, 100)));
        let (send, receive) = mpsc::channel();
        for log in &logs {
            let send = send.clone();
            log.sync(Box::new(move |result| send.send(result).unwrap()));
        }
        for _ in 0..1000 {
            receive.recv().unwrap().unwrap();
        }
    }
    assert!(logs.iter().all(|log| log.durable_end() == log.end() && read_all(log).unwrap().len() == 322));
    assert!(directory.shared().files.count() <= 32 + 16, "{} are open", directory.shared().files.count());
}

#[test]
fn logs_in_memory_share_one_budget() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let tail = TailBudget::new(10_000);
    let settings = DirectorySettings { tail: tail.clone(), ..DirectorySettings::default() };
    let directory = LogDirectory::open(&world, root.path(), settings, Events::uncounted()).unwrap();
    let mut logs: Vec<Log> =
        (0..3).map(|index| directory.open_log(partition(index), &config()).unwrap().0).collect();
    for _ in 0..20 {
        logs.iter_mut().for_each(|log| drop(append(log, 1, 0, 400)));
    }
    assert!(tail.used() <= 10_000);
    for log in &logs {
        let at = |offset| log.read_batches(Offset(offset), log.end(), 1).unwrap();
        assert!(matches!(at(19), Batches::Ready(_)) && matches!(at(10), Batches::Cold(_)));
    }
}

#[test]
fn a_log_is_deleted_with_all_its_files_and_can_come_again() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    let (mut log, _) = open_log(&directory);
    append(&mut log, 1, 0, 10);
    assert!(matches!(directory.open_log(partition(0), &config()), Err(LogError::AlreadyOpen { .. })));
    assert!(matches!(directory.delete_log(partition(0)), Err(LogError::AlreadyOpen { .. })));
    sync(&log).unwrap();
    drop(log);
    directory.delete_log(partition(0)).unwrap();
    assert!(!root.path().join(name()).exists() && directory.logs().is_empty());
    let (log, recovery) = open_log(&directory);
    assert!(recovery.created && log.end() == Offset(0));
    assert_eq!(directory.logs(), [partition(0)]);
}
