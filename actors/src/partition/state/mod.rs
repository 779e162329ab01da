//! What a replica decides: pure, `(now, input) → effects`. Performs nothing, waits for nothing.
//!
//! [`ReplicaState::step`] is the only way in. The actor that owns it performs the effects in their order and tells
//! the outcome of those that have one as the next input. `now` is monotonic time since any fixed point.
//!
//! Keeps true: a replica leads only in an epoch that it opened in its present life (rule 1); the high watermark is
//! the least durable end over every member of every set that may be in force (rule 2).

mod effect;
mod follower;
mod high_watermark;
mod in_sync;
mod input;
mod leader;
mod progress;
mod promises;
pub mod truncate;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use effect::{Effect, Failure, InSyncChange, ResignReason};
pub use follower::{Admission, Follower, Phase};
pub use high_watermark::HighWatermark;
pub use in_sync::{ChangeOutcome, InSyncSet};
pub use input::Input;
pub use leader::{Joined, Leader};
pub use progress::{AppendTimes, Progress};

use promises::Before;

use crate::ids::{LeaderEpoch, Member, Offset};
use crate::image::assignment::Assignment;
use crate::topic_config::FlushPolicy;

/// Bounds of a replica's patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `replica.lag.time.max.ms`: a member so long behind leaves the set.
    pub replica_lag_max: Duration,
    /// `leader.sync.lag.max.ms`: a leader whose own disk is so far behind resigns.
    pub leader_sync_lag_max: Duration,
    /// How often a replica with something under way looks at the clock.
    pub tick: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            replica_lag_max: Duration::from_secs(10),
            leader_sync_lag_max: Duration::from_millis(500),
            tick: Duration::from_millis(100),
        }
    }
}

/// What the state knows of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFacts {
    /// First offset still there.
    pub start: Offset,
    /// The offset of the next record.
    pub end: Offset,
    /// What counts as durable: synced (`sync`) or appended (`os`).
    pub durable_end: Offset,
    /// The leader epoch of the last batch.
    pub last_epoch: Option<LeaderEpoch>,
}

/// What a replica is.
#[derive(Clone, Debug)]
pub enum Role {
    /// Has not been told, or follows.
    Follower(Follower),
    /// Leads.
    Leader(Box<Leader>),
    /// Serves nobody.
    Offline(Failure),
}

/// One replica's state.
#[derive(Clone, Debug)]
pub struct ReplicaState {
    me: Member,
    settings: Settings,
    /// Epochs up to this one were opened by a replica before this one in the same life of the process.
    floor: Option<LeaderEpoch>,
    assignment: Option<Assignment>,
    role: Role,
    log: LogFacts,
    high_watermark: HighWatermark,
    damaged_from: Option<Offset>,
}

impl ReplicaState {
    /// A replica that has been told nothing yet. It never leads in an epoch up to `floor`.
    #[must_use]
    pub fn new(
        me: Member,
        settings: Settings,
        floor: Option<LeaderEpoch>,
        log: LogFacts,
        high_watermark: Offset,
    ) -> Self {
        let mut heard = HighWatermark::heard(high_watermark.min(log.end));
        heard.starts_at(log.start);
        Self {
            me,
            settings,
            floor,
            assignment: None,
            role: Role::Follower(Follower::new(LeaderEpoch(-1), None)),
            log,
            high_watermark: heard,
            damaged_from: None,
        }
    }

    /// Takes what happened; returns what is to be done, in order.
    pub fn step(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        let before = Before::of(self);
        let told_durable = if let Input::Durable(end) = &input { Some(*end) } else { None };
        let effects = self.decide(now, input);
        self.hold(before, told_durable, effects)
    }

    fn decide(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Assigned(assignment) => self.assigned(now, assignment, &mut effects),
            Input::LogChanged(log) => self.log_changed(now, log, &mut effects),
            Input::Durable(end) => self.durable(end, &mut effects),
            Input::Damaged(from) => self.damaged(now, from, &mut effects),
            Input::Failed(failure) => self.fail(failure, &mut effects),
            Input::Tick => self.tick(now, &mut effects),
            Input::Joined(epoch, _)
            | Input::Reported(epoch, ..)
            | Input::Begins(epoch, ..)
            | Input::Promised(epoch, _)
            | Input::Detached(epoch, _)
            | Input::Left(epoch, _)
            | Input::Settled(epoch, ..) => {
                if let Role::Leader(leader) = &mut self.role
                    && leader.epoch() == epoch
                {
                    as_leader(leader, now, input, self.log, self.high_watermark.value(), &mut effects);
                }
            }
            Input::Accepted(epoch, _)
            | Input::Diverged(epoch, _)
            | Input::OutOfRange(epoch, _)
            | Input::Interrupted(epoch)
            | Input::Heard(epoch, ..)
            | Input::LeftSet(epoch) => {
                if self.epoch() == epoch {
                    self.as_follower(now, &input, &mut effects);
                }
            }
        }
        match &mut self.role {
            Role::Leader(leader) => {
                leader.refresh(now, &self.settings, self.log, &mut self.high_watermark, &mut effects);
            }
            Role::Follower(follower) => {
                let is_in_sync =
                    self.assignment.as_ref().is_none_or(|assigned| assigned.in_sync.contains(&self.me));
                if follower.speaks_again(now, is_in_sync) {
                    effects.push(Effect::Report(follower.epoch(), self.log.durable_end));
                }
            }
            Role::Offline(_) => {}
        }
        effects
    }

    fn assigned(&mut self, now: Duration, new: Assignment, effects: &mut Vec<Effect>) {
        let before = self.assignment.as_ref();
        let before = before.map(|before| (before.epoch, before.set_version, before.leader));
        if before.is_some_and(|(epoch, version, _)| (new.epoch, new.set_version) < (epoch, version)) {
            return;
        }
        let is_same_term =
            before.is_some_and(|(epoch, _, leader)| epoch == new.epoch && leader == new.leader);
        let is_new_epoch = before.is_none_or(|(epoch, ..)| epoch < new.epoch);
        match &mut self.role {
            Role::Leader(leader) if is_same_term => leader.assigned(now, &new),
            Role::Follower(follower) if is_same_term => {
                // Who was taken out of the set is let in again only after it has spoken.
                if follower.phase() == Phase::Streaming && !new.in_sync.contains(&self.me) {
                    effects.push(Effect::Report(follower.epoch(), self.log.durable_end));
                }
            }
            Role::Offline(Failure::WouldLoseCommitted) if tolerates_loss(&new) => {
                self.new_term(now, &new, is_new_epoch, effects);
            }
            Role::Offline(failure) => {
                if !is_same_term && new.leader == Some(self.me) {
                    let reason = ResignReason::Failed(*failure);
                    effects.push(Effect::Resign { epoch: new.epoch, reason });
                }
            }
            Role::Leader(_) | Role::Follower(_) => self.new_term(now, &new, is_new_epoch, effects),
        }
        self.assignment = Some(new);
    }

    /// Another epoch, or another leader. Only an epoch that was never seen before in this life may be led in.
    fn new_term(&mut self, now: Duration, new: &Assignment, is_new_epoch: bool, effects: &mut Vec<Effect>) {
        self.high_watermark.reopen();
        let is_mine = new.leader == Some(self.me);
        effects.push(Effect::Close);
        if is_mine && is_new_epoch && self.floor.is_none_or(|floor| new.epoch > floor) {
            if self.damaged_from.is_some_and(|from| from >= self.log.end) {
                // Elected as it is: what recovery found damaged behind the end is given up.
                effects.push(Effect::Truncate(self.log.end));
            }
            self.high_watermark.opens_at(self.log.end);
            effects.push(Effect::Opened(new.epoch, self.log.end));
            if self.log.durable_end < self.log.end {
                effects.push(Effect::Sync);
            }
            self.role = Role::Leader(Box::new(Leader::open(now, self.me, new, self.log)));
            return;
        }
        if let Role::Leader(leader) = &self.role {
            effects.push(Effect::SteppedDown(leader.epoch()));
        }
        if is_mine {
            effects.push(Effect::Resign { epoch: new.epoch, reason: ResignReason::NotOpened });
        }
        let leader = new.leader.map(|leader| leader.node).filter(|node| *node != self.me.node);
        let mut follower = Follower::new(new.epoch, leader);
        follower.open(now, self.log, self.damaged_from.is_some(), effects);
        self.role = Role::Follower(follower);
    }

    fn log_changed(&mut self, now: Duration, log: LogFacts, effects: &mut Vec<Effect>) {
        let old_end = self.log.end;
        self.log = log;
        self.high_watermark.starts_at(log.start);
        if self.damaged_from.is_some_and(|from| log.end <= from) {
            self.damaged_from = None;
        }
        match &mut self.role {
            Role::Leader(leader) => {
                if log.end > old_end {
                    leader.appended(now, old_end, log.end);
                }
            }
            Role::Follower(follower) => {
                self.high_watermark.cut(log.end);
                if follower.phase() == Phase::Cutting {
                    follower.open(now, log, self.damaged_from.is_some(), effects);
                }
            }
            Role::Offline(_) => {}
        }
    }

    fn durable(&mut self, end: Offset, effects: &mut Vec<Effect>) {
        self.log.durable_end = end.min(self.log.end);
        if let Role::Follower(follower) = &self.role
            && follower.phase() == Phase::Streaming
        {
            effects.push(Effect::Report(follower.epoch(), self.log.durable_end));
        }
    }

    fn damaged(&mut self, now: Duration, from: Offset, effects: &mut Vec<Effect>) {
        let is_news = self.damaged_from.is_none_or(|known| from < known);
        if !is_news {
            return;
        }
        self.damaged_from = Some(from);
        match &mut self.role {
            Role::Leader(_) => self.tick(now, effects),
            Role::Follower(follower) => follower.open(now, self.log, true, effects),
            Role::Offline(_) => {}
        }
    }

    fn fail(&mut self, failure: Failure, effects: &mut Vec<Effect>) {
        let epoch = self.epoch();
        match &self.role {
            Role::Leader(leader) => effects.push(Effect::SteppedDown(leader.epoch())),
            Role::Follower(follower) => {
                effects.extend(follower.leader().map(|leader| Effect::Leave { leader, epoch }));
            }
            Role::Offline(_) => return,
        }
        effects.push(Effect::Resign { epoch, reason: ResignReason::Failed(failure) });
        effects.push(Effect::Close);
        effects.push(Effect::Offline(failure));
        self.role = Role::Offline(failure);
    }

    fn tick(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        match &mut self.role {
            Role::Leader(leader) => {
                leader.tick(now, &self.settings, self.log, effects);
                // Alone it goes on: what is not damaged is still served, and nobody could heal the rest.
                if let Some(from) = self.damaged_from
                    && leader.in_sync().committed().len() > 1
                {
                    effects
                        .push(Effect::Resign { epoch: leader.epoch(), reason: ResignReason::Damaged(from) });
                }
            }
            Role::Follower(follower) => {
                let is_due = follower.due().is_some_and(|due| due <= now);
                if is_due && follower.phase() != Phase::Streaming {
                    follower.open(now, self.log, self.damaged_from.is_some(), effects);
                }
            }
            Role::Offline(_) => {}
        }
    }

    fn as_follower(&mut self, now: Duration, input: &Input, effects: &mut Vec<Effect>) {
        let Role::Follower(follower) = &mut self.role else { return };
        match input {
            Input::Accepted(epoch, end) if follower.accepted(*end, self.log) => {
                effects.push(Effect::Report(*epoch, self.log.durable_end));
            }
            Input::Diverged(_, at) => self.cut(*at, Effect::Truncate(*at), effects),
            Input::OutOfRange(_, start) => self.cut(*start, Effect::Reset(*start), effects),
            Input::Interrupted(_) => follower.pause(now),
            Input::Heard(_, leaders, start) if follower.phase() == Phase::Streaming => {
                self.high_watermark.hear(*leaders, self.log.end);
                let start = (*start).min(self.high_watermark.value());
                if start > self.log.start {
                    effects.push(Effect::AdvanceStart(start));
                }
            }
            Input::LeftSet(_) => {
                if let Some(from) = self.damaged_from
                    && follower.left()
                {
                    effects.push(Effect::Truncate(from));
                }
            }
            _ => {}
        }
    }

    /// Gives up what differs from the leader's log. What was committed is given up only where the topic accepts it.
    fn cut(&mut self, at: Offset, how: Effect, effects: &mut Vec<Effect>) {
        let Role::Follower(follower) = &mut self.role else { return };
        if !follower.cutting() {
            return;
        }
        if at < self.high_watermark.value() && !self.assignment.as_ref().is_some_and(tolerates_loss) {
            self.fail(Failure::WouldLoseCommitted, effects);
        } else {
            effects.push(how);
        }
    }

    /// The greatest epoch heard of; before any, one less than the first.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.assignment.as_ref().map_or(LeaderEpoch(-1), |assignment| assignment.epoch)
    }

    /// What the image says.
    #[must_use]
    pub fn assignment(&self) -> Option<&Assignment> {
        self.assignment.as_ref()
    }

    /// What it is.
    #[must_use]
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// What it knows of its log.
    #[must_use]
    pub fn log(&self) -> LogFacts {
        self.log
    }

    /// The high watermark.
    #[must_use]
    pub fn high_watermark(&self) -> HighWatermark {
        self.high_watermark
    }

    /// Where the log is damaged, if it is.
    #[must_use]
    pub fn damaged_from(&self) -> Option<Offset> {
        self.damaged_from
    }

    /// What to do with batches of this epoch that begin at `base`.
    #[must_use]
    pub fn admits(&self, epoch: LeaderEpoch, base: Offset) -> Admission {
        match &self.role {
            Role::Follower(follower) => follower.admits(epoch, base, self.log),
            Role::Leader(_) | Role::Offline(_) => Admission::Stale,
        }
    }

    /// When it wants to be told that time has passed; `None` while nothing is under way.
    #[must_use]
    pub fn wants_tick(&self, now: Duration) -> Option<Duration> {
        match &self.role {
            Role::Leader(leader) => {
                let restless = self.damaged_from.is_some() || leader.is_restless(self.log);
                restless.then(|| now + self.settings.tick)
            }
            Role::Follower(follower) => follower.due(),
            Role::Offline(_) => None,
        }
    }
}

/// Whether following may cut away what this replica knows to be committed: the topic accepts losses.
fn tolerates_loss(assignment: &Assignment) -> bool {
    assignment.config.unclean_leader_election || assignment.config.flush_policy == FlushPolicy::Os
}

fn as_leader(
    leader: &mut Leader,
    now: Duration,
    input: Input,
    log: LogFacts,
    high_watermark: Offset,
    effects: &mut Vec<Effect>,
) {
    match input {
        Input::Joined(_, follower) => {
            leader.joined(now, follower, log, high_watermark);
        }
        Input::Reported(_, member, durable_end) => {
            leader.reported(now, member, durable_end, log, high_watermark);
        }
        Input::Begins(_, member, log_start) => leader.begins(member, log_start),
        Input::Promised(_, start) => leader.promised(start),
        Input::Detached(_, member) => leader.detached(member),
        Input::Left(_, member) => {
            let gone = leader.left(member);
            effects.push(Effect::AnswerLeave(member, gone));
        }
        Input::Settled(_, attempt, outcome) => leader.settle(now, attempt, outcome),
        _ => {}
    }
}
