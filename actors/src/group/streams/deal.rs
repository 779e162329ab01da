//! Tasks dealt out, and how a member gets from what it runs to what it is to run, one answer at a time.
//!
//! A member is told at once what it is to give up, and what it is to begin as far as it is free; the rest when others have
//! given it up. So a task is never active at two, and a member that keeps what it has never stops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::assign::{Candidate, Deal, Shares, assign};
use super::record::{StreamsCurrent, StreamsRecord};
use super::{Notice, Turn};
use crate::group::message::streams::{StreamsHeartbeat, StreamsTask, StreamsTasks};

impl Turn<'_> {
    /// After a change: goes on to a new epoch, and deals all tasks out for it.
    pub(super) fn regroup(&mut self) {
        let epoch = self.state.epoch.saturating_add(1);
        self.write(StreamsRecord::Epoch(Some(epoch)));
        let deal = self.deal();
        let mut affected = 0;
        for (member, share) in self.shares(&deal) {
            if self.state.targets.get(&member) != Some(&share) {
                affected += 1;
                self.write(StreamsRecord::Target { member, value: Some(share) });
            }
        }
        self.write(StreamsRecord::TargetEpoch(Some(epoch)));
        let tasks = &deal.tasks;
        let fenced = self.state.fences.values().flatten();
        // Nobody will run these again: what was left open there ends by its time.
        let gone: BTreeSet<StreamsTask> = fenced.filter(|task| !tasks.contains_key(*task)).copied().collect();
        self.end_fences(&gone);
        let (members, partitions) = (self.state.members.len(), tasks.len());
        self.notices.push(Notice::Retargeted { epoch, members, partitions, affected });
    }

    /// Whether tasks would be dealt out otherwise than they are.
    pub(super) fn is_dealt_otherwise(&self) -> bool {
        let shares = self.shares(&self.deal());
        shares.iter().any(|(member, share)| self.state.target(member) != share)
    }

    /// Whether every task is somebody's to run, where there is somebody who may.
    pub(super) fn is_all_dealt(&self) -> bool {
        let deal = self.deal();
        let dealt: usize = self.state.targets.values().map(|target| target.active.len()).sum();
        deal.members.is_empty() || dealt == deal.tasks.len()
    }

    /// What there is to be dealt out, and the members that know the topology.
    fn deal(&self) -> Deal {
        let Some(topology) = &self.state.topology else { return Deal::default() };
        let tasks = topology.parts.iter().flat_map(|part| {
            let (number, is_stateful) = (part.part, part.is_stateful);
            (0..part.tasks).map(move |partition| (StreamsTask { part: number, partition }, is_stateful))
        });
        let members = self.state.members.iter();
        let members = members.filter(|(_, metadata)| metadata.topology_epoch == topology.epoch);
        let candidate = |member: &Arc<str>| Candidate {
            was: self.state.target(member).clone(),
            holds: self.state.current(member).held().copied().collect(),
            lags: self.live.lags(member).clone(),
        };
        Deal {
            tasks: tasks.collect(),
            terms: topology.terms,
            members: members.map(|(member, _)| (Arc::clone(member), candidate(member))).collect(),
        }
    }

    /// What everybody is to run; members that do not know the topology nothing.
    fn shares(&self, deal: &Deal) -> Shares {
        let mut shares = assign(deal);
        for member in self.state.members.keys() {
            shares.entry(Arc::clone(member)).or_default();
        }
        shares
    }

    /// Takes in how far a member's stores are. True if it came near enough to a task to be given it, or is not near any more.
    pub(super) fn take_lags(&mut self, member: &Arc<str>, request: &StreamsHeartbeat) -> bool {
        let acceptable = self.state.topology.as_ref().map_or(0, |topology| topology.terms.acceptable_lag);
        let near = |lags: &BTreeMap<StreamsTask, u64>| -> BTreeSet<StreamsTask> {
            lags.iter().filter(|(_, lag)| **lag <= acceptable).map(|(task, _)| *task).collect()
        };
        let lags: BTreeMap<StreamsTask, u64> = request.lags.iter().copied().collect();
        let is_other = near(self.live.lags(member)) != near(&lags);
        self.live.says_lags(member, lags);
        is_other
    }

    /// Brings a member nearer to its target.
    pub(super) fn reconcile(&mut self, member: &Arc<str>) {
        let state = &*self.state;
        let (current, target) = (state.current(member), state.target(member));
        let is_free = |task: &StreamsTask| state.owner(task).is_none_or(|owner| owner == member);
        let (active, awaited): (BTreeSet<_>, BTreeSet<_>) =
            target.active.iter().copied().partition(|task| is_free(task));
        // Who waits for a task goes on with its copy.
        let with_awaited = |target: &BTreeSet<StreamsTask>, current: &BTreeSet<StreamsTask>| {
            target.iter().chain(current.intersection(&awaited)).copied().collect()
        };
        let next = StreamsCurrent {
            epoch: state.target_epoch,
            revoking: current.held().filter(|task| !active.contains(task)).copied().collect(),
            tasks: StreamsTasks {
                standby: with_awaited(&target.standby, &current.tasks.standby),
                warm_up: with_awaited(&target.warm_up, &current.tasks.warm_up),
                active,
            },
        };
        if next != *current {
            self.write(StreamsRecord::Current { member: Arc::clone(member), value: Some(next) });
        }
    }
}
