//! The way from one generation to the next: who is waited for, how long, and what follows.

use std::sync::Arc;

use super::message::Answer;
use super::notice::{Leaving, Notice, Why};
use super::turn::Turn;
use super::write::Writing;
use super::{ClassicState, refusal};
use crate::error::Refusal;

/// Until when joins are waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Round {
    /// The group was empty. It is waited for more members even when all known ones have joined, and once more after
    /// every wait in which one came, at most for the rebalance timeout.
    Initial {
        ends_ms: u64,
        delay_ms: u64,
        /// What of the rebalance timeout is left after this wait.
        left_ms: u64,
        has_grown: bool,
    },
    /// There were members: it is waited until all of them have joined, at most for the rebalance timeout.
    Further { ends_ms: u64 },
}

impl Round {
    pub(super) fn ends_ms(&self) -> u64 {
        match self {
            Self::Initial { ends_ms, .. } | Self::Further { ends_ms } => *ends_ms,
        }
    }
}

impl Turn<'_> {
    /// After a change of members: begins a rebalance, or completes the one there is if it waited only for this.
    pub(super) fn rebalance_or_complete(&mut self, why: Why) {
        if self.machine.state.can_rebalance() {
            self.rebalance(why);
        } else {
            self.complete_if_joined();
        }
    }

    /// All members are to join again. Who waits for an assignment is told so; others hear it from their heartbeats.
    pub(super) fn rebalance(&mut self, why: Why) {
        if self.machine.state == ClassicState::CompletingRebalance {
            self.drop_assignments(&refusal::rebalancing(&self.machine.id));
        }
        self.machine.unsynced.clear();
        let generation = self.machine.generation;
        self.tell(Notice::Rebalancing { generation, why });
        let was_empty = self.machine.state == ClassicState::Empty;
        self.enter(ClassicState::PreparingRebalance);
        if was_empty {
            self.wait_initially();
        } else if self.machine.have_all_joined() {
            self.complete();
        } else {
            self.wait();
        }
    }

    /// Completes a rebalance if nobody is waited for, except of a group that was empty.
    pub(super) fn complete_if_joined(&mut self) {
        let is_initial = matches!(self.machine.round, Some(Round::Initial { .. }));
        if !is_initial {
            self.complete_even_initially();
        }
    }

    /// Completes a rebalance if nobody is waited for.
    pub(super) fn complete_even_initially(&mut self) {
        if self.machine.state == ClassicState::PreparingRebalance && self.machine.have_all_joined() {
            self.complete();
        }
    }

    /// The time to join is over, if it is.
    pub(super) fn end_round(&mut self) {
        let now_ms = self.now_ms();
        let Some(round) = self.machine.round.filter(|round| round.ends_ms() <= now_ms) else { return };
        match round {
            Round::Initial { has_grown: true, left_ms, delay_ms, .. } if left_ms > 0 => {
                let next_ms = self.around.settings.initial_rebalance_delay_ms.min(left_ms);
                self.start(Round::Initial {
                    ends_ms: now_ms.saturating_add(next_ms),
                    delay_ms: next_ms,
                    left_ms: left_ms.saturating_sub(delay_ms),
                    has_grown: false,
                });
            }
            Round::Initial { .. } | Round::Further { .. } => self.complete(),
        }
    }

    /// The time to sync is over, if it is: members that joined and did not sync are out.
    pub(super) fn end_sync(&mut self) {
        if self.machine.unsynced.is_empty() || self.machine.sync_ends_ms > self.now_ms() {
            return;
        }
        for member in std::mem::take(&mut self.machine.unsynced) {
            self.remove_member(&member, Leaving::SyncTimeout, None);
        }
        self.rebalance(Why::of(super::Cause::SyncTimeout));
    }

    fn wait_initially(&mut self) {
        let delay_ms = self.around.settings.initial_rebalance_delay_ms;
        self.start(Round::Initial {
            ends_ms: self.now_ms().saturating_add(delay_ms),
            delay_ms,
            left_ms: self.machine.members.rebalance_timeout_ms().saturating_sub(delay_ms),
            has_grown: false,
        });
    }

    fn wait(&mut self) {
        let ends_ms = self.now_ms().saturating_add(self.machine.members.rebalance_timeout_ms());
        self.start(Round::Further { ends_ms });
    }

    fn start(&mut self, round: Round) {
        self.machine.wake_by(round.ends_ms());
        self.machine.round = Some(round);
    }

    /// The members that joined, and static ones even if they did not, are the next generation.
    fn complete(&mut self) {
        self.machine.round = None;
        let missing = self.machine.members.iter().filter(|member| member.joining.is_none());
        let missing = missing.filter(|member| member.instance.is_none());
        let missing: Vec<_> = missing.map(|member| Arc::clone(&member.id)).collect();
        for member in missing {
            self.remove_member(&member, Leaving::RebalanceTimeout, None);
        }
        if self.machine.members.is_empty() {
            self.empty();
        } else if let Some(leader) = self.joined_leader() {
            self.begin(leader);
        } else {
            let generation = self.machine.generation;
            self.tell(Notice::Postponed { generation });
            self.wait();
        }
    }

    /// The leader if it joined, else one that did.
    fn joined_leader(&self) -> Option<Arc<str>> {
        let members = &self.machine.members;
        let leader = self.machine.leader.as_deref().and_then(|leader| members.get(leader));
        let first = || members.iter().find(|member| member.joining.is_some());
        let joined = leader.filter(|leader| leader.joining.is_some()).or_else(first);
        joined.map(|member| Arc::clone(&member.id))
    }

    fn begin(&mut self, leader: Arc<str>) {
        self.machine.leader = Some(Arc::clone(&leader));
        self.machine.generation = self.machine.generation.saturating_add(1);
        self.machine.protocol = self.machine.members.vote();
        self.read_topics();
        self.enter(ClassicState::CompletingRebalance);
        self.machine.unsynced = self.machine.members.iter().map(|member| Arc::clone(&member.id)).collect();
        let members: Vec<_> = self.machine.unsynced.iter().cloned().collect();
        for member in &members {
            self.answer_joined(member);
            self.machine.members.set_settled(member);
            self.touch(member);
        }
        let sync_ends_ms = self.now_ms().saturating_add(self.machine.members.rebalance_timeout_ms());
        self.machine.sync_ends_ms = sync_ends_ms;
        self.machine.wake_by(sync_ends_ms);
        let (generation, protocol) = (self.machine.generation, self.machine.protocol.clone());
        self.tell(Notice::Began { generation, members: members.len(), protocol, leader });
    }

    fn empty(&mut self) {
        self.machine.generation = self.machine.generation.saturating_add(1);
        self.machine.protocol = None;
        self.machine.leader = None;
        self.read_topics();
        self.enter(ClassicState::Empty);
        let generation = self.machine.generation;
        self.tell(Notice::Emptied { generation });
        let value = self.machine.metadata(None);
        self.write(Writing::Emptied, Some(value));
    }

    /// What was assigned in the generation is void; who waits for it is told why.
    pub(super) fn drop_assignments(&mut self, refusal: &Refusal) {
        let members: Vec<_> = self.machine.members.iter().map(|member| Arc::clone(&member.id)).collect();
        for member in members {
            self.machine.members.set_assignment(&member, bytes::Bytes::new());
            if let Some(ticket) = self.machine.members.set_syncing(&member, None) {
                self.answer(ticket, Answer::Sync(Err(refusal.clone())));
                self.touch(&member);
            }
        }
    }
}
