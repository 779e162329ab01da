//! Replicas that ask for another leader than themselves.
//!
//! One that cannot lead is passed on at once. One that merely has a slow disk (rule 7) is passed on only so often: at
//! most one in ten leaders of the node a second, and the same partition once a minute; or a slow disk would move all
//! leaders at once, to disks that would be slow for it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::controller_link::GivenUp;
use super::super::state::{Failure, ResignReason};
use super::State;
use crate::ids::{LeaderEpoch, PartitionId};
use crate::image::{Doubt, DoubtCause, ReportedDoubt};

/// The same partition resigns for a slow disk only after this time.
const SAME_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// A damaged log is told again only after this time.
const DAMAGE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// One in so many leaders a second.
const ONE_IN: usize = 10;

/// The recent resignations for a slow disk.
#[derive(Debug, Default)]
pub(super) struct Resignations {
    last: BTreeMap<PartitionId, Duration>,
    damaged: BTreeMap<PartitionId, Duration>,
    second: Duration,
    in_second: usize,
}

impl Resignations {
    /// Whether one more is let through.
    fn admit(&mut self, now: Duration, partition: PartitionId, leaders: usize) -> bool {
        self.last.retain(|_, at| now.saturating_sub(*at) < SAME_AGAIN_AFTER);
        if now.saturating_sub(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.in_second = 0;
        }
        let allowed = leaders.div_ceil(ONE_IN).max(1);
        if self.in_second >= allowed || self.last.contains_key(&partition) {
            return false;
        }
        self.in_second += 1;
        self.last.insert(partition, now);
        true
    }
}

impl Resignations {
    /// A damaged leader asks at every tick; the controller is told once a second.
    fn damage_is_news(&mut self, now: Duration, partition: PartitionId) -> bool {
        self.damaged.retain(|_, at| now.saturating_sub(*at) < DAMAGE_AGAIN_AFTER);
        let is_news = !self.damaged.contains_key(&partition);
        self.damaged.entry(partition).or_insert(now);
        is_news
    }
}

impl State {
    pub(super) fn resigned(&mut self, partition: PartitionId, epoch: LeaderEpoch, reason: ResignReason) {
        match reason {
            ResignReason::SyncLag(_) => {
                let me = self.parts.node;
                let leads =
                    |slot: &&super::Slot| slot.assignment.leader.is_some_and(|leader| leader.node == me);
                let leaders = self.slots.values().filter(leads).count();
                if self.resignations.admit(self.now(), partition, leaders) {
                    self.parts.controller.resign(vec![GivenUp { partition, epoch, again: false }]);
                }
            }
            ResignReason::NotOpened => {
                self.parts.controller.resign(vec![GivenUp { partition, epoch, again: true }]);
            }
            ResignReason::Damaged(from) => {
                if !self.resignations.damage_is_news(self.now(), partition) {
                    return;
                }
                let doubt = Doubt { cause: DoubtCause::EndsEarly, last_epoch: epoch, end: from };
                self.parts.controller.report_doubts(vec![ReportedDoubt { partition, doubt }]);
                self.parts.controller.resign(vec![GivenUp { partition, epoch, again: false }]);
            }
            ResignReason::Failed(failure) => {
                if failure == Failure::Directory {
                    let doubt = Doubt {
                        cause: DoubtCause::DirectoryFailed,
                        last_epoch: epoch,
                        end: crate::ids::Offset::ZERO,
                    };
                    self.parts.controller.report_doubts(vec![ReportedDoubt { partition, doubt }]);
                }
                self.give_up(partition, epoch);
            }
        }
    }

    /// The replica serves nobody in this life of the process.
    pub(super) fn give_up(&self, partition: PartitionId, epoch: LeaderEpoch) {
        self.parts.controller.resign(vec![GivenUp { partition, epoch, again: false }]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TopicId;

    fn partition(index: i32) -> PartitionId {
        PartitionId { topic: TopicId(uuid::Uuid::from_u128(1)), index }
    }

    #[test]
    fn one_in_ten_leaders_a_second_resigns_for_a_slow_disk() {
        let mut resignations = Resignations::default();
        let mut admitted = 0;
        for index in 0..100 {
            admitted += usize::from(resignations.admit(Duration::from_secs(9), partition(index), 100));
        }
        assert_eq!(admitted, 10);
        assert!(resignations.admit(Duration::from_secs(10), partition(99), 100));
    }

    #[test]
    fn the_same_partition_resigns_once_a_minute() {
        let mut resignations = Resignations::default();
        assert!(resignations.admit(Duration::from_secs(5), partition(1), 1));
        assert!(!resignations.admit(Duration::from_secs(30), partition(1), 1));
        assert!(resignations.admit(Duration::from_secs(66), partition(1), 1));
    }
}
