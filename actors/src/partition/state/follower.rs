//! Following: where to go on reading, what to cut, what to report.
//!
//! ```text
//! Leaderless ── a leader ──► Opening ── its log begins as the leader's ──► Streaming
//!                  ▲            │ ▲                                           │
//!                  │   diverged ▼ │ cut                 session lost, gap ────┘ (Opening again)
//!                  │          Cutting
//!                  └─ a damaged log goes by Leaving: first out of the in-sync set, then cut, then Opening.
//! ```

use std::time::Duration;

use super::{Effect, LogFacts};
use crate::ids::{LeaderEpoch, NodeId, Offset};

/// How long until a refused opening is tried again.
const REOPEN_AFTER: Duration = Duration::from_millis(100);

/// How often one that streams and is not in the in-sync set tells what it has, though nothing is new: a leader proposes
/// only who has spoken since it saw the set without him, and may see that later than this replica does.
const SPEAK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A replica that follows, in one epoch.
#[derive(Clone, Debug)]
pub struct Follower {
    epoch: LeaderEpoch,
    leader: Option<NodeId>,
    phase: Phase,
    /// When it speaks again, while it streams outside the set.
    speaks_at: Option<Duration>,
}

/// Where a follower stands with its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nobody leads.
    Leaderless,
    /// Has asked the leader where to go on.
    Opening,
    /// Was refused, or has no space: asks again then.
    Pausing {
        /// When.
        until: Duration,
    },
    /// Cuts its log where it differs from the leader's.
    Cutting,
    /// Its log is a beginning of the leader's and grows with it.
    Streaming,
    /// Its log is damaged: waits to be out of the in-sync set; asks again then.
    Leaving {
        /// When.
        until: Duration,
    },
}

/// What to do with batches that came from the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// They go on where the log ends.
    Append,
    /// They belong to another epoch or come while the log is not open: drop them.
    Stale,
    /// They do not go on where the log ends: drop them and open again.
    Gap,
}

impl Follower {
    pub(super) fn new(epoch: LeaderEpoch, leader: Option<NodeId>) -> Self {
        Self { epoch, leader, phase: Phase::Leaderless, speaks_at: None }
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Whom it follows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Asks the leader where to go on; a damaged replica asks it to be let out of the set first.
    pub(super) fn open(&mut self, now: Duration, log: LogFacts, damaged: bool, effects: &mut Vec<Effect>) {
        let Some(leader) = self.leader else {
            self.phase = Phase::Leaderless;
            return;
        };
        if damaged {
            self.phase = Phase::Leaving { until: now + REOPEN_AFTER };
            effects.push(Effect::Leave { leader, epoch: self.epoch });
        } else {
            self.phase = Phase::Opening;
            effects.push(Effect::Open { leader, epoch: self.epoch, log });
        }
    }

    /// What to do with batches of this epoch that begin at `base`.
    #[must_use]
    pub fn admits(&self, epoch: LeaderEpoch, base: Offset, log: LogFacts) -> Admission {
        match self.phase {
            Phase::Streaming if epoch != self.epoch => Admission::Stale,
            Phase::Streaming if base == log.end => Admission::Append,
            Phase::Streaming => Admission::Gap,
            Phase::Leaderless
            | Phase::Opening
            | Phase::Pausing { .. }
            | Phase::Cutting
            | Phase::Leaving { .. } => Admission::Stale,
        }
    }

    /// The leader says that this log is a beginning of its own. True if that is still so.
    pub(super) fn accepted(&mut self, end: Offset, log: LogFacts) -> bool {
        let accepted = self.phase == Phase::Opening && end == log.end;
        if accepted {
            self.phase = Phase::Streaming;
        }
        accepted
    }

    /// The leader told where the logs part. True if the answer is to the question that stands.
    pub(super) fn cutting(&mut self) -> bool {
        let asked = self.phase == Phase::Opening;
        if asked {
            self.phase = Phase::Cutting;
        }
        asked
    }

    /// The leader let this damaged replica out of the set. True if it had asked for that.
    pub(super) fn left(&mut self) -> bool {
        let asked = matches!(self.phase, Phase::Leaving { .. });
        if asked {
            self.phase = Phase::Cutting;
        }
        asked
    }

    pub(super) fn pause(&mut self, now: Duration) {
        match self.phase {
            Phase::Opening | Phase::Streaming | Phase::Pausing { .. } | Phase::Cutting => {
                self.phase = Phase::Pausing { until: now + REOPEN_AFTER };
            }
            Phase::Leaderless | Phase::Leaving { .. } => {}
        }
    }

    /// Whether it is to tell what it has though nothing is new.
    pub(super) fn speaks_again(&mut self, now: Duration, is_in_sync: bool) -> bool {
        let outside = self.phase == Phase::Streaming && !is_in_sync;
        let speaks = outside && self.speaks_at.is_some_and(|at| at <= now);
        if !outside {
            self.speaks_at = None;
        } else if speaks || self.speaks_at.is_none() {
            self.speaks_at = Some(now + SPEAK_AGAIN_AFTER);
        }
        speaks
    }

    /// When time alone makes it act.
    pub(super) fn due(&self) -> Option<Duration> {
        match self.phase {
            Phase::Pausing { until } | Phase::Leaving { until } => Some(until),
            Phase::Streaming => self.speaks_at,
            Phase::Leaderless | Phase::Opening | Phase::Cutting => None,
        }
    }
}
