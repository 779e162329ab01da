//! Publications leave the node: errands are carried out, and what became of them is told.

use std::future::ready;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use metrics::{Gauge, Label};

use super::dead_letter::name_of;
use super::doors::{Begun, EntityDoors, EntityTransactions};
use super::publication::Written;
use super::publisher::{Done, Errand};
use super::publishing::Note;
use crate::error::{ErrorCode, Refusal};
use crate::events::{
    DeadLetterWritten, Events, PublicationRefused, PublicationsDelayed, PublicationsDropped,
    PublicationsLost, PublicationsSent,
};
use crate::group::doors::OwnershipLease;
use crate::ids::PartitionId;

/// The way out of a partition of entities.
pub(super) struct Outward<'a> {
    pub(super) kind: &'a Arc<str>,
    pub(super) partition: PartitionId,
    pub(super) doors: &'a EntityDoors,
    pub(super) lease: &'a Arc<dyn OwnershipLease>,
}

/// What became of an errand.
pub(super) enum Performed {
    Done(Done),
    Began(Result<Begun, Refusal>),
}

impl Outward<'_> {
    /// Begins an errand. One that begins as a producer lets go of the producer before.
    pub(super) fn perform(
        &self,
        target: Option<PartitionId>,
        errand: Errand,
        transactions: &mut Option<Arc<dyn EntityTransactions>>,
    ) -> BoxFuture<'static, Performed> {
        let topics = &self.doors.topics;
        match (errand, target) {
            (Errand::Name, _) => {
                topics.producer_id().map(|named| Performed::Done(Done::Named(named))).boxed()
            }
            (Errand::Ask(producer), Some(target)) => {
                let asked = topics.last_sequence(target, producer);
                asked.map(|asked| Performed::Done(Done::Asked(asked))).boxed()
            }
            (Errand::Send { producer, sequence, records }, Some(target)) => {
                let sent = topics.append(target, Written::batch(&records, producer, sequence));
                sent.map(|sent| Performed::Done(Done::Sent(sent))).boxed()
            }
            (Errand::Ask(_), None) => ready(Performed::Done(Done::Asked(Err(nobody())))).boxed(),
            (Errand::Send { .. }, None) => ready(Performed::Done(Done::Sent(Err(nobody())))).boxed(),
            (Errand::Begin, _) => {
                // The one before stops.
                *transactions = None;
                let (kind, partition) = (Arc::clone(self.kind), self.partition);
                let (lease, producers) = (Arc::clone(self.lease), Arc::clone(&self.doors.producers));
                async move {
                    // Else who leads no more would fence who does.
                    if !lease.holds()
                        && let Err(refusal) = lease.confirm().await
                    {
                        return Performed::Began(Err(refusal));
                    }
                    Performed::Began(producers.begin(&kind, partition).await)
                }
                .boxed()
            }
            (Errand::Commit { records, next }, _) => match transactions {
                Some(producer) => {
                    let committed = Arc::clone(producer).commit(records, next);
                    committed.map(|committed| Performed::Done(Done::Committed(committed))).boxed()
                }
                None => ready(Performed::Done(Done::Committed(Err(nobody())))).boxed(),
            },
        }
    }

    /// Tells what is worth it.
    pub(super) fn tell(&self, note: &Note) {
        let (kind, partition, events) = (&**self.kind, self.partition.index, &self.doors.events);
        match note {
            Note::Published(count) => events.emit(PublicationsSent { kind, count: *count }),
            Note::Refused { target, refusal, is_kept } => {
                let (target, is_kept) = (*target, *is_kept);
                events.emit(PublicationRefused { kind, partition, target, refusal, is_kept });
            }
            Note::Gone(target, count) => {
                events.emit(PublicationsDropped { kind, partition, target: *target, count: *count });
            }
            Note::Lost(target) => events.emit(PublicationsLost { kind, partition, target: *target }),
            Note::Delayed(target, failures, refusal) => {
                let (target, failures) = (*target, *failures);
                events.emit(PublicationsDelayed { kind, partition, target, failures, refusal });
            }
            Note::DeadLetter { fault, failed } => {
                let failed = failed.as_ref().map(|failed| format!("{failed:?}"));
                events.emit(DeadLetterWritten { kind, partition, why: name_of(fault), failed });
            }
        }
    }
}

/// The producer has not begun.
fn nobody() -> Refusal {
    Refusal::new(ErrorCode::InvalidTxnState, "the partition has not begun as a producer")
}

/// The publications of one partition that are not in their topics, in the sum of all of its type on this node.
pub(super) struct PublicationsWaiting {
    gauge: Gauge,
    told: usize,
}

impl PublicationsWaiting {
    pub(super) fn new(events: &Events, kind: &str) -> Self {
        let labels = vec![Label::new("kind", kind.to_owned())];
        Self { gauge: events.gauge("millstream_entity_publications_waiting", labels), told: 0 }
    }

    pub(super) fn set(&mut self, count: usize) {
        let as_number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        if count != self.told {
            self.gauge.increment(f64::from(as_number(count)) - f64::from(as_number(self.told)));
            self.told = count;
        }
    }
}

impl Drop for PublicationsWaiting {
    fn drop(&mut self) {
        self.set(0);
    }
}
