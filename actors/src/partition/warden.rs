//! Whom a replica reports to: what it cannot decide or outlive itself.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use millstream_transport::message::Message;
use serde::{Deserialize, Serialize};

use super::state::{InSyncChange, ResignReason};
use crate::ids::{LeaderEpoch, NodeId, PartitionId};

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

/// A replica died of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReplicaKilled {
    /// Of which partition.
    pub partition: PartitionId,
    /// The request's fingerprint.
    pub fingerprint: u64,
}

impl Message for ReplicaKilled {
    const KIND: u16 = 104;
    type Answer = ();
}

/// The way to the nodes of a partition's other replicas. Calls never block.
pub trait Warnings: Debug + Send + Sync {
    /// Tells a node of a death, if it is there: it counts it as one of its own, so that a request that goes from leader
    /// to leader kills two of them at most.
    fn warn(&self, node: NodeId, of: ReplicaKilled);
}

/// Requests that killed a replica, here or on another node: the second death quarantines (rule 10). Bounded: the suspect
/// of longest ago is forgotten.
#[derive(Debug, Default)]
pub struct Quarantine {
    suspects: Mutex<Suspects>,
    quarantined: AtomicUsize,
}

#[derive(Debug, Default)]
struct Suspects {
    deaths: BTreeMap<ReplicaKilled, u32>,
    order: VecDeque<ReplicaKilled>,
}

/// Suspects remembered. Each cost a replica its life, so there are few.
const SUSPECTS_MAX: usize = 1024;

/// Deaths that quarantine a request.
const DEATHS_MAX: u32 = 2;

impl Quarantine {
    /// A replica died with this request on its bench. True if the request is refused from now on.
    pub fn killed(&self, killed: ReplicaKilled) -> bool {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        if !suspects.deaths.contains_key(&killed) {
            self.forget_above(&mut suspects, SUSPECTS_MAX - 1);
            suspects.order.push_back(killed);
        }
        let deaths = suspects.deaths.entry(killed).or_default();
        *deaths += 1;
        if *deaths == DEATHS_MAX {
            self.quarantined.fetch_add(1, Ordering::Relaxed);
        }
        *deaths >= DEATHS_MAX
    }

    fn forget_above(&self, suspects: &mut Suspects, most: usize) {
        while suspects.order.len() > most {
            let Some(oldest) = suspects.order.pop_front() else { return };
            if suspects.deaths.remove(&oldest).is_some_and(|deaths| deaths >= DEATHS_MAX) {
                self.quarantined.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether a request is refused.
    #[must_use]
    pub fn holds(&self, suspect: ReplicaKilled) -> bool {
        if self.quarantined.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.deaths.get(&suspect).is_some_and(|deaths| *deaths >= DEATHS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::state::fixture::partition;

    fn of(fingerprint: u64) -> ReplicaKilled {
        ReplicaKilled { partition: partition(), fingerprint }
    }

    #[test]
    fn the_second_death_quarantines() {
        let quarantine = Quarantine::default();
        assert!(!quarantine.killed(of(7)));
        assert!(!quarantine.holds(of(7)));
        assert!(!quarantine.killed(of(8)));
        assert!(quarantine.killed(of(7)));
        assert!(quarantine.holds(of(7)));
        assert!(!quarantine.holds(of(8)));
    }

    #[test]
    fn suspects_are_bounded_and_the_newest_are_kept() {
        let quarantine = Quarantine::default();
        for fingerprint in (0..5000).rev() {
            quarantine.killed(of(fingerprint));
            quarantine.killed(of(fingerprint));
        }
        assert_eq!(quarantine.suspects.lock().unwrap().deaths.len(), SUSPECTS_MAX);
        assert_eq!(quarantine.quarantined.load(Ordering::Relaxed), SUSPECTS_MAX);
        assert!(quarantine.holds(of(0)), "the last");
        assert!(!quarantine.holds(of(4999)), "the first");
    }
}
