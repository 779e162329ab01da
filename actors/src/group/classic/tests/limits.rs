use super::*;
use crate::group::records::{GroupRecord, MAX_RECORD_BYTES, encode};

fn small(members: usize) -> Bench {
    Bench::with(ClassicSettings { max_members: members, ..ClassicSettings::default() })
}

#[test]
fn a_full_group_takes_no_new_members_and_keeps_its_own() {
    let mut bench = small(2);
    let ids = bench.stable(2);
    for request in [joining(), joining_as("i"), JoinGroup { version: 3, ..joining() }] {
        let refused = bench.join(request);
        assert_eq!(bench.join_error(refused), ("".into(), ErrorCode::GroupMaxSizeReached));
    }
    let again = bench.join(rejoining(&ids[1]));
    assert_eq!(bench.joined(again).1.generation, 1);
}

#[test]
fn while_members_join_those_count_that_have() {
    let mut bench = small(2);
    let ids: Vec<_> = (0..3)
        .map(|_| {
            let asked = bench.join(joining());
            bench.join_error(asked).0
        })
        .collect();
    let joins: Vec<_> = ids.iter().map(|id| bench.join(rejoining(id))).collect();
    assert_eq!(bench.join_error(joins[2]), ("".into(), ErrorCode::GroupMaxSizeReached));
    let again = bench.join(rejoining(&ids[0]));
    bench.wait(6_000);
    assert_eq!(bench.joined(again).1.members.len(), 2);
    let late = bench.join(rejoining(&ids[2]));
    assert_eq!(bench.join_error(late).1, ErrorCode::GroupMaxSizeReached);
}

#[test]
fn a_static_member_of_a_full_group_can_come_back() {
    let mut bench = small(2);
    bench.stable_statics(2);
    let back = bench.join(joining_as("i1"));
    bench.commit();
    assert_eq!(bench.joined(back).1.generation, 1);
}

#[test]
fn a_group_read_back_with_too_many_members_loses_those_that_join_last() {
    let mut bench = small(3);
    let ids = bench.stable(3);
    bench.settings.max_members = 2;
    bench.read_back(bench.log.clone());
    assert!(bench.rebalanced_for(Cause::OverCapacity));
    let joins: Vec<_> = ids.iter().map(|id| bench.join(rejoining(id))).collect();
    assert_eq!(bench.join_error(joins[2]), ("".into(), ErrorCode::GroupMaxSizeReached));
    bench.wait(60_000);
    assert_eq!(bench.joined(joins[0]).1.members.len(), 2);
}

#[test]
fn of_too_many_promised_ids_the_first_is_forgotten() {
    let mut bench = Bench::with(ClassicSettings { max_promised_ids: 2, ..ClassicSettings::default() });
    let mut ids = Vec::new();
    for _ in 0..3 {
        let asked = bench.join(joining());
        ids.push(bench.join_error(asked).0);
        bench.wait(1);
    }
    let refused = bench.join(rejoining(&ids[0]));
    assert_eq!(bench.join_error(refused).1, ErrorCode::UnknownMemberId);
    let taken = [bench.join(rejoining(&ids[1])), bench.join(rejoining(&ids[2]))];
    assert!(taken.iter().all(|ticket| bench.waits(*ticket)));
}

#[test]
fn while_the_log_does_not_keep_up_nothing_new_is_begun() {
    let mut bench = Bench::with(ClassicSettings { max_writes: 3, ..ClassicSettings::default() });
    bench.stable_statics(2);
    for _ in 0..3 {
        bench.join(joining_as("i1"));
    }
    let refused = bench.join(joining_as("i1"));
    assert_eq!(bench.join_error(refused).1, ErrorCode::CoordinatorNotAvailable);
    bench.commit();
    let taken = bench.join(joining_as("i1"));
    bench.commit();
    assert_eq!(bench.joined(taken).1.generation, 1);
}

/// A join of a member that says so much in each of its protocols.
fn saying(bytes: usize) -> JoinGroup {
    let said = Protocol { name: "range".into(), metadata: vec![b't'; bytes].into() };
    JoinGroup { protocols: vec![said.clone(), Protocol { name: "sticky".into(), ..said }], ..joining() }
}

#[test]
fn the_length_of_a_record_is_known_before_it_is_written() {
    let mut bench = Bench::new();
    bench.stable_statics(3);
    for written in [bench.log.clone().unwrap(), ClassicMetadata::default()] {
        let bytes = encode(0, "g", &GroupRecord::Classic(Some(written.clone()))).value.unwrap().len();
        assert_eq!(written.bytes(), bytes);
    }
}

#[test]
fn who_says_more_than_fits_into_a_record_is_refused_and_the_others_go_on() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let refused = bench.join(saying(MAX_RECORD_BYTES));
    assert_eq!(bench.join_error(refused).1, ErrorCode::InvalidRequest);
    let long: Arc<str> = "c".repeat(40_000).into();
    let named = [
        JoinGroup { client_id: Arc::clone(&long), ..joining() },
        JoinGroup { instance: Some(Arc::clone(&long)), ..joining() },
        JoinGroup {
            protocols: vec![Protocol { name: long, metadata: "t".into() }, speaks("range", "t")],
            ..joining()
        },
    ];
    for request in named {
        let refused = bench.join(request);
        assert_eq!(bench.join_error(refused).1, ErrorCode::InvalidRequest);
    }
    assert_eq!(bench.state(), ClassicState::Stable);
    assert_eq!(bench.beat(&ids[0], 1), Ok(()));
}

#[test]
fn a_group_takes_no_member_for_whose_subscription_its_record_has_no_room_until_another_leaves() {
    let mut bench = Bench::new();
    let half = MAX_RECORD_BYTES / 2 - 1_000;
    let first = bench.join_with_id(saying(half)).0;
    let (second, _) = bench.join_with_id(saying(half));
    let refused = bench.join(saying(3_000));
    assert_eq!(bench.join_error(refused).1, ErrorCode::GroupMaxSizeReached);
    let again = bench.join(JoinGroup { member: Arc::clone(&second), ..saying(half) });
    assert!(bench.waits(again), "who has a place keeps it");
    let more = bench.join(JoinGroup { member: Arc::clone(&second), ..saying(half + 3_000) });
    assert_eq!(bench.join_error(more).1, ErrorCode::GroupMaxSizeReached);
    bench.leave(&[(&first, None)]);
    let taken = bench.join(saying(3_000));
    assert_eq!(bench.join_error(taken).1, ErrorCode::MemberIdRequired);
}

#[test]
fn an_assignment_that_does_not_fit_into_the_record_is_refused_to_all_as_by_kafka_and_nothing_is_written() {
    let mut bench = Bench::new();
    let joins = [bench.join_with_id(joining()), bench.join_with_id(joining())];
    bench.wait(6_000);
    let [(leader, _), (follower, _)] = joins;
    let waiting = bench.sync(syncing(&follower, 1));
    let long = Bytes::from(vec![0; MAX_RECORD_BYTES]);
    let assigned =
        bench.sync(SyncGroup { assignments: vec![(Arc::clone(&leader), long)], ..syncing(&leader, 1) });
    for ticket in [waiting, assigned] {
        assert_eq!(bench.synced(ticket), Err(ErrorCode::UnknownServerError));
    }
    assert!(bench.under_way.is_empty());
    assert_eq!(bench.state(), ClassicState::PreparingRebalance);
    assert!(bench.rebalanced_for(Cause::WriteFailed));
}

#[test]
fn a_static_member_whose_place_is_written_anew_begins_a_rebalance_where_that_does_not_fit() {
    let mut bench = Bench::new();
    let joins: Vec<_> = ["i0", "i1"].map(|instance| bench.join(joining_as(instance))).into();
    bench.wait(6_000);
    let ids: Vec<_> = joins.into_iter().map(|ticket| bench.joined(ticket).0).collect();
    let share = Bytes::from(vec![0; MAX_RECORD_BYTES / 2]);
    let assignments = vec![(Arc::clone(&ids[0]), share)];
    bench.sync(SyncGroup { assignments, ..syncing(&ids[0], 1) });
    bench.sync(syncing(&ids[1], 1));
    bench.commit();
    assert_eq!(bench.state(), ClassicState::Stable);
    bench.join(JoinGroup { instance: Some("i1".into()), ..saying(MAX_RECORD_BYTES / 2) });
    assert!(bench.under_way.is_empty());
    assert_eq!(bench.state(), ClassicState::PreparingRebalance);
}
