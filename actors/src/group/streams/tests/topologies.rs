//! What the application consists of changes.

use super::*;

#[test]
fn another_topology_in_the_same_epoch_and_an_older_one_are_refused() {
    let mut bench = Bench::new();
    let newer = StreamsTopology { epoch: 2, ..topology(1, 0) };
    Worker::joined(&mut bench, "a", &newer);
    let other = StreamsTopology { fingerprint: 8, ..newer.clone() };
    assert_eq!(bench.beat(&Worker::new("b", &other).heartbeat()), Err(ErrorCode::InvalidRequest));
    let older = StreamsTopology { epoch: 1, ..newer };
    assert_eq!(bench.beat(&Worker::new("b", &older).heartbeat()), Err(ErrorCode::InvalidRequest));
}

#[test]
fn tasks_are_those_of_the_newest_topology_and_go_to_members_that_know_it() {
    let mut bench = Bench::new();
    let mut old = Worker::joined(&mut bench, "a", &topology(2, 0));
    let newer = StreamsTopology { epoch: 2, fingerprint: 9, ..topology(0, 3) };
    let mut new = Worker::joined(&mut bench, "b", &newer);
    settle(&mut bench, &mut [&mut old, &mut new]);
    assert!(old.running.is_empty());
    assert_eq!(new.running.active.len(), 3);
}

#[test]
fn an_application_that_does_not_run_takes_any_topology() {
    let mut bench = Bench::new();
    let mut worker = Worker::joined(&mut bench, "a", &StreamsTopology { epoch: 5, ..topology(1, 0) });
    worker.epoch = -1;
    bench.beat(&worker.heartbeat()).unwrap();
    assert_eq!(Worker::joined(&mut bench, "b", &topology(2, 0)).running.active.len(), 2);
}

#[test]
fn topics_grow_and_terms_change_within_an_epoch() {
    let mut bench = Bench::new();
    let mut worker = Worker::joined(&mut bench, "a", &topology(1, 0));
    let mut grown = StreamsTopology { ..topology(3, 0) };
    grown.terms.standbys = 2;
    let heartbeat = StreamsHeartbeat { topology: Some(grown.clone()), ..worker.heartbeat() };
    let answer = bench.beat(&heartbeat).unwrap();
    worker.follow(answer);
    assert_eq!(worker.running.active.len(), 3);
    assert_eq!(bench.describe().topology, Some(grown));
}

#[test]
fn heartbeats_that_no_member_sends_are_refused() {
    let mut bench = Bench::new();
    let good = Worker::new("a", &topology(1, 0)).heartbeat();
    let refused = |change: &dyn Fn(&mut StreamsHeartbeat)| {
        let mut bad = good.clone();
        change(&mut bad);
        Bench::new().beat(&bad).unwrap_err()
    };
    let invalid = ErrorCode::InvalidRequest;
    assert_eq!(refused(&|beat| beat.member.clear()), invalid);
    assert_eq!(refused(&|beat| beat.topology = None), invalid);
    assert_eq!(refused(&|beat| beat.epoch = -2), invalid);
    assert_eq!(refused(&|beat| beat.transactional_id = Some(String::new())), invalid);
    assert_eq!(refused(&|beat| beat.topology = Some(topology(10_001, 0))), invalid);
    assert_eq!(refused(&|beat| beat.running.as_mut().unwrap().active = [task(0, 0)].into()), invalid);
    let twice = |beat: &mut StreamsHeartbeat| {
        let topology = beat.topology.as_mut().unwrap();
        topology.parts.extend(topology.parts.clone());
    };
    assert_eq!(refused(&twice), invalid);
    assert_eq!(refused(&|beat| beat.epoch = 5), ErrorCode::UnknownMemberId);
    bench.beat(&good).unwrap();
    let ahead = StreamsHeartbeat { epoch: 99, topology: None, ..good };
    assert_eq!(bench.beat(&ahead), Err(ErrorCode::FencedMemberEpoch));
}
