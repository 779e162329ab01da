//! Until when something has to be heard of members.

use std::sync::Arc;

use super::{ConsumerGroup, Leaving, Surroundings};
use crate::group::records::MemberState;

/// What a member has to do besides being heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// To leave this epoch behind by giving partitions up.
    Revoke(i32),
    /// One of the classic protocol: to join again.
    Join,
    /// One of the classic protocol: to ask for its assignment.
    Sync,
}

/// Until when something has to be heard of a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    deadline_ms: u64,
    /// What it has to do, and until when.
    due: Option<(Due, u64)>,
}

impl Session {
    /// Why the member is out by now, if it is.
    pub(super) fn overdue(&self, now_ms: u64) -> Option<Leaving> {
        if self.deadline_ms <= now_ms {
            return Some(Leaving::SessionTimeout);
        }
        self.due.filter(|(_, deadline_ms)| *deadline_ms <= now_ms).map(|_| Leaving::RebalanceTimeout)
    }

    pub(super) fn earliest_ms(&self) -> u64 {
        self.due.map_or(self.deadline_ms, |(_, deadline_ms)| deadline_ms.min(self.deadline_ms))
    }
}

impl ConsumerGroup {
    /// Begins a member's session anew, and the time it has to give partitions up where it has to.
    pub(super) fn touch(&mut self, member: &Arc<str>, around: &Surroundings<'_>) {
        let now_ms = around.now.monotonic_ms;
        let current = self.group.current(member);
        let running = self.sessions.get(member).and_then(|session| session.due);
        let classic = self.group.members.get(member).and_then(|metadata| metadata.classic.as_ref());
        let session_timeout_ms = match classic {
            Some(terms) => u64::try_from(terms.session_timeout_ms).unwrap_or_default(),
            None => around.settings.session_timeout_ms,
        };
        let due = match classic {
            Some(_) => running.filter(|(due, _)| matches!(due, Due::Join | Due::Sync)),
            None if current.state == MemberState::Unrevoked => {
                let due = Due::Revoke(current.epoch);
                let same = running.filter(|(running, _)| *running == due);
                Some(same.unwrap_or_else(|| (due, now_ms + self.patience_ms(member, around))))
            }
            None => None,
        };
        self.keep(member, Session { deadline_ms: now_ms + session_timeout_ms, due });
    }

    /// A member of the classic protocol is to join again, in the time that it may take for a rebalance from when it was
    /// first told so; what it has to do already it has to do in the time that it has for that.
    pub(super) fn expect_join(&mut self, member: &Arc<str>, around: &Surroundings<'_>) {
        if self.sessions.get(member).is_none_or(|session| session.due.is_none()) {
            self.expect(member, Due::Join, around);
        }
    }

    /// A member of the classic protocol has joined, and is to ask for its assignment in as much time.
    ///
    /// Whoever takes over does not know whether it has asked, and lets it be: one that only lives may have asked long ago and
    /// keep its offsets elsewhere. What it lacks it hears of with the next change, for which it has its time again.
    pub(super) fn expect_sync(&mut self, member: &Arc<str>, around: &Surroundings<'_>) {
        self.expect(member, Due::Sync, around);
    }

    /// A member of the classic protocol has asked for its assignment.
    pub(super) fn has_synced(&mut self, member: &Arc<str>) {
        if let Some(session) = self.sessions.get_mut(member) {
            session.due = session.due.filter(|(due, _)| *due != Due::Sync);
        }
    }

    fn expect(&mut self, member: &Arc<str>, due: Due, around: &Surroundings<'_>) {
        let ends_ms = around.now.monotonic_ms + self.patience_ms(member, around);
        if let Some(session) = self.sessions.get(member).copied() {
            self.keep(member, Session { due: Some((due, ends_ms)), ..session });
        }
    }

    fn keep(&mut self, member: &Arc<str>, session: Session) {
        self.wake_ms = self.wake_ms.min(session.earliest_ms());
        self.sessions.insert(Arc::clone(member), session);
    }

    fn patience_ms(&self, member: &Arc<str>, around: &Surroundings<'_>) -> u64 {
        let told = self.group.members.get(member).map_or(-1, |metadata| metadata.rebalance_timeout_ms);
        u64::try_from(told).unwrap_or_else(|_| u64::from(around.settings.rebalance_timeout_ms))
    }
}
