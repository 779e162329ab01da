//! Who is out, who comes back as whom, and what the late ones hear.

use super::*;

#[test]
fn who_does_not_give_up_in_time_is_out_though_it_is_heard_of() {
    let mut bench = Bench::new(&[("t", 2)]);
    let all = bench.beat(&joining("g", "a", &["t"])).unwrap().assigned.unwrap();
    bench.beat(&joining("g", "b", &["t"])).unwrap();
    for _ in 0..10 {
        bench.beat(&with_owned(beating("g", "a", 1), all.clone())).unwrap();
        bench.beat(&beating("g", "b", 2)).unwrap();
        bench.wait(1_000);
    }
    assert_eq!(bench.beat(&beating("g", "a", 1)), Err(ErrorCode::UnknownMemberId));
    assert_eq!(bench.beat(&beating("g", "b", 2)).unwrap().assigned.unwrap().len(), 2);
}

#[test]
fn epochs_other_than_the_last_two_are_fenced() {
    let mut bench = Bench::new(&[("t", 2)]);
    let all = bench.beat(&joining("g", "a", &["t"])).unwrap().assigned.unwrap();
    bench.topics.set("t", 3);
    bench.decide(ConsumerGroup::topics_changed).unwrap();
    assert_eq!(bench.beat(&beating("g", "a", 2)), Err(ErrorCode::FencedMemberEpoch));
    assert_eq!(bench.beat(&beating("g", "a", 1)).unwrap().assigned.unwrap().len(), 3);
    let again = bench.beat(&with_owned(beating("g", "a", 1), all)).unwrap();
    assert_eq!((again.member_epoch, again.assigned.unwrap().len()), (2, 3), "the answer was lost");
    assert_eq!(
        bench.beat(&beating("g", "a", 1)),
        Err(ErrorCode::FencedMemberEpoch),
        "it does not say what it owns"
    );
    let foreign = bench.topics.partition("t", 2);
    let strange = PartitionId { index: 77, ..foreign };
    assert_eq!(
        bench.beat(&with_owned(beating("g", "a", 1), vec![strange])),
        Err(ErrorCode::FencedMemberEpoch)
    );
    assert_eq!(bench.beat(&beating("g", "z", 1)), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_static_member_that_left_finds_its_partitions_under_a_new_member_id() {
    let mut bench = Bench::new(&[("t", 2)]);
    let had = bench.beat(&static_joining("a", "one")).unwrap().assigned;
    assert_eq!(bench.beat(&static_joining("b", "one")), Err(ErrorCode::UnreleasedInstanceId));
    let away = GroupHeartbeat { instance: Some("one".to_owned()), ..beating("g", "a", AWAY_EPOCH) };
    assert_eq!(bench.beat(&away).unwrap().member_epoch, AWAY_EPOCH);
    let epoch = bench.machine.group().epoch;
    let back = bench.beat(&static_joining("b", "one")).unwrap();
    assert_eq!((back.member_epoch, &back.assigned), (epoch, &had));
    assert_eq!(bench.machine.group().epoch, epoch, "nobody else notices");
    let old = GroupHeartbeat { instance: Some("one".to_owned()), ..beating("g", "a", 1) };
    assert_eq!(bench.beat(&old), Err(ErrorCode::FencedInstanceId));
}

#[test]
fn a_static_member_that_stays_away_is_out_after_its_session() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.beat(&static_joining("a", "one")).unwrap();
    bench.beat(&joining("g", "b", &["t"])).unwrap();
    bench
        .beat(&GroupHeartbeat { instance: Some("one".to_owned()), ..beating("g", "a", AWAY_EPOCH) })
        .unwrap();
    bench.wait(5_000);
    assert_eq!(bench.beat(&beating("g", "b", 2)).unwrap().assigned.unwrap().len(), 1);
    bench.wait(1_000);
    assert_eq!(bench.beat(&beating("g", "b", 2)).unwrap().assigned.unwrap().len(), 2);
    assert_eq!(bench.beat(&static_joining("c", "one")).unwrap().assigned, Some(vec![]));
}
