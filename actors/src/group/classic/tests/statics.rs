use super::*;

fn rejoining_as(member: &str, instance: &str) -> JoinGroup {
    JoinGroup { instance: Some(instance.into()), ..rejoining(member) }
}

#[test]
fn a_static_member_that_comes_back_keeps_its_assignment_without_a_rebalance() {
    let mut bench = Bench::new();
    let ids = bench.stable_statics(2);
    let back = bench.join(joining_as("i1"));
    assert!(bench.waits(back), "the new id is not written");
    bench.commit();
    let (new, joined) = bench.joined(back);
    assert_ne!(new, ids[1]);
    assert_eq!((joined.generation, &joined.leader, joined.skip_assignment), (1, &ids[0], false));
    assert_eq!(bench.state(), ClassicState::Stable);
    let sync = bench.sync(SyncGroup { instance: Some("i1".into()), ..syncing(&new, 1) });
    assert_eq!(bench.assigned(sync), share(&ids[1], 1));
    assert_eq!(bench.log.as_ref().unwrap().members[1].member, new);
    assert_eq!(bench.log.as_ref().unwrap().members[1].assignment, share(&ids[1], 1));
}

#[test]
fn the_process_that_was_replaced_is_fenced() {
    let mut bench = Bench::new();
    let ids = bench.stable_statics(2);
    bench.join(joining_as("i1"));
    bench.commit();
    assert_eq!(bench.beat_as(&ids[1], 1, Some("i1")), Err(ErrorCode::FencedInstanceId));
    assert_eq!(bench.beat_as(&ids[1], 9, Some("i1")), Err(ErrorCode::FencedInstanceId), "before all else");
    assert_eq!(bench.beat(&ids[1], 1), Err(ErrorCode::UnknownMemberId));
    let sync = bench.sync(SyncGroup { instance: Some("i1".into()), ..syncing(&ids[1], 1) });
    assert_eq!(bench.synced(sync), Err(ErrorCode::FencedInstanceId));
    let join = bench.join(rejoining_as(&ids[1], "i1"));
    assert_eq!(bench.join_error(join), (ids[1].clone(), ErrorCode::FencedInstanceId));
    let leave = bench.leave(&[(&ids[1], Some("i1"))]);
    assert_eq!(bench.left(leave), [Err(ErrorCode::FencedInstanceId)]);
}

#[test]
fn a_leader_that_comes_back_leads_and_has_nothing_to_assign() {
    let mut bench = Bench::new();
    bench.stable_statics(2);
    let back = bench.join(joining_as("i0"));
    bench.commit();
    let (new, joined) = bench.joined(back);
    assert_eq!((&joined.leader, joined.skip_assignment, joined.members.len()), (&new, true, 2));
    let again = bench.join(rejoining_as(&new, "i0"));
    assert!(bench.waits(again), "it can ask for a rebalance");
    assert!(bench.rebalanced_for(Cause::LeaderRejoined));
}

#[test]
fn a_leader_of_an_old_version_that_comes_back_is_not_told_that_it_leads() {
    let mut bench = Bench::new();
    let ids = bench.stable_statics(2);
    let back = bench.join(JoinGroup { version: 8, ..joining_as("i0") });
    bench.commit();
    let (_, joined) = bench.joined(back);
    assert_eq!((&joined.leader, joined.skip_assignment, joined.members.len()), (&ids[0], false, 0));
}

#[test]
fn a_static_member_that_subscribes_to_something_else_waits_for_the_next_generation() {
    let mut bench = Bench::new();
    bench.stable_statics(2);
    let protocols = vec![speaks("range", "t,u"), speaks("sticky", "t,u")];
    let back = bench.join(JoinGroup { protocols, ..joining_as("i1") });
    bench.commit();
    assert_eq!((bench.joined(back).1.generation, bench.state()), (1, ClassicState::Stable));
    assert_eq!(bench.log.as_ref().unwrap().members[1].subscription, "t,u");
    assert!(bench.group.is_subscribed_to("u"));
}

#[test]
fn a_static_member_that_changes_the_vote_makes_all_join_again() {
    let mut bench = Bench::new();
    bench.stable_statics(2);
    let back = bench.join(JoinGroup { protocols: vec![speaks("sticky", "t")], ..joining_as("i1") });
    assert!(bench.waits(back) && bench.under_way.is_empty());
    assert!(bench.rebalanced_for(Cause::Replaced));
}

#[test]
fn a_static_member_that_comes_back_while_the_assignment_is_awaited_makes_all_join_again() {
    let mut bench = Bench::new();
    let joins = [bench.join(joining_as("i0")), bench.join(joining_as("i1"))];
    bench.wait(6_000);
    let ids = joins.map(|ticket| bench.joined(ticket).0);
    let old = bench.sync(syncing(&ids[1], 1));
    let back = bench.join(joining_as("i1"));
    assert_eq!(bench.synced(old), Err(ErrorCode::FencedInstanceId));
    assert!(bench.waits(back) && bench.rebalanced_for(Cause::Replaced));
    let leader = bench.join(rejoining_as(&ids[0], "i0"));
    assert_eq!((bench.joined(back).1.generation, bench.joined(leader).1.generation), (2, 2));
}

#[test]
fn a_static_member_that_comes_back_while_its_join_waits_is_waited_for_no_longer_under_its_old_id() {
    let mut bench = Bench::new();
    let ids = bench.stable_statics(2);
    bench.join_with_id(joining());
    let old = bench.join(rejoining_as(&ids[1], "i1"));
    let back = bench.join(joining_as("i1"));
    assert_eq!(bench.join_error(old), (ids[1].clone(), ErrorCode::FencedInstanceId));
    let leader = bench.join(rejoining_as(&ids[0], "i0"));
    assert_eq!(bench.joined(leader).1.members.len(), 3);
    assert_eq!(bench.joined(back).1.generation, 2);
}

#[test]
fn a_new_id_that_cannot_be_written_is_refused_and_the_old_one_holds() {
    let mut bench = Bench::new();
    let ids = bench.stable_statics(2);
    for (instance, version) in [("i0", 9), ("i1", 9), ("i0", 5)] {
        let protocols = vec![speaks("range", "x"), speaks("sticky", "x")];
        let back = bench.join(JoinGroup { version, protocols, ..joining_as(instance) });
        bench.fail(ErrorCode::NotEnoughReplicas);
        assert_eq!(bench.join_error(back), ("".into(), ErrorCode::CoordinatorNotAvailable));
        assert_eq!(bench.state(), ClassicState::Stable);
    }
    for (id, instance) in ids.iter().zip(["i0", "i1"]) {
        assert_eq!(bench.beat_as(id, 1, Some(instance)), Ok(()));
    }
    assert!(!bench.group.is_subscribed_to("x"));
    bench.join(rejoining_as(&ids[0], "i0"));
    assert!(bench.rebalanced_for(Cause::LeaderRejoined));
}

#[test]
fn a_new_id_under_way_takes_part_in_a_rebalance_that_begins_meanwhile() {
    for is_committed in [true, false] {
        let mut bench = Bench::new();
        let ids = bench.stable_statics(2);
        let back = bench.join(joining_as("i1"));
        bench.join(rejoining_as(&ids[0], "i0"));
        let (_, joined) = bench.joined(back);
        assert_eq!(joined.generation, 2, "its join is one of the next generation");
        if is_committed {
            bench.commit()
        } else {
            bench.fail(ErrorCode::RequestTimedOut)
        }
        assert_eq!((bench.state(), bench.group.generation()), (ClassicState::CompletingRebalance, 2));
    }
}

#[test]
fn of_two_processes_with_one_instance_the_later_one_stays() {
    let mut bench = Bench::new();
    bench.stable_statics(2);
    let first = bench.join(joining_as("i1"));
    let second = bench.join(joining_as("i1"));
    assert_eq!(bench.join_error(first).1, ErrorCode::FencedInstanceId);
    bench.commit();
    let (id, joined) = bench.joined(second);
    assert_eq!(joined.generation, 1);
    assert_eq!(bench.beat_as(&id, 1, Some("i1")), Ok(()));
}

#[test]
fn static_members_are_kept_when_they_do_not_join_again_until_their_session_ends() {
    let mut bench = Bench::new();
    let long = |request: JoinGroup| JoinGroup { session_timeout_ms: 100_000, ..request };
    let joins = ["i0", "i1"].map(|instance| bench.join(long(joining_as(instance))));
    bench.wait(6_000);
    let ids = joins.map(|ticket| bench.joined(ticket).0);
    bench.sync_all(&ids[0], &ids);
    bench.commit();
    let (new, joined) = bench.join_with_id(long(joining()));
    bench.wait(60_000);
    let told = bench.joined(joined).1;
    assert_eq!((told.generation, &told.leader, told.members.len()), (2, &new, 3), "the leader did not join");
    bench.sync_all(&new, std::slice::from_ref(&new));
    bench.commit();
    for _ in 0..11 {
        bench.wait(5_000);
        assert_eq!(bench.beat(&new, 2), Ok(()));
    }
    bench.wait(5_000);
    assert_eq!(bench.beat(&new, 2), Err(ErrorCode::RebalanceInProgress), "they did not sync");
    assert_eq!(bench.beat_as(&ids[0], 2, Some("i0")), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn while_nobody_joins_again_kept_members_have_another_rebalance_timeout() {
    let mut bench = Bench::new();
    let long = |request: JoinGroup| JoinGroup { session_timeout_ms: 200_000, ..request };
    let joins = ["i0", "i1"].map(|instance| bench.join(long(joining_as(instance))));
    bench.wait(6_000);
    let ids = joins.map(|ticket| bench.joined(ticket).0);
    bench.sync_all(&ids[0], &ids);
    bench.commit();
    bench.leave(&[(&ids[1], Some("i1"))]);
    bench.wait(60_000);
    assert!(bench.told(|notice| *notice == Notice::Postponed { generation: 1 }));
    assert_eq!(bench.state(), ClassicState::PreparingRebalance);
    let back = bench.join(long(rejoining_as(&ids[0], "i0")));
    assert_eq!(bench.joined(back).1.generation, 2);
}

#[test]
fn an_unknown_instance_with_an_id_is_unknown() {
    let mut bench = Bench::new();
    let ids = bench.stable_statics(1);
    let refused = bench.join(rejoining_as(&ids[0], "other"));
    assert_eq!(bench.join_error(refused), (ids[0].clone(), ErrorCode::UnknownMemberId));
}

#[test]
fn a_static_member_that_has_not_synced_is_still_waited_for_under_its_new_id() {
    let mut bench = Bench::new();
    let joins = [bench.join(joining_as("i0")), bench.join(joining_as("i1"))];
    bench.wait(6_000);
    let ids = joins.map(|ticket| bench.joined(ticket).0);
    bench.sync(assigning(&ids[0], 1, &ids[0], &ids));
    bench.commit();
    let back = bench.join(joining_as("i1"));
    bench.commit();
    let (new, _) = bench.joined(back);
    bench.sync(syncing(&new, 1));
    for _ in 0..100 {
        bench.wait(5_000);
        assert_eq!((bench.beat(&ids[0], 1), bench.beat(&new, 1)), (Ok(()), Ok(())));
    }
}

#[test]
fn a_new_id_under_way_while_others_are_waited_for_waits_with_them_or_is_refused() {
    for is_committed in [true, false] {
        let mut bench = Bench::new();
        let ids = bench.stable_statics(3);
        let back = bench.join(joining_as("i1"));
        let leader = bench.join(rejoining_as(&ids[0], "i0"));
        if is_committed {
            bench.commit()
        } else {
            bench.fail(ErrorCode::RequestTimedOut)
        }
        assert_eq!(bench.state(), ClassicState::PreparingRebalance);
        assert_eq!(bench.waits(back), is_committed);
        bench.join(rejoining_as(&ids[2], "i2"));
        assert_eq!(bench.waits(leader), !is_committed, "the old id is waited for again");
        if is_committed {
            assert_eq!(bench.joined(back).1.generation, 2);
        }
    }
}

#[test]
fn an_instance_that_left_is_not_fenced_but_unknown() {
    let mut bench = Bench::new();
    let ids = bench.stable_statics(2);
    bench.leave(&[(&ids[1], Some("i1"))]);
    assert_eq!(bench.beat_as(&ids[0], 1, Some("i1")), Err(ErrorCode::UnknownMemberId));
}
