//! The memory of a producer, and which batches have no fate yet.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use super::delivery::ProduceError;

/// Why there is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoMemory {
    /// It was used up for as long as was waited.
    UsedUp,
    /// Nobody gets any more.
    Closed,
}

/// Who has to wait for memory waits until this share of all of it is free, but only for so long.
///
/// Memory comes back a batch at a time. Waking a caller for each would cost a change of threads for each; so it sleeps
/// until there is room for several batches, while the rest of the memory keeps the cluster busy.
const WAITS_FOR_SHARE: usize = 8;
const WAITS_FOR_SHARE_WITHIN: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Budget {
    memory: Semaphore,
    /// What a caller waits for, if it has to wait.
    step_bytes: usize,
    waiting: AtomicUsize,
    next: AtomicU64,
    undecided: Mutex<BTreeSet<u64>>,
    decided: Notify,
    /// Why the first batch failed since this was last taken.
    failure: Mutex<Option<ProduceError>>,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            memory: Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)),
            step_bytes: bytes / WAITS_FOR_SHARE,
            waiting: AtomicUsize::new(0),
            next: AtomicU64::new(0),
            undecided: Mutex::default(),
            decided: Notify::new(),
            failure: Mutex::default(),
        }
    }

    /// Takes memory if there is some.
    pub(super) fn try_take(&self, bytes: usize) -> bool {
        let permits = self.memory.try_acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX));
        permits.map(tokio::sync::SemaphorePermit::forget).is_ok()
    }

    /// Waits for memory.
    pub(super) async fn take(&self, bytes: usize, within: Duration) -> Result<(), NoMemory> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        if self.step_bytes > bytes {
            let step = self.acquire(self.step_bytes, WAITS_FOR_SHARE_WITHIN.min(within)).await;
            if step.is_ok() {
                self.give_back(self.step_bytes - bytes);
                return step;
            }
        }
        self.acquire(bytes, within).await
    }

    async fn acquire(&self, bytes: usize, within: Duration) -> Result<(), NoMemory> {
        let asking = self.memory.acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX));
        match tokio::time::timeout(within, asking).await {
            Ok(Ok(permits)) => {
                permits.forget();
                Ok(())
            }
            Ok(Err(_closed)) => Err(NoMemory::Closed),
            Err(_) => Err(NoMemory::UsedUp),
        }
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.memory.add_permits(bytes);
    }

    /// Whether somebody waits for memory: no batch may linger then.
    pub(super) fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Nobody gets memory any more.
    pub(super) fn close(&self) {
        self.memory.close();
    }

    /// Numbers a batch that is begun.
    pub(super) fn begin(&self) -> u64 {
        let mut undecided = self.undecided.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        undecided.insert(number);
        number
    }

    pub(super) fn end(&self, number: u64, bytes: usize) {
        self.undecided.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        self.give_back(bytes);
        self.decided.notify_waiters();
    }

    /// A batch, or a record before it came into one, has failed.
    pub(super) fn failed(&self, error: &ProduceError) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| error.clone());
    }

    /// Why the first batch failed, if one did.
    pub(super) fn failure(&self) -> Option<ProduceError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What failed so far counts no more.
    pub(super) fn forget_failure(&self) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The number that the next batch will have.
    pub(super) fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Whether every batch is decided.
    pub(super) fn is_idle(&self) -> bool {
        self.undecided.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Waits until all batches with lesser numbers are decided.
    pub(super) async fn decided_below(&self, number: u64) {
        loop {
            let decided = self.decided.notified();
            tokio::pin!(decided);
            decided.as_mut().enable();
            let oldest = self.undecided.lock().unwrap_or_else(PoisonError::into_inner).first().copied();
            if oldest.is_none_or(|oldest| oldest >= number) {
                return;
            }
            decided.await;
        }
    }
}

struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
