//! Leading: the followers' progress, the in-sync set, the high watermark.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::high_watermark::HighWatermark;
use super::in_sync::{ChangeOutcome, InSyncSet};
use super::progress::{AppendTimes, Progress};
use super::{Effect, InSyncChange, LogFacts, ResignReason, Settings};
use crate::ids::{Incarnation, LeaderEpoch, Member, NodeId, Offset};
use crate::image::assignment::Assignment;

/// A replica that leads, in one epoch.
#[derive(Clone, Debug)]
pub struct Leader {
    me: Member,
    epoch: LeaderEpoch,
    epoch_start: Offset,
    set: InSyncSet,
    replicas: BTreeSet<NodeId>,
    followers: BTreeMap<NodeId, Progress>,
    appends: AppendTimes,
    /// Members that want out because their logs are damaged.
    leaving: BTreeSet<Member>,
    /// Lives of nodes that are shutting down.
    departing: BTreeSet<(NodeId, Incarnation)>,
    /// Clients were told that nothing before this offset is left: a member that begins earlier would serve it again.
    promised_start: Offset,
    adopted_at: Duration,
}

impl Leader {
    /// Opens the epoch at the end of the own log.
    #[must_use]
    pub fn open(now: Duration, me: Member, assignment: &Assignment, log: LogFacts) -> Self {
        let mut appends = AppendTimes::default();
        if log.durable_end < log.end {
            appends.appended(now, log.end);
        }
        Self {
            me,
            epoch: assignment.epoch,
            epoch_start: log.end,
            set: InSyncSet::new(assignment.set_version, assignment.in_sync.iter().copied()),
            replicas: assignment.replicas.iter().copied().collect(),
            followers: BTreeMap::new(),
            appends,
            leaving: BTreeSet::new(),
            departing: assignment.leaving.iter().copied().collect(),
            promised_start: Offset::ZERO,
            adopted_at: now,
        }
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The end of the log when the epoch was opened.
    #[must_use]
    pub fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// The in-sync set.
    #[must_use]
    pub fn in_sync(&self) -> &InSyncSet {
        &self.set
    }

    /// What is known of a follower.
    #[must_use]
    pub fn follower(&self, node: NodeId) -> Option<&Progress> {
        self.followers.get(&node)
    }

    /// The image has something new for the same epoch.
    pub(super) fn assigned(&mut self, now: Duration, assignment: &Assignment) {
        self.replicas = assignment.replicas.iter().copied().collect();
        self.departing = assignment.leaving.iter().copied().collect();
        let replicas = &self.replicas;
        self.followers.retain(|node, _| replicas.contains(node));
        let before = self.set.committed().clone();
        if self.set.adopt(assignment.set_version, assignment.in_sync.iter().copied()) {
            self.adopted_at = now;
            for member in before {
                if !self.set.committed().contains(&member) {
                    self.detached(member);
                }
            }
        }
    }

    pub(super) fn appended(&mut self, now: Duration, old_end: Offset, end: Offset) {
        self.appends.appended(now, end);
        for follower in self.followers.values_mut() {
            follower.leader_appended(now, old_end);
        }
    }

    /// A follower's log is a beginning of this one: from here on its reports count. A report of an older life of its
    /// node is refused.
    pub(super) fn joined(
        &mut self,
        now: Duration,
        follower: Joined,
        log: LogFacts,
        high_watermark: Offset,
    ) -> bool {
        let Joined { member, end, durable_end } = follower;
        let known = self.followers.get(&member.node);
        let stale = known.is_some_and(|known| known.member.incarnation > member.incarnation);
        if stale || member.node == self.me.node || !self.replicas.contains(&member.node) {
            return false;
        }
        let before = known.filter(|known| known.member == member);
        let reported_before = before.map(|known| known.durable_end);
        let mut progress = Progress::joined(now, member, durable_end.min(end), log.end);
        if let Some(before) = before {
            progress = progress.again(before);
        }
        progress.regressed =
            end < high_watermark.max(reported_before.unwrap_or(Offset::ZERO)) && self.set.may_contain(member);
        self.followers.insert(member.node, progress);
        self.leaving.remove(&member);
        true
    }

    pub(super) fn reported(
        &mut self,
        now: Duration,
        member: Member,
        durable_end: Offset,
        log: LogFacts,
        high_watermark: Offset,
    ) {
        if let Some(follower) =
            self.followers.get_mut(&member.node).filter(|follower| follower.member == member)
        {
            // Nobody has what the leader has not: such a report speaks of another log.
            follower.reported(now, durable_end.min(log.end), log.end);
            follower.regressed &= follower.durable_end < high_watermark;
        }
    }

    /// A follower has this log start on its disk.
    pub(super) fn begins(&mut self, member: Member, log_start: Offset) {
        if let Some(follower) =
            self.followers.get_mut(&member.node).filter(|follower| follower.member == member)
        {
            follower.log_start = log_start;
        }
    }

    /// Clients were told that nothing before this offset is left.
    pub(super) fn promised(&mut self, start: Offset) {
        self.promised_start = self.promised_start.max(start);
    }

    /// The follower's session has ended. What it reported still counts; it has to speak again to be proposed.
    pub(super) fn detached(&mut self, member: Member) {
        if let Some(follower) =
            self.followers.get_mut(&member.node).filter(|follower| follower.member == member)
        {
            follower.speaks = false;
        }
    }

    /// The follower wants to be out of the set, because its log is damaged. True once no set that is or may come
    /// into force names it; it is not proposed again before it has joined again.
    pub(super) fn left(&mut self, member: Member) -> bool {
        if self.followers.get(&member.node).is_some_and(|follower| follower.member == member) {
            self.followers.remove(&member.node);
        }
        let gone = !self.set.may_contain(member);
        if !gone {
            self.leaving.insert(member);
        }
        gone
    }

    pub(super) fn settle(&mut self, now: Duration, attempt: u64, outcome: ChangeOutcome) {
        self.set.settle(now, attempt, outcome);
    }

    /// Brings everything that follows from the facts up to date.
    pub(super) fn refresh(
        &mut self,
        now: Duration,
        settings: &Settings,
        log: LogFacts,
        high_watermark: &mut HighWatermark,
        effects: &mut Vec<Effect>,
    ) {
        self.consider(now, *high_watermark);
        self.count(now, log, high_watermark, effects);
        if let Some(attempt) = self.set.propose(now, self.desired(now, settings, *high_watermark)) {
            if let Some(change) = self.change(attempt) {
                effects.push(Effect::Propose(change));
            }
            self.count(now, log, high_watermark, effects);
        }
    }

    /// Followers outside the set that are near are waited for, before the high watermark moves away from them.
    fn consider(&mut self, now: Duration, high_watermark: HighWatermark) {
        let level = self.level(high_watermark);
        let set = &self.set;
        for follower in self.followers.values_mut() {
            if set.may_contain(follower.member) {
                follower.has_come_in();
            } else {
                follower.consider(now, level);
            }
        }
    }

    /// What a follower needs to have to come into the set.
    fn level(&self, high_watermark: HighWatermark) -> Offset {
        high_watermark.value().max(self.epoch_start)
    }

    fn count(
        &self,
        now: Duration,
        log: LogFacts,
        high_watermark: &mut HighWatermark,
        effects: &mut Vec<Effect>,
    ) {
        let ends = self.set.counted().map(|member| self.durable_end_of(member, log));
        let awaited = self.followers.values().filter(|follower| follower.is_awaited(now));
        let ends = ends.chain(awaited.map(|follower| Some(follower.durable_end)));
        let ends = ends.chain([Some(log.durable_end)]);
        if high_watermark.count(ends) {
            effects.push(Effect::HighWatermark(high_watermark.value()));
        }
    }

    fn durable_end_of(&self, member: Member, log: LogFacts) -> Option<Offset> {
        if member == self.me {
            return Some(log.durable_end);
        }
        let follower = self.followers.get(&member.node).filter(|follower| follower.member == member);
        follower.map(|follower| follower.durable_end)
    }

    /// The set as it should be: members that keep up stay, followers that have caught up come in.
    fn desired(&self, now: Duration, settings: &Settings, high_watermark: HighWatermark) -> BTreeSet<Member> {
        let staying =
            self.set.committed().iter().copied().filter(|member| self.stays(now, *member, settings));
        let level = self.level(high_watermark);
        let caught_up = self.followers.values().filter(|follower| {
            // A member of the set holds the high watermark down itself: it is judged by how long it is behind.
            !self.set.committed().contains(&follower.member)
                && follower.speaks
                && !self.departing.contains(&(follower.member.node, follower.member.incarnation))
                && follower.durable_end >= level
                && follower.log_start >= self.promised_start
                && follower.lag(now) <= settings.replica_lag_max
        });
        let mut desired: BTreeSet<Member> =
            staying.chain(caught_up.map(|follower| follower.member)).collect();
        desired.insert(self.me);
        desired
    }

    fn stays(&self, now: Duration, member: Member, settings: &Settings) -> bool {
        if member == self.me {
            return true;
        }
        match self.followers.get(&member.node) {
            // Another life or another disk of its node speaks now: this one never will again.
            Some(follower) if follower.member != member => false,
            Some(follower) => !follower.regressed && follower.lag(now) <= settings.replica_lag_max,
            None => {
                let silent = now.saturating_sub(self.adopted_at);
                !self.leaving.contains(&member) && silent <= settings.replica_lag_max
            }
        }
    }

    fn change(&self, attempt: u64) -> Option<InSyncChange> {
        self.set.attempt(attempt).map(|members| InSyncChange {
            epoch: self.epoch,
            set_version: self.set.version(),
            attempt,
            members: members.iter().copied().collect(),
        })
    }

    /// Whether the own sync is so slow that another member should lead (rule 7).
    pub(super) fn tick(
        &mut self,
        now: Duration,
        settings: &Settings,
        log: LogFacts,
        effects: &mut Vec<Effect>,
    ) {
        let least = self.followers.values().map(|follower| follower.durable_end).min();
        self.appends.forget(least.map_or(log.durable_end, |least| least.min(log.durable_end)));

        let own = self.appends.lag(now, log.durable_end);
        let faster = self.followers.values().filter(|follower| {
            self.set.committed().contains(&follower.member)
                && follower.durable_end > log.durable_end
                && self.appends.lag(now, follower.durable_end) < own / 2
        });
        if own >= settings.leader_sync_lag_max && faster.count() > 0 {
            effects.push(Effect::Resign { epoch: self.epoch, reason: ResignReason::SyncLag(own) });
        }
    }

    /// Whether anything is under way that time alone may change.
    pub(super) fn is_restless(&self, log: LogFacts) -> bool {
        let behind = |follower: &Progress| follower.durable_end < log.end;
        !self.set.is_settled()
            || log.durable_end < log.end
            || self.followers.values().any(behind)
            || self.set.committed().iter().any(|member| *member != self.me && !self.is_reporting(*member))
    }

    fn is_reporting(&self, member: Member) -> bool {
        self.followers.get(&member.node).is_some_and(|follower| follower.member == member)
    }
}

/// A follower that has opened the partition in this epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Who.
    pub member: Member,
    /// The end of its log, which is a beginning of the leader's.
    pub end: Offset,
    /// How much of it is on its disk.
    pub durable_end: Offset,
}
