use super::*;

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
