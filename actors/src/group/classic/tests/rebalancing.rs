use super::*;

#[test]
fn a_new_member_makes_all_join_again() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let (new, joined) = bench.join_with_id(joining());
    assert_eq!(bench.state(), ClassicState::PreparingRebalance);
    assert!(bench.rebalanced_for(Cause::Joined));
    assert_eq!(bench.beat(&ids[0], 1), Err(ErrorCode::RebalanceInProgress));
    let one = bench.join(rejoining(&ids[0]));
    assert!(bench.waits(one) && bench.waits(joined));
    let two = bench.join(rejoining(&ids[1]));
    for ticket in [joined, one, two] {
        assert_eq!(bench.joined(ticket).1.generation, 2);
    }
    assert_eq!(bench.joined(one).1.members.len(), 3);
    assert_eq!(bench.beat(&new, 2), Ok(()));
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let (_, joined) = bench.join_with_id(joining());
    let one = bench.join(rejoining(&ids[0]));
    for _ in 0..12 {
        bench.wait(4_999);
        assert_eq!(
            bench.beat(&ids[1], 1),
            Err(ErrorCode::RebalanceInProgress),
            "it lives, but does not join"
        );
    }
    assert!(bench.waits(one));
    bench.wait(60_000 - 12 * 4_999);
    assert_eq!(bench.joined(one).1.generation, 2);
    assert_eq!(bench.joined(joined).1.generation, 2);
    assert_eq!(bench.beat(&ids[1], 1), Err(ErrorCode::UnknownMemberId));
    assert!(bench.told(|notice| matches!(notice, Notice::Left { how: Leaving::RebalanceTimeout, .. })));
}

#[test]
fn the_longest_rebalance_timeout_of_a_member_counts() {
    let mut bench = Bench::new();
    let slow = JoinGroup { rebalance_timeout_ms: 300_000, session_timeout_ms: 600_000, ..joining() };
    let (slow, _) = bench.join_with_id(slow);
    bench.wait(3_000);
    bench.sync_all(&slow, std::slice::from_ref(&slow));
    bench.commit();
    let joined = bench.join(JoinGroup { version: 0, session_timeout_ms: 20_000, ..joining() });
    bench.wait(299_999);
    assert!(bench.waits(joined));
    bench.wait(1);
    assert_eq!(bench.joined(joined).1.leader, bench.joined(joined).0, "the leader that did not join is out");
}

#[test]
fn the_leader_that_joins_again_wants_to_assign_anew() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let again = bench.join(rejoining(&ids[0]));
    assert!(bench.waits(again));
    assert!(bench.rebalanced_for(Cause::LeaderRejoined));
    assert_eq!(bench.state(), ClassicState::PreparingRebalance);
}

#[test]
fn a_single_leader_that_joins_again_is_in_the_next_generation_at_once() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    let again = bench.join(rejoining(&ids[0]));
    assert_eq!(bench.joined(again).1.generation, 2);
}

#[test]
fn a_member_that_says_something_else_makes_all_join_again() {
    let changed = |id: &str| JoinGroup { protocols: vec![speaks("range", "t,u")], ..rejoining(id) };
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    bench.join(changed(&ids[1]));
    assert!(bench.rebalanced_for(Cause::MetadataChanged));
    let leader = bench.join(rejoining(&ids[0]));
    let told = bench.joined(leader).1;
    assert_eq!(told.members[1].metadata, "t,u");

    let follower = bench.sync(syncing(&ids[1], 2));
    bench.join(rejoining(&ids[1]));
    assert_eq!(bench.synced(follower).unwrap_err(), ErrorCode::RebalanceInProgress);
    assert_eq!(bench.state(), ClassicState::PreparingRebalance);
}

#[test]
fn a_member_cannot_change_to_what_others_do_not_speak() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let refused = bench.join(JoinGroup { protocols: vec![speaks("mine", "t")], ..rejoining(&ids[1]) });
    assert_eq!(bench.join_error(refused), (ids[1].clone(), ErrorCode::InconsistentGroupProtocol));
    assert_eq!(bench.state(), ClassicState::Stable);
}

#[test]
fn a_join_while_the_assignment_is_awaited_begins_again() {
    let mut bench = Bench::new();
    let (first, _) = bench.join_with_id(joining());
    let (second, _) = bench.join_with_id(joining());
    bench.wait(6_000);
    let follower = bench.sync(syncing(&second, 1));
    bench.join_with_id(joining());
    assert_eq!(bench.synced(follower).unwrap_err(), ErrorCode::RebalanceInProgress);
    assert_eq!(bench.beat(&first, 1), Err(ErrorCode::RebalanceInProgress));
    let late = bench.sync(syncing(&first, 1));
    assert_eq!(bench.synced(late).unwrap_err(), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_leader_that_does_not_join_again_is_succeeded_by_one_that_did() {
    let mut bench = Bench::new();
    let ids = bench.stable(3);
    bench.join(rejoining(&ids[0]));
    bench.leave(&[(&ids[0], None)]);
    let one = bench.join(rejoining(&ids[2]));
    let two = bench.join(rejoining(&ids[1]));
    let (one, two) = (bench.joined(one).1, bench.joined(two).1);
    assert_eq!(one.leader, two.leader);
    assert_eq!(one.members.len() + two.members.len(), 2, "one of them is told of both");
}

#[test]
fn generations_only_grow() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    for generation in 2..10 {
        let again = bench.join(rejoining(&ids[0]));
        assert_eq!(bench.joined(again).1.generation, generation);
        bench.sync_all(&ids[0], &ids);
        bench.commit();
    }
    bench.leave(&[(&ids[0], None)]);
    bench.commit();
    assert_eq!((bench.group.generation(), bench.state()), (10, ClassicState::Empty));
    let (_, joined) = bench.join_with_id(joining());
    bench.wait(3_000);
    assert_eq!(bench.joined(joined).1.generation, 11);
}
