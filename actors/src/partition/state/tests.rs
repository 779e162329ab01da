use std::time::Duration;

use super::fixture::{assignment, life, member};
use super::*;
use crate::ids::{LeaderEpoch, Member, NodeId, Offset};
use crate::topic_config::TopicConfig;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn facts(end: i64, durable_end: i64) -> LogFacts {
    LogFacts {
        start: Offset::ZERO,
        end: Offset(end),
        durable_end: Offset(durable_end),
        last_epoch: (end > 0).then_some(LeaderEpoch(1)),
    }
}

/// After appends in the epoch that these tests lead in.
fn grown(end: i64, durable_end: i64) -> LogFacts {
    LogFacts { last_epoch: Some(LeaderEpoch(2)), ..facts(end, durable_end) }
}

fn replica(end: i64, heard: i64) -> ReplicaState {
    ReplicaState::new(member(1), Settings::default(), None, facts(end, end), Offset(heard))
}

fn joined(member: Member, end: i64) -> Input {
    Input::Joined(LeaderEpoch(2), Joined { member, end: Offset(end), durable_end: Offset(end) })
}

fn leader_of_three(end: i64, heard: i64) -> ReplicaState {
    let mut state = replica(end, heard);
    let all = [member(1), member(2), member(3)];
    let effects = state.step(ms(0), Input::Assigned(assignment(2, Some(member(1)), &all, 1)));
    assert!(effects.contains(&Effect::Opened(LeaderEpoch(2), Offset(end))));
    state
}

fn proposal(effects: &[Effect]) -> Option<InSyncChange> {
    effects.iter().find_map(|effect| match effect {
        Effect::Propose(change) => Some(change.clone()),
        _ => None,
    })
}

#[test]
fn a_new_leader_confirms_its_high_watermark_when_all_members_have_reported() {
    let mut state = leader_of_three(10, 4);
    assert_eq!(state.high_watermark(), HighWatermark::heard(Offset(4)));
    state.step(ms(1), joined(member(2), 9));
    assert!(!state.high_watermark().is_confirmed());
    let effects = state.step(ms(2), joined(member(3), 8));
    assert!(effects.contains(&Effect::HighWatermark(Offset(8))));
    assert!(state.high_watermark().is_confirmed());
}

#[test]
fn a_new_leader_that_knows_its_whole_log_to_be_committed_waits_for_nobody_to_say_so() {
    assert!(leader_of_three(10, 10).high_watermark().is_confirmed());
    assert!(leader_of_three(0, 0).high_watermark().is_confirmed(), "a topic just made");
    assert!(!leader_of_three(10, 9).high_watermark().is_confirmed());
}

#[test]
fn a_follower_that_begins_with_what_was_promised_to_be_gone_is_not_let_in() {
    let mut state = replica(10, 10);
    state.step(ms(0), Input::Assigned(assignment(2, Some(member(1)), &[member(1)], 1)));
    state.step(ms(1), Input::Promised(LeaderEpoch(2), Offset(7)));
    assert_eq!(proposal(&state.step(ms(2), joined(member(2), 10))), None, "it has not said where it begins");
    let begins = |start| Input::Begins(LeaderEpoch(2), member(2), Offset(start));
    assert_eq!(proposal(&state.step(ms(3), begins(6))), None);
    let change = proposal(&state.step(ms(4), begins(7))).unwrap();
    assert!(change.members.contains(&member(2)), "{change:?}");
    // Another session: it may have begun anew.
    let mut state = replica(10, 10);
    state.step(ms(0), Input::Assigned(assignment(2, Some(member(1)), &[member(1)], 1)));
    assert!(proposal(&state.step(ms(1), joined(member(2), 10))).is_some(), "nothing was promised");
}

#[test]
fn an_election_of_another_life_of_this_node_is_not_taken() {
    let mut state = replica(10, 4);
    let effects = state.step(ms(0), Input::Assigned(assignment(2, Some(life(1, 0)), &[life(1, 0)], 1)));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Opened(..))), "{effects:?}");
    assert!(matches!(state.role(), Role::Follower(_)));
}

#[test]
fn a_replica_begun_anew_in_the_same_life_leads_only_in_a_newer_epoch() {
    let mut state =
        ReplicaState::new(member(1), Settings::default(), Some(LeaderEpoch(2)), facts(5, 5), Offset(5));
    let effects = state.step(ms(0), Input::Assigned(assignment(2, Some(member(1)), &[member(1)], 1)));
    assert!(
        effects.contains(&Effect::Resign { epoch: LeaderEpoch(2), reason: ResignReason::NotOpened }),
        "{effects:?}"
    );
    let effects = state.step(ms(1), Input::Assigned(assignment(3, Some(member(1)), &[member(1)], 2)));
    assert!(effects.contains(&Effect::Opened(LeaderEpoch(3), Offset(5))));
}

#[test]
fn an_epoch_followed_in_is_not_led_in() {
    let mut state = replica(5, 5);
    state.step(ms(0), Input::Assigned(assignment(2, None, &[member(1)], 1)));
    let effects = state.step(ms(0), Input::Assigned(assignment(2, Some(member(1)), &[member(1)], 2)));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Opened(..))), "{effects:?}");
}

#[test]
fn a_lone_leader_commits_what_it_has_synced() {
    let mut state = replica(0, 0);
    state.step(ms(0), Input::Assigned(assignment(2, Some(member(1)), &[member(1)], 1)));
    assert!(state.high_watermark().is_confirmed());
    assert_eq!(state.step(ms(1), Input::LogChanged(grown(3, 0))), []);
    assert_eq!(state.step(ms(2), Input::Durable(Offset(3))), [Effect::HighWatermark(Offset(3))]);
}

#[test]
fn a_member_behind_for_too_long_leaves_and_comes_back_when_it_has_caught_up() {
    let mut state = leader_of_three(0, 0);
    state.step(ms(1), joined(member(2), 0));
    state.step(ms(1), joined(member(3), 0));
    state.step(ms(2), Input::LogChanged(grown(5, 5)));
    state.step(ms(3), Input::Reported(LeaderEpoch(2), member(2), Offset(5)));
    assert_eq!(state.high_watermark().value(), Offset(0));
    assert_eq!(proposal(&state.step(ms(9_000), Input::Tick)), None);

    let change = proposal(&state.step(ms(10_003), Input::Tick)).unwrap();
    assert_eq!(change.members, [member(1), member(2)]);
    assert_eq!(state.high_watermark().value(), Offset(0), "a removal counts only once committed");
    let outcome = ChangeOutcome::Committed { set_version: 2 };
    state.step(ms(10_010), Input::Settled(LeaderEpoch(2), change.attempt, outcome));
    assert_eq!(state.high_watermark().value(), Offset(5));

    let change =
        proposal(&state.step(ms(10_020), Input::Reported(LeaderEpoch(2), member(3), Offset(5)))).unwrap();
    assert_eq!(change.members, [member(1), member(2), member(3)]);
    state.step(ms(10_030), Input::LogChanged(grown(7, 7)));
    state.step(ms(10_040), Input::Reported(LeaderEpoch(2), member(2), Offset(7)));
    assert_eq!(state.high_watermark().value(), Offset(5), "an addition counts when proposed");
}

#[test]
fn a_member_taken_out_by_the_controller_no_longer_holds_the_high_watermark() {
    let mut state = leader_of_three(4, 0);
    state.step(ms(1), joined(member(2), 4));
    assert_eq!(state.high_watermark().value(), Offset(0));
    let two = [member(1), member(2)];
    state.step(ms(2), Input::Assigned(assignment(2, Some(member(1)), &two, 2)));
    assert_eq!(state.high_watermark().value(), Offset(4));
}

#[test]
fn a_member_that_is_shutting_down_is_not_brought_back_by_what_it_still_fetches() {
    let mut state = leader_of_three(4, 0);
    state.step(ms(1), joined(member(2), 4));
    state.step(ms(1), joined(member(3), 4));
    let leaving = vec![(member(3).node, member(3).incarnation)];
    let two = [member(1), member(2)];
    let without = Assignment { leaving, ..assignment(2, Some(member(1)), &two, 2) };
    assert_eq!(proposal(&state.step(ms(2), Input::Assigned(without))), None);
    state.step(ms(3), joined(member(3), 4));
    assert_eq!(proposal(&state.step(ms(3), Input::Reported(LeaderEpoch(2), member(3), Offset(4)))), None);
    assert_eq!(proposal(&state.step(ms(4), Input::Tick)), None);

    let change = proposal(&state.step(ms(5), joined(life(3, 2), 4))).unwrap();
    assert_eq!(change.members, [member(1), member(2), life(3, 2)], "its next life is welcome");
}

#[test]
fn a_new_life_of_a_member_takes_the_place_of_the_old_one() {
    let mut state = leader_of_three(4, 4);
    state.step(ms(1), joined(member(3), 4));
    let effects = state.step(ms(1), joined(life(2, 2), 4));
    let change = proposal(&effects).unwrap();
    assert_eq!(change.members, [member(1), life(2, 2), member(3)]);
    let effects = state.step(ms(2), joined(member(2), 4));
    assert_eq!(effects, [], "an older life is not heard");
}

#[test]
fn a_member_that_lost_what_it_had_reported_leaves_the_set_at_once() {
    let mut state = leader_of_three(4, 4);
    state.step(ms(1), joined(member(2), 4));
    let change = proposal(&state.step(ms(1), joined(member(3), 2))).unwrap();
    assert_eq!(change.members, [member(1), member(2)]);
}

#[test]
fn a_leader_whose_disk_is_slower_than_its_followers_resigns() {
    let mut state = leader_of_three(0, 0);
    state.step(ms(1), joined(member(2), 0));
    state.step(ms(1), joined(member(3), 0));
    state.step(ms(2), Input::LogChanged(grown(5, 0)));
    state.step(ms(3), Input::Reported(LeaderEpoch(2), member(2), Offset(5)));
    assert_eq!(state.step(ms(500), Input::Tick), []);
    let effects = state.step(ms(502), Input::Tick);
    assert!(
        effects.contains(&Effect::Resign { epoch: LeaderEpoch(2), reason: ResignReason::SyncLag(ms(500)) }),
        "{effects:?}"
    );
}

#[test]
fn a_follower_opens_reports_and_hears_the_high_watermark() {
    let mut state = replica(6, 2);
    let assigned = assignment(3, Some(member(2)), &[member(1), member(2)], 1);
    let effects = state.step(ms(0), Input::Assigned(assigned));
    let open = Effect::Open { leader: NodeId(2), epoch: LeaderEpoch(3), log: facts(6, 6) };
    assert_eq!(effects, [Effect::Close, open]);
    assert_eq!(state.admits(LeaderEpoch(3), Offset(6)), Admission::Stale);
    let effects = state.step(ms(1), Input::Accepted(LeaderEpoch(3), Offset(6)));
    assert_eq!(effects, [Effect::Report(LeaderEpoch(3), Offset(6))]);
    assert_eq!(state.admits(LeaderEpoch(3), Offset(6)), Admission::Append);
    assert_eq!(state.admits(LeaderEpoch(3), Offset(7)), Admission::Gap);
    assert_eq!(state.admits(LeaderEpoch(2), Offset(6)), Admission::Stale);
    state.step(ms(2), Input::Heard(LeaderEpoch(3), Offset(9), Offset(0)));
    assert_eq!(state.high_watermark().value(), Offset(6));
}

#[test]
fn a_follower_does_not_cut_what_was_committed_unless_the_topic_accepts_it() {
    let mut state = replica(6, 4);
    let mut assigned = assignment(3, Some(member(2)), &[member(2)], 1);
    state.step(ms(0), Input::Assigned(assigned.clone()));
    let effects = state.step(ms(1), Input::Diverged(LeaderEpoch(3), Offset(3)));
    assert!(effects.contains(&Effect::Offline(Failure::WouldLoseCommitted)), "{effects:?}");

    let config = TopicConfig { unclean_leader_election: true, ..TopicConfig::default() };
    assigned.config = std::sync::Arc::new(config);
    let effects = state.step(ms(2), Input::Assigned(assigned));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Open { .. })), "{effects:?}");
    let effects = state.step(ms(3), Input::Diverged(LeaderEpoch(3), Offset(3)));
    assert_eq!(effects, [Effect::Truncate(Offset(3))]);
    let effects = state.step(ms(4), Input::LogChanged(facts(3, 3)));
    assert!(matches!(effects.as_slice(), [Effect::Open { .. }]), "{effects:?}");
}

#[test]
fn a_damaged_follower_is_cut_only_after_it_has_left_the_set() {
    let mut state = replica(6, 6);
    state.step(ms(0), Input::Assigned(assignment(3, Some(member(2)), &[member(1), member(2)], 1)));
    state.step(ms(1), Input::Accepted(LeaderEpoch(3), Offset(6)));
    let effects = state.step(ms(2), Input::Damaged(Offset(2)));
    assert_eq!(effects, [Effect::Leave { leader: NodeId(2), epoch: LeaderEpoch(3) }]);
    assert_eq!(state.admits(LeaderEpoch(3), Offset(6)), Admission::Stale);
    let effects = state.step(ms(200), Input::Tick);
    assert_eq!(effects, [Effect::Leave { leader: NodeId(2), epoch: LeaderEpoch(3) }], "asks again");
    let effects = state.step(ms(201), Input::LeftSet(LeaderEpoch(3)));
    assert_eq!(effects, [Effect::Truncate(Offset(2))]);
    let effects = state.step(ms(202), Input::LogChanged(facts(2, 2)));
    assert!(matches!(effects.as_slice(), [Effect::Open { .. }]), "{effects:?}");
    assert_eq!(state.damaged_from(), None);
}

#[test]
fn a_leader_lets_a_damaged_member_go_before_it_says_so() {
    let mut state = leader_of_three(4, 4);
    state.step(ms(1), joined(member(2), 4));
    state.step(ms(1), joined(member(3), 4));
    let effects = state.step(ms(2), Input::Left(LeaderEpoch(2), member(2)));
    assert!(effects.contains(&Effect::AnswerLeave(member(2), false)), "{effects:?}");
    let change = proposal(&effects).unwrap();
    assert_eq!(change.members, [member(1), member(3)]);
    let outcome = ChangeOutcome::Committed { set_version: 2 };
    state.step(ms(3), Input::Settled(LeaderEpoch(2), change.attempt, outcome));
    let effects = state.step(ms(4), Input::Left(LeaderEpoch(2), member(2)));
    assert_eq!(effects, [Effect::AnswerLeave(member(2), true)]);
}

#[test]
fn a_failed_disk_ends_leadership_for_this_life() {
    let mut state = leader_of_three(4, 4);
    let effects = state.step(ms(1), Input::Failed(Failure::Directory));
    assert_eq!(effects[0], Effect::SteppedDown(LeaderEpoch(2)));
    assert!(effects.contains(&Effect::Offline(Failure::Directory)));
    let effects = state.step(ms(2), Input::Assigned(assignment(3, Some(member(1)), &[member(1)], 2)));
    let reason = ResignReason::Failed(Failure::Directory);
    assert_eq!(effects, [Effect::Resign { epoch: LeaderEpoch(3), reason }]);
}

#[test]
fn a_member_taken_out_by_the_controller_comes_back_only_after_it_has_spoken() {
    let mut state = leader_of_three(4, 4);
    state.step(ms(1), joined(member(2), 4));
    state.step(ms(1), joined(member(3), 4));
    let two = [member(1), member(2)];
    let effects = state.step(ms(2), Input::Assigned(assignment(2, Some(member(1)), &two, 2)));
    assert_eq!(proposal(&effects), None);
    let effects = state.step(ms(3), Input::Reported(LeaderEpoch(2), member(3), Offset(4)));
    assert_eq!(proposal(&effects).unwrap().members, [member(1), member(2), member(3)]);
}

#[test]
fn what_a_replica_that_went_had_reported_does_not_count_for_the_one_that_comes_to_its_place() {
    let mut state = leader_of_three(4, 4);
    state.step(ms(1), joined(member(2), 4));
    state.step(ms(1), joined(member(3), 4));
    let two = [member(1), member(2)];
    let gone = Assignment { replicas: vec![NodeId(1), NodeId(2)], ..assignment(3, Some(member(1)), &two, 2) };
    let effects = state.step(ms(2), Input::Assigned(gone));
    assert!(effects.contains(&Effect::Opened(LeaderEpoch(3), Offset(4))), "the same leader opens anew");
    state.step(ms(3), Input::Assigned(assignment(3, Some(member(1)), &two, 3)));
    let effects = state.step(ms(4), Input::Reported(LeaderEpoch(2), member(3), Offset(4)));
    assert_eq!(proposal(&effects), None);
    let end = Joined { member: member(3), end: Offset::ZERO, durable_end: Offset::ZERO };
    let effects = state.step(ms(5), Input::Joined(LeaderEpoch(3), end));
    assert_eq!(proposal(&effects), None, "its log is empty");
}

#[test]
fn a_follower_taken_out_by_the_controller_speaks_up() {
    let mut state = replica(6, 6);
    state.step(ms(0), Input::Assigned(assignment(3, Some(member(2)), &[member(1), member(2)], 1)));
    state.step(ms(1), Input::Accepted(LeaderEpoch(3), Offset(6)));
    let effects = state.step(ms(2), Input::Assigned(assignment(3, Some(member(2)), &[member(2)], 2)));
    assert_eq!(effects, [Effect::Report(LeaderEpoch(3), Offset(6))]);
}

#[test]
fn a_follower_that_has_not_reached_the_start_of_the_epoch_does_not_join() {
    let mut state = replica(10, 4);
    state.step(ms(0), Input::Assigned(assignment(2, Some(member(1)), &[member(1), member(3)], 1)));
    let effects = state.step(ms(1), joined(member(2), 9));
    assert_eq!(proposal(&effects), None, "the true high watermark may be anything up to the epoch's start");
    let effects = state.step(ms(2), Input::Reported(LeaderEpoch(2), member(2), Offset(10)));
    assert_eq!(proposal(&effects).unwrap().members, [member(1), member(2), member(3)]);
}

/// Under load a follower outside the set reports everything just after the other member has, and so always after the
/// high watermark has moved on.
#[test]
fn a_follower_that_keeps_up_a_step_behind_the_other_member_comes_into_the_set() {
    let mut state = replica(0, 0);
    let two = [member(1), member(3)];
    state.step(ms(0), Input::Assigned(assignment(2, Some(member(1)), &two, 1)));
    state.step(ms(0), joined(member(3), 0));
    state.step(ms(1), Input::LogChanged(grown(2, 2)));
    state.step(ms(1), Input::Reported(LeaderEpoch(2), member(3), Offset(2)));
    assert_eq!(proposal(&state.step(ms(1), joined(member(2), 0))), None);
    let mut held = 0;
    for step in 1..100_u64 {
        let (now, end) = (ms(step * 10), i64::try_from(step).unwrap());
        state.step(now, Input::LogChanged(grown(end + 2, end + 1)));
        state.step(now, Input::Reported(LeaderEpoch(2), member(3), Offset(end + 1)));
        held += u64::from(state.high_watermark().value() < Offset(end + 1));
        let effects = state.step(now, Input::Reported(LeaderEpoch(2), member(2), Offset(end)));
        if let Some(change) = proposal(&effects) {
            assert_eq!(change.members, [member(1), member(2), member(3)]);
            assert!(held <= 3, "acknowledgements waited for {held} reports");
            return;
        }
    }
    panic!("never proposed");
}

#[test]
fn a_refused_change_is_proposed_again_though_nothing_else_happens() {
    let mut state = leader_of_three(4, 4);
    let two = [member(1), member(3)];
    state.step(ms(0), Input::Assigned(assignment(2, Some(member(1)), &two, 2)));
    state.step(ms(1), joined(member(3), 4));
    let change = proposal(&state.step(ms(1), joined(member(2), 4))).unwrap();
    state.step(ms(2), Input::Settled(LeaderEpoch(2), change.attempt, ChangeOutcome::Refused));
    let mut now = ms(2);
    while let Some(tick) = state.wants_tick(now) {
        assert!(tick > now);
        now = tick;
        if let Some(again) = proposal(&state.step(now, Input::Tick)) {
            assert_eq!(again.members, [member(1), member(2), member(3)]);
            return;
        }
    }
    panic!("nobody looks again");
}

#[test]
fn a_follower_outside_the_set_speaks_again_and_again_until_it_is_in() {
    let mut state = replica(6, 6);
    state.step(ms(0), Input::Assigned(assignment(3, Some(member(2)), &[member(2)], 1)));
    state.step(ms(1), Input::Accepted(LeaderEpoch(3), Offset(6)));
    let mut now = ms(1);
    for _ in 0..3 {
        now = state.wants_tick(now).unwrap();
        assert_eq!(state.step(now, Input::Tick), [Effect::Report(LeaderEpoch(3), Offset(6))]);
    }
    state.step(now, Input::Assigned(assignment(3, Some(member(2)), &[member(1), member(2)], 2)));
    assert_eq!(state.wants_tick(now), None);
}
