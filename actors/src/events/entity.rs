//! Entities.

use std::fmt;
use std::time::Duration;

use metrics::{Gauge, Label};

use super::{Event, Events};
use crate::error::Refusal;
use crate::ids::{NodeId, PartitionId};

/// The log of a partition of entities was read: they can be asked here.
#[derive(Debug)]
pub struct EntitiesLoaded<'a> {
    /// Their type.
    pub kind: &'a str,
    /// The partition.
    pub partition: i32,
    /// How many there are.
    pub entities: usize,
    /// Records that were read for it, beside those that were known already as the partition was followed here.
    pub replayed: u64,
    /// Records that could not be understood.
    pub undecodable: u64,
    /// The time since the leadership began here.
    pub took: Duration,
}

impl Event for EntitiesLoaded<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, partition, entities, replayed, undecodable, took } = self;
        events.counter("millstream_entity_records_replayed_total", Vec::new()).increment(*replayed);
        tracing::info!(node = %events.node(), kind, partition, entities, replayed, ?took, "entities live here");
        if *undecodable > 0 {
            tracing::error!(node = %events.node(), kind, partition, undecodable, "records of entities could not be understood");
        }
    }
}

/// Turns were not committed, or the log could not be read: those who wait are told to ask again, and it is read on.
#[derive(Debug)]
pub struct EntitiesBroken<'a> {
    /// Their type.
    pub kind: &'a str,
    /// The partition.
    pub partition: i32,
    /// Why.
    pub refusal: &'a Refusal,
}

impl Event for EntitiesBroken<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, partition, refusal } = self;
        tracing::warn!(node = %events.node(), kind, partition, %refusal, "turns of entities were not committed, or their log could not be read; it is read on");
    }
}

fn of(kind: &str) -> Vec<Label> {
    vec![Label::new("kind", kind.to_owned())]
}

/// Records that entities published are in their topics.
#[derive(Debug)]
pub struct PublicationsSent<'a> {
    /// The entities' type.
    pub kind: &'a str,
    /// How many.
    pub count: u64,
}

impl Event for PublicationsSent<'_> {
    fn tell(&self, events: &Events) {
        events.counter("millstream_entity_publications_total", of(self.kind)).increment(self.count);
    }
}

/// A topic will never take a record that an entity published: it is left out, or goes to the dead letters.
#[derive(Debug)]
pub struct PublicationRefused<'a> {
    /// The entity's type.
    pub kind: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Where the record should have gone.
    pub target: PartitionId,
    /// Why it is not there.
    pub refusal: &'a Refusal,
    /// Whether it is kept as a dead letter.
    pub is_kept: bool,
}

impl Event for PublicationRefused<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, partition, target, refusal, is_kept } = self;
        events.counter("millstream_entity_publications_refused_total", of(kind)).increment(1);
        if *is_kept {
            tracing::warn!(node = %events.node(), kind, partition, %target, %refusal, "a topic does not take what an entity published; it goes to the dead letters");
        } else {
            tracing::error!(node = %events.node(), kind, partition, %target, %refusal, "a topic does not take what an entity published; it is left out");
        }
    }
}

/// Records were on their way to a topic that was deleted.
#[derive(Debug)]
pub struct PublicationsDropped<'a> {
    /// The entities' type.
    pub kind: &'a str,
    /// Their partition.
    pub partition: i32,
    /// Where the records should have gone.
    pub target: PartitionId,
    /// How many.
    pub count: usize,
}

impl Event for PublicationsDropped<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, partition, target, count } = self;
        let dropped = events.counter("millstream_entity_publications_dropped_total", of(kind));
        dropped.increment(u64::try_from(*count).unwrap_or(u64::MAX));
        tracing::warn!(node = %events.node(), kind, partition, %target, count, "what entities published is dropped: its topic was deleted");
    }
}

/// A topic has less of what entities published than it had: its log lost records.
#[derive(Debug)]
pub struct PublicationsLost<'a> {
    /// The entities' type.
    pub kind: &'a str,
    /// Their partition.
    pub partition: i32,
    /// Where records are missing.
    pub target: PartitionId,
}

impl Event for PublicationsLost<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, partition, target } = self;
        events.counter("millstream_entity_publications_lost_total", of(kind)).increment(1);
        tracing::error!(node = %events.node(), kind, partition, %target, "a topic has lost records that entities published; those that wait are published behind the gap");
    }
}

/// Records that entities published do not get into their topic.
#[derive(Debug)]
pub struct PublicationsDelayed<'a> {
    /// The entities' type.
    pub kind: &'a str,
    /// Their partition.
    pub partition: i32,
    /// Where the records should go; none where that is several topics together.
    pub target: Option<PartitionId>,
    /// Requests in a row that failed.
    pub failures: u32,
    /// Why the last one did.
    pub refusal: &'a Refusal,
}

impl Event for PublicationsDelayed<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, partition, failures, refusal, .. } = self;
        let target = self.target.map_or_else(|| "several".to_owned(), |target| target.to_string());
        tracing::warn!(node = %events.node(), kind, partition, target, failures, %refusal, "what entities published does not get into its topic; it is tried on");
    }
}

/// A message to an entity went to the dead letters of its type, or should have.
#[derive(Debug)]
pub struct DeadLetterWritten<'a> {
    /// The entity's type.
    pub kind: &'a str,
    /// Its partition.
    pub partition: i32,
    /// What was wrong with the message, in a word.
    pub why: &'static str,
    /// Why it is not there: then it stays where it was.
    pub failed: Option<String>,
}

impl Event for DeadLetterWritten<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, partition, why, failed } = self;
        let Some(failed) = failed else {
            events.counter("millstream_entity_dead_letters_total", of(kind)).increment(1);
            tracing::warn!(node = %events.node(), kind, partition, why, "a message to an entity goes to the dead letters");
            return;
        };
        events.counter("millstream_entity_dead_letters_failed_total", of(kind)).increment(1);
        tracing::error!(node = %events.node(), kind, partition, why, failed, "a message to an entity cannot go to the dead letters");
    }
}

/// States of a type are written in another version than before.
#[derive(Debug)]
pub struct EntityFormatChanged<'a> {
    /// The type.
    pub kind: &'a str,
    /// The version.
    pub version: u16,
    /// The node that reads no later one, if it is not the latest that this node could write.
    pub held_back_by: Option<NodeId>,
}

impl Event for EntityFormatChanged<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, version, held_back_by } = self;
        match held_back_by {
            Some(by) => {
                tracing::warn!(node = %events.node(), kind, version, %by, "states of entities are written in an earlier version, as a host of the type reads no later one; upgrade it, or forget it where it is gone");
            }
            None => {
                tracing::info!(node = %events.node(), kind, version, "states of entities are written in the latest version; all hosts of the type read it");
            }
        }
    }
}

/// As what a node keeps an index of entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityIndexOf {
    /// The leader of their partition.
    Leader,
    /// One of its followers.
    Standby,
}

impl EntityIndexOf {
    const fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Standby => "standby",
        }
    }
}

/// What one index of entities adds to the sums of its node, until it is dropped.
pub struct EntityIndex {
    entities: Gauge,
    bytes: Gauge,
    is: (usize, usize),
}

impl EntityIndex {
    /// One that has nothing yet.
    #[must_use]
    pub fn new(events: &Events, of: EntityIndexOf) -> Self {
        let labels = || vec![Label::new("role", of.name())];
        Self {
            entities: events.gauge("millstream_entities_indexed", labels()),
            bytes: events.gauge("millstream_entities_index_bytes", labels()),
            is: (0, 0),
        }
    }

    /// It has so many entities, and takes so many bytes of memory.
    pub fn is(&mut self, entities: usize, bytes: usize) {
        let (entities_before, bytes_before) = std::mem::replace(&mut self.is, (entities, bytes));
        if entities != entities_before {
            self.entities.increment(as_number(entities) - as_number(entities_before));
        }
        if bytes != bytes_before {
            self.bytes.increment(as_number(bytes) - as_number(bytes_before));
        }
    }
}

fn as_number(count: usize) -> f64 {
    let part = |part: usize| f64::from(u32::try_from(part).unwrap_or(u32::MAX));
    part(count >> 20) * f64::from(1 << 20) + part(count & ((1 << 20) - 1))
}

impl Drop for EntityIndex {
    fn drop(&mut self) {
        self.is(0, 0);
    }
}

impl fmt::Debug for EntityIndex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EntityIndex").field("is", &self.is).finish_non_exhaustive()
    }
}
