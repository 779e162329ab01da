//! Tasks go from one member to another.

use super::*;
use crate::group::modern::Leaving;

#[test]
fn who_joins_first_runs_everything_at_once() {
    let mut bench = Bench::new();
    let first = Worker::joined(&mut bench, "a", &topology(3, 1));
    assert_eq!(first.running.active.len(), 4);
    assert!(first.told.fence.is_empty());
    assert_eq!(bench.describe().state, GroupState::Stable);
}

#[test]
fn a_task_is_told_to_its_new_member_when_the_old_one_has_let_go_and_nobody_else_stops() {
    let mut bench = Bench::new();
    let mut old = Worker::joined(&mut bench, "a", &topology(0, 2));
    let mut new = Worker::joined(&mut bench, "b", &topology(0, 2));
    assert!(new.running.active.is_empty(), "the old one has them still");
    assert_eq!(new.told.heartbeat_interval_ms, 100, "and it will be soon");
    assert_eq!(bench.describe().state, GroupState::Reconciling);
    let answer = bench.beat(&old.heartbeat()).unwrap();
    assert_eq!(answer.tasks.active, [task(1, 0)].into(), "told to give one up, and to go on with the other");
    // It is committing: it says that it still runs both, in the epoch that it was told.
    old.epoch = answer.epoch;
    bench.beat(&old.heartbeat()).unwrap();
    new.step(&mut bench);
    assert!(new.running.active.is_empty());
    old.running = answer.tasks;
    old.step(&mut bench);
    new.step(&mut bench);
    assert_eq!(new.running.active, [task(1, 1)].into());
    assert!(new.told.fence.is_empty(), "nobody died");
    assert_eq!(bench.describe().state, GroupState::Stable);
}

#[test]
fn what_a_member_said_before_it_was_told_frees_nothing() {
    let mut bench = Bench::new();
    let mut old = Worker::new("a", &topology(0, 2));
    let answer = bench.beat(&old.heartbeat()).unwrap();
    old.epoch = answer.epoch;
    let late = old.heartbeat();
    assert!(late.running.as_ref().unwrap().is_empty(), "said before it began what it was told");
    old.follow(answer);
    old.step(&mut bench);
    let mut new = Worker::joined(&mut bench, "b", &topology(0, 2));
    bench.beat(&old.heartbeat()).unwrap();
    bench.beat(&late).unwrap();
    new.step(&mut bench);
    assert!(new.running.active.is_empty(), "the old one runs both still");
}

#[test]
fn a_join_that_comes_again_changes_nothing() {
    let mut bench = Bench::new();
    let mut worker = Worker::new("a", &topology(1, 1));
    let join = worker.heartbeat();
    worker.step(&mut bench);
    worker.step(&mut bench);
    let (written, running) = (bench.log.len(), worker.running.clone());
    let answer = bench.beat(&join).unwrap();
    assert_eq!((answer.tasks, answer.epoch, bench.log.len()), (running, worker.epoch, written));
}

#[test]
fn a_task_with_state_is_warmed_up_before_it_moves() {
    let mut bench = Bench::new();
    let mut old = Worker::joined(&mut bench, "a", &topology(2, 0));
    let mut new = Worker::joined(&mut bench, "b", &topology(2, 0));
    let warm = *new.running.warm_up.first().unwrap();
    old.step(&mut bench);
    new.step(&mut bench);
    assert_eq!(old.running.active.len(), 2, "it is served where its state is");
    new.catch_up();
    new.step(&mut bench);
    assert!(new.running.warm_up.contains(&warm), "the copy is kept up until the old one has let go");
    old.step(&mut bench);
    old.step(&mut bench);
    new.step(&mut bench);
    assert_eq!((new.running.active.len(), old.running.active.len()), (1, 1));
    assert!(new.running.active.contains(&warm));
}

#[test]
fn who_leaves_frees_its_tasks_at_once() {
    let mut bench = Bench::new();
    let (mut a, mut b) = (Worker::new("a", &topology(2, 2)), Worker::new("b", &topology(2, 2)));
    a.step(&mut bench);
    settle(&mut bench, &mut [&mut a, &mut b]);
    a.epoch = -1;
    assert_eq!(bench.beat(&a.heartbeat()).unwrap().epoch, -1);
    b.step(&mut bench);
    assert_eq!(b.running.active.len(), 4);
    assert!(b.told.fence.is_empty(), "it had let go");
    assert_eq!(bench.beat(&a.heartbeat()), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn who_does_not_let_go_in_time_is_out() {
    let mut bench = Bench::new();
    let mut stuck = Worker::joined(&mut bench, "a", &topology(0, 2));
    let mut new = Worker::joined(&mut bench, "b", &topology(0, 2));
    let running = stuck.running.clone();
    for _ in 0..70 {
        bench.pass(1_000);
        new.step(&mut bench);
        if let Ok(answer) = bench.beat(&stuck.heartbeat()) {
            stuck.epoch = answer.epoch;
            stuck.running = running.clone();
        }
    }
    let out = Notice::Left { member: "a".into(), reason: Leaving::RebalanceTimeout };
    assert!(bench.notices.contains(&out), "{:?}", bench.notices);
    assert_eq!(new.running.active.len(), 2);
}

#[test]
fn while_nothing_changes_nothing_is_written() {
    let mut bench = Bench::new();
    let (mut a, mut b) = (Worker::new("a", &topology(3, 2)), Worker::new("b", &topology(3, 2)));
    settle(&mut bench, &mut [&mut a, &mut b]);
    let written = bench.log.len();
    settle(&mut bench, &mut [&mut a, &mut b]);
    assert_eq!(bench.log.len(), written);
}

#[test]
fn a_group_has_so_many_members_as_may_be() {
    let mut bench = Bench::new();
    bench.settings.streams.max_members = 1;
    Worker::joined(&mut bench, "a", &topology(1, 0));
    let second = Worker::new("b", &topology(1, 0));
    assert_eq!(bench.beat(&second.heartbeat()), Err(ErrorCode::GroupMaxSizeReached));
}
