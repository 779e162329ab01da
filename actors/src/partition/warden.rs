//! Whom a replica reports to: what it cannot decide or outlive itself.

use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use std::collections::BTreeMap;

use super::state::{InSyncChange, ResignReason};
use crate::ids::{LeaderEpoch, PartitionId};

/// Looks after the replicas of a node. Calls never block.
pub trait Warden: Debug + Send + Sync {
    /// A leader wants another in-sync set. The outcome comes back through its inbox, exactly once.
    fn propose(&self, partition: PartitionId, change: InSyncChange);
    /// A replica asks for another leader than itself, or says that it serves nobody.
    fn resign(&self, partition: PartitionId, epoch: LeaderEpoch, reason: ResignReason);
    /// A replica is gone. `life` tells it from those before and after; not `clean` if it died.
    fn down(&self, partition: PartitionId, life: u64, clean: bool);
}

/// What a replica is working on, for whoever finds it dead: the fingerprint of a request, or 0.
#[derive(Debug, Default)]
pub struct OnTheBench(AtomicU64);

impl OnTheBench {
    /// Works on this until the guard is dropped without a panic.
    pub fn put(&self, fingerprint: u64) {
        self.0.store(fingerprint, Ordering::Relaxed);
    }

    /// Has finished.
    pub fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// What it was working on when it died.
    #[must_use]
    pub fn suspect(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|fingerprint| *fingerprint != 0)
    }
}

/// Requests that killed a replica, by fingerprint: the second death quarantines (rule 10). Bounded: the oldest
/// suspects are forgotten.
#[derive(Debug, Default)]
pub struct Quarantine {
    suspects: Mutex<BTreeMap<(PartitionId, u64), u32>>,
    quarantined: AtomicU64,
}

/// Suspects remembered. Each cost a replica its life, so there are few.
const SUSPECTS_MAX: usize = 1024;

/// Deaths that quarantine a request.
const DEATHS_MAX: u32 = 2;

impl Quarantine {
    /// A replica died with this request on its bench. True if the request is refused from now on.
    pub fn killed(&self, partition: PartitionId, fingerprint: u64) -> bool {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        if suspects.len() >= SUSPECTS_MAX {
            suspects.pop_first();
        }
        let deaths = suspects.entry((partition, fingerprint)).or_default();
        *deaths += 1;
        if *deaths == DEATHS_MAX {
            self.quarantined.fetch_add(1, Ordering::Relaxed);
        }
        *deaths >= DEATHS_MAX
    }

    /// Whether a request is refused.
    #[must_use]
    pub fn holds(&self, partition: PartitionId, fingerprint: u64) -> bool {
        if self.quarantined.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.get(&(partition, fingerprint)).is_some_and(|deaths| *deaths >= DEATHS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::state::fixture::partition;

    #[test]
    fn the_second_death_quarantines() {
        let quarantine = Quarantine::default();
        assert!(!quarantine.killed(partition(), 7));
        assert!(!quarantine.holds(partition(), 7));
        assert!(!quarantine.killed(partition(), 8));
        assert!(quarantine.killed(partition(), 7));
        assert!(quarantine.holds(partition(), 7));
        assert!(!quarantine.holds(partition(), 8));
    }

    #[test]
    fn suspects_are_bounded() {
        let quarantine = Quarantine::default();
        for fingerprint in 0..5000 {
            quarantine.killed(partition(), fingerprint);
        }
        assert!(quarantine.suspects.lock().unwrap().len() <= SUSPECTS_MAX);
    }
}
