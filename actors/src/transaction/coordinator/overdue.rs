//! What time ends: transactions that are open for too long, and ids that nobody uses.

use std::time::Duration;

use super::{Coordinator, CoordinatorMessage};
use crate::events::TransactionTimedOut;

/// Transactions that time ends at once; more wait for the next look, so that they do not fill the log's queue.
const OVERDUE_AT_ONCE: usize = 256;

impl Coordinator {
    pub(super) fn tick(&mut self) {
        let Some(known) = &self.known else { return };
        let (now_ms, now, settings) = (self.now_ms(), self.leadership.doors.clock.now(), self.settings());
        let overdue = known.overdue(now_ms, OVERDUE_AT_ONCE).into_iter();
        let mut changes: Vec<_> = overdue.map(|(id, next)| (id, Some(next))).collect();
        // That looks at all ids: not each time that a transaction may be overdue.
        let every = Duration::from_millis(settings.expiration_check_ms);
        if self.expired_at.is_none_or(|at| at + every <= now) {
            let most = OVERDUE_AT_ONCE.saturating_sub(changes.len());
            let expired = known.expired(now_ms, settings.id_expiration_ms, most);
            self.expired_at = Some(now).filter(|_| expired.len() < most);
            changes.extend(expired.into_iter().map(|id| (id, None)));
        }
        self.is_behind = changes.len() == OVERDUE_AT_ONCE;
        for (id, next) in changes {
            if next.is_some() {
                self.leadership.doors.events.emit(TransactionTimedOut { id: &id });
            }
            self.write(&id, next, Box::new(|_| ()));
        }
    }

    /// One timer, whatever the number of ids.
    pub(super) fn set_timer(&mut self) {
        let settings = self.settings();
        let is_open = self.known.as_ref().is_some_and(|known| known.open() > 0);
        let wait_ms =
            if is_open || self.is_behind { settings.time_out_check_ms } else { settings.expiration_check_ms };
        let at = self.leadership.doors.clock.now() + Duration::from_millis(wait_ms);
        if self.timer.as_ref().is_some_and(|(set_to, _)| *set_to <= at) {
            return;
        }
        let myself = self.myself.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep_until(at).await;
            let _ended = myself.cast(CoordinatorMessage::Tick);
        });
        if let Some((_, old)) = self.timer.replace((at, task)) {
            old.abort();
        }
    }
}
