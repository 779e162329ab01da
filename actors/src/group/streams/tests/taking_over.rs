//! A member or a coordinator dies, and another takes over.

use super::*;
use crate::group::fakes::joining;
use crate::group::modern::Sender;

fn with_standbys() -> StreamsTopology {
    let terms = StreamsTerms { standbys: 1, ..StreamsTerms::default() };
    StreamsTopology { terms, ..topology(4, 0) }
}

#[test]
fn a_stand_by_takes_over_when_its_active_one_dies() {
    let mut bench = Bench::new();
    let (mut a, mut b) = (Worker::new("a", &with_standbys()), Worker::new("b", &with_standbys()));
    settle(&mut bench, &mut [&mut a, &mut b]);
    assert_eq!(b.running.standby, a.running.active);
    bench.pass(9_000);
    b.step(&mut bench);
    bench.pass(1_000);
    b.step(&mut bench);
    assert_eq!(b.running.active.len(), 4, "at once, and without a warm-up");
    assert_eq!(b.told.fence, ["of-a"]);
}

#[test]
fn who_takes_over_coordinates_on_as_if_nothing_had_been() {
    let mut bench = Bench::new();
    let (mut a, mut b) = (Worker::new("a", &with_standbys()), Worker::new("b", &with_standbys()));
    settle(&mut bench, &mut [&mut a, &mut b]);
    let (group, written) = (bench.group.group().clone(), bench.log.len());
    bench.read_back(written);
    let with_times = bench.group.group().streams.clone();
    assert_eq!(with_times.currents, group.streams.currents);
    assert_eq!(bench.log.len(), written, "nothing was to be made up for");
    settle(&mut bench, &mut [&mut a, &mut b]);
    assert_eq!(bench.log.len(), written, "and nothing moves");
}

#[test]
fn wherever_the_log_ends_the_group_goes_on() {
    let mut bench = Bench::new();
    let mut a = Worker::joined(&mut bench, "a", &with_standbys());
    let mut b = Worker::joined(&mut bench, "b", &with_standbys());
    settle(&mut bench, &mut [&mut a, &mut b]);
    bench.pass(9_000);
    b.step(&mut bench);
    bench.pass(1_000);
    b.step(&mut bench);
    for records in 0..bench.log.len() {
        let mut cut = Bench { log: bench.log.clone(), now_ms: bench.now_ms, ..Bench::new() };
        cut.read_back(records);
        let mut c = Worker::joined(&mut cut, "c", &with_standbys());
        cut.pass(9_999);
        c.step(&mut cut);
        cut.pass(1);
        settle(&mut cut, &mut [&mut c]);
        assert_eq!(c.running.active.len(), 4, "cut behind {records}");
    }
}

#[test]
fn members_of_two_types_are_not_in_one_group() {
    let mut bench = Bench::new();
    let mut worker = Worker::joined(&mut bench, "a", &topology(1, 0));
    let consumer = joining("app", "c", &["t"]);
    let join = |bench: &mut Bench| {
        let sender = Sender { host: "h", rights: None };
        bench.decide(|group, around| group.heartbeat(around, sender, &consumer))
    };
    assert_eq!(join(&mut bench).map(|_| ()), Err(ErrorCode::GroupIdNotFound));
    worker.step(&mut bench);
    let mut bench = Bench::new();
    join(&mut bench).unwrap();
    let refused = Worker::new("a", &topology(1, 0)).heartbeat();
    assert_eq!(bench.beat(&refused), Err(ErrorCode::GroupIdNotFound));
}
