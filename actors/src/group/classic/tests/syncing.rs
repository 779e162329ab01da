use super::*;

type Mistake<'a> = &'a dyn Fn(&mut SyncGroup);

fn completing(bench: &mut Bench) -> Vec<Arc<str>> {
    let joins = [bench.join_with_id(joining()), bench.join_with_id(joining())];
    bench.wait(6_000);
    assert_eq!(bench.state(), ClassicState::CompletingRebalance);
    joins.into_iter().map(|(id, _)| id).collect()
}

#[test]
fn the_assignment_is_told_when_it_is_committed() {
    let mut bench = Bench::new();
    let ids = completing(&mut bench);
    let follower = bench.sync(syncing(&ids[1], 1));
    assert!(bench.waits(follower), "the leader has not assigned");
    let leader = bench.sync(assigning(&ids[0], 1, &ids[0], &ids));
    assert!(bench.waits(leader) && bench.waits(follower), "it is not committed");
    assert_eq!(bench.state(), ClassicState::CompletingRebalance);
    bench.commit();
    assert_eq!(bench.assigned(leader), share(&ids[0], 1));
    assert_eq!(bench.assigned(follower), share(&ids[1], 1));
    let told = bench.synced(leader).unwrap();
    assert_eq!((told.protocol_type.as_deref(), told.protocol.as_deref()), (Some(CONSUMER), Some("range")));
    assert_eq!(bench.state(), ClassicState::Stable);
}

#[test]
fn who_syncs_after_the_leader_is_told_at_once() {
    let mut bench = Bench::new();
    let ids = completing(&mut bench);
    bench.sync(assigning(&ids[0], 1, &ids[0], &ids));
    bench.commit();
    for _ in 0..2 {
        let late = bench.sync(syncing(&ids[1], 1));
        assert_eq!(bench.assigned(late), share(&ids[1], 1));
    }
}

#[test]
fn the_record_tells_the_whole_group() {
    let mut bench = Bench::new();
    let ids = completing(&mut bench);
    bench.sync(assigning(&ids[0], 1, &ids[0], &ids));
    bench.commit();
    let log = bench.log.clone().unwrap();
    assert_eq!((&*log.protocol_type, log.generation), (CONSUMER, 1));
    assert_eq!((log.protocol.as_deref(), log.leader.as_deref()), (Some("range"), Some(&*ids[0])));
    assert_eq!(log.state_since_ms, Some(1_006_000));
    let expected = ClassicMember {
        member: ids[1].clone(),
        instance: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: 60_000,
        session_timeout_ms: 10_000,
        subscription: "t".into(),
        assignment: share(&ids[1], 1),
    };
    assert_eq!(log.members[1], expected);
}

#[test]
fn members_the_leader_forgot_get_nothing_and_strangers_are_not_written() {
    let mut bench = Bench::new();
    let ids = completing(&mut bench);
    let follower = bench.sync(syncing(&ids[1], 1));
    bench.sync(assigning(&ids[0], 1, &ids[0], &[ids[0].clone(), "stranger".into()]));
    bench.commit();
    assert_eq!(bench.assigned(follower), "");
    assert_eq!(bench.log.as_ref().unwrap().members.len(), 2);
    assert!(bench.told(|notice| *notice == Notice::Unassigned { generation: 1, members: 1 }));
}

#[test]
fn what_followers_say_of_assignments_is_not_heard() {
    let mut bench = Bench::new();
    let ids = completing(&mut bench);
    bench.sync(assigning(&ids[1], 1, &ids[1], &ids));
    assert!(bench.under_way.is_empty());
}

#[test]
fn an_assignment_that_cannot_be_written_is_refused_to_all_and_they_join_again() {
    let cases = [
        (ErrorCode::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::NotEnoughReplicasAfterAppend, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::UnknownTopicOrPartition, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::RequestTimedOut, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::NotLeaderOrFollower, ErrorCode::NotCoordinator),
        (ErrorCode::KafkaStorageError, ErrorCode::NotCoordinator),
        (ErrorCode::FencedLeaderEpoch, ErrorCode::NotCoordinator),
        (ErrorCode::MessageTooLarge, ErrorCode::UnknownServerError),
    ];
    for (of_log, told) in cases {
        let mut bench = Bench::new();
        let ids = completing(&mut bench);
        let syncs = bench.sync_all(&ids[0], &ids);
        bench.fail(of_log);
        assert!(syncs.iter().all(|ticket| bench.synced(*ticket) == Err(told)));
        assert_eq!(bench.state(), ClassicState::PreparingRebalance);
        assert!(bench.rebalanced_for(Cause::WriteFailed));
        let joins = [bench.join(rejoining(&ids[0])), bench.join(rejoining(&ids[1]))];
        assert!(joins.iter().all(|ticket| bench.joined(*ticket).1.generation == 2));
    }
}

#[test]
fn an_assignment_committed_after_the_group_went_on_is_told_to_nobody() {
    for is_committed in [true, false] {
        let mut bench = Bench::new();
        let ids = completing(&mut bench);
        let syncs = bench.sync_all(&ids[0], &ids);
        bench.join_with_id(joining());
        let heard = |bench: &Bench| syncs.iter().map(|each| bench.synced(*each)).collect::<Vec<_>>();
        assert_eq!(heard(&bench), vec![Err(ErrorCode::RebalanceInProgress); 2]);
        if is_committed {
            bench.commit()
        } else {
            bench.fail(ErrorCode::RequestTimedOut)
        }
        assert_eq!(bench.state(), ClassicState::PreparingRebalance);
        bench.join(rejoining(&ids[0]));
        bench.join(rejoining(&ids[1]));
        assert_eq!((bench.state(), bench.group.generation()), (ClassicState::CompletingRebalance, 2));
    }
}

#[test]
fn a_leader_that_syncs_again_waits_for_what_it_said_first() {
    let mut bench = Bench::new();
    let ids = completing(&mut bench);
    let first = bench.sync(assigning(&ids[0], 1, &ids[0], &ids));
    let second = bench.sync(assigning(&ids[0], 1, &ids[0], &[]));
    assert_eq!(bench.synced(first).unwrap_err(), ErrorCode::RebalanceInProgress);
    assert_eq!(bench.under_way.len(), 1, "a generation is assigned once");
    bench.commit();
    assert_eq!(bench.assigned(second), share(&ids[0], 1));
}

#[test]
fn mistakes_of_syncs_have_their_errors() {
    let cases: [(Mistake<'_>, ErrorCode); 8] = [
        (&|sync| sync.member = "nobody".into(), ErrorCode::UnknownMemberId),
        (&|sync| sync.instance = Some("i".into()), ErrorCode::UnknownMemberId),
        (&|sync| sync.generation = 0, ErrorCode::IllegalGeneration),
        (&|sync| sync.generation = 2, ErrorCode::IllegalGeneration),
        (&|sync| sync.protocol_type = Some("connect".into()), ErrorCode::InconsistentGroupProtocol),
        (&|sync| sync.protocol = Some("sticky".into()), ErrorCode::InconsistentGroupProtocol),
        (&|sync| (sync.generation, sync.protocol) = (2, Some("sticky".into())), ErrorCode::IllegalGeneration),
        (&|sync| (sync.member, sync.generation) = ("nobody".into(), 2), ErrorCode::UnknownMemberId),
    ];
    for (mistake, expected) in cases {
        let mut bench = Bench::new();
        let ids = completing(&mut bench);
        let mut request = syncing(&ids[1], 1);
        mistake(&mut request);
        let refused = bench.sync(request);
        assert_eq!(bench.synced(refused), Err(expected));
    }
    let mut bench = Bench::new();
    let refused = bench.sync(syncing("nobody", 0));
    assert_eq!(bench.synced(refused), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_sync_that_names_the_groups_protocols_is_taken() {
    let mut bench = Bench::new();
    let ids = completing(&mut bench);
    let named = SyncGroup {
        protocol_type: Some(CONSUMER.into()),
        protocol: Some("range".into()),
        ..syncing(&ids[1], 1)
    };
    let taken = bench.sync(named);
    assert!(bench.waits(taken));
}

#[test]
fn who_does_not_sync_within_the_rebalance_timeout_is_out() {
    for leader_syncs in [true, false] {
        let mut bench = Bench::new();
        let ids = completing(&mut bench);
        let (silent, synced) = if leader_syncs { (&ids[1], &ids[0]) } else { (&ids[0], &ids[1]) };
        let sync = bench.sync(assigning(synced, 1, &ids[0], &ids));
        bench.commit();
        for _ in 0..59 {
            bench.wait(1_000);
            assert_eq!((bench.beat(&ids[0], 1), bench.beat(&ids[1], 1)), (Ok(()), Ok(())));
        }
        bench.wait(1_000);
        assert_eq!(bench.beat(silent, 1), Err(ErrorCode::UnknownMemberId));
        assert_eq!(bench.beat(synced, 1), Err(ErrorCode::RebalanceInProgress));
        assert_eq!(bench.synced(sync).is_ok(), leader_syncs, "without the leader there is no assignment");
        assert!(bench.rebalanced_for(Cause::SyncTimeout));
        let again = bench.join(rejoining(synced));
        let (_, joined) = bench.joined(again);
        assert_eq!((joined.generation, &joined.leader), (2, synced));
    }
}

#[test]
fn a_group_of_which_nobody_syncs_is_empty() {
    let mut bench = Bench::new();
    let ids = completing(&mut bench);
    for _ in 0..60 {
        bench.wait(1_000);
        for id in &ids {
            let _ = bench.beat(id, 1);
        }
    }
    assert_eq!((bench.state(), bench.group.generation()), (ClassicState::Empty, 2));
    bench.commit();
    assert_eq!(bench.log.as_ref().unwrap().members, []);
}
