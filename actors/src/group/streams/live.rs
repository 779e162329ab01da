//! What is known of members, and in no record: until when something has to be heard of them, and what they said last.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::group::message::streams::{StreamsTask, StreamsTasks};
use crate::group::modern::Leaving;

/// Members that others took the place of, as far as they are remembered.
const REPLACED_MAX: usize = 100;

/// What was heard of the members of a group.
#[derive(Debug)]
pub struct Live {
    heard: BTreeMap<Arc<str>, Heard>,
    /// Members in whose place others joined, the newest last: those that still live are told so.
    replaced: VecDeque<Arc<str>>,
    /// No deadline is earlier. Not exact, because deadlines move with every heartbeat.
    wake_ms: u64,
}

#[derive(Debug)]
struct Heard {
    deadline_ms: u64,
    /// Until when it has to have given these tasks up.
    due: Option<(BTreeSet<StreamsTask>, u64)>,
    running: Option<StreamsTasks>,
    lags: BTreeMap<StreamsTask, u64>,
}

impl Default for Live {
    fn default() -> Self {
        Self { heard: BTreeMap::new(), replaced: VecDeque::new(), wake_ms: u64::MAX }
    }
}

impl Live {
    /// Before when nobody is overdue, in milliseconds of the monotonic clock.
    #[must_use]
    pub fn wake_ms(&self) -> u64 {
        self.wake_ms
    }

    /// What a member said that it runs, if it was heard.
    pub(super) fn running(&self, member: &str) -> Option<&StreamsTasks> {
        self.heard.get(member)?.running.as_ref()
    }

    /// Of how many records a member's stores lack, as it said last.
    pub(super) fn lags(&self, member: &str) -> &BTreeMap<StreamsTask, u64> {
        static NOTHING: BTreeMap<StreamsTask, u64> = BTreeMap::new();
        self.heard.get(member).map_or(&NOTHING, |heard| &heard.lags)
    }

    /// It was heard of, and has to be again before `deadline_ms`, and to have given `revoking` up before `due_ms`.
    pub(super) fn touch(
        &mut self,
        member: &Arc<str>,
        deadline_ms: u64,
        (revoking, due_ms): (&BTreeSet<StreamsTask>, u64),
    ) {
        let heard = self.heard.entry(Arc::clone(member)).or_insert_with(|| Heard {
            deadline_ms,
            due: None,
            running: None,
            lags: BTreeMap::new(),
        });
        heard.deadline_ms = deadline_ms;
        heard.due = match heard.due.take() {
            _ if revoking.is_empty() => None,
            // The time that it has for one of them already goes on.
            Some((before, due_ms)) if !before.is_disjoint(revoking) => {
                Some((before.intersection(revoking).copied().collect(), due_ms))
            }
            _ => Some((revoking.clone(), due_ms)),
        };
        self.wake_ms = self.wake_ms.min(heard.earliest_ms());
    }

    pub(super) fn says_running(&mut self, member: &str, running: StreamsTasks) {
        if let Some(heard) = self.heard.get_mut(member) {
            heard.running = Some(running);
        }
    }

    pub(super) fn says_lags(&mut self, member: &str, lags: BTreeMap<StreamsTask, u64>) {
        if let Some(heard) = self.heard.get_mut(member) {
            heard.lags = lags;
        }
    }

    pub(super) fn is_replaced(&self, member: &str) -> bool {
        self.replaced.iter().any(|replaced| **replaced == *member)
    }

    pub(super) fn replace(&mut self, member: &Arc<str>) {
        self.replaced.push_back(Arc::clone(member));
        if self.replaced.len() > REPLACED_MAX {
            self.replaced.pop_front();
        }
    }

    pub(super) fn forget(&mut self, member: &str) {
        self.heard.remove(member);
    }

    /// Who is out by now, and why.
    pub(super) fn overdue(&self, now_ms: u64) -> Vec<(Arc<str>, Leaving)> {
        let overdue = |heard: &Heard| {
            if heard.deadline_ms <= now_ms {
                return Some(Leaving::SessionTimeout);
            }
            heard.due_ms().filter(|due_ms| *due_ms <= now_ms).map(|_| Leaving::RebalanceTimeout)
        };
        self.heard.iter().filter_map(|(id, heard)| Some((Arc::clone(id), overdue(heard)?))).collect()
    }

    /// Finds the next deadline.
    pub(super) fn look_again(&mut self) {
        self.wake_ms = self.heard.values().map(Heard::earliest_ms).min().unwrap_or(u64::MAX);
    }
}

impl Heard {
    fn due_ms(&self) -> Option<u64> {
        self.due.as_ref().map(|(_, due_ms)| *due_ms)
    }

    fn earliest_ms(&self) -> u64 {
        self.due_ms().unwrap_or(u64::MAX).min(self.deadline_ms)
    }
}
