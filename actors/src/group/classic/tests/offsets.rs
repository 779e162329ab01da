use super::*;

fn committer(member: &str, generation: i32, instance: Option<&str>) -> Committer {
    Committer { version: 8, member: member.into(), generation, instance: instance.map(Arc::from) }
}

fn commits(bench: &mut Bench, committer: &Committer, has_offsets: bool) -> [Result<(), ErrorCode>; 2] {
    let plain = bench.around(|group, around| group.check_commit(around, committer, has_offsets));
    let transactional = bench.group.check_transactional_commit(committer, has_offsets);
    [plain, transactional].map(|checked| checked.map_err(|refusal| refusal.code))
}

const UNKNOWN: Result<(), ErrorCode> = Err(ErrorCode::UnknownMemberId);
const ILLEGAL: Result<(), ErrorCode> = Err(ErrorCode::IllegalGeneration);
const FENCED: Result<(), ErrorCode> = Err(ErrorCode::FencedInstanceId);

#[test]
fn members_commit_in_their_generation_and_transactions_may_name_none() {
    let mut bench = Bench::new();
    let ids = bench.stable_statics(2);
    let (first, second) = (&*ids[0], &*ids[1]);
    let cases = [
        (first, 1, Some("i0"), [Ok(()); 2]),
        (first, 1, None, [Ok(()); 2]),
        (first, 0, Some("i0"), [ILLEGAL; 2]),
        (first, -1, None, [ILLEGAL; 2]),
        (second, 1, Some("i0"), [FENCED; 2]),
        (second, 9, Some("i0"), [FENCED; 2]),
        (first, 1, Some("other"), [UNKNOWN; 2]),
        ("nobody", 1, None, [UNKNOWN; 2]),
        ("", 1, None, [UNKNOWN; 2]),
        ("", -1, Some("i0"), [FENCED; 2]),
        ("", -1, None, [UNKNOWN, Ok(())]),
    ];
    for (member, generation, instance, expected) in cases {
        let committer = committer(member, generation, instance);
        assert_eq!(commits(&mut bench, &committer, true), expected, "{committer:?}");
    }
}

#[test]
fn whether_offsets_can_be_committed_depends_on_the_state() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let member = committer(&ids[0], 1, None);
    bench.join_with_id(joining());
    assert_eq!(commits(&mut bench, &member, true), [Ok(()); 2], "before it gives partitions up");
    bench.leave(&[(&ids[1], None)]);
    bench.join(rejoining(&ids[0]));
    assert_eq!(bench.state(), ClassicState::CompletingRebalance);
    assert_eq!(commits(&mut bench, &member, true), [ILLEGAL; 2]);
    let member = committer(&ids[0], 2, None);
    assert_eq!(commits(&mut bench, &member, true), [Err(ErrorCode::RebalanceInProgress), Ok(())]);
}

#[test]
fn from_outside_offsets_are_committed_only_while_there_are_no_members() {
    let mut bench = Bench::new();
    for generation in [-1, -2] {
        assert_eq!(commits(&mut bench, &committer("", generation, None), false), [Ok(()); 2]);
        assert_eq!(commits(&mut bench, &committer("tool", generation, None), false), [Ok(()); 2]);
    }
    assert_eq!(commits(&mut bench, &committer("m", 3, None), false), [ILLEGAL; 2]);
    let newer = Committer { version: 9, ..committer("m", 3, None) };
    assert_eq!(commits(&mut bench, &newer, false), [Err(ErrorCode::GroupIdNotFound), ILLEGAL]);
    assert_eq!(commits(&mut bench, &committer("m", 3, None), true), [UNKNOWN; 2]);

    let ids = bench.stable(1);
    bench.leave(&[(&ids[0], None)]);
    bench.commit();
    assert_eq!(commits(&mut bench, &committer("", -1, None), true), [Ok(()); 2]);
    assert_eq!(commits(&mut bench, &committer(&ids[0], 1, None), true), [UNKNOWN; 2]);
}

#[test]
fn a_commit_is_a_sign_of_life_a_transactional_one_is_not() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    let member = committer(&ids[0], 1, None);
    bench.wait(9_999);
    bench.around(|group, around| group.check_commit(around, &member, true)).unwrap();
    bench.wait(9_999);
    bench.group.check_transactional_commit(&member, true).unwrap();
    assert_eq!(bench.state(), ClassicState::Stable);
    bench.wait(1);
    assert_eq!(bench.state(), ClassicState::Empty);
}

#[test]
fn offsets_of_topics_that_consumers_subscribe_to_are_not_deleted() {
    let check = |bench: &Bench, topic: &str| {
        let group = &bench.group;
        group.check_offsets_delete(true).and(group.check_topic_delete(topic)).map_err(|refusal| refusal.code)
    };
    let mut bench = Bench::new();
    assert_eq!(bench.group.check_offsets_delete(false).unwrap_err().code, ErrorCode::GroupIdNotFound);
    assert_eq!(check(&bench, "t"), Ok(()));
    let ids = bench.stable(1);
    assert_eq!((check(&bench, "t"), check(&bench, "u")), (Err(ErrorCode::GroupSubscribedToTopic), Ok(())));
    bench.leave(&[(&ids[0], None)]);
    assert_eq!(check(&bench, "t"), Ok(()));
}

#[test]
fn of_consumers_that_cannot_be_understood_every_topic_may_be_subscribed_to() {
    let mut bench = Bench::new();
    let join = bench.join(JoinGroup { protocols: vec![speaks("range", "!")], ..joining_as("i") });
    bench.wait(3_000);
    bench.joined(join);
    bench.group.check_offsets_delete(true).unwrap();
    let refused = bench.group.check_topic_delete("u").unwrap_err();
    assert_eq!(refused.code, ErrorCode::GroupSubscribedToTopic);
    assert_eq!(bench.group.offsets_kept_from(), KeptFrom::Forever);
}

#[test]
fn offsets_of_a_group_of_another_kind_are_deleted_only_without_members() {
    let mut bench = Bench::new();
    bench.join(JoinGroup { protocol_type: "connect".into(), ..joining_as("i") });
    let refused = bench.group.check_offsets_delete(true).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NonEmptyGroup);
    assert!(!bench.group.is_subscribed_to("t"));
}

#[test]
fn how_long_offsets_are_kept_depends_on_members() {
    let mut bench = Bench::new();
    assert_eq!(bench.group.offsets_kept_from(), KeptFrom::Commit, "nobody ever was a member");
    let (id, _) = bench.join_with_id(joining());
    assert_eq!(bench.group.offsets_kept_from(), KeptFrom::Forever);
    bench.wait(3_000);
    bench.sync_all(&id, std::slice::from_ref(&id));
    bench.commit();
    assert_eq!(bench.group.offsets_kept_from(), KeptFrom::Commit, "but not of topics subscribed to");
    bench.leave(&[(&id, None)]);
    assert_eq!(bench.group.offsets_kept_from(), KeptFrom::Emptied(1_003_000));
}
