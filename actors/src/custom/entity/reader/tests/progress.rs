use bytes::Bytes;

use super::super::lane::{Errand, Fed};
use super::super::progress::{Due, Progress};
use super::super::settings::ReaderSettings;
use crate::ids::Offset;

fn settings() -> ReaderSettings {
    ReaderSettings {
        records_max: 10,
        bytes_max: 10_000,
        mark_records: 5,
        mark_ms: 1_000,
        ..ReaderSettings::default()
    }
}

/// A reader of two receivers that are at these positions.
fn progress(positions: [u64; 2]) -> Progress {
    let mut progress = Progress::new(2, settings());
    assert_eq!(progress.reads_from(), None);
    assert!(progress.due(0).iter().all(|due| due.errand == Errand::Ask));
    for (receiver, position) in (0..).zip(positions) {
        progress.told(0, receiver, Some(position));
    }
    progress
}

fn record(progress: &mut Progress, at: i64, receiver: u32) {
    progress.take(Offset(at), Some((receiver, Bytes::from_static(b"e"), Bytes::from_static(b"m"))));
}

fn fed(due: &Due) -> (u32, u64, Vec<u64>) {
    let Errand::Feed { through, messages } = &due.errand else { panic!("{due:?}") };
    (due.receiver, *through, messages.iter().map(|message| message.sequence).collect())
}

#[test]
fn it_resumes_at_the_least_of_what_the_receivers_have_and_sends_each_only_what_it_has_not() {
    let mut progress = progress([7, 3]);
    assert_eq!(progress.reads_from(), Some(Offset(3)));
    for at in 3..9 {
        record(&mut progress, at, u32::try_from(at % 2).unwrap());
    }
    let due: Vec<_> = progress.due(0).iter().map(fed).collect();
    assert_eq!(due, [(0, 9, vec![9]), (1, 9, vec![4, 6, 8])]);
}

#[test]
fn a_receiver_that_does_not_answer_is_asked_again_and_nothing_is_read_before() {
    let mut progress = Progress::new(2, settings());
    assert_eq!(progress.due(0).len(), 2);
    progress.told(0, 0, Some(4));
    progress.told(0, 1, None);
    assert_eq!((progress.reads_from(), progress.next_ms()), (None, Some(50)));
    assert!(progress.due(49).is_empty());
    assert_eq!(progress.due(50), [Due { receiver: 1, errand: Errand::Ask }]);
    progress.told(50, 1, Some(2));
    assert_eq!(progress.reads_from(), Some(Offset(2)));
}

#[test]
fn what_a_receiver_does_not_take_is_sent_again_in_the_same_order_after_pauses_that_grow() {
    let mut progress = progress([0, 0]);
    (0..3).for_each(|at| record(&mut progress, at, 0));
    let first: Vec<_> = progress.due(0).iter().map(fed).collect();
    assert_eq!(first, [(0, 3, vec![1, 2, 3])]);
    progress.fed(0, 0, Fed::NotNow);
    record(&mut progress, 3, 0);
    assert_eq!(progress.next_ms(), Some(50));
    let again: Vec<_> = progress.due(50).iter().map(fed).collect();
    assert_eq!(again, [(0, 4, vec![1, 2, 3, 4])]);
    progress.fed(50, 0, Fed::NotNow);
    assert_eq!(progress.next_ms(), Some(150));
}

#[test]
fn what_does_not_fit_into_one_delivery_comes_with_the_next_and_is_not_said_to_be_there() {
    let mut progress = Progress::new(1, ReaderSettings { delivery_records: 2, ..settings() });
    progress.due(0);
    progress.told(0, 0, Some(0));
    (0..5).for_each(|at| record(&mut progress, at, 0));
    progress.read_through(Offset(8));
    for (through, sequences) in [(2, vec![1, 2]), (4, vec![3, 4]), (8, vec![5])] {
        let due: Vec<_> = progress.due(0).iter().map(fed).collect();
        assert_eq!(due, [(0, through, sequences)]);
        progress.fed(0, 0, Fed::Applied);
    }
    assert!(progress.due(0).is_empty());
}

#[test]
fn nothing_is_read_while_as_much_as_may_is_under_way() {
    let mut progress = progress([0, 0]);
    (0..10).for_each(|at| record(&mut progress, at, 0));
    assert_eq!((progress.reads_from(), progress.has_room()), (None, false));
    progress.due(0);
    assert_eq!(progress.fed(0, 0, Fed::Applied), 10);
    assert_eq!(progress.reads_from(), Some(Offset(10)));
}

#[test]
fn a_receiver_that_no_record_is_for_hears_by_count_and_by_time_how_far_the_source_is() {
    let mut progress = progress([0, 0]);
    record(&mut progress, 0, 0);
    assert_eq!(progress.due(0).iter().map(fed).collect::<Vec<_>>(), [(0, 1, vec![1])]);
    progress.fed(0, 0, Fed::Applied);
    assert_eq!(progress.next_ms(), Some(1_000));
    assert_eq!(progress.due(1_000).iter().map(fed).collect::<Vec<_>>(), [(1, 1, vec![])]);
    progress.fed(1_000, 1, Fed::Applied);
    assert_eq!(progress.next_ms(), None, "both are there");
    progress.read_through(Offset(6));
    assert_eq!(progress.due(1_001).iter().map(fed).collect::<Vec<_>>(), [(0, 6, vec![]), (1, 6, vec![])]);
}

#[test]
fn what_retention_took_is_counted_unless_nothing_was_ever_read() {
    assert_eq!(progress([0, 0]).overtaken(Offset(5)), 0);
    let mut progress = progress([0, 4]);
    assert_eq!(progress.overtaken(Offset(5)), 5);
    assert_eq!(progress.reads_from(), Some(Offset(5)));
    assert_eq!(progress.overtaken(Offset(2)), 0);
    assert_eq!(progress.reads_from(), Some(Offset(5)), "never back");
}

#[test]
fn the_lag_is_what_may_be_read_and_is_not_applied() {
    let mut progress = progress([2, 2]);
    assert_eq!(progress.lag(Offset(6)), 4);
    record(&mut progress, 2, 0);
    progress.take(Offset(3), None);
    assert_eq!(progress.lag(Offset(6)), 4);
    progress.due(0);
    progress.fed(0, 0, Fed::Applied);
    assert_eq!(progress.lag(Offset(6)), 2);
}
