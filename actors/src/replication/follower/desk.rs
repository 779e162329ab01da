//! Where replicas, and what is under way for a follower, leave what they have for it: the latest value for each partition,
//! and one message however many there are. Nothing here is ever refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::{Message, Recipient};

use super::asker::Asker;
use crate::ids::{LeaderEpoch, PartitionId};
use crate::partition::following::FollowerEnds;
use crate::replication::message::Question;

/// Something was left on the [`Desk`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Wake;

/// A follower's desk.
#[derive(Debug)]
pub(crate) struct Desk {
    left: Mutex<Left>,
    follower: Recipient<Wake>,
}

/// What was left on it.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Partitions nobody reads any more. Before the questions.
    pub(super) closes: BTreeSet<PartitionId>,
    /// Replicas that want to be fed.
    pub(super) subscribes: BTreeMap<PartitionId, Asker>,
    /// Replicas that want to leave their in-sync set.
    pub(super) leaves: BTreeMap<PartitionId, Asker>,
    /// What is on disk.
    pub(super) reports: BTreeMap<PartitionId, (LeaderEpoch, FollowerEnds)>,
    /// Slots whose delivery under way was taken in, of the session of this number.
    pub(super) taken: BTreeSet<(u64, u32)>,
    is_under_way: bool,
    is_closed: bool,
}

impl Desk {
    pub(super) fn new(follower: Recipient<Wake>) -> Arc<Self> {
        Arc::new(Self { left: Mutex::default(), follower })
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave<R>(&self, note: impl FnOnce(&mut Left) -> R) -> R {
        let mut left = self.left();
        let noted = note(&mut left);
        if !left.is_closed && !std::mem::replace(&mut left.is_under_way, true) {
            self.follower.do_send(Wake);
        }
        noted
    }

    /// A replica asks, in place of what it asked before.
    pub(crate) fn ask(&self, asker: Asker) {
        let partition = asker.partition();
        let (earlier, refused) = self.leave(|left| {
            if left.is_closed {
                return (None, Some(asker));
            }
            let asked = match asker.question() {
                Question::Subscribe(_) => &mut left.subscribes,
                Question::Leave => &mut left.leaves,
            };
            (asked.insert(partition, asker), None)
        });
        if let Some(earlier) = earlier {
            earlier.silence();
        }
        // Dropped after the lock: it tells the replica.
        drop(refused);
    }

    /// A partition is not read any more.
    pub(crate) fn close(&self, partition: PartitionId) {
        let asked = self.leave(|left| {
            left.closes.insert(partition);
            left.reports.remove(&partition);
            left.subscribes.remove(&partition)
        });
        if let Some(asked) = asked {
            asked.silence();
        }
    }

    /// So much of a partition is on disk.
    pub(crate) fn report(&self, partition: PartitionId, epoch: LeaderEpoch, ends: FollowerEnds) {
        self.leave(|left| left.reports.insert(partition, (epoch, ends)));
    }

    /// What was delivered for a slot has been taken in.
    pub(super) fn taken(&self, session: u64, slot: u32) {
        self.leave(|left| left.taken.insert((session, slot)));
    }

    /// Takes what was left so far; what is left next sends a message again.
    pub(super) fn clear(&self) -> Left {
        std::mem::take(&mut *self.left())
    }

    /// The follower is gone: who asks is told so at once.
    pub(super) fn shut(&self) {
        let closed = Left { is_closed: true, ..Left::default() };
        let left = std::mem::replace(&mut *self.left(), closed);
        drop(left);
    }
}
