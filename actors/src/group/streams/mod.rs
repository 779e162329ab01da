//! Groups of applications of streams, as pure state machines: `(now, input)` to records, an answer and notices.
//!
//! As in KIP-848 three epochs tell what happens, with tasks in the place of partitions: the *group's* counts changes, the
//! *target's* is the one for which tasks were last dealt out, and a *member's* is the target that it was last told of. Between
//! two targets an active task is told to its new member only when the old one has said that it let go of it, or is out; and
//! then with whose transaction has to be ended first.
//!
//! What a member says counts only in the epoch that it was last told: so what it said before it heard that it is to give a
//! task up, and which comes late, does not free the task.
//!
//! What survives the coordinator is in the records. Deadlines and lags do not: whoever takes over gives everybody a new
//! session, and hears of lags with the next heartbeat.

mod assign;
mod check;
mod deal;
mod describe;
mod heartbeat;
mod live;
pub mod record;
mod settings;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::message::streams::{StreamsHeartbeat, StreamsHeartbeatAnswer};
use super::modern::{Leaving, Notice, Now};
use crate::error::Refusal;
use crate::invariant::{Broken, Invariant};
pub(super) use describe::{describe, state as shown_state};
pub use live::Live;
use record::{StreamsCurrent, StreamsRecord};
pub use settings::StreamsGroupSettings;
pub use state::StreamsState;

/// One decision under way. What it wrote has changed the group already, as it will when it is read back.
pub(super) struct Turn<'a> {
    pub(super) id: &'a Arc<str>,
    pub(super) state: &'a mut StreamsState,
    pub(super) live: &'a mut Live,
    pub(super) now: Now,
    pub(super) settings: &'a StreamsGroupSettings,
    pub(super) records: Vec<StreamsRecord>,
    pub(super) notices: Vec<Notice>,
}

impl Turn<'_> {
    /// A member's heartbeat: joining, leaving, or going on. A refusal changes nothing.
    pub(super) fn heartbeat(
        &mut self,
        host: &str,
        request: &StreamsHeartbeat,
    ) -> Result<StreamsHeartbeatAnswer, Refusal> {
        check::check(request)?;
        match request.epoch {
            check::JOINING => self.join(host, request),
            check::LEAVING => self.leave(request),
            _ => self.go_on(request),
        }
    }

    /// Puts those out that are overdue, in one change.
    pub(super) fn expire(&mut self) {
        let overdue = self.live.overdue(self.now.monotonic_ms);
        for (member, reason) in &overdue {
            self.remove(member, *reason);
        }
        if !overdue.is_empty() {
            self.regroup();
        }
        self.live.look_again();
    }

    /// Makes up for a decision of which only a part was read back, and gives everybody a new session.
    pub(super) fn make_whole(&mut self) {
        let state = &*self.state;
        let half: Vec<_> =
            state.members.keys().filter(|id| !state.currents.contains_key(*id)).cloned().collect();
        let gone = state.currents.keys().chain(state.targets.keys());
        let gone: Vec<_> = gone.filter(|id| !state.members.contains_key(*id)).cloned().collect();
        for member in half.iter().chain(&gone) {
            self.remove(member, Leaving::SessionTimeout);
        }
        let members: Vec<_> = self.state.members.keys().cloned().collect();
        for member in &members {
            self.touch(member);
        }
        let is_dealt = self.state.epoch == self.state.target_epoch && self.is_all_dealt();
        if !members.is_empty() && !is_dealt {
            self.regroup();
        }
    }

    /// Takes a member out. Where it may have left a transaction open, that is to be ended before its tasks begin again.
    fn remove(&mut self, member: &Arc<str>, reason: Leaving) {
        let is_dead = matches!(reason, Leaving::SessionTimeout | Leaving::RebalanceTimeout);
        let metadata = self.state.members.get(member);
        let id = metadata.and_then(|metadata| metadata.transactional_id.as_deref());
        let mut tasks: std::collections::BTreeSet<_> = self.state.current(member).held().copied().collect();
        if let Some(id) = id.filter(|_| is_dead && !tasks.is_empty()).map(Arc::<str>::from) {
            tasks.extend(self.state.fences.get(&id).into_iter().flatten());
            self.write(StreamsRecord::Fence { id, tasks: Some(tasks) });
        }
        self.write(StreamsRecord::Member { member: Arc::clone(member), value: None });
        self.write(StreamsRecord::Target { member: Arc::clone(member), value: None });
        self.write(StreamsRecord::Current { member: Arc::clone(member), value: None });
        self.live.forget(member);
        self.notices.push(Notice::Left { member: Arc::clone(member), reason });
    }

    /// Begins a member's session anew, and the time it has to give tasks up where it has to.
    fn touch(&mut self, member: &Arc<str>) {
        let revoking = self.state.current(member).revoking.clone();
        let told_ms = self.state.members.get(member).map_or(0, |metadata| metadata.rebalance_timeout_ms);
        let patience_ms = if told_ms == 0 { self.settings.rebalance_timeout_ms } else { told_ms };
        let now_ms = self.now.monotonic_ms;
        let due = (&revoking, now_ms + u64::from(patience_ms));
        self.live.touch(member, now_ms + self.settings.session_timeout_ms, due);
    }

    fn write(&mut self, record: StreamsRecord) {
        let record = match record {
            StreamsRecord::Current { member, value: Some(value) } => {
                let value = Some(self.owned_once(&member, value));
                StreamsRecord::Current { member, value }
            }
            record => record,
        };
        self.state.replay(self.now.wall_ms, record.clone());
        self.records.push(record);
    }

    /// A task is active at one member at a time. One that another has is held back, whatever was decided.
    fn owned_once(&mut self, member: &Arc<str>, mut current: StreamsCurrent) -> StreamsCurrent {
        let state = &*self.state;
        let elsewhere = |task: &_| state.owner(task).filter(|owner| *owner != member).cloned();
        let active = current.tasks.active.iter();
        let taken: Vec<_> = active.filter_map(|task| Some((*task, elsewhere(task)?))).collect();
        for (task, owner) in taken {
            current.tasks.active.remove(&task);
            let found =
                format!("task {}-{} was to be {member}'s, and {owner} has it", task.part, task.partition);
            self.notices.push(Notice::Broken(Broken::new(Invariant::LeaderIsFenced, found)));
        }
        current
    }
}
