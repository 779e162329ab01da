use super::*;

fn describe(bench: &Bench) -> ClassicDescription {
    bench.group.describe(false).unwrap()
}

#[test]
fn a_group_read_back_is_as_it_was() {
    let mut bench = Bench::new();
    let ids = bench.stable_statics(2);
    let before = describe(&bench);
    bench.wait(9_000);
    bench.read_back(bench.log.clone());
    assert_eq!(describe(&bench), before);
    assert_eq!((bench.state(), bench.group.generation()), (ClassicState::Stable, 1));
    bench.wait(9_999);
    assert_eq!(bench.beat_as(&ids[0], 1, Some("i0")), Ok(()), "its session began anew");
    bench.wait(1);
    assert_eq!(bench.beat(&ids[1], 1), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_group_read_back_speaks_only_the_protocol_it_voted_for() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    bench.read_back(bench.log.clone());
    let sync = bench.sync(syncing(&ids[1], 1));
    assert_eq!(bench.assigned(sync), share(&ids[1], 1));
    let same = bench.join(JoinGroup { protocols: vec![speaks("range", "t")], ..rejoining(&ids[1]) });
    assert_eq!(bench.joined(same).1.generation, 1);
    bench.join(rejoining(&ids[1]));
    assert!(bench.rebalanced_for(Cause::MetadataChanged), "what else it speaks was not written");
}

#[test]
fn old_records_are_read() {
    let member = ClassicMember {
        member: "m".into(),
        rebalance_timeout_ms: -1,
        session_timeout_ms: 7_000,
        ..ClassicMember::default()
    };
    let written = ClassicMetadata {
        protocol_type: "connect".into(),
        generation: 5,
        protocol: Some("default".into()),
        leader: Some("gone".into()),
        state_since_ms: None,
        members: vec![member],
    };
    let mut bench = Bench::new();
    bench.read_back(Some(written.clone()));
    assert_eq!((bench.state(), bench.beat("m", 5)), (ClassicState::Stable, Ok(())));
    let again = JoinGroup {
        protocol_type: "connect".into(),
        protocols: vec![speaks("default", "")],
        ..rejoining("m")
    };
    bench.join(again);
    assert!(bench.rebalanced_for(Cause::LeaderRejoined), "the leader is one of the members");

    bench.read_back(Some(ClassicMetadata { members: vec![], leader: None, protocol: None, ..written }));
    assert_eq!((bench.state(), bench.group.generation()), (ClassicState::Empty, 5));
    assert_eq!(bench.group.offsets_kept_from(), KeptFrom::Commit);
    assert!(!bench.group.is_nothing());
}

#[test]
fn who_waits_when_the_group_goes_elsewhere_is_told_so() {
    let mut bench = Bench::new();
    let ids = bench.stable_statics(2);
    let back = bench.join(joining_as("i1"));
    bench.decide(ClassicGroup::unload);
    assert_eq!(bench.join_error(back).1, ErrorCode::NotCoordinator);
    bench.commit();

    let mut other = Bench::new();
    let (id, join) = other.join_with_id(joining());
    other.decide(ClassicGroup::unload);
    assert_eq!(other.join_error(join), (id, ErrorCode::NotCoordinator));

    let mut other = Bench::new();
    let (id, _) = other.join_with_id(joining());
    other.wait(3_000);
    let sync = other.sync(assigning(&id, 1, &id, &[]));
    other.decide(ClassicGroup::unload);
    assert_eq!(other.synced(sync), Err(ErrorCode::NotCoordinator));

    let mut other = Bench::new();
    let last = other.stable(1);
    let left = other.leave(&[(&last[0], None)]);
    other.decide(ClassicGroup::unload);
    assert!(matches!(other.answers.get(&left), Some(Answer::Leave(Err(_)))));

    let dead = ErrorCode::CoordinatorNotAvailable;
    let (join, sync) = (bench.join(joining()), bench.sync(syncing(&ids[0], 1)));
    assert_eq!((bench.join_error(join).1, bench.synced(sync)), (dead, Err(dead)));
    assert_eq!(bench.beat(&ids[0], 1), Err(dead));
    let left = bench.leave(&[(&ids[0], None)]);
    assert!(matches!(bench.answers.get(&left), Some(Answer::Leave(Err(refusal))) if refusal.code == dead));
    let committer = Committer { version: 9, member: "".into(), generation: -1, instance: None };
    let refused = bench.around(|group, around| group.check_commit(around, &committer, true)).unwrap_err();
    assert_eq!(refused.code, dead);
    assert_eq!(bench.group.check_offsets_delete(true).unwrap_err().code, ErrorCode::GroupIdNotFound);
    assert_eq!(bench.group.check_delete(true).unwrap_err().code, ErrorCode::GroupIdNotFound);
    assert_eq!(describe(&bench).state, "Dead");
}

#[test]
fn only_a_group_without_members_is_deleted() {
    let delete = |bench: &mut Bench| {
        let ticket = bench.ticket();
        bench.decide(|group, around| group.delete(around, ticket, false));
        ticket
    };
    let answer = |bench: &Bench, ticket| match bench.answers.get(&ticket) {
        Some(Answer::Delete(result)) => Some(result.clone().map_err(|refusal| refusal.code)),
        _ => None,
    };
    let mut bench = Bench::new();
    let ticket = delete(&mut bench);
    assert_eq!(answer(&bench, ticket), Some(Err(ErrorCode::GroupIdNotFound)));
    let ids = bench.stable(1);
    let ticket = delete(&mut bench);
    assert_eq!(answer(&bench, ticket), Some(Err(ErrorCode::NonEmptyGroup)));
    bench.leave(&[(&ids[0], None)]);
    bench.commit();

    let ticket = delete(&mut bench);
    assert_eq!((answer(&bench, ticket), bench.state()), (None, ClassicState::Dead));
    let meanwhile = bench.join(joining());
    assert_eq!(bench.join_error(meanwhile).1, ErrorCode::CoordinatorNotAvailable);
    bench.fail(ErrorCode::RequestTimedOut);
    assert_eq!(answer(&bench, ticket), Some(Err(ErrorCode::CoordinatorNotAvailable)));
    assert_eq!((bench.state(), bench.group.generation()), (ClassicState::Empty, 2));

    let ticket = delete(&mut bench);
    bench.commit();
    assert_eq!((answer(&bench, ticket), &bench.log), (Some(Ok(())), &None));
    assert!(bench.group.is_nothing());
    let (_, joined) = bench.join_with_id(joining());
    bench.wait(3_000);
    assert_eq!(bench.joined(joined).1.generation, 1, "it is a new group");
}

#[test]
fn a_group_of_which_nothing_is_left_is_forgotten() {
    let mut bench = Bench::new();
    bench.decide(|group, around| group.forget(around, false));
    assert!(bench.under_way.is_empty(), "of nothing, nothing is written");
    let ids = bench.stable(1);
    bench.decide(|group, around| group.forget(around, false));
    assert_eq!(bench.state(), ClassicState::Stable);
    bench.leave(&[(&ids[0], None)]);
    bench.commit();
    bench.decide(|group, around| group.forget(around, true));
    assert_eq!(bench.state(), ClassicState::Empty, "it has offsets");
    let asked = bench.join(joining());
    bench.join_error(asked);
    bench.decide(|group, around| group.forget(around, false));
    assert_eq!(bench.state(), ClassicState::Empty, "somebody was given an id");
    bench.wait(10_000);
    bench.decide(|group, around| group.forget(around, false));
    bench.commit();
    assert_eq!(bench.log, None);
    assert!(bench.group.is_nothing());
}

#[test]
fn a_group_is_described_and_listed_as_kafka_does() {
    let mut bench = Bench::new();
    assert_eq!(bench.group.describe(false).unwrap_err().code, ErrorCode::GroupIdNotFound);
    assert_eq!(bench.group.listed(false), None);
    assert_eq!(bench.group.listed(true), Some(("".into(), ClassicState::Empty)));
    assert_eq!(bench.group.describe(true).unwrap().state, "Empty");
    let (id, _) = bench.join_with_id(joining());
    let described = describe(&bench);
    assert_eq!((described.state, &*described.protocol), ("PreparingRebalance", ""));
    assert_eq!(described.members[0].metadata, "");
    bench.wait(3_000);
    assert_eq!(describe(&bench).state, "CompletingRebalance");
    bench.sync_all(&id, std::slice::from_ref(&id));
    bench.commit();
    let described = describe(&bench);
    assert_eq!(
        (described.state, &*described.protocol_type, &*described.protocol),
        ("Stable", CONSUMER, "range")
    );
    let member = &described.members[0];
    assert_eq!((&member.metadata, &member.assignment), (&Bytes::from("t"), &share(&id, 1)));
    assert_eq!((&*member.client_id, &*member.client_host), ("c", "/127.0.0.1"));
    assert_eq!(bench.group.listed(false), Some((CONSUMER.into(), ClassicState::Stable)));
}
