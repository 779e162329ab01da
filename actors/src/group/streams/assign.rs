//! Who runs which task: from what members run and how far their stores are to what they are to run. Pure, and the same for
//! the same input.
//!
//! As in KIP-441 in two steps. First the *goal*: an even deal of the active tasks, in which nothing moves that an even deal
//! does not ask for. Then the way there: a task with state goes to its goal when that has its state or nobody has; until then
//! it stays with one that has, and the goal warms up. So a goal is remembered by its warm-up.

mod copies;
mod goals;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::group::message::streams::{StreamsTask, StreamsTasks, StreamsTerms};
use copies::Copies;

/// What is to be dealt out, and among whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Deal {
    /// The tasks, and whether each has state.
    pub(super) tasks: BTreeMap<StreamsTask, bool>,
    /// How.
    pub(super) terms: StreamsTerms,
    /// The members.
    pub(super) members: BTreeMap<Arc<str>, Candidate>,
}

/// A member that tasks may be given to.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidate {
    /// What it was to run before.
    pub(super) was: StreamsTasks,
    /// Active tasks that it has and has not given up: their newest state is there.
    pub(super) holds: BTreeSet<StreamsTask>,
    /// Of how many records of their changelogs its stores lack, where it has any.
    pub(super) lags: BTreeMap<StreamsTask, u64>,
}

/// Tasks by member.
pub(super) type Shares = BTreeMap<Arc<str>, StreamsTasks>;

/// Deals the tasks out. Every member is in the result, if with nothing.
pub(super) fn assign(deal: &Deal) -> Shares {
    let mut shares: Shares =
        deal.members.keys().map(|member| (Arc::clone(member), StreamsTasks::default())).collect();
    if deal.members.is_empty() {
        return shares;
    }
    let standing = Standing::of(deal);
    let goals = goals::goals(deal, &standing);
    let places = places(&standing, &goals);
    for (task, place) in &places {
        share(&mut shares, place).active.insert(*task);
    }
    Copies { deal, standing: &standing, goals: &goals, places: &places }.deal_out(&mut shares);
    shares
}

/// Members by task.
type ByTask = BTreeMap<StreamsTask, Arc<str>>;

fn share<'a>(shares: &'a mut Shares, member: &Arc<str>) -> &'a mut StreamsTasks {
    shares.entry(Arc::clone(member)).or_default()
}

/// What is known of the tasks before.
pub(super) struct Standing {
    /// Where each was to be active.
    active: ByTask,
    /// Where each was warmed up.
    warm_up: ByTask,
    /// Who has each, and has not given it up.
    held: ByTask,
    /// Who has state of each that has any, the one that lacks least first.
    lags: BTreeMap<StreamsTask, Vec<(u64, Arc<str>)>>,
    acceptable_lag: u64,
}

impl Standing {
    fn of(deal: &Deal) -> Self {
        let (mut active, mut warm_up, mut held) = (ByTask::new(), ByTask::new(), ByTask::new());
        let mut lags: BTreeMap<StreamsTask, Vec<(u64, Arc<str>)>> = BTreeMap::new();
        let is_there = |task: &&StreamsTask| deal.tasks.contains_key(task);
        for (member, candidate) in &deal.members {
            for task in candidate.was.active.iter().filter(is_there) {
                active.entry(*task).or_insert_with(|| Arc::clone(member));
            }
            for task in candidate.was.warm_up.iter().filter(is_there) {
                warm_up.entry(*task).or_insert_with(|| Arc::clone(member));
            }
            held.extend(candidate.holds.iter().map(|task| (*task, Arc::clone(member))));
            // Whoever was told to run a task is on the way there, and would lose more by a way back than by the rest of it.
            let runs: BTreeSet<_> = candidate.holds.union(&candidate.was.active).collect();
            let others = candidate.lags.iter().filter(|(task, _)| !runs.contains(task));
            let others: Vec<_> = others.map(|(task, lag)| (task, *lag)).collect();
            for (task, lag) in runs.into_iter().map(|task| (task, 0)).chain(others) {
                if deal.tasks.get(task).is_some_and(|is_stateful| *is_stateful) {
                    lags.entry(*task).or_default().push((lag, Arc::clone(member)));
                }
            }
        }
        lags.values_mut().for_each(|of_task| of_task.sort());
        Self { active, warm_up, held, lags, acceptable_lag: deal.terms.acceptable_lag }
    }

    /// Who has state of a task, the one that lacks least first.
    fn with_state(&self, task: &StreamsTask) -> &[(u64, Arc<str>)] {
        self.lags.get(task).map_or(&[], Vec::as_slice)
    }

    /// Who could be given a task at once, the one that lacks least first.
    fn caught_up(&self, task: &StreamsTask) -> impl Iterator<Item = &Arc<str>> {
        let is_near = |(lag, _): &&(u64, Arc<str>)| *lag <= self.acceptable_lag;
        self.with_state(task).iter().take_while(is_near).map(|(_, member)| member)
    }

    fn is_caught_up(&self, task: &StreamsTask, member: &Arc<str>) -> bool {
        self.caught_up(task).any(|other| other == member)
    }

    /// Where a task is on its way to, or is: what an even deal begins from.
    fn goal(&self, task: &StreamsTask) -> Option<&Arc<str>> {
        self.warm_up.get(task).or_else(|| self.active.get(task))
    }
}

/// Where each task is to be active now.
fn places(standing: &Standing, goals: &ByTask) -> ByTask {
    let place = |task: &StreamsTask, goal: &Arc<str>| {
        let mut ready = standing.caught_up(task).peekable();
        let Some(first) = ready.peek().copied() else { return Arc::clone(goal) };
        if standing.is_caught_up(task, goal) {
            return Arc::clone(goal);
        }
        let was = standing.active.get(task).filter(|was| standing.is_caught_up(task, was));
        Arc::clone(was.unwrap_or(first))
    };
    goals.iter().map(|(task, goal)| (*task, place(task, goal))).collect()
}
