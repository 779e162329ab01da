//! Offsets that a producer commits in its transaction (KIP-447).

use super::super::classic::Committer;
use super::super::classic_part::within;
use super::super::doors::{Leadership, PartOfTransaction, is_of_transaction};
use super::super::message::OffsetCommit;
use super::super::modern::{Decision, Surroundings};
use super::super::records::encode;
use super::super::release::{Release, Waits};
use super::super::request::{PerPartition, Reply};
use super::{Coordinator, CoordinatorMessage, as_coordinator};
use crate::error::Refusal;

impl Coordinator {
    /// Takes offsets in as part of a transaction. What the group knows of its consumers fences a producer that writes for
    /// one that has been replaced.
    pub(super) fn commit_in_transaction(
        &mut self,
        request: &OffsetCommit,
        committer: &Committer,
        transaction: PartOfTransaction,
        reply: Reply<PerPartition>,
    ) {
        let (topics, settings) = (self.leadership.topics(), self.leadership.settings());
        let now = self.leadership.now();
        let around = Surroundings { now, topics: &*topics, settings: &settings };
        let has_offsets = !self.machine.group().offsets.is_empty();
        let checked = match &mut self.classic {
            Some(classic) => {
                within(&self.leadership, |_| classic.group.check_transactional_commit(committer, has_offsets))
            }
            None => self.machine.check_transactional_commit(&around, request),
        };
        if let Err(refusal) = checked {
            return reply.give(Err(refusal));
        }
        let producer = transaction.producer_id;
        let Decision { records, answer, .. } = self.machine.commit_in_transaction(&around, request, producer);
        if records.is_empty() {
            return reply.give(answer);
        }
        let release: Release = Box::new(move |refusal| {
            reply.give(refusal.map_or(answer, |refusal| Err(as_told(refusal))));
        });
        let number = self.answers.push(Waits::ForRecords, release);
        self.in_transactions.insert(number, producer);
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
