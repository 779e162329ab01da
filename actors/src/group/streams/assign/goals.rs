//! An even deal of active tasks, in which as little moves as an even deal allows.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ByTask, Deal, Standing};
use crate::group::message::streams::StreamsTask;

/// Where each task is to be in the end: tasks with state within one of each other per member, and all tasks too.
pub(super) fn goals(deal: &Deal, standing: &Standing) -> ByTask {
    let mut goals = ByTask::new();
    for is_stateful in [true, false] {
        let of_kind = deal.tasks.iter().filter(|(_, stateful)| **stateful == is_stateful);
        let tasks: Vec<StreamsTask> = of_kind.map(|(task, _)| *task).collect();
        let room = Room::beside(&goals, deal, tasks.len());
        Kind { standing, tasks, room }.deal_out(&mut goals);
    }
    goals
}

/// How many tasks each member has, and may have.
struct Room<'a> {
    loads: BTreeMap<&'a Arc<str>, usize>,
    /// What every member has in the end.
    floor: usize,
    /// How many members may have one more.
    extra: usize,
}

impl<'a> Room<'a> {
    /// For so many tasks more than there are goals.
    fn beside(goals: &ByTask, deal: &'a Deal, more: usize) -> Self {
        let mut had: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for goal in goals.values() {
            *had.entry(goal).or_default() += 1;
        }
        let loads: BTreeMap<_, _> =
            deal.members.keys().map(|member| (member, had.get(member).copied().unwrap_or(0))).collect();
        let (total, members) = (goals.len() + more, loads.len().max(1));
        let floor = total / members;
        let above = loads.values().filter(|load| **load > floor).count();
        Self { floor, extra: (total % members).saturating_sub(above), loads }
    }

    /// Takes a place at a member, one of those that everybody has.
    fn take(&mut self, member: &Arc<str>) -> bool {
        match self.loads.get_mut(member) {
            Some(load) if *load < self.floor => {
                *load += 1;
                true
            }
            Some(_) | None => false,
        }
    }

    /// The same, or one of those that are left over.
    fn take_any(&mut self, member: &Arc<str>) -> bool {
        if self.take(member) {
            return true;
        }
        match self.loads.get_mut(member) {
            Some(load) if *load == self.floor && self.extra > 0 => {
                *load += 1;
                self.extra -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    /// The member with the fewest.
    fn emptiest(&self) -> Option<&'a Arc<str>> {
        self.loads.iter().min_by_key(|(_, load)| **load).map(|(member, _)| *member)
    }
}

/// Tasks that are dealt out evenly among themselves.
struct Kind<'a> {
    standing: &'a Standing,
    tasks: Vec<StreamsTask>,
    room: Room<'a>,
}

impl Kind<'_> {
    fn deal_out(mut self, goals: &mut ByTask) {
        let left = self.keep(goals);
        let left = self.give_to_those_ready(left, goals);
        for task in left {
            let with_state = self.standing.with_state(&task).iter().map(|(_, member)| member);
            let taker = with_state.chain(self.room.emptiest()).find(|member| self.room.take_any(member));
            goals.extend(taker.map(|member| (task, Arc::clone(member))));
        }
    }

    /// Lets each member keep what it has, as far as that is even. What is left over.
    fn keep(&mut self, goals: &mut ByTask) -> Vec<StreamsTask> {
        let (mut had, mut left): (BTreeMap<&Arc<str>, Vec<StreamsTask>>, Vec<_>) = Default::default();
        for task in &self.tasks {
            match self.standing.goal(task).filter(|goal| self.room.loads.contains_key(goal)) {
                Some(goal) => had.entry(goal).or_default().push(*task),
                None => left.push(*task),
            }
        }
        // What another could take at once is given away first, then what is not there yet.
        let is_wanted = |task: &StreamsTask, member: &Arc<str>| {
            self.standing.caught_up(task).any(|other| other != member)
        };
        let is_held = |task: &StreamsTask, member: &Arc<str>| self.standing.held.get(task) == Some(member);
        for (member, tasks) in &mut had {
            tasks.sort_by_key(|task| (is_wanted(task, member), !is_held(task, member), *task));
        }
        let mut over = Vec::new();
        for (member, tasks) in had {
            for task in tasks {
                if self.room.take(member) {
                    goals.insert(task, Arc::clone(member));
                } else {
                    over.push((member, task));
                }
            }
        }
        for (member, task) in over {
            if self.room.take_any(member) {
                goals.insert(task, Arc::clone(member));
            } else {
                left.push(task);
            }
        }
        left.sort();
        left
    }

    /// Gives tasks to members that are ready for them and have room. What is left over.
    fn give_to_those_ready(&mut self, tasks: Vec<StreamsTask>, goals: &mut ByTask) -> Vec<StreamsTask> {
        let mut left = Vec::new();
        for task in tasks {
            let taker = self.standing.caught_up(&task).find(|member| self.room.take_any(member));
            match taker {
                Some(member) => {
                    goals.insert(task, Arc::clone(member));
                }
                None => left.push(task),
            }
        }
        left
    }
}
