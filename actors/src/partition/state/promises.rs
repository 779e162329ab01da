//! The promises of a replica's state, looked at after every step.
//!
//! Each is checked from what is there, not by the code that is to keep it. A broken one of safety ends the replica:
//! nothing that the step decided is done.

use super::{Effect, Failure, Leader, LogFacts, Phase, ReplicaState, Role};
use crate::ids::{LeaderEpoch, Offset};
use crate::invariant::{Broken, Consequence, Invariant};

/// What a replica was before a step, as far as promises go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    role: Kind,
    log: LogFacts,
    high_watermark: Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Leads(LeaderEpoch),
    Follows,
    /// Follows, and was told to cut its log.
    Cuts,
    Offline,
}

impl Before {
    pub(super) fn of(state: &ReplicaState) -> Self {
        let role = match &state.role {
            Role::Leader(leader) => Kind::Leads(leader.epoch()),
            Role::Follower(follower) if follower.phase() == Phase::Cutting => Kind::Cuts,
            Role::Follower(_) => Kind::Follows,
            Role::Offline(_) => Kind::Offline,
        };
        Self { role, log: state.log, high_watermark: state.high_watermark.value() }
    }
}

impl ReplicaState {
    /// Holds what a step came to against the promises; `told_durable` is what it was told of the disk, if it was.
    pub(super) fn hold(
        &mut self,
        before: Before,
        told_durable: Option<Offset>,
        mut effects: Vec<Effect>,
    ) -> Vec<Effect> {
        let Some(broken) = broken(before, self, told_durable, &effects) else { return effects };
        let consequence = broken.invariant.consequence();
        if consequence == Consequence::Resign {
            effects.clear();
        }
        effects.insert(0, Effect::Broken(broken));
        if consequence == Consequence::Resign {
            self.fail(Failure::Invariant, &mut effects);
        }
        effects
    }
}

fn broken(
    before: Before,
    after: &ReplicaState,
    told_durable: Option<Offset>,
    effects: &[Effect],
) -> Option<Broken> {
    if before.role == Kind::Offline || matches!(after.role, Role::Offline(_)) {
        return None;
    }
    lost(before, after)
        .or_else(|| undone(before, told_durable))
        .or_else(|| unfenced(before, after))
        .or_else(|| acknowledged_early(before, after, effects))
}

/// What was committed stays: the log grows, its end and the high watermark go back only where it is cut.
fn lost(before: Before, after: &ReplicaState) -> Option<Broken> {
    let (log, mark) = (after.log, after.high_watermark.value());
    let found = if mark > log.end || mark < log.start {
        format!("the high watermark {mark} lies outside of the log, {}..{}", log.start, log.end)
    } else if before.role == Kind::Cuts {
        return None;
    } else if mark < before.high_watermark {
        format!("the high watermark went back from {} to {mark}", before.high_watermark)
    } else if log.end < before.log.end {
        format!("the log's end went back from {} to {}, and nobody cut it", before.log.end, log.end)
    } else {
        return None;
    };
    Some(Broken::new(Invariant::NothingAcknowledgedIsLost, found))
}

/// What is on disk stays there.
fn undone(before: Before, told_durable: Option<Offset>) -> Option<Broken> {
    let told = told_durable.filter(|told| *told < before.log.durable_end)?;
    let found = format!("the durable end went back from {} to {told}", before.log.durable_end);
    Some(Broken::new(Invariant::AcknowledgedIsOnDisk, found))
}

/// A leader appends in its own epoch, which nobody had before; a follower in none that it has not heard of.
fn unfenced(before: Before, after: &ReplicaState) -> Option<Broken> {
    let last = after.log.last_epoch;
    let grew = after.log.end > before.log.end && before.role != Kind::Cuts;
    let found = match (&after.role, before.role) {
        (Role::Leader(leader), Kind::Leads(epoch)) if epoch == leader.epoch() => {
            let foreign = grew && last != Some(epoch);
            foreign.then(|| format!("leading in epoch {epoch}, it appended in {last:?}"))
        }
        (Role::Leader(leader), _) => {
            let epoch = leader.epoch();
            (last >= Some(epoch)).then(|| format!("opened epoch {epoch}, and its log holds {last:?} already"))
        }
        _ => {
            let epoch = after.epoch();
            let ahead = grew && last > Some(epoch);
            ahead.then(|| format!("following in epoch {epoch}, it appended in {last:?}"))
        }
    };
    found.map(|found| Broken::new(Invariant::LeaderIsFenced, found))
}

/// What a leader calls committed is on the disk of every member of the set that is in force.
fn acknowledged_early(before: Before, after: &ReplicaState, effects: &[Effect]) -> Option<Broken> {
    let Role::Leader(leader) = &after.role else { return None };
    let mark = after.high_watermark.value();
    let is_told = effects.iter().any(|effect| matches!(effect, Effect::HighWatermark(_)));
    if !is_told || mark <= before.high_watermark {
        return None;
    }
    let lacking = lacking(leader, after, mark)?;
    Some(Broken::new(Invariant::AcknowledgedIsOnDisk, format!("{mark} is committed, and {lacking}")))
}

fn lacking(leader: &Leader, state: &ReplicaState, mark: Offset) -> Option<String> {
    if state.log.durable_end < mark {
        return Some(format!("the leader has {} on disk", state.log.durable_end));
    }
    let others = leader.in_sync().committed().iter().filter(|member| **member != state.me);
    others
        .map(|member| (member, leader.follower(member.node).filter(|known| known.member == *member)))
        .find(|(_, known)| known.is_none_or(|known| known.durable_end < mark))
        .map(|(member, known)| match known {
            Some(known) => format!("node {} has {} on disk", member.node, known.durable_end),
            None => format!("node {} has told nothing in this epoch", member.node),
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::partition::state::fixture::{assignment, member};
    use crate::partition::state::{HighWatermark, Input, Joined, Settings};

    const EPOCH: LeaderEpoch = LeaderEpoch(2);

    fn facts(end: i64, durable_end: i64, epoch: i32) -> LogFacts {
        LogFacts {
            start: Offset::ZERO,
            end: Offset(end),
            durable_end: Offset(durable_end),
            last_epoch: (end > 0).then_some(LeaderEpoch(epoch)),
        }
    }

    fn told(state: &mut ReplicaState, input: Input) -> Vec<Effect> {
        state.step(Duration::ZERO, input)
    }

    /// Leads in [`EPOCH`], with node 2 in the set and level; ten records, all committed.
    fn leader() -> ReplicaState {
        let log = facts(10, 10, 1);
        let mut state = ReplicaState::new(member(1), Settings::default(), None, log, Offset(10));
        let set = [member(1), member(2)];
        told(&mut state, Input::Assigned(assignment(EPOCH.0, Some(member(1)), &set, 1)));
        let level = Joined { member: member(2), end: Offset(10), durable_end: Offset(10) };
        told(&mut state, Input::Joined(EPOCH, level));
        state
    }

    fn follower() -> ReplicaState {
        let log = facts(10, 10, 1);
        let mut state = ReplicaState::new(member(1), Settings::default(), None, log, Offset(8));
        let set = [member(1), member(2)];
        told(&mut state, Input::Assigned(assignment(EPOCH.0, Some(member(2)), &set, 1)));
        told(&mut state, Input::Accepted(EPOCH, Offset(10)));
        state
    }

    /// The replica says what it broke, resigns, and serves nobody; nothing else of the step is done.
    fn assert_broken(state: &ReplicaState, effects: &[Effect], invariant: Invariant, found: &str) {
        let Some(Effect::Broken(broken)) = effects.first() else { panic!("nothing is broken: {effects:?}") };
        assert!(broken.invariant == invariant && broken.found.contains(found), "{broken:?}");
        assert!(matches!(state.role(), Role::Offline(Failure::Invariant)));
        assert!(effects.contains(&Effect::Offline(Failure::Invariant)), "{effects:?}");
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Resign { .. })), "{effects:?}");
        let done = |effect: &Effect| matches!(effect, Effect::HighWatermark(_) | Effect::Opened(..));
        assert!(!effects.iter().any(done), "{effects:?}");
    }

    #[test]
    fn a_log_that_shrinks_under_a_leader_ends_it() {
        let mut state = leader();
        let effects = told(&mut state, Input::LogChanged(facts(9, 9, 1)));
        assert_broken(&state, &effects, Invariant::NothingAcknowledgedIsLost, "outside of the log");
    }

    #[test]
    fn a_log_that_shrinks_under_a_follower_that_cut_nothing_ends_it() {
        let mut state = follower();
        let effects = told(&mut state, Input::LogChanged(facts(9, 9, 1)));
        assert_broken(&state, &effects, Invariant::NothingAcknowledgedIsLost, "nobody cut it");
    }

    #[test]
    fn a_high_watermark_that_goes_back_ends_the_replica() {
        let mut state = leader();
        let before = Before::of(&state);
        state.high_watermark = HighWatermark::heard(Offset(3));
        let effects = state.hold(before, None, Vec::new());
        assert_broken(&state, &effects, Invariant::NothingAcknowledgedIsLost, "went back from 10 to 3");
    }

    #[test]
    fn a_durable_end_that_goes_back_ends_the_replica() {
        let mut state = leader();
        let effects = told(&mut state, Input::Durable(Offset(7)));
        assert_broken(&state, &effects, Invariant::AcknowledgedIsOnDisk, "went back from 10 to 7");
    }

    #[test]
    fn a_leader_that_appends_in_another_epoch_than_its_own_ends() {
        let mut state = leader();
        let effects = told(&mut state, Input::LogChanged(facts(11, 10, 1)));
        assert_broken(&state, &effects, Invariant::LeaderIsFenced, "appended in");
    }

    #[test]
    fn a_follower_that_appends_what_an_epoch_wrote_that_it_does_not_know_ends() {
        let mut state = follower();
        let effects = told(&mut state, Input::LogChanged(facts(11, 10, 3)));
        assert_broken(&state, &effects, Invariant::LeaderIsFenced, "following in epoch 2");
    }

    #[test]
    fn an_epoch_that_has_records_already_is_not_led_in() {
        let log = facts(10, 10, EPOCH.0);
        let mut state = ReplicaState::new(member(1), Settings::default(), None, log, Offset(10));
        let elected = assignment(EPOCH.0, Some(member(1)), &[member(1)], 1);
        let effects = told(&mut state, Input::Assigned(elected));
        assert_broken(&state, &effects, Invariant::LeaderIsFenced, "opened epoch 2");
    }

    #[test]
    fn what_a_member_has_not_on_its_disk_is_not_acknowledged() {
        let mut state = leader();
        told(&mut state, Input::LogChanged(facts(12, 12, EPOCH.0)));
        let before = Before::of(&state);
        state.high_watermark.count([Some(Offset(12))]);
        let effects = state.hold(before, None, vec![Effect::HighWatermark(Offset(12))]);
        assert_broken(&state, &effects, Invariant::AcknowledgedIsOnDisk, "node 2 has 10 on disk");
    }

    #[test]
    fn what_is_not_on_the_leaders_own_disk_is_not_acknowledged() {
        let mut state = leader();
        told(&mut state, Input::LogChanged(facts(12, 10, EPOCH.0)));
        let before = Before::of(&state);
        state.high_watermark.count([Some(Offset(12))]);
        let effects = state.hold(before, None, vec![Effect::HighWatermark(Offset(12))]);
        assert_broken(&state, &effects, Invariant::AcknowledgedIsOnDisk, "the leader has 10 on disk");
    }

    #[test]
    fn a_follower_that_was_told_to_cut_may_cut() {
        let mut state = follower();
        told(&mut state, Input::Interrupted(EPOCH));
        state.step(Duration::from_secs(1), Input::Tick);
        assert_eq!(told(&mut state, Input::Diverged(EPOCH, Offset(9))), [Effect::Truncate(Offset(9))]);
        told(&mut state, Input::LogChanged(facts(9, 9, 1)));
        assert!(matches!(state.role(), Role::Follower(_)));
    }
}
