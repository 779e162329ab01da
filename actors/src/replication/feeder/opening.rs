//! Questions of a follower that replicas have not answered yet.

use std::collections::BTreeMap;

use actix::{Message, Recipient};

use super::feeds::Subject;
use crate::ids::{LeaderEpoch, Member, PartitionId};
use crate::partition::following::{FeedRefusal, FollowerDetached, Opening};
use crate::replication::message::Ask;
use crate::replication::ports::ReplicaPort;

/// A feed that a replica has open. Dropped, in whatever way, it tells the replica.
#[derive(Debug)]
pub(super) struct OpenFeedGuard {
    detached: Option<Recipient<FollowerDetached>>,
    subject: Subject,
}

impl OpenFeedGuard {
    pub(super) fn new(port: &ReplicaPort, subject: Subject) -> Self {
        Self { detached: Some(port.detached.clone()), subject }
    }

    /// The replica knows already.
    pub(super) fn disarm(mut self) {
        self.detached = None;
    }
}

impl Drop for OpenFeedGuard {
    fn drop(&mut self) {
        if let Some(detached) = self.detached.take() {
            let Subject { member, epoch, .. } = self.subject;
            detached.do_send(FollowerDetached { member, epoch });
        }
    }
}

/// A replica has answered whether it feeds.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct FeedOpened {
    pub(super) slot: u32,
    pub(super) subject: Subject,
    pub(super) port: ReplicaPort,
    pub(super) answer: Result<(Opening, OpenFeedGuard), FeedRefusal>,
}

/// A replica has answered whether it let a member out of the in-sync set.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct SetLeft {
    pub(super) subject: Subject,
    pub(super) answer: Result<bool, FeedRefusal>,
}

/// Questions that wait for their replicas. To each partition one is put at a time, so that a replica hears them in order;
/// of those that come meanwhile the last one stays.
#[derive(Debug, Default)]
pub(super) struct Questions {
    opening: BTreeMap<PartitionId, OpenQuestion>,
    leaving: BTreeMap<PartitionId, LeaveQuestion>,
    /// Of each number that waits for an answer, its partition.
    partitions: BTreeMap<u32, PartitionId>,
}

#[derive(Debug)]
struct OpenQuestion {
    slot: u32,
    next: Option<Ask>,
}

#[derive(Debug)]
struct LeaveQuestion {
    slot: u32,
    member: Member,
    epoch: LeaderEpoch,
}

impl Questions {
    /// Numbers that wait for an answer.
    pub(super) fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Notes a subscription; gives it back if it may be put to its replica now.
    pub(super) fn open(&mut self, ask: Ask) -> Option<Ask> {
        if let Some(earlier) = self.opening.get(&ask.partition) {
            self.partitions.remove(&earlier.slot);
        }
        self.partitions.insert(ask.slot, ask.partition);
        match self.opening.get_mut(&ask.partition) {
            Some(earlier) => {
                let dropped = earlier.next.replace(ask);
                if let Some(dropped) = dropped {
                    self.partitions.remove(&dropped.slot);
                }
                None
            }
            None => {
                self.opening.insert(ask.partition, OpenQuestion { slot: ask.slot, next: None });
                Some(ask)
            }
        }
    }

    /// A replica has answered: whether anybody still wants to know, and the next question to put to it.
    pub(super) fn opened(&mut self, slot: u32, partition: PartitionId) -> (bool, Option<Ask>) {
        let is_wanted = self.partitions.remove(&slot).is_some();
        let next = self.opening.remove(&partition).and_then(|question| question.next);
        if let Some(next) = &next {
            self.opening.insert(partition, OpenQuestion { slot: next.slot, next: None });
        }
        (is_wanted, next)
    }

    /// Notes a wish to leave; true if it is to be put to its replica, false if the same one is there already.
    pub(super) fn leave(&mut self, slot: u32, subject: Subject) -> bool {
        let Subject { partition, member, epoch } = subject;
        self.partitions.insert(slot, partition);
        let earlier = self.leaving.insert(partition, LeaveQuestion { slot, member, epoch });
        if let Some(earlier) = &earlier {
            self.partitions.remove(&earlier.slot);
        }
        earlier.is_none_or(|earlier| (earlier.member, earlier.epoch) != (member, epoch))
    }

    /// A replica has answered a wish to leave: the number to answer, if anybody still wants to know.
    pub(super) fn left(&mut self, subject: Subject) -> Option<u32> {
        let Subject { partition, member, epoch } = subject;
        let question =
            self.leaving.get(&partition).filter(|asked| (asked.member, asked.epoch) == (member, epoch))?;
        let slot = question.slot;
        self.leaving.remove(&partition);
        self.partitions.remove(&slot).map(|_| slot)
    }

    /// Nobody wants to know any more.
    pub(super) fn stop(&mut self, slot: u32) {
        let Some(partition) = self.partitions.remove(&slot) else { return };
        if let Some(question) = self.opening.get_mut(&partition) {
            question.next.take_if(|next| next.slot == slot);
        }
        if self.leaving.get(&partition).is_some_and(|question| question.slot == slot) {
            self.leaving.remove(&partition);
        }
    }
}
