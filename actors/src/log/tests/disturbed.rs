//! Cleanings during which a log is read or cut, or its disk is not well.

use super::cleaned::{VALUE, append_keyed, batches_in, cleaned, keys, keys_in, reopened, sealed, with_log};
use super::*;
use crate::log::cleaning::{clean, one_step};
use crate::record::{self, Codec};

#[test]
fn who_reads_an_old_segment_goes_on_reading_it() {
    with_log(async |_, _, _, mut log| {
        (0..9).for_each(|_| append_keyed(&mut log, 0, Codec::None, &[("a", VALUE)]));
        let end = sealed(&mut log).await;
        log.tail.truncate_to(Offset(0));
        let Ok(Batches::Cold(reading)) = log.read_batches(Offset(0), end, 1 << 20) else { panic!() };
        cleaned(clean(&mut log, end));
        let late = reading.run().unwrap();
        assert_eq!(record::batches(&late).count(), 9, "as it was when the read was asked for");
        assert_eq!(keys_in(&log), keys(&[(8, "a")]));
    });
}

#[test]
fn a_log_that_is_cut_under_a_cleaning_is_not_touched_by_it() {
    with_log(async |simulation, disk, _, mut log| {
        for round in 0..60 {
            append_keyed(&mut log, round / 20, Codec::None, &[("a", VALUE)]);
        }
        let end = sealed(&mut log).await;
        for steps in 0..8 {
            let mut under_way = log.cleaning(end, |_| KnownProducers::default());
            for _ in 0..steps {
                under_way = match under_way.map(|cleaning| one_step(&mut log, cleaning)) {
                    Some(Stepped::More(cleaning)) => Some(cleaning),
                    _ => None,
                };
            }
            let to = log.end().0 - 3;
            let to = log.truncate_to(Offset(to)).unwrap();
            let before = batches_in(&log);
            if let Some(cleaning) = under_way {
                assert!(matches!(one_step(&mut log, cleaning), Stepped::Nothing));
            }
            assert_eq!(batches_in(&log), before);
            assert_eq!(log.end(), to);
            append_keyed(&mut log, 7 + steps, Codec::None, &[("a", VALUE)]);
            sealed(&mut log).await;
        }
        let before = batches_in(&log);
        let (_directory, log) = reopened(&simulation, &disk, log);
        assert_eq!(batches_in(&log), before);
    });
}

#[test]
fn what_was_cut_and_written_again_is_dirty_again() {
    with_log(async |_, _, _, mut log| {
        (0..9).for_each(|_| append_keyed(&mut log, 0, Codec::None, &[("a", VALUE)]));
        append_keyed(&mut log, 0, Codec::None, &[("b", VALUE)]);
        let end = sealed(&mut log).await;
        cleaned(clean(&mut log, end));
        log.truncate_to(Offset(9)).unwrap();
        append_keyed(&mut log, 1, Codec::None, &[("a", VALUE)]);
        let end = sealed(&mut log).await;
        assert!(log.wants_cleaning(end, 0));
        cleaned(clean(&mut log, end));
        assert_eq!(keys_in(&log), keys(&[(9, "a")]));
    });
}

#[test]
fn a_full_disk_and_a_corrupt_segment_leave_the_log_as_it_was() {
    with_log(async |_, disk, directory, mut log| {
        (0..9).for_each(|_| append_keyed(&mut log, 0, Codec::None, &[("a", VALUE)]));
        let end = sealed(&mut log).await;
        let before = batches_in(&log);
        disk.set_full(true);
        let refused = clean(&mut log, end);
        assert!(matches!(&refused, Stepped::Failed(error, _) if error.is_retriable()), "{refused:?}");
        assert_eq!((batches_in(&log), directory.health()), (before, DirectoryHealth::Well));
        disk.set_full(false);
        disk.flip_bit(&log.segments[0].file.path, 500, 1).unwrap();
        let refused = clean(&mut log, end);
        assert!(matches!(&refused, Stepped::Failed(LogError::Corrupt { .. }, None)), "{refused:?}");
        assert_eq!(log.segments[0].file.cleaned, None, "what is corrupt is not sealed with a new checksum");
        disk.flip_bit(&log.segments[0].file.path, 500, 1).unwrap();
        let left = disk.disk().list(log.ends.path()).unwrap();
        assert!(left.iter().all(|path| path.extension().is_none_or(|ending| ending != "cleaning")));
        cleaned(clean(&mut log, end));
        assert_eq!(keys_in(&log), keys(&[(8, "a")]));
    });
}

#[test]
fn a_cleaning_that_lacked_space_is_tried_again_when_there_is_as_much_and_learns_nothing_before() {
    with_log(async |_, disk, _, mut log| {
        (0..30).for_each(|_| append_keyed(&mut log, 0, Codec::None, &[("a", VALUE), ("b", VALUE)]));
        let end = sealed(&mut log).await;
        disk.set_full(true);
        let Stepped::Failed(LogError::NoSpace { needed, .. }, _) = clean(&mut log, end) else { panic!() };
        assert!(needed > 0 && needed <= log.segments[0].length, "{needed}");
        let first_step = |log: &mut Log| {
            let cleaning = log.cleaning(end, |_| KnownProducers::default()).unwrap();
            one_step(log, cleaning)
        };
        assert!(log.wants_cleaning(end, 0));
        assert!(matches!(first_step(&mut log), Stepped::Nothing), "the disk is as full as it was");
        disk.set_full(false);
        disk.set_capacity(disk.used() + needed - 1);
        assert!(matches!(first_step(&mut log), Stepped::Nothing), "a byte is lacking");
        disk.set_capacity(disk.used() + needed.next_multiple_of(4096));
        assert!(matches!(first_step(&mut log), Stepped::More(_)));
        disk.set_capacity(1 << 30);
        cleaned(clean(&mut log, end));
        assert_eq!(keys_in(&log), keys(&[(58, "a"), (59, "b")]));
    });
}

#[test]
fn a_cleaning_that_lacked_space_for_a_later_file_is_not_tried_again_for_the_sake_of_a_small_first_one() {
    with_log(async |_, disk, _, mut log| {
        append_keyed(&mut log, 0, Codec::None, &[("a", VALUE)]);
        log.roll().unwrap();
        (0..30_u32).for_each(|key| {
            append_keyed(&mut log, 0, Codec::None, &[(key.to_string().as_str(), VALUE)]);
        });
        let end = sealed(&mut log).await;
        let first = log.segments[0].length;
        let mut cleaning = log.cleaning(end, |_| KnownProducers::default()).unwrap();
        let lacked = loop {
            match one_step(&mut log, cleaning) {
                Stepped::More(next) => cleaning = next,
                Stepped::Failed(LogError::NoSpace { .. }, lacked) => break lacked.unwrap(),
                other => panic!("{other:?}"),
            }
            disk.set_full(log.segments[0].file.cleaned.is_some());
        };
        assert!(lacked.base > Offset(0) && lacked.bytes > first, "{lacked:?}");
        let first_step = |log: &mut Log| {
            let cleaning = log.cleaning(end, |_| KnownProducers::default()).unwrap();
            one_step(log, cleaning)
        };
        disk.set_full(false);
        disk.set_capacity(disk.used() + lacked.bytes - 1);
        assert!(
            matches!(first_step(&mut log), Stepped::Nothing),
            "there is as much as the first file can need"
        );
        disk.set_capacity(disk.used() + lacked.bytes.next_multiple_of(4096));
        assert!(matches!(first_step(&mut log), Stepped::More(_)));
    });
}
