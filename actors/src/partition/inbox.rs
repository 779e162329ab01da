//! Completions on their way to a replica: never refused, never more than one wake-up under way.
//!
//! A request may find a replica's mailbox full. What completes a request may not: it is put in here, in place of what
//! it supersedes, and the replica is woken once. Its size is bounded by what it holds: one assignment, one outcome of
//! the change that is under way, one latest sync.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use actix::{Message, Recipient};

use super::state::ChangeOutcome;
use crate::ids::{LeaderEpoch, Offset};
use crate::image::assignment::Assignment;
use crate::log::LogError;

/// There is something in the inbox.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Wake;

/// What has come since the replica last looked.
#[derive(Debug, Default)]
pub struct Completions {
    /// What the image says now.
    pub assignment: Option<Assignment>,
    /// A sync has ended; a failure stays.
    pub synced: Option<Result<(), LogError>>,
    /// The log's start is on disk up to here; a failure stays.
    pub kept_start: Option<Result<Offset, LogError>>,
    /// What became of the proposed change.
    pub settled: Option<(LeaderEpoch, u64, ChangeOutcome)>,
    /// A timer has come.
    pub tick: bool,
}

/// One replica's inbox. Clones share it.
#[derive(Clone, Default)]
pub struct Inbox(Arc<Cell>);

#[derive(Default)]
struct Cell {
    completions: Mutex<Completions>,
    woken: AtomicBool,
    replica: OnceLock<Recipient<Wake>>,
}

impl Inbox {
    /// Says who is woken, and wakes it for what came before.
    pub fn belongs_to(&self, replica: Recipient<Wake>) {
        if self.0.replica.set(replica).is_ok() && self.0.woken.load(Ordering::Acquire) {
            self.wake();
        }
    }

    /// Puts something in and wakes the replica.
    pub fn put(&self, change: impl FnOnce(&mut Completions)) {
        change(&mut self.0.completions.lock().unwrap_or_else(PoisonError::into_inner));
        if !self.0.woken.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// A sync has ended.
    pub fn synced(&self, result: Result<(), LogError>) {
        self.put(|completions| {
            if !matches!(completions.synced, Some(Err(_))) {
                completions.synced = Some(result);
            }
        });
    }

    /// A log start is on disk.
    pub fn kept_start(&self, result: Result<Offset, LogError>) {
        self.put(|completions| {
            completions.kept_start = match (completions.kept_start.take(), result) {
                (Some(Err(failed)), _) => Some(Err(failed)),
                (Some(Ok(before)), Ok(start)) => Some(Ok(before.max(start))),
                (_, result) => Some(result),
            };
        });
    }

    /// Takes everything out. What comes from now on wakes again.
    #[must_use]
    pub fn take(&self) -> Completions {
        self.0.woken.store(false, Ordering::Release);
        std::mem::take(&mut self.0.completions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn wake(&self) {
        if let Some(replica) = self.0.replica.get() {
            replica.do_send(Wake);
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inbox").field("woken", &self.0.woken).finish_non_exhaustive()
    }
}
