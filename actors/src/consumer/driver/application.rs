//! What becomes of a member whose application asks for no events (`max.poll.interval.ms`), or closes it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::{Driver, Ended, LEAVE_WITHIN, commit};
use crate::group::message::GroupHeartbeat;

impl Driver {
    /// When the application will have asked for nothing for too long.
    pub(super) fn application_overdue_at(&self) -> Option<Instant> {
        if self.is_member() { self.shared.overdue_at(self.max_poll_interval()) } else { None }
    }

    fn max_poll_interval(&self) -> Duration {
        self.fetcher.settings.max_poll_interval
    }

    /// Whether this consumer is in its group, as far as it knows.
    fn is_member(&self) -> bool {
        self.membership.as_ref().is_some_and(|membership| membership.epoch() > 0)
    }

    /// A member whose application takes no events reads for nobody: it leaves its group, so that others read on, and
    /// joins again when an event is asked for.
    pub(super) fn follow_application(&mut self) {
        if self.is_heartbeating {
            return;
        }
        if self.is_out {
            if !self.shared.asks_no_more(self.max_poll_interval()) {
                self.is_out = false;
                self.heartbeat_at = Instant::now();
            }
        } else if self.is_member() && self.shared.asks_no_more(self.max_poll_interval()) {
            self.is_out = true;
            self.go_out();
        }
    }

    fn go_out(&mut self) {
        let (Some(membership), Some(coordinator)) = (&mut self.membership, &self.fetcher.coordinator) else {
            return;
        };
        let goodbye = membership.leave();
        membership.begin_anew();
        let longest_ms = self.fetcher.settings.max_poll_interval.as_millis();
        tracing::warn!(
            group = goodbye.group,
            member = goodbye.member,
            "no event was asked for within max.poll.interval.ms ({longest_ms}): the consumer leaves its group until one is"
        );
        self.shared.set_epoch(membership.epoch());
        self.nameless.clear();
        self.shared.state().lose_all(true);
        // No heartbeat overtakes it.
        self.is_heartbeating = true;
        let coordinator = Arc::clone(coordinator);
        self.work.push(Box::pin(async move {
            // If it does not get through, the session ends by time.
            let _ = coordinator.ask_once(goodbye, LEAVE_WITHIN).await;
            Ended::Left
        }));
    }

    /// Lets commits under way end: nobody else would drive them, and the last one waits for its turn.
    async fn settle_commits(&mut self) {
        let settled = async {
            while self.committing > 0 {
                match self.work.next().await {
                    Some(ended @ (Ended::Committed(_) | Ended::LetGo(..))) => self.ended(ended),
                    Some(_) => {}
                    None => return,
                }
            }
        };
        if tokio::time::timeout(LEAVE_WITHIN, settled).await.is_err() {
            // Given up, they give their turn up.
            self.work.clear();
            self.committing = 0;
        }
    }

    /// Commits what was processed and leaves the group.
    pub(super) async fn leave(&mut self) {
        let Some(coordinator) = self.fetcher.coordinator.clone() else { return };
        self.settle_commits().await;
        if self.commit_at.is_some() {
            let processed = self.shared.processed_not_committed();
            if let Err(error) = commit(&coordinator, &self.shared, processed, LEAVE_WITHIN).await {
                tracing::warn!(%error, "offsets were not committed at the end");
            }
        }
        let Some(membership) = &mut self.membership else { return };
        if membership.epoch() > 0 {
            // If it does not get through, the session ends by time.
            let goodbye: GroupHeartbeat = membership.leave();
            let _ = coordinator.ask_once(goodbye, LEAVE_WITHIN).await;
        }
    }
}
