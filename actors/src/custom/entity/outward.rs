//! Publications leave the node: errands are carried out, and what became of them is told.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use metrics::{Gauge, Label};

use super::dead_letter::name_of;
use super::doors::EntityDoors;
use super::publication::Written;
use super::publisher::{Done, Errand, Errands};
use super::publishing::Note;
use crate::events::{
    DeadLetterWritten, Events, PublicationRefused, PublicationsDelayed, PublicationsDropped, PublicationsLost,
    PublicationsSent,
};

/// The way out of a partition of entities.
pub(super) struct Outward<'a> {
    pub(super) kind: &'a Arc<str>,
    pub(super) partition: i32,
    pub(super) doors: &'a EntityDoors,
}

impl Outward<'_> {
    /// Begins an errand.
    pub(super) fn perform(&self, errand: Errands) -> BoxFuture<'static, Done> {
        let (target, topics) = (errand.target, &self.doors.topics);
        match errand.errand {
            Errand::Name => topics.producer_id().map(Done::Named).boxed(),
            Errand::Ask(producer) => topics.last_sequence(target, producer).map(Done::Asked).boxed(),
            Errand::Send { producer, sequence, records } => {
                let batch = Written::batch(&records, producer, sequence);
                topics.append(target, batch).map(Done::Sent).boxed()
            }
        }
    }

    /// Tells what is worth it.
    pub(super) fn tell(&self, note: &Note) {
        let (kind, partition, events) = (&**self.kind, self.partition, &self.doors.events);
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
