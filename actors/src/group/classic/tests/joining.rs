use super::*;

#[test]
fn a_dynamic_member_gets_its_id_first_and_joins_with_it() {
    let mut bench = Bench::new();
    let asked = bench.join(joining());
    let (id, code) = bench.join_error(asked);
    assert_eq!((&*id, code), ("c-0", ErrorCode::MemberIdRequired));
    assert_eq!(bench.state(), ClassicState::Empty);
    let joined = bench.join(rejoining(&id));
    assert!(bench.waits(joined));
    assert_eq!(bench.state(), ClassicState::PreparingRebalance);
    bench.wait(3_000);
    let (member, answer) = bench.joined(joined);
    assert_eq!(member, id);
    assert_eq!((answer.generation, &*answer.leader), (1, &*id));
    assert_eq!(answer.protocol_type.as_deref(), Some(CONSUMER));
    assert_eq!(answer.protocol.as_deref(), Some("range"));
    assert_eq!(answer.members.len(), 1);
    assert_eq!(answer.members[0].metadata, "t");
    assert!(!answer.skip_assignment);
    assert!(bench.under_way.is_empty(), "a generation without an assignment is not written");
}

#[test]
fn a_dynamic_member_of_an_old_version_joins_at_once() {
    for version in 0..4 {
        let mut bench = Bench::new();
        let joined = bench.join(JoinGroup { version, ..joining() });
        bench.wait(3_000);
        assert_eq!(bench.joined(joined).1.generation, 1);
    }
}

#[test]
fn a_static_member_joins_at_once() {
    let mut bench = Bench::new();
    let joined = bench.join(joining_as("i"));
    bench.wait(3_000);
    let (member, answer) = bench.joined(joined);
    assert_eq!(&*member, "i-0");
    assert_eq!(answer.members[0].instance.as_deref(), Some("i"));
}

#[test]
fn only_the_leader_is_told_who_the_members_are() {
    let mut bench = Bench::new();
    let (first, one) = bench.join_with_id(joining());
    let (_, two) = bench.join_with_id(joining());
    bench.wait(6_000);
    let (one, two) = (bench.joined(one).1, bench.joined(two).1);
    assert_eq!((&one.leader, &two.leader), (&first, &first));
    assert_eq!((one.members.len(), two.members.len()), (2, 0));
}

#[test]
fn the_first_generation_waits_for_more_members_as_long_as_they_come() {
    let mut bench = Bench::new();
    let (_, one) = bench.join_with_id(joining());
    bench.wait(2_999);
    let (_, two) = bench.join_with_id(joining());
    bench.wait(3_000);
    assert!(bench.waits(one), "one came, so it is waited once more");
    bench.wait(1);
    assert_eq!((bench.joined(one).1.generation, bench.joined(two).1.generation), (1, 1));
}

#[test]
fn the_first_generation_waits_no_longer_than_the_rebalance_timeout() {
    let mut bench = Bench::new();
    let request = JoinGroup { rebalance_timeout_ms: 7_000, ..joining() };
    let (_, one) = bench.join_with_id(request.clone());
    let mut waited = 0;
    while bench.waits(one) {
        bench.join_with_id(request.clone());
        bench.wait(500);
        waited += 500;
    }
    assert_eq!(waited, 7_000);
}

#[test]
fn without_a_delay_the_first_generation_begins_at_the_next_tick() {
    let mut bench =
        Bench::with(ClassicSettings { initial_rebalance_delay_ms: 0, ..ClassicSettings::default() });
    let (_, one) = bench.join_with_id(joining());
    assert_eq!(bench.group.wake_at(), Some(0));
    bench.wait(0);
    assert_eq!(bench.joined(one).1.generation, 1);
}

#[test]
fn mistakes_of_joins_have_their_errors() {
    let far = |timeout_ms| JoinGroup { session_timeout_ms: timeout_ms, ..joining() };
    let kind = |kind: &str| JoinGroup { protocol_type: kind.into(), ..joining() };
    let speaking = |protocols| JoinGroup { protocols, ..joining() };
    let cases = [
        (far(5_999), ErrorCode::InvalidSessionTimeout),
        (far(1_800_001), ErrorCode::InvalidSessionTimeout),
        (kind("connect"), ErrorCode::InconsistentGroupProtocol),
        (kind(""), ErrorCode::InconsistentGroupProtocol),
        (speaking(vec![]), ErrorCode::InconsistentGroupProtocol),
        (speaking(vec![speaks("mine", "t")]), ErrorCode::InconsistentGroupProtocol),
        (rejoining("nobody"), ErrorCode::UnknownMemberId),
        (JoinGroup { instance: Some("i".into()), ..rejoining("nobody") }, ErrorCode::UnknownMemberId),
    ];
    for (request, expected) in cases {
        let mut bench = Bench::new();
        let ids = bench.stable(1);
        let member = request.member.clone();
        let refused = bench.join(request);
        assert_eq!(bench.join_error(refused), (member, expected));
        assert_eq!((bench.state(), bench.beat(&ids[0], 1)), (ClassicState::Stable, Ok(())));
    }
}

#[test]
fn an_empty_group_takes_any_type_but_needs_a_type_and_a_protocol() {
    for (kind, protocols, is_taken) in [
        ("connect", vec![speaks("default", "t")], true),
        ("", vec![speaks("default", "t")], false),
        ("connect", vec![], false),
    ] {
        let mut bench = Bench::new();
        let ids = bench.stable(1);
        bench.leave(&[(&ids[0], None)]);
        bench.commit();
        let asked = bench.join(JoinGroup { protocol_type: kind.into(), protocols, version: 3, ..joining() });
        assert_eq!(bench.waits(asked), is_taken);
    }
}

#[test]
fn a_member_id_nobody_gave_is_unknown_whatever_else_is_wrong() {
    let mut bench = Bench::new();
    let refused = bench.join(JoinGroup { protocols: vec![], ..rejoining("nobody") });
    assert_eq!(bench.join_error(refused).1, ErrorCode::UnknownMemberId);
    assert!(bench.group.is_nothing());
}

#[test]
fn an_id_given_to_a_dynamic_member_is_no_static_members() {
    let mut bench = Bench::new();
    let asked = bench.join(joining());
    let (id, _) = bench.join_error(asked);
    let refused = bench.join(JoinGroup { instance: Some("i".into()), ..rejoining(&id) });
    assert_eq!(bench.join_error(refused).1, ErrorCode::UnknownServerError);
    let unique = bench.ticket();
    let again = JoinGroup { new_member: id, ..joining() };
    bench.decide(|group, around| group.join(around, unique, &again));
    assert_eq!(bench.join_error(unique).1, ErrorCode::UnknownServerError, "an id is given once");
}

#[test]
fn an_id_that_nobody_comes_with_is_forgotten_after_a_session() {
    let mut bench = Bench::new();
    let asked = bench.join(joining());
    let (id, _) = bench.join_error(asked);
    bench.wait(9_999);
    assert!(!bench.group.is_nothing());
    bench.wait(1);
    assert!(bench.group.is_nothing());
    let refused = bench.join(rejoining(&id));
    assert_eq!(bench.join_error(refused).1, ErrorCode::UnknownMemberId);
}

#[test]
fn a_rebalance_waits_for_who_was_given_an_id() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    let asked = bench.join(joining());
    let (new, _) = bench.join_error(asked);
    let old = bench.join(rejoining(&ids[0]));
    assert!(bench.waits(old), "the new member is waited for");
    let joined = bench.join(rejoining(&new));
    assert_eq!((bench.joined(old).1.generation, bench.joined(joined).1.generation), (2, 2));

    let all = [ids[0].clone(), new.clone()];
    bench.sync_all(&all[0], &all);
    bench.commit();
    let asked = bench.join(joining());
    bench.join_error(asked);
    let again = [bench.join(rejoining(&ids[0])), bench.join(rejoining(&new))];
    assert!(again.iter().all(|ticket| bench.waits(*ticket)));
    bench.wait(10_000);
    assert!(again.iter().all(|ticket| bench.joined(*ticket).1.generation == 3), "its id has ended");
}

#[test]
fn who_joins_again_while_its_join_waits_is_answered_by_the_later_one() {
    let mut bench = Bench::new();
    let (id, earlier) = bench.join_with_id(joining());
    let later = bench.join(rejoining(&id));
    assert_eq!(bench.join_error(earlier), (id, ErrorCode::RebalanceInProgress));
    bench.wait(3_000);
    assert_eq!(bench.joined(later).1.generation, 1);
}

#[test]
fn who_joins_again_unchanged_hears_of_its_generation_at_once() {
    let mut bench = Bench::new();
    let (first, _) = bench.join_with_id(joining());
    let (second, _) = bench.join_with_id(joining());
    bench.wait(6_000);
    let again = bench.join(rejoining(&first));
    assert_eq!(bench.joined(again).1.members.len(), 2, "the leader can still assign");
    let again = bench.join(rejoining(&second));
    assert_eq!(bench.joined(again).1.generation, 1);

    let ids = [first, second];
    bench.sync_all(&ids[0], &ids);
    bench.commit();
    let again = bench.join(rejoining(&ids[1]));
    assert_eq!((bench.joined(again).1.generation, bench.state()), (1, ClassicState::Stable));
    assert!(bench.joined(again).1.members.is_empty());
}

#[test]
fn the_vote_is_for_the_protocol_most_members_prefer_of_those_all_speak() {
    let cases: [(&[&[&str]], &str); 5] = [
        (&[&["range", "sticky"], &["sticky", "range"], &["sticky", "range"]], "sticky"),
        (&[&["range", "sticky"], &["sticky"]], "sticky"),
        (&[&["mine", "range"], &["range", "mine"]], "mine"),
        (&[&["x", "range"], &["y", "range"], &["range"]], "range"),
        (&[&["range", "range", "sticky"], &["sticky", "range"], &["range", "sticky"]], "range"),
    ];
    for (members, expected) in cases {
        let mut bench = Bench::new();
        let speaking = |names: &&[&str]| names.iter().map(|name| speaks(name, "t")).collect();
        let joins: Vec<_> = members
            .iter()
            .map(|names| bench.join_with_id(JoinGroup { protocols: speaking(names), ..joining() }).1)
            .collect();
        bench.wait(6_000);
        for join in joins {
            assert_eq!(bench.joined(join).1.protocol.as_deref(), Some(expected));
        }
    }
}

#[test]
fn reasons_are_told_cut_to_what_clients_may_send() {
    let mut bench = Bench::new();
    bench.join_with_id(JoinGroup { reason: Some("é".repeat(1_000)), ..joining() });
    let whole = "é".repeat(255);
    assert!(
        bench.told(|notice| matches!(notice, Notice::Joined { reason: Some(said), .. } if *said == whole))
    );
    assert!(bench.told(
        |notice| matches!(notice, Notice::Rebalancing { why: Why { reason: Some(said), .. }, .. } if *said == whole)
    ));
}
