//! What goes wrong, and what is said of it.

use std::time::Duration;

use millstream_transport::world::{DiskCall, simulation};

use super::*;
use crate::ids::LeaderEpoch;
use crate::log::directory::ends::Asked;

#[test]
fn a_directory_in_use_is_refused_with_its_holder() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    let refused = open_at(&world, root.path()).unwrap_err();
    assert!(matches!(refused, LogError::InUse { .. }));
    assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
    let id = directory.id();
    drop(directory);
    let directory = open_at(&world, root.path()).unwrap();
    assert_eq!((directory.id(), directory.is_new()), (id, false));
}

#[test]
fn a_newer_format_is_refused_with_its_number() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    drop(open_at(&world, root.path()).unwrap());
    let meta = root.path().join("meta");
    let text = std::fs::read_to_string(&meta).unwrap().replace("format = 1", "format = 2");
    std::fs::write(&meta, text).unwrap();
    let refused = open_at(&world, root.path()).unwrap_err();
    assert!(refused.to_string().contains("format version 2"), "{refused}");
}

#[test]
fn logs_without_a_meta_file_are_not_taken_for_a_new_directory() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    drop(open_log(&open_at(&world, root.path()).unwrap()));
    std::fs::remove_file(root.path().join("meta")).unwrap();
    let refused = open_at(&world, root.path()).unwrap_err();
    assert!(matches!(refused, LogError::Damaged { .. }), "{refused}");
}

#[test]
fn a_full_disk_refuses_and_heals() {
    simulation::run(1, |simulation| async move {
        let disk = SimulatedDisk::new(1);
        let directory = open(&simulation, &disk);
        let (mut log, _) = open_log(&directory);
        let mut kept = append(&mut log, 1, 0, 100).to_vec();
        disk.set_full(true);
        // What was reserved ahead is used up first.
        let refused = loop {
            let bytes = batch(log.end().0, 1, 0, 900, 1);
            match log.append(vec![bytes.clone()]) {
                Ok(_) => kept.extend_from_slice(&bytes),
                Err(refused) => break refused,
            }
        };
        assert!(refused.is_retriable(), "{refused}");
        assert_eq!(synced(&log).await.unwrap(), log.end());
        // Deleting, truncating and the table need no space.
        let other = &mut log;
        other.checkpoint(Offset(1));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(directory.health(), DirectoryHealth::Well);
        other.truncate_to(Offset(1)).unwrap();
        disk.set_full(false);
        let bytes = append(other, 1, 0, 900);
        assert_eq!(read_all(&log).unwrap(), [&kept[..161], &bytes[..]].concat());
        assert_eq!(synced(&log).await.unwrap(), Offset(2));
    });
}

#[test]
fn an_epoch_that_began_on_a_full_disk_is_known_at_the_next_start() {
    simulation::run(7, |simulation| async move {
        let disk = SimulatedDisk::new(7);
        let directory = open(&simulation, &disk);
        let (mut log, _) = open_log(&directory);
        let mut kept = append(&mut log, 2, 0, 100).to_vec();
        synced(&log).await.unwrap();
        disk.set_full(true);
        let refused = log.begin_epoch(LeaderEpoch(3)).unwrap_err();
        assert!(refused.is_retriable(), "{refused}");
        assert_eq!(log.epochs().last(), Some(LeaderEpoch(0)), "what is not on disk is not known");
        disk.set_full(false);
        kept.extend_from_slice(&append(&mut log, 1, 3, 100));
        assert_eq!(synced(&log).await.unwrap(), Offset(3));
        drop((log, directory));
        disk.kill();
        let directory = open(&simulation, &disk);
        let (log, recovery) = open_log(&directory);
        assert!(recovery.damage.is_none() && recovery.doubt.is_none(), "{recovery:?}");
        assert_eq!(read_all(&log).unwrap(), kept);
        assert_eq!(log.epochs().epoch_of(Offset(2)), Some(LeaderEpoch(3)));
    });
}

#[test]
fn a_log_that_led_without_an_append_takes_records_of_the_epoch_before() {
    simulation::run(8, |simulation| async move {
        let disk = SimulatedDisk::new(8);
        let directory = open(&simulation, &disk);
        let (mut log, _) = open_log(&directory);
        let mut kept = append(&mut log, 2, 4, 100).to_vec();
        log.begin_epoch(LeaderEpoch(5)).unwrap();
        assert_eq!(log.epochs().last_written(), Some(LeaderEpoch(4)));
        kept.extend_from_slice(&append(&mut log, 1, 4, 100));
        synced(&log).await.unwrap();
        drop((log, directory));
        disk.kill();
        let directory = open(&simulation, &disk);
        let (log, recovery) = open_log(&directory);
        assert!(recovery.damage.is_none(), "{recovery:?}");
        assert_eq!(read_all(&log).unwrap(), kept);
    });
}

#[test]
fn a_failed_sync_fails_the_directory_and_its_bytes_are_not_believed_after_a_restart() {
    simulation::run(2, |simulation| async move {
        let disk = SimulatedDisk::new(2);
        let directory = open(&simulation, &disk);
        let (mut log, _) = open_log(&directory);
        let kept = append(&mut log, 1, 0, 100);
        assert_eq!(synced(&log).await.unwrap(), Offset(1));
        append(&mut log, 1, 0, 100);
        let mut health = directory.subscribe();
        health.borrow_and_update();
        disk.fail(DiskCall::Sync, Path::new(ROOT).join(name()).as_path(), 1);
        let failed = synced(&log).await.unwrap_err();
        assert!(matches!(failed, LogError::DirectoryFailed { .. }), "{failed}");
        assert!(health.has_changed().unwrap() && matches!(directory.health(), DirectoryHealth::Failed(_)));
        // The next sync would succeed, and the page cache shows everything: none of it counts.
        assert!(matches!(synced(&log).await, Err(LogError::DirectoryFailed { .. })));
        assert!(matches!(log.append(vec![batch(2, 1, 0, 9, 0)]), Err(LogError::DirectoryFailed { .. })));
        assert!(matches!(log.truncate_to(Offset(0)), Err(LogError::DirectoryFailed { .. })));
        assert!(directory.open_log(partition(1), &config()).is_err());
        assert_eq!(
            (log.durable_end(), log.read(Offset(1), Offset(2), 99).unwrap()),
            (Offset(1), Bytes::new())
        );
        drop((log, directory));
        disk.kill();
        let directory = open(&simulation, &disk);
        let (log, recovery) = open_log(&directory);
        assert_eq!((recovery.end, recovery.cut, recovery.doubt), (Offset(1), true, Some(Doubt::Cut)));
        assert_eq!(read_all(&log).unwrap(), kept);
        // The doubt stays until it is settled.
        drop((log, directory));
        disk.kill();
        let directory = open(&simulation, &disk);
        let (log, recovery) = open_log(&directory);
        assert!(recovery.in_doubt && !recovery.cut);
        log.settle_doubt();
        drop(log);
        directory.close_cleanly().unwrap();
        drop(directory);
        assert!(!open_log(&open(&simulation, &disk)).1.in_doubt);
    });
}

#[test]
fn a_failed_write_fails_the_directory() {
    simulation::run(3, |simulation| async move {
        let disk = SimulatedDisk::new(3);
        let directory = open(&simulation, &disk);
        let (mut log, _) = open_log(&directory);
        append(&mut log, 1, 0, 100);
        disk.fail(DiskCall::Write, Path::new(ROOT).join(name()).as_path(), 1);
        let failed = log.append(vec![batch(1, 1, 0, 100, 0)]).unwrap_err();
        assert!(matches!(failed, LogError::DirectoryFailed { .. }), "{failed}");
        assert!(synced(&log).await.is_err());
    });
}

#[test]
fn a_flipped_bit_below_the_durable_end_is_found_and_never_served() {
    simulation::run(4, |simulation| async move {
        let disk = SimulatedDisk::new(4);
        let directory = open(&simulation, &disk);
        let (mut log, _) = open_log(&directory);
        let batches: Vec<Bytes> = (0..20).map(|_| append(&mut log, 1, 0, 700)).collect();
        drop(log);
        directory.close_cleanly().unwrap();
        drop(directory);
        disk.kill();
        let world = World::simulated(&simulation, &disk);
        let sealed = files(&world, Path::new(ROOT), ".log")[1].clone();
        disk.flip_bit(&sealed, 761 + 300, 3).unwrap();
        let directory = open(&simulation, &disk);
        let (mut log, recovery) = open_log(&directory);
        assert!(!recovery.in_doubt, "nothing there was looked at");
        let first = log.segments[1].file.base;
        let bad = Offset(first.0 + 1);
        assert_eq!(log.read(first, log.end(), 1).unwrap(), batches[usize::try_from(first.0).unwrap()]);
        for max_bytes in [1, 100_000] {
            let found = log.read(bad, log.end(), max_bytes).unwrap_err();
            let LogError::Corrupt { offset, position, .. } = found else { panic!("{found}") };
            assert_eq!((offset, position), (bad, 761));
        }
        assert!(log.read(first, log.end(), 100_000).is_err(), "nor together with what is well");
        // The replica's cure: cut there and fetch again.
        assert_eq!(log.truncate_to(bad).unwrap(), bad);
        (bad.0..20).for_each(|_| drop(append(&mut log, 1, 0, 700)));
        assert_eq!(read_all(&log).unwrap(), batches.concat());
    });
}

#[test]
fn a_bit_that_flips_under_a_running_node_is_found_though_it_was_read_well_before() {
    simulation::run(9, |simulation| async move {
        let disk = SimulatedDisk::new(9);
        let world = World::simulated(&simulation, &disk);
        let settings = DirectorySettings { tail: TailBudget::new(0), ..DirectorySettings::default() };
        let directory = LogDirectory::open(&world, Path::new(ROOT), settings, Events::uncounted()).unwrap();
        let (mut log, _) = open_log(&directory);
        let batches: Vec<Bytes> = (0..20).map(|_| append(&mut log, 1, 0, 700)).collect();
        synced(&log).await.unwrap();
        assert_eq!(read_all(&log).unwrap(), batches.concat());
        let sealed = files(&world, Path::new(ROOT), ".log")[1].clone();
        disk.flip_bit(&sealed, 761 + 300, 3).unwrap();
        let bad = Offset(log.segments[1].file.base.0 + 1);
        let found = log.read(bad, log.end(), 1).unwrap_err();
        assert!(matches!(found, LogError::Corrupt { offset, .. } if offset == bad), "{found}");
    });
}

#[test]
fn a_truncated_sealed_segment_ends_the_log_before_it_and_takes_no_appends() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    let (mut log, _) = open_log(&directory);
    let batches: Vec<Bytes> = (0..20).map(|_| append(&mut log, 1, 0, 700)).collect();
    drop(log);
    directory.close_cleanly().unwrap();
    drop(directory);
    let sealed = files(&world, root.path(), ".log")[1].clone();
    std::fs::OpenOptions::new().write(true).open(&sealed).unwrap().set_len(1000).unwrap();
    let directory = open_at(&world, root.path()).unwrap();
    let (mut log, recovery) = open_log(&directory);
    let damage = recovery.damage.as_ref().unwrap();
    assert!(damage.to_string().contains("has 1000 bytes and should have"), "{damage}");
    assert_eq!((recovery.doubt, recovery.end), (Some(Doubt::Lost), Offset(6)));
    assert_eq!(read_all(&log).unwrap(), batches[..6].concat());
    let mut seen = Vec::new();
    log.replay_headers(Offset(0), |header, _| seen.push(header.base_offset.0)).unwrap();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5], "a state made of the headers is made of what is left");
    assert!(matches!(log.append(vec![batch(6, 1, 0, 9, 0)]), Err(LogError::Corrupt { .. })));
    assert!(files(&world, root.path(), ".log").len() > 2, "nothing is cut without an order");
    log.truncate_to(log.end()).unwrap();
    (6..20).for_each(|_| drop(append(&mut log, 1, 0, 700)));
    assert_eq!(read_all(&log).unwrap(), batches.concat());
}

#[test]
fn an_emptied_log_directory_is_a_doubt_and_an_unknown_table_too() {
    let (world, root) = (machine(), tempfile::tempdir().unwrap());
    let directory = open_at(&world, root.path()).unwrap();
    for index in 0..2 {
        let (mut log, _) = directory.open_log(partition(index), &config()).unwrap();
        append(&mut log, 1, 0, 700);
    }
    directory.close_cleanly().unwrap();
    drop(directory);
    std::fs::remove_dir_all(root.path().join(name())).unwrap();
    let directory = open_at(&world, root.path()).unwrap();
    assert_eq!(directory.logs().len(), 2);
    let (log, recovery) = open_log(&directory);
    assert_eq!((recovery.doubt, recovery.end, recovery.created), (Some(Doubt::Lost), Offset(0), false));
    drop(log);
    assert!(!directory.open_log(partition(1), &config()).unwrap().1.in_doubt);
    drop(directory);
    std::fs::write(root.path().join("durable-ends"), b"damaged").unwrap();
    let directory = open_at(&world, root.path()).unwrap();
    let recovery = directory.open_log(partition(1), &config()).unwrap().1;
    assert_eq!((recovery.doubt, recovery.end), (Some(Doubt::Lost), Offset(1)));
}

#[test]
fn a_log_deleted_while_its_sync_is_under_way_does_not_fail_the_directory() {
    simulation::run(6, |simulation| async move {
        let directory = open(&simulation, &SimulatedDisk::new(6));
        let (mut other, _) = directory.open_log(partition(1), &config()).unwrap();
        let (mut log, _) = open_log(&directory);
        append(&mut log, 1, 0, 700);
        let ends = Arc::clone(&log.ends);
        log.sync(Box::new(|_| ()));
        drop(log);
        let work = ends.begin();
        directory.delete_log(partition(0)).unwrap();
        let ended = sync::perform(directory.shared(), &ends, &work);
        assert!(matches!(ended, Err(LogError::Closed { .. })), "{ended:?}");
        append(&mut other, 1, 0, 700);
        assert_eq!(synced(&other).await.unwrap(), Offset(1));
    });
}

#[test]
fn what_is_appended_while_a_sync_begins_belongs_to_the_next() {
    simulation::run(7, |simulation| async move {
        let directory = open(&simulation, &SimulatedDisk::new(7));
        let (mut log, _) = open_log(&directory);
        append(&mut log, 1, 0, 700);
        synced(&log).await.unwrap();
        // The steps of an append, with a sync that begins in their midst, as one on another thread may.
        let segment = log.active_segment().unwrap().file.clone();
        let writer = directory.shared().files.to_write(segment.file_id, &segment.path).unwrap();
        log.ends.touch(segment.file_id, &writer);
        let work = log.ends.begin();
        log.ends.appended(Offset(2), LeaderEpoch(0), (segment.file_id, &writer), 700);
        assert!(matches!(log.ends.ask(None), Asked::Joined));
        let ended = log.ends.finish(work, Ok(()));
        assert!(ended.again, "nobody would sync it before the next append");
        assert_eq!(ended.result.unwrap(), Offset(1));
        let work = log.ends.begin();
        assert_eq!(log.ends.finish(work, Ok(())).result.unwrap(), Offset(2));
    });
}

#[test]
fn another_boot_makes_a_log_doubtful_whose_appends_were_not_synced() {
    simulation::run(5, |simulation| async move {
        let disk = SimulatedDisk::new(5);
        let directory = open(&simulation, &disk);
        let (mut careful, _) = directory.open_log(partition(0), &config()).unwrap();
        let (mut quick, _) = directory.open_log(partition(1), &os()).unwrap();
        for log in [&mut careful, &mut quick] {
            append(log, 1, 0, 100);
            synced(log).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop((careful, quick, directory));
        disk.kill();
        let directory = open(&simulation, &disk);
        for index in 0..2 {
            assert!(!directory.open_log(partition(index), &os()).unwrap().1.in_doubt, "the same boot");
        }
        let (mut log, _) = directory.open_log(partition(0), &config()).unwrap();
        log.reconfigure(&config());
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop((log, directory));
        disk.cut_power();
        let directory = open(&simulation, &disk);
        let doubt = |index, config| directory.open_log(partition(index), &config).unwrap().1.doubt;
        assert_eq!((doubt(0, config()), doubt(1, config())), (None, Some(Doubt::OtherBoot)));
    });
}
