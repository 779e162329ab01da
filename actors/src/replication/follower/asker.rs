//! A replica that has asked its leader something and hears of it, whatever happens.

use actix::Recipient;

use crate::ids::{LeaderEpoch, Member, PartitionId};
use crate::partition::following::{FromLeader, Told};
use crate::replication::message::{Ask, Question};

/// A replica's question. Dropped, in whatever way, it tells the replica that its leader cannot be heard now.
#[derive(Debug)]
pub(crate) struct Asker {
    partition: PartitionId,
    member: Member,
    epoch: LeaderEpoch,
    question: Question,
    /// How often it was sent on to another core of the leader.
    hops: u8,
    told: Option<Recipient<FromLeader>>,
}

impl Asker {
    pub(crate) fn new(
        partition: PartitionId,
        member: Member,
        epoch: LeaderEpoch,
        question: Question,
        told: Recipient<FromLeader>,
    ) -> Self {
        Self { partition, member, epoch, question, hops: 0, told: Some(told) }
    }

    pub(crate) fn partition(&self) -> PartitionId {
        self.partition
    }

    pub(super) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    pub(crate) fn question(&self) -> Question {
        self.question
    }

    /// As it goes to the leader.
    pub(super) fn ask(&self, slot: u32) -> Ask {
        let Self { partition, member, epoch, question, .. } = *self;
        Ask { slot, partition, member, epoch, question }
    }

    /// Counts that it is sent on; the question if that has not happened too often.
    pub(super) fn hop(mut self) -> Option<Self> {
        const MOST_HOPS: u8 = 3;
        self.hops += 1;
        (self.hops <= MOST_HOPS).then_some(self)
    }

    /// Tells the replica something. One message for one question: the replica has room for it.
    pub(super) fn tell(&self, told: Told) {
        if let Some(replica) = &self.told {
            replica.do_send(FromLeader { epoch: self.epoch, told });
        }
    }

    /// Where the replica takes batches.
    pub(super) fn replica(&self) -> Option<&Recipient<FromLeader>> {
        self.told.as_ref()
    }

    /// The replica has its answer, or does not want one.
    pub(crate) fn silence(mut self) {
        self.told = None;
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.tell(Told::Interrupted);
    }
}
