//! Time went by: who was silent too long is out, and waits come to their end.

use std::sync::Arc;

use super::notice::{Cause, Leaving, Why};
use super::round::Round;
use super::turn::Turn;
use super::{ClassicGroup, ClassicState};

impl Turn<'_> {
    pub(super) fn tick(&mut self) {
        self.expire_promised();
        let round = self.machine.round.as_ref().map(Round::ends_ms);
        if let Some(ends_ms) = round.filter(|ends_ms| *ends_ms <= self.now_ms()) {
            // Who waits as long as a round takes is answered by it, and not put out in the same moment.
            self.expire_members(ends_ms.saturating_sub(1));
            self.end_round();
        }
        self.expire_members(self.now_ms());
        self.end_sync();
        self.machine.wake_ms = self.machine.earliest_ms();
    }

    /// Ids that nobody came with. A rebalance that waited only for them is complete.
    fn expire_promised(&mut self) {
        let now_ms = self.now_ms();
        let before = self.machine.promised.len();
        self.machine.promised.retain(|_, ends_ms| *ends_ms > now_ms);
        if self.machine.promised.len() < before {
            self.complete_even_initially();
        }
    }

    /// Members that were silent for a session, in one change.
    fn expire_members(&mut self, until_ms: u64) {
        let is_overdue = |ends_ms: u64| ends_ms <= until_ms;
        let overdue =
            self.machine.members.iter().filter(|member| member.deadline_ms().is_some_and(is_overdue));
        let overdue: Vec<_> = overdue.map(|member| Arc::clone(&member.id)).collect();
        for member in &overdue {
            self.remove_member(member, Leaving::SessionTimeout, None);
        }
        let Some(first) = overdue.first() else { return };
        match self.machine.state {
            ClassicState::Stable | ClassicState::CompletingRebalance => {
                self.rebalance(Why::member(Cause::SessionTimeout, first, None));
            }
            _ => self.complete_even_initially(),
        }
    }
}

impl ClassicGroup {
    fn earliest_ms(&self) -> u64 {
        let members = self.members.iter().filter_map(super::member::Member::deadline_ms);
        let promised = self.promised.values().copied();
        let round = self.round.as_ref().map(Round::ends_ms);
        let sync = (!self.unsynced.is_empty()).then_some(self.sync_ends_ms);
        members.chain(promised).chain(round).chain(sync).min().unwrap_or(u64::MAX)
    }
}
