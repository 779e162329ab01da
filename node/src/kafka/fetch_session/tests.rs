use millstream_actors::events::Events;

use super::*;

fn sessions(slots: usize) -> FetchSessions {
    let (world, _arbiters) = World::real(1).unwrap();
    FetchSessions::new(slots, FetchSessionSeries::of(&Events::uncounted()), world)
}

fn key(index: i32) -> Key {
    Key { topic: TopicKey::Name("t".into()), index }
}

fn ask(id: i32, epoch: i32, wanted: &[i32]) -> Ask {
    let one = Wanted { leader_epoch: -1, last_epoch: -1, offset: 0, max_bytes: 1 };
    let wanted = wanted.iter().map(|index| (key(*index), one)).collect();
    Ask { id, epoch, by_id: false, wanted, forgotten: Vec::new() }
}

fn read(context: &Context, high_watermark: i64) -> Vec<(Key, Partition<'static>)> {
    let read = |(key, _): &(Key, Wanted)| {
        (key.clone(), Partition { partition_index: key.index, high_watermark, ..Default::default() })
    };
    context.parts.iter().map(read).collect()
}

/// Asks, and is answered that all partitions end there.
fn asked(sessions: &FetchSessions, ask: Ask, high_watermark: i64) -> Result<(i32, Vec<i32>), ErrorCode> {
    let context = sessions.begin(ask)?;
    let answers = read(&context, high_watermark);
    let told = sessions.finish(context, answers);
    assert_eq!(told.error_code, 0);
    Ok((told.session_id, told.partitions.into_iter().map(|(key, _)| key.index).collect()))
}

#[test]
fn a_session_begins_goes_on_with_what_is_new_and_ends_with_a_request_that_names_everything() {
    let sessions = sessions(10);
    let (id, all) = asked(&sessions, ask(NO_SESSION, 0, &[0, 1]), 5).unwrap();
    assert!(id > 0);
    assert_eq!(all, [0, 1]);
    assert_eq!(asked(&sessions, ask(id, 1, &[]), 5), Ok((id, vec![])));
    assert_eq!(asked(&sessions, ask(id, 2, &[2]), 5), Ok((id, vec![2])));
    assert_eq!(asked(&sessions, ask(id, 3, &[]), 6), Ok((id, vec![0, 1, 2])));
    assert_eq!(asked(&sessions, ask(id, 3, &[]), 6), Err(ErrorCode::InvalidFetchSessionEpoch));
    assert_eq!(asked(&sessions, ask(id, -1, &[0]), 6), Ok((NO_SESSION, vec![0])));
    assert_eq!(asked(&sessions, ask(id, 4, &[]), 6), Err(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(asked(&sessions, ask(NO_SESSION, 5, &[]), 6), Err(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(sessions.lock().len(), 0);
}

#[test]
fn an_answer_that_comes_after_a_later_request_is_refused() {
    let sessions = sessions(10);
    let (id, _) = asked(&sessions, ask(NO_SESSION, 0, &[0]), 5).unwrap();
    let first = sessions.begin(ask(id, 1, &[])).unwrap();
    let second = sessions.begin(ask(id, 2, &[])).unwrap();
    let told = sessions.finish(first, Vec::new());
    assert_eq!((told.error_code, told.session_id), (ErrorCode::InvalidFetchSessionEpoch.code(), id));
    let answers = read(&second, 6);
    let told = sessions.finish(second, answers);
    assert_eq!((told.error_code, told.partitions.len()), (0, 1));
}

#[test]
fn without_room_everything_is_told_each_time() {
    let sessions = sessions(0);
    assert_eq!(asked(&sessions, ask(NO_SESSION, 0, &[0]), 5), Ok((NO_SESSION, vec![0])));
    assert_eq!(asked(&sessions, ask(NO_SESSION, 0, &[0]), 5), Ok((NO_SESSION, vec![0])));
}

#[test]
fn a_session_from_which_everything_is_taken_ends() {
    let sessions = sessions(10);
    let (id, _) = asked(&sessions, ask(NO_SESSION, 0, &[0]), 5).unwrap();
    let nothing = Ask { forgotten: vec![key(0)], ..ask(id, 1, &[]) };
    assert_eq!(asked(&sessions, nothing, 5), Ok((NO_SESSION, vec![])));
    assert_eq!(asked(&sessions, ask(id, 2, &[]), 5), Err(ErrorCode::FetchSessionIdNotFound));
}
