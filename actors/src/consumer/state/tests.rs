use super::*;
use crate::ids::TopicId;

fn partition(index: i32) -> PartitionId {
    PartitionId { topic: TopicId(uuid::Uuid::nil()), index }
}

fn reading(indexes: &[i32]) -> State {
    let mut state = State::default();
    let partitions = indexes
        .iter()
        .map(|index| (partition(*index), TopicPartition::new("t", *index), SeekTo::Offset(Offset::ZERO)));
    state.add(partitions.collect(), true);
    state
}

fn some_records(index: i32, from: i64, next: i64) -> Fetched {
    let mut batch = crate::record::BatchBuilder::new(1 << 20, crate::record::Compression::NONE);
    for _ in from..next {
        batch.push(0, None, Some(b"v"), &[]).unwrap();
    }
    let batch = crate::record::Batch::parse(batch.finish(None)).unwrap();
    Fetched {
        partition: TopicPartition::new("t", index),
        topic_id: TopicId(uuid::Uuid::nil()),
        high_watermark: Offset(next),
        batches: vec![batch],
        from: Offset(from),
        next: Offset(next),
    }
}

fn generation(state: &State, index: i32) -> u64 {
    state.reading(partition(index)).unwrap().generation
}

#[test]
fn records_count_as_processed_when_the_next_event_is_asked_for() {
    let mut state = reading(&[0]);
    assert!(matches!(state.next(), Some(ConsumerEvent::Assigned(_))));
    state.fetched(partition(0), generation(&state, 0), some_records(0, 0, 3));
    assert!(matches!(state.next(), Some(ConsumerEvent::Records(_))));
    assert_eq!(state.reading(partition(0)).unwrap().processed, None);
    assert!(state.next().is_none());
    assert_eq!(state.reading(partition(0)).unwrap().processed, Some(Offset(3)));
}

#[test]
fn nothing_from_before_a_seek_is_handed_out() {
    let mut state = reading(&[0]);
    state.next();
    let before = generation(&state, 0);
    state.fetched(partition(0), before, some_records(0, 0, 3));
    state.seek(partition(0), SeekTo::Offset(Offset(9)));
    state.fetched(partition(0), before, some_records(0, 3, 5));
    assert!(state.next().is_none());
    assert_eq!(state.buffered_bytes, 0);
}

#[test]
fn a_revoked_partition_is_not_handed_out_and_is_given_up_after_the_application_heard() {
    let mut state = reading(&[0, 1]);
    state.next();
    state.fetched(partition(0), generation(&state, 0), some_records(0, 0, 3));
    state.fetched(partition(1), generation(&state, 1), some_records(1, 0, 2));
    state.next();
    state.revoke(&BTreeSet::from([partition(0)]));
    assert!(state.take_revoked().is_empty(), "the application has not heard of it");
    assert!(matches!(state.next(), Some(ConsumerEvent::Revoked(_))));
    assert!(state.take_revoked().is_empty(), "the application may still commit");
    assert!(
        matches!(state.next(), Some(ConsumerEvent::Records(fetched)) if fetched.partition.partition == 1)
    );
    assert_eq!(state.take_revoked(), BTreeMap::from([(partition(0), Some(Offset(3)))]));
}

#[test]
fn a_full_buffer_stops_reading_ahead_and_lookups_go_on() {
    let mut state = reading(&[0, 1]);
    assert_eq!(state.due(10, 10).len(), 2);
    state.fetched(partition(0), generation(&state, 0), some_records(0, 0, 3));
    state.idle(partition(1), generation(&state, 1));
    assert_eq!(state.due(10, 10), []);
    state.seek(partition(1), SeekTo::End);
    assert_eq!(state.due(10, 10).len(), 1);
}

#[test]
fn what_is_lost_is_told_once_and_is_past_when_the_next_event_is_asked_for() {
    let mut state = reading(&[0]);
    state.next();
    state.lose_all(true);
    let again = (partition(1), TopicPartition::new("t", 1), SeekTo::Committed);
    state.add(vec![again], true);
    state.lose_all(true);
    assert!(state.is_losing());
    let Some(ConsumerEvent::Lost(names)) = state.next() else { panic!("it is lost") };
    assert_eq!(names, [TopicPartition::new("t", 0), TopicPartition::new("t", 1)]);
    assert!(state.is_losing(), "the application may still be at it");
    assert!(state.next().is_none());
    assert!(!state.is_losing());
    state.lose_all(true);
    assert!(!state.is_losing(), "there was nothing to lose");
}

#[test]
fn a_position_that_is_not_there_is_none_until_another_is_found() {
    let mut state = reading(&[0]);
    state.next();
    let generation = generation(&state, 0);
    let position = |state: &State| state.reading(partition(0)).unwrap().position;
    state.fetched(partition(0), generation, some_records(0, 0, 3));
    state.reset(partition(0), generation, SeekTo::Beginning);
    state.next();
    assert_eq!(position(&state), None, "behind the records there is nothing to read");
    state.found(partition(0), generation, Offset(10));
    assert_eq!(position(&state), Some(Offset(10)));
    state.reset(partition(0), generation, SeekTo::Beginning);
    assert_eq!(position(&state), None);
    state.found(partition(0), generation, Offset(20));
    state.fetched(partition(0), generation, some_records(0, 20, 22));
    state.reset(partition(0), generation, SeekTo::End);
    state.found(partition(0), generation, Offset(50));
    assert_eq!(position(&state), Some(Offset(20)), "they are not handed out yet");
    state.next();
    assert_eq!(position(&state), Some(Offset(50)));
}

fn no_records(from: i64, next: i64) -> Fetched {
    Fetched { batches: Vec::new(), from: Offset(from), next: Offset(next), ..some_records(0, 0, 1) }
}

#[test]
fn a_stretch_without_records_is_passed_once_what_lies_before_it_is_handed_out() {
    let mut state = reading(&[0]);
    state.next();
    let generation = generation(&state, 0);
    let from = |state: &mut State| state.due(1 << 20, 1 << 20).pop().map(|(_, _, from)| from);
    state.fetched(partition(0), generation, no_records(0, 2));
    assert_eq!(state.reading(partition(0)).unwrap().position, Some(Offset(2)));
    assert_eq!(from(&mut state), Some(SeekTo::Offset(Offset(2))));
    state.fetched(partition(0), generation, some_records(0, 2, 4));
    state.fetched(partition(0), generation, no_records(4, 5));
    assert_eq!(from(&mut state), Some(SeekTo::Offset(Offset(5))));
    assert_eq!(state.reading(partition(0)).unwrap().position, Some(Offset(2)));
    assert!(matches!(state.next(), Some(ConsumerEvent::Records(fetched)) if fetched.next == Offset(5)));
    assert_eq!(state.reading(partition(0)).unwrap().position, Some(Offset(5)));
    state.fetched(partition(0), generation, no_records(5, 5));
    assert_eq!(from(&mut state), Some(SeekTo::Offset(Offset(5))), "nothing new came");
}

#[test]
fn a_paused_partition_is_not_read() {
    let mut state = reading(&[0]);
    assert!(state.pause(partition(0)));
    assert_eq!(state.due(10, 10), []);
    state.resume(partition(0));
    assert_eq!(state.due(10, 10).len(), 1);
}

#[test]
fn what_was_read_ahead_of_a_pause_is_not_handed_out_and_is_read_again() {
    let mut state = reading(&[0, 1]);
    state.next();
    let before = generation(&state, 0);
    state.fetched(partition(0), before, some_records(0, 0, 3));
    state.fetched(partition(0), before, some_records(0, 3, 5));
    state.fetched(partition(1), generation(&state, 1), some_records(1, 0, 1));
    assert!(matches!(state.next(), Some(ConsumerEvent::Records(fetched)) if fetched.next == Offset(3)));
    state.pause(partition(0));
    state.fetched(partition(0), before, some_records(0, 5, 9));
    assert!(
        matches!(state.next(), Some(ConsumerEvent::Records(fetched)) if fetched.partition.partition == 1)
    );
    assert!(state.next().is_none());
    assert_eq!(state.buffered_bytes, 0, "it takes no room from others");
    state.resume(partition(0));
    let due = state.due(10, 10);
    assert!(due.iter().any(|(id, _, from)| (*id, *from) == (partition(0), SeekTo::Offset(Offset(3)))));
}

#[test]
fn of_a_partition_that_is_read_no_more_nothing_is_handed_out_and_its_room_is_others() {
    let mut state = reading(&[0, 1]);
    state.next();
    for index in [0, 1] {
        state.fetched(partition(index), generation(&state, index), some_records(index, 0, 3));
    }
    state.remove(&[TopicPartition::new("t", 0), TopicPartition::new("t", 7)].into());
    let Some(ConsumerEvent::Records(fetched)) = state.next() else { panic!("records") };
    assert_eq!(fetched.partition.partition, 1);
    assert!(state.next().is_none() && state.reading(partition(0)).is_none());
    assert_eq!(state.buffered_bytes, 0);
}

#[test]
fn a_partition_that_failed_is_not_read_and_is_told_until_it_is_sought() {
    let mut state = reading(&[0, 1]);
    assert_eq!(state.due(10, 10).len(), 2);
    let before = generation(&state, 0);
    state.failed(partition(0), before);
    state.idle(partition(1), generation(&state, 1));
    let failed = |state: &State| -> Vec<_> {
        state.readings().filter(|(_, reading)| reading.failed).map(|(id, _)| id).collect()
    };
    assert_eq!(failed(&state), [partition(0)]);
    let due: Vec<_> = state.due(10, 10).into_iter().map(|(id, ..)| id).collect();
    assert_eq!(due, [partition(1)]);
    state.seek(partition(0), SeekTo::Committed);
    assert_eq!(failed(&state), []);
    assert_eq!(state.due(10, 10).len(), 1);
    state.failed(partition(0), before);
    assert_eq!(failed(&state), [], "that was before it was sought");
}
