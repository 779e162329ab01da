//! Members that died, and what they left open.

use super::*;

/// Two members with one of two tasks each.
fn two(bench: &mut Bench) -> (Worker, Worker) {
    let (mut a, mut b) = (Worker::new("a", &topology(0, 2)), Worker::new("b", &topology(0, 2)));
    a.step(bench);
    settle(bench, &mut [&mut a, &mut b]);
    (a, b)
}

#[test]
fn the_heir_of_a_dead_member_is_told_whose_transaction_to_end_until_it_runs_the_task() {
    let mut bench = Bench::new();
    let (_dead, mut heir) = two(&mut bench);
    bench.pass(9_000);
    heir.step(&mut bench);
    assert_eq!(heir.running.active.len(), 1, "not yet dead");
    bench.pass(1_000);
    let before = heir.running.clone();
    let answer = bench.beat(&heir.heartbeat()).unwrap();
    assert_eq!((answer.tasks.active.len(), &*answer.fence), (2, &["of-a".to_owned()][..]));
    // It does not run the task yet: it is told again.
    heir.epoch = answer.epoch;
    heir.running = before;
    assert_eq!(bench.beat(&heir.heartbeat()).unwrap().fence, answer.fence);
    heir.running = answer.tasks;
    heir.step(&mut bench);
    assert!(heir.told.fence.is_empty());
}

#[test]
fn what_is_to_be_ended_goes_on_to_the_heir_of_an_heir_and_over_a_coordinators_death() {
    let mut bench = Bench::new();
    let (_dead, mut heir) = two(&mut bench);
    bench.pass(9_000);
    heir.step(&mut bench);
    bench.pass(1_000);
    let told = bench.beat(&heir.heartbeat()).unwrap();
    assert_eq!(told.fence, ["of-a"]);
    bench.read_back(bench.log.len());
    bench.pass(10_000);
    let last = Worker::joined(&mut bench, "c", &topology(0, 2));
    assert_eq!(last.running.active.len(), 2);
    assert_eq!(last.told.fence, ["of-a", "of-b"]);
}

#[test]
fn a_process_that_begins_anew_takes_its_own_place_at_once() {
    let mut bench = Bench::new();
    let (dead, mut other) = two(&mut bench);
    let mut again = Worker::new("a2", &topology(0, 2));
    again.transactional_id = dead.transactional_id.clone();
    again.step(&mut bench);
    assert_eq!(again.running.active, dead.running.active);
    assert!(again.told.fence.is_empty(), "it ended its own transaction before it joined");
    assert_eq!(bench.beat(&dead.heartbeat()), Err(ErrorCode::FencedInstanceId), "it lives, and is to end");
    other.step(&mut bench);
    assert_eq!(other.running.active.len(), 1, "who is not concerned goes on");
}

#[test]
fn without_transactions_a_process_takes_the_place_of_the_one_of_its_name() {
    let mut bench = Bench::new();
    let plain = |worker: &Worker| StreamsHeartbeat { transactional_id: None, ..worker.heartbeat() };
    let mut dead = Worker::new("a", &topology(0, 2));
    let answer = bench.beat(&plain(&dead)).unwrap();
    dead.follow(answer);
    let other =
        StreamsHeartbeat { instance: "other".to_owned(), ..plain(&Worker::new("b", &topology(0, 2))) };
    bench.beat(&other).unwrap();
    assert!(bench.is_member(&dead), "another name takes nobody's place");
    let again = Worker::new("a2", &topology(0, 2));
    let answer = bench.beat(&plain(&again)).unwrap();
    assert!(!answer.tasks.active.is_empty(), "at once");
    assert_eq!(bench.beat(&plain(&dead)), Err(ErrorCode::FencedInstanceId));
}

#[test]
fn nobody_else_ends_what_a_process_that_came_back_has_ended() {
    let mut bench = Bench::new();
    let (dead, mut heir) = two(&mut bench);
    bench.pass(9_000);
    heir.step(&mut bench);
    bench.pass(1_000);
    let mut again = Worker::new("a2", &topology(0, 2));
    again.transactional_id = dead.transactional_id;
    again.step(&mut bench);
    heir.step(&mut bench);
    assert!(heir.told.fence.is_empty() && again.told.fence.is_empty());
}
