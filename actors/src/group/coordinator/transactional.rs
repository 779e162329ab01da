//! Offsets that a producer commits in its transaction (KIP-447).

use std::sync::Arc;

use super::super::classic::Committer;
use super::super::classic_part::within;
use super::super::doors::{Leadership, PartOfTransaction, is_of_transaction};
use super::super::message::OffsetCommit;
use super::super::modern::{Decision, Surroundings};
use super::super::pending::OfProducer;
use super::super::records::encode;
use super::super::release::{Release, Waits};
use super::super::request::{PerPartition, Reply};
use super::super::supervision::SupervisorMessage;
use super::{Coordinator, CoordinatorMessage, as_coordinator, reading_back};
use crate::error::Refusal;

/// Offsets that are to become part of a transaction.
pub(in super::super) struct Committing {
    pub(super) request: OffsetCommit,
    pub(super) committer: Committer,
    pub(super) transaction: PartOfTransaction,
    pub(super) reply: Reply<PerPartition>,
}

impl Coordinator {
    /// Takes offsets in as part of a transaction, once its coordinator has said that it is open: nothing of them is known
    /// before, and no other answer waits for that.
    pub(super) fn commit_in_transaction(&mut self, committing: Committing) {
        if let Err(refusal) = self.check_transactional(&committing) {
            return committing.reply.give(Err(refusal));
        }
        let Leadership { partition, epoch, doors, .. } = &*self.leadership;
        let admitted = doors.log.admit(*partition, *epoch, committing.transaction.clone());
        self.admitting += 1;
        let (myself, committing) = (self.myself.clone(), Box::new(committing));
        tokio::spawn(async move {
            let result = admitted.await;
            // Fails only if this coordinator has ended: then the asker is told by the lost reply.
            let _ended = myself.cast(CoordinatorMessage::Admitted { committing, result });
        });
    }

    /// What the group knows of its consumers fences a producer that writes for one that has been replaced.
    fn check_transactional(&mut self, committing: &Committing) -> Result<(), Refusal> {
        let (topics, settings) = (self.leadership.topics(), self.leadership.settings());
        let around = Surroundings { now: self.leadership.now(), topics: &*topics, settings: &settings };
        let has_offsets = !self.machine.group().offsets.is_empty();
        match &mut self.classic {
            Some(classic) => within(&self.leadership, |_| {
                classic.group.check_transactional_commit(&committing.committer, has_offsets)
            }),
            // Who says nothing of a member is held against none (KIP-447).
            None if !committing.committer.is_named() && !self.machine.group().streams.has_members() => Ok(()),
            None => {
                self.machine.check_instance(&committing.committer)?;
                self.machine.check_transactional_commit(&around, &committing.request)
            }
        }
    }

    /// The transaction's coordinator has answered; meanwhile the group may have changed.
    pub(super) fn admitted(&mut self, committing: Committing, result: Result<(), Refusal>) {
        let checked = match result {
            _ if self.is_broken => Err(reading_back(self.machine.id())),
            Ok(()) => self.check_transactional(&committing),
            Err(refusal) => Err(as_told(refusal)),
        };
        if let Err(refusal) = checked {
            return committing.reply.give(Err(refusal));
        }
        let Committing { request, transaction, reply, .. } = committing;
        let (topics, settings) = (self.leadership.topics(), self.leadership.settings());
        let now = self.leadership.now();
        let around = Surroundings { now, topics: &*topics, settings: &settings };
        let of = OfProducer { id: transaction.producer_id, epoch: transaction.producer_epoch };
        let (Decision { records, answer, .. }, put) =
            self.machine.commit_in_transaction(&around, &request, of);
        if records.is_empty() {
            return reply.give(answer);
        }
        let release: Release = Box::new(move |refusal| {
            reply.give(refusal.map_or(answer, |refusal| Err(as_told(refusal))));
        });
        let number = self.answers.push(Waits::ForRecords, release);
        // Before the records are in the log: their marker lies behind them, and is told to whom this names.
        let (partition, group) = (self.leadership.partition, Arc::clone(self.machine.id()));
        let _supervisor_ended = self.supervisor.cast(SupervisorMessage::Pending { partition, group, of });
        self.in_transactions.insert(number, (of, put));
        let Leadership { partition, epoch, doors, .. } = &*self.leadership;
        let id = self.machine.id();
        let records = records.iter().map(|record| encode(now.wall_ms, id, record)).collect();
        let done = doors.log.append_in(*partition, *epoch, transaction, records);
        let myself = self.myself.clone();
        tokio::spawn(async move {
            let result = done.await;
            // Fails only if this coordinator has ended: then nobody waits.
            let _ended = myself.cast(CoordinatorMessage::Settled { number, result });
        });
    }
}

/// What the transaction's coordinator said is the producer's to hear; the rest is this coordinator's.
fn as_told(refusal: Refusal) -> Refusal {
    if is_of_transaction(refusal.code) { refusal } else { as_coordinator(refusal) }
}
