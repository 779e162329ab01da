//! Who may commit.

use super::*;
use crate::group::message::{CommittedOffset, DeleteGroup, OffsetCommit, OffsetFetch};
use crate::ids::Offset;

fn commit(bench: &Bench, member: &str, member_epoch: i32) -> OffsetCommit {
    let committed = CommittedOffset { offset: Offset(5), leader_epoch: None, metadata: String::new() };
    OffsetCommit {
        group: "app".to_owned(),
        member: member.to_owned(),
        member_epoch,
        offsets: vec![(bench.topics.partition("t", 0), committed)],
    }
}

/// What a commit is answered, plain and in a transaction.
fn committed(bench: &mut Bench, member: &str, epoch: i32) -> (Result<(), ErrorCode>, Result<(), ErrorCode>) {
    let request = commit(bench, member, epoch);
    let plain = bench.decide(|group, around| group.commit(around, &request)).map(|_| ());
    let around = Surroundings { now: now(bench.now_ms), topics: &bench.topics, settings: &bench.settings };
    let transactional = bench.group.check_transactional_commit(&around, &request);
    (plain, transactional.map_err(|refusal| refusal.code))
}

#[test]
fn a_member_commits_in_any_epoch_since_it_joined() {
    let mut bench = Bench::new();
    let first = Worker::joined(&mut bench, "a", &topology(1, 1));
    let second = Worker::joined(&mut bench, "b", &topology(1, 1));
    let newest = bench.describe().epoch;
    assert!(first.epoch < newest);
    assert_eq!(committed(&mut bench, "a", first.epoch), (Ok(()), Ok(())), "who is not affected goes on");
    assert_eq!(committed(&mut bench, "a", newest), (Ok(()), Ok(())));
    let stale = (Err(ErrorCode::StaleMemberEpoch), Err(ErrorCode::IllegalGeneration));
    assert_eq!(committed(&mut bench, "a", newest + 1), stale);
    assert_eq!(committed(&mut bench, "b", second.epoch - 1), stale, "it was not there");
}

#[test]
fn a_member_commits_for_the_tasks_that_it_has_not_given_up_and_for_no_others() {
    let mut bench = Bench::new();
    let mut old = Worker::joined(&mut bench, "a", &topology(0, 2));
    let mut new = Worker::joined(&mut bench, "b", &topology(0, 2));
    let commits = |bench: &mut Bench, member: &str, epoch: i32, index: i32| {
        let (_, committed) = commit(bench, member, epoch).offsets.remove(0);
        let offsets = vec![(bench.topics.partition("t", index), committed)];
        let request = OffsetCommit { offsets, ..commit(bench, member, epoch) };
        let each = bench.decide(|group, around| group.commit(around, &request)).unwrap();
        each.into_iter().next().unwrap().1.map_err(|refusal| refusal.code)
    };
    assert_eq!(commits(&mut bench, "a", old.epoch, 1), Ok(()));
    assert_eq!(commits(&mut bench, "b", new.epoch, 1), Err(ErrorCode::IllegalGeneration), "not yet");
    let answer = bench.beat(&old.heartbeat()).unwrap();
    old.epoch = answer.epoch;
    assert_eq!(commits(&mut bench, "a", old.epoch, 1), Ok(()), "it gives it up with a commit");
    old.running = answer.tasks;
    old.step(&mut bench);
    new.step(&mut bench);
    assert_eq!(commits(&mut bench, "a", old.epoch, 1), Err(ErrorCode::IllegalGeneration), "it is another's");
    assert_eq!(commits(&mut bench, "b", new.epoch, 1), Ok(()));
    assert_eq!(commits(&mut bench, "b", new.epoch, 3), Ok(()), "no task reads it");
}

#[test]
fn a_zombie_never_commits_again() {
    let mut bench = Bench::new();
    let zombie = Worker::joined(&mut bench, "a", &topology(1, 1));
    let epoch = zombie.epoch;
    bench.pass(10_000);
    let unknown = (Err(ErrorCode::UnknownMemberId), Err(ErrorCode::UnknownMemberId));
    assert_eq!(committed(&mut bench, "a", epoch), unknown, "though the group is empty");
    let heir = Worker::joined(&mut bench, "b", &topology(1, 1));
    assert_eq!(committed(&mut bench, "a", epoch), unknown);
    assert_eq!(committed(&mut bench, "a", heir.epoch), unknown);
    bench.read_back(bench.log.len());
    assert_eq!(committed(&mut bench, "a", heir.epoch), unknown);
    assert_eq!(committed(&mut bench, "b", heir.epoch), (Ok(()), Ok(())));
}

#[test]
fn offsets_are_set_from_outside_only_while_the_application_does_not_run() {
    let mut bench = Bench::new();
    assert_eq!(committed(&mut bench, "", -1), (Ok(()), Ok(())));
    let mut worker = Worker::joined(&mut bench, "a", &topology(1, 0));
    let unknown = (Err(ErrorCode::UnknownMemberId), Err(ErrorCode::UnknownMemberId));
    assert_eq!(committed(&mut bench, "", -1), unknown);
    worker.epoch = -1;
    bench.beat(&worker.heartbeat()).unwrap();
    assert_eq!(committed(&mut bench, "", -1), (Ok(()), Ok(())));
}

#[test]
fn a_group_of_simple_commits_becomes_one_of_an_application_and_keeps_its_offsets() {
    let mut bench = Bench::new();
    assert!(committed(&mut bench, "", -1).0.is_ok());
    Worker::joined(&mut bench, "a", &topology(1, 0));
    let all = OffsetFetch { group: "app".to_owned(), partitions: None };
    assert_eq!(bench.group.fetch(&bench.topics, &all).len(), 1);
}

#[test]
fn an_application_that_does_not_run_is_deleted_whole() {
    let mut bench = Bench::new();
    let mut worker = Worker::joined(&mut bench, "a", &topology(1, 0));
    assert!(committed(&mut bench, "a", worker.epoch).0.is_ok());
    let delete = DeleteGroup { group: "app".to_owned() };
    assert_eq!(bench.decide(|group, around| group.delete(around, &delete)), Err(ErrorCode::NonEmptyGroup));
    worker.epoch = -1;
    bench.beat(&worker.heartbeat()).unwrap();
    bench.decide(|group, around| group.delete(around, &delete)).unwrap();
    assert!(bench.group.group().is_nothing());
    bench.read_back(bench.log.len());
    assert!(bench.group.group().is_nothing());
}
