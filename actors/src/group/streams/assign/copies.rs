//! Where tasks are warmed up, and who keeps copies of their stores.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{ByTask, Deal, Shares, Standing, share};
use crate::group::message::streams::StreamsTask;

/// What warm-ups and stand-bys are dealt out by.
pub(super) struct Copies<'a> {
    pub(super) deal: &'a Deal,
    pub(super) standing: &'a Standing,
    pub(super) goals: &'a ByTask,
    pub(super) places: &'a ByTask,
}

impl Copies<'_> {
    /// Deals warm-ups and stand-bys out, beside active tasks that are.
    pub(super) fn deal_out(&self, shares: &mut Shares) {
        let mut taken: BTreeMap<StreamsTask, BTreeSet<Arc<str>>> = BTreeMap::new();
        for (task, place) in self.places {
            taken.entry(*task).or_default().insert(Arc::clone(place));
        }
        let mut standbys = StandBys::of(self.deal, taken);
        self.warm_up(shares, &mut standbys);
        let kept: Vec<_> = self.former().collect();
        for (task, member) in kept {
            standbys.give(task, member, true);
        }
        for task in self.stateful() {
            while standbys.lacks(&task) {
                let with_state = self.standing.with_state(&task).iter().map(|(_, member)| member);
                let taker = with_state.into_iter().find(|member| standbys.may(&task, member, true));
                let Some(taker) = taker.cloned().or_else(|| standbys.emptiest(&task)) else { break };
                standbys.give(task, &taker, false);
            }
        }
        for (task, member) in standbys.given {
            share(shares, &member).standby.insert(task);
        }
    }

    fn stateful(&self) -> impl Iterator<Item = StreamsTask> {
        self.deal.tasks.iter().filter(|(_, is_stateful)| **is_stateful).map(|(task, _)| *task)
    }

    /// Who kept copies of what before.
    fn former(&self) -> impl Iterator<Item = (StreamsTask, &Arc<str>)> {
        self.deal
            .members
            .iter()
            .flat_map(|(member, candidate)| candidate.was.standby.iter().map(move |task| (*task, member)))
    }

    /// Has tasks warmed up where they are to be, those first that are already. A copy that is there is as good.
    fn warm_up(&self, shares: &mut Shares, standbys: &mut StandBys) {
        let away = self.goals.iter().filter(|(task, goal)| self.places.get(task) != Some(goal));
        let is_warm = |task: &StreamsTask, goal: &Arc<str>| self.standing.warm_up.get(task) == Some(goal);
        let mut away: Vec<_> = away.map(|(task, goal)| (!is_warm(task, goal), *task, goal)).collect();
        away.sort();
        let mut most = self.deal.terms.warm_up_max.max(1);
        for (_, task, goal) in away {
            let was_standby =
                self.deal.members.get(goal).is_some_and(|member| member.was.standby.contains(&task));
            if was_standby && standbys.lacks(&task) {
                standbys.give(task, goal, false);
            } else if most > 0 {
                most -= 1;
                standbys.taken.entry(task).or_default().insert(Arc::clone(goal));
                share(shares, goal).warm_up.insert(task);
            }
        }
    }
}

/// Stand-bys, as they are given.
struct StandBys {
    given: BTreeSet<(StreamsTask, Arc<str>)>,
    /// Who has to do with each task already.
    taken: BTreeMap<StreamsTask, BTreeSet<Arc<str>>>,
    /// How many copies each task has.
    copies: BTreeMap<StreamsTask, usize>,
    loads: BTreeMap<Arc<str>, usize>,
    /// How many copies each task is to have.
    wanted: usize,
    /// How many each member is to keep, if there is a choice.
    even: usize,
    stateful: BTreeSet<StreamsTask>,
}

impl StandBys {
    fn of(deal: &Deal, taken: BTreeMap<StreamsTask, BTreeSet<Arc<str>>>) -> Self {
        let members = deal.members.len();
        let wanted = usize::from(deal.terms.standbys).min(members.saturating_sub(1));
        let stateful: BTreeSet<_> =
            deal.tasks.iter().filter(|(_, is_stateful)| **is_stateful).map(|(task, _)| *task).collect();
        Self {
            given: BTreeSet::new(),
            taken,
            copies: BTreeMap::new(),
            loads: deal.members.keys().map(|member| (Arc::clone(member), 0)).collect(),
            wanted,
            even: (stateful.len() * wanted).div_ceil(members.max(1)),
            stateful,
        }
    }

    fn lacks(&self, task: &StreamsTask) -> bool {
        self.stateful.contains(task) && self.copies.get(task).copied().unwrap_or(0) < self.wanted
    }

    fn may(&self, task: &StreamsTask, member: &Arc<str>, evenly: bool) -> bool {
        let Some(load) = self.loads.get(member) else { return false };
        let is_taken = self.taken.get(task).is_some_and(|taken| taken.contains(member));
        self.lacks(task) && !is_taken && (!evenly || *load < self.even)
    }

    /// Gives a copy to a member, if that may have it.
    fn give(&mut self, task: StreamsTask, member: &Arc<str>, evenly: bool) {
        if !self.may(&task, member, evenly) {
            return;
        }
        self.given.insert((task, Arc::clone(member)));
        self.taken.entry(task).or_default().insert(Arc::clone(member));
        *self.copies.entry(task).or_default() += 1;
        self.loads.entry(Arc::clone(member)).and_modify(|load| *load += 1);
    }

    /// The member with the fewest copies of those that may have one of this task.
    fn emptiest(&self, task: &StreamsTask) -> Option<Arc<str>> {
        let may = self.loads.iter().filter(|(member, _)| self.may(task, member, false));
        may.min_by_key(|(_, load)| **load).map(|(member, _)| Arc::clone(member))
    }
}
