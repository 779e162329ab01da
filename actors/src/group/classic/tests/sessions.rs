use super::*;

#[test]
fn a_member_that_is_silent_for_a_session_is_out() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    bench.wait(9_999);
    assert_eq!(bench.beat(&ids[0], 1), Ok(()));
    bench.wait(1);
    assert_eq!(bench.beat(&ids[1], 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(bench.beat(&ids[0], 1), Err(ErrorCode::RebalanceInProgress));
    assert!(bench.rebalanced_for(Cause::SessionTimeout));
}

#[test]
fn the_last_member_that_is_silent_leaves_an_empty_group_that_is_written() {
    let mut bench = Bench::new();
    bench.stable(2);
    bench.wait(10_000);
    assert_eq!((bench.state(), bench.group.generation()), (ClassicState::Empty, 2));
    bench.commit();
    let log = bench.log.unwrap();
    assert_eq!((&*log.protocol_type, log.generation), (CONSUMER, 2));
    assert_eq!((log.protocol, log.leader, log.members.len()), (None, None, 0));
    assert_eq!(bench.group.wake_at(), None);
}

#[test]
fn mistakes_of_heartbeats_have_their_errors() {
    let mut bench = Bench::new();
    assert_eq!(bench.beat("nobody", 0), Err(ErrorCode::UnknownMemberId));
    let ids = bench.stable(1);
    assert_eq!(bench.beat("nobody", 2), Err(ErrorCode::UnknownMemberId));
    assert_eq!(bench.beat(&ids[0], 2), Err(ErrorCode::IllegalGeneration));
    assert_eq!(bench.beat(&ids[0], 0), Err(ErrorCode::IllegalGeneration));
    assert_eq!(bench.beat_as(&ids[0], 1, Some("i")), Err(ErrorCode::UnknownMemberId));
    bench.leave(&[(&ids[0], None)]);
    assert_eq!(bench.beat(&ids[0], 2), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn members_heartbeat_while_the_assignment_is_awaited() {
    let mut bench = Bench::new();
    let (id, _) = bench.join_with_id(joining());
    bench.wait(3_000);
    bench.wait(9_999);
    assert_eq!(bench.beat(&id, 1), Ok(()));
    bench.wait(9_999);
    assert_eq!(bench.beat(&id, 1), Ok(()));
    bench.wait(10_000);
    assert_eq!(bench.state(), ClassicState::Empty);
}

#[test]
fn who_waits_for_an_answer_lives_and_has_a_whole_session_after_it() {
    let mut bench = Bench::new();
    let slow = JoinGroup { session_timeout_ms: 1_000_000, rebalance_timeout_ms: 500_000, ..joining() };
    let (slow_id, _) = bench.join_with_id(slow.clone());
    let (id, _) = bench.join_with_id(joining());
    bench.wait(6_000);
    let ids = [slow_id.clone(), id.clone()];
    bench.sync_all(&slow_id, &ids);
    bench.commit();
    let again = bench.join(JoinGroup { protocols: vec![speaks("range", "u")], ..rejoining(&id) });
    bench.wait(400_000);
    assert!(bench.waits(again));
    bench.join(JoinGroup { member: slow_id.clone(), ..slow });
    assert_eq!(bench.joined(again).1.generation, 2);
    bench.wait(9_999);
    let sync = bench.sync(syncing(&id, 2));
    bench.wait(400_000);
    bench.sync(assigning(&slow_id, 2, &slow_id, &ids));
    bench.commit();
    assert!(bench.synced(sync).is_ok());
    bench.wait(9_999);
    assert_eq!(bench.beat(&id, 2), Ok(()));
}

#[test]
fn a_new_member_that_waits_for_minutes_is_told_to_come_again() {
    let mut bench = Bench::new();
    let slow = JoinGroup { session_timeout_ms: 1_000_000, rebalance_timeout_ms: 900_000, ..joining() };
    let (slow_id, _) = bench.join_with_id(slow.clone());
    bench.wait(3_000);
    bench.sync_all(&slow_id, std::slice::from_ref(&slow_id));
    bench.commit();
    let (_, new) = bench.join_with_id(joining());
    bench.wait(299_999);
    assert!(bench.waits(new));
    bench.wait(1);
    assert_eq!(bench.join_error(new), ("".into(), ErrorCode::UnknownMemberId));
    let again = bench.join(JoinGroup { member: slow_id, ..slow });
    assert_eq!(bench.joined(again).1.members.len(), 1);
}

#[test]
fn a_member_that_fails_while_others_wait_is_not_waited_for() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let again = bench.join(rejoining(&ids[0]));
    bench.wait(10_000);
    assert_eq!(bench.joined(again).1.members.len(), 1);
}

#[test]
fn heartbeats_do_not_wake_the_group() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    let (mut ticks, begin_ms) = (0, bench.now_ms);
    while bench.now_ms < begin_ms + 1_000_000 {
        bench.now_ms += 1_000;
        bench.beat(&ids[0], 1).unwrap();
        if bench.group.wake_at().is_some_and(|at_ms| at_ms <= bench.now_ms) {
            bench.decide(ClassicGroup::tick);
            ticks += 1;
        }
    }
    assert!(ticks <= 120, "{ticks} ticks in 1000 heartbeats");
}

#[test]
fn a_tick_that_comes_late_puts_out_first_whose_session_ended_before_the_rebalance() {
    let mut bench = Bench::new();
    let ids = bench.stable_statics(2);
    let (new, joined) = bench.join_with_id(joining());
    bench.join(JoinGroup { instance: Some("i0".into()), ..rejoining(&ids[0]) });
    bench.now_ms += 100_000;
    bench.decide(ClassicGroup::tick);
    assert_eq!(bench.joined(joined).1.generation, 2);
    assert_eq!(bench.beat(&ids[1], 2), Err(ErrorCode::UnknownMemberId));
    assert_eq!(bench.beat(&new, 2), Ok(()));
}
