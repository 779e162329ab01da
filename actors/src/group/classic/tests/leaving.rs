use super::*;

#[test]
fn who_leaves_makes_the_others_join_again_at_once() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let left = bench.leave(&[(&ids[1], None)]);
    assert_eq!(bench.left(left), [Ok(())]);
    assert_eq!(bench.beat(&ids[0], 1), Err(ErrorCode::RebalanceInProgress));
    assert!(bench.told(
        |notice| matches!(notice, Notice::Left { how: Leaving::Left, reason: Some(said), .. } if said == "done")
    ));
    let again = bench.join(rejoining(&ids[0]));
    assert_eq!(bench.joined(again).1.members.len(), 1);
}

#[test]
fn who_leaves_last_is_answered_when_it_is_written() {
    for is_committed in [true, false] {
        let mut bench = Bench::new();
        let ids = bench.stable(1);
        let left = bench.leave(&[(&ids[0], None)]);
        assert!(bench.waits(left));
        assert_eq!(bench.state(), ClassicState::Empty);
        if is_committed {
            bench.commit();
            assert_eq!(bench.left(left), [Ok(())]);
        } else {
            bench.fail(ErrorCode::NotLeaderOrFollower);
            let Some(Answer::Leave(Err(refusal))) = bench.answers.get(&left) else { panic!() };
            assert_eq!(refusal.code, ErrorCode::NotCoordinator);
            assert_eq!(bench.state(), ClassicState::Empty);
        }
    }
}

#[test]
fn members_leave_in_a_batch_each_with_its_own_error() {
    let mut bench = Bench::new();
    let ids = bench.stable_statics(3);
    let (dynamic, _) = bench.join_with_id(joining());
    let asked = bench.join(joining());
    let (promised, _) = bench.join_error(asked);
    let left = bench.leave(&[
        ("", Some("i0")),
        (&ids[1], Some("i1")),
        (&ids[0], Some("i2")),
        ("", Some("other")),
        (&dynamic, None),
        (&promised, None),
        ("nobody", None),
        ("", None),
        (&ids[1], Some("i1")),
        (&dynamic, Some("i2")),
    ]);
    let (unknown, fenced) = (Err(ErrorCode::UnknownMemberId), Err(ErrorCode::FencedInstanceId));
    let expected = [Ok(()), Ok(()), fenced, unknown, Ok(()), Ok(()), unknown, unknown, unknown, fenced];
    assert_eq!(bench.left(left), expected);
    let again = bench.join(JoinGroup { instance: Some("i2".into()), ..rejoining(&ids[2]) });
    assert_eq!(bench.joined(again).1.members.len(), 1);
}

#[test]
fn who_is_put_out_while_it_waits_is_told_so() {
    let mut bench = Bench::new();
    let ids = bench.stable_statics(3);
    let join = bench.join(JoinGroup { instance: Some("i0".into()), ..rejoining(&ids[0]) });
    bench.leave(&[("", Some("i0"))]);
    assert_eq!(bench.join_error(join), ("".into(), ErrorCode::UnknownMemberId));
    for (id, instance) in [(&ids[1], "i1"), (&ids[2], "i2")] {
        bench.join(JoinGroup { instance: Some(instance.into()), ..rejoining(id) });
    }
    assert_eq!(bench.state(), ClassicState::CompletingRebalance);
    let sync = bench.sync(syncing(&ids[2], 2));
    bench.leave(&[("", Some("i2"))]);
    assert_eq!(bench.synced(sync), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_leave_can_complete_a_rebalance() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let again = bench.join(rejoining(&ids[0]));
    assert!(bench.waits(again));
    bench.leave(&[(&ids[1], None)]);
    assert_eq!(bench.joined(again).1.generation, 2);
}

#[test]
fn a_promised_id_that_is_given_back_is_not_waited_for() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    let asked = bench.join(joining());
    let (promised, _) = bench.join_error(asked);
    let again = bench.join(rejoining(&ids[0]));
    assert!(bench.waits(again));
    bench.leave(&[(&promised, None)]);
    assert_eq!(bench.joined(again).1.generation, 2);

    let asked = bench.join(joining());
    let (promised, _) = bench.join_error(asked);
    bench.sync_all(&ids[0], &ids);
    bench.commit();
    bench.leave(&[(&promised, None)]);
    assert_eq!(bench.state(), ClassicState::Stable, "it was no member");
}

#[test]
fn nobody_leaves_a_group_that_there_is_not() {
    let mut bench = Bench::new();
    let left = bench.leave(&[("nobody", None), ("", Some("i"))]);
    assert_eq!(bench.left(left), [Err(ErrorCode::UnknownMemberId); 2]);
    assert!(bench.group.is_nothing() && bench.under_way.is_empty());
}

#[test]
fn a_group_that_all_left_before_its_first_generation_is_empty_again() {
    let mut bench = Bench::new();
    let (id, join) = bench.join_with_id(joining());
    bench.leave(&[(&id, None)]);
    assert_eq!(bench.join_error(join).1, ErrorCode::UnknownMemberId);
    bench.wait(3_000);
    assert_eq!((bench.state(), bench.group.generation()), (ClassicState::Empty, 1));
}
