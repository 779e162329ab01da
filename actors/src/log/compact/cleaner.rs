//! What the logs of a directory share for cleaning: whose turn it is, and how dirty each is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use millstream_transport::world::Random;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::events::LogMetrics;
use crate::ids::PartitionId;

/// How the compacted logs of a directory are cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanerSettings {
    /// `log.cleaner.dedupe.buffer.size`: memory for the map of keys.
    pub dedupe_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`: read and written together.
    pub bytes_per_second: u64,
}

impl Default for CleanerSettings {
    fn default() -> Self {
        Self { dedupe_bytes: 64 << 20, bytes_per_second: 64 << 20 }
    }
}

/// Leave to clean one log. The next one's turn comes when it is dropped.
#[derive(Debug)]
pub struct CleaningTurn(#[allow(dead_code, reason = "kept for its drop")] Option<OwnedSemaphorePermit>);

/// One for each directory.
pub(in crate::log) struct Cleaner {
    turns: Arc<Semaphore>,
    random: Random,
    /// The logs with something to clean, and how much of a million bytes of them.
    dirty_ppm: Mutex<BTreeMap<PartitionId, u32>>,
}

impl Cleaner {
    pub(in crate::log) fn new(random: Random) -> Self {
        Self { turns: Arc::new(Semaphore::new(1)), random, dirty_ppm: Mutex::default() }
    }

    pub(in crate::log) fn turn(&self) -> impl Future<Output = CleaningTurn> + Send + use<> {
        let turns = Arc::clone(&self.turns);
        // Nobody closes it.
        async move { CleaningTurn(turns.acquire_owned().await.ok()) }
    }

    /// Seeds for the hashes of one cleaning, so that nobody knows which keys have the same.
    pub(super) fn seeds(&self) -> [u64; 2] {
        [self.random.next_u64(), self.random.next_u64()]
    }

    /// A log is so dirty.
    pub(super) fn note(&self, partition: PartitionId, dirty_ppm: u32, metrics: &LogMetrics) {
        self.change(metrics, |logs| {
            logs.insert(partition, dirty_ppm);
        });
    }

    /// A log is closed, or is not compacted.
    pub(in crate::log) fn forget(&self, partition: PartitionId, metrics: &LogMetrics) {
        self.change(metrics, |logs| {
            logs.remove(&partition);
        });
    }

    fn change(&self, metrics: &LogMetrics, change: impl FnOnce(&mut BTreeMap<PartitionId, u32>)) {
        let mut logs = self.dirty_ppm.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut logs);
        let most = logs.values().max().copied().unwrap_or(0);
        metrics.cleaner_dirty_ratio_max.set(f64::from(most) / 1e6);
    }
}

impl fmt::Debug for Cleaner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cleaner").field("turns", &self.turns).finish_non_exhaustive()
    }
}
