//! Topics that entities read.

use metrics::{Counter, Gauge, Label};

use super::{Event, Events};
use crate::ids::Offset;

/// A partition of a topic is read here for entities from now on.
#[derive(Debug)]
pub struct EntityInputBegan<'a> {
    /// Their type.
    pub kind: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The first offset that is not applied everywhere.
    pub from: Offset,
}

impl Event for EntityInputBegan<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, topic, partition, from } = self;
        tracing::info!(node = %events.node(), kind, topic, partition, %from, "a topic is read for entities here");
    }
}

/// A topic is not read on for entities, and is tried again: a record cannot be understood, or an entity does not take it.
#[derive(Debug)]
pub struct EntityInputStands<'a> {
    /// Their type.
    pub kind: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// Why.
    pub why: &'a str,
}

impl Event for EntityInputStands<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, topic, partition, why } = self;
        events.counter("millstream_entity_input_stands_total", labels(kind, topic)).increment(1);
        tracing::error!(node = %events.node(), kind, topic, partition, why, "a topic is not read on for entities; it is tried again");
    }
}

/// A record that cannot be understood was left out, as the type's policy has it.
#[derive(Debug)]
pub struct EntityInputLeftOut<'a> {
    /// The type.
    pub kind: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The record.
    pub offset: Offset,
    /// Why.
    pub why: &'a str,
}

impl Event for EntityInputLeftOut<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, topic, partition, offset, why } = self;
        events.counter("millstream_entity_input_left_out_total", labels(kind, topic)).increment(1);
        tracing::warn!(node = %events.node(), kind, topic, partition, %offset, why, "a record that entities cannot understand was left out");
    }
}

/// Records were deleted before entities have read them.
#[derive(Debug)]
pub struct EntityInputMissed<'a> {
    /// The type.
    pub kind: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The first offset that was not read.
    pub from: Offset,
    /// The first that is still there.
    pub start: Offset,
    /// How many offsets lie between.
    pub records: u64,
}

impl Event for EntityInputMissed<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, topic, partition, from, start, records } = self;
        events.counter("millstream_entity_input_missed_total", labels(kind, topic)).increment(*records);
        tracing::error!(node = %events.node(), kind, topic, partition, %from, %start, records, "records were deleted before entities have read them; they are read from the first that is there");
    }
}

/// The series of one partition of a topic that entities read.
#[derive(Debug)]
pub struct EntityInputMetrics {
    applied: Counter,
    lag: Gauge,
}

impl EntityInputMetrics {
    /// Those of a type, a topic and its partition.
    #[must_use]
    pub fn of(events: &Events, kind: &str, topic: &str, partition: i32) -> Self {
        let mut of_partition = labels(kind, topic);
        of_partition.push(Label::new("partition", partition.to_string()));
        Self {
            applied: events.counter("millstream_entity_input_records_total", labels(kind, topic)),
            lag: events.gauge("millstream_entity_input_lag_records", of_partition),
        }
    }

    /// So many records were applied.
    pub fn applied(&self, records: usize) {
        self.applied.increment(u64::try_from(records).unwrap_or(u64::MAX));
    }

    /// So many that may be read are not applied.
    pub fn lag(&self, records: u64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a gauge is a float; above 2^53 records nobody counts"
        )]
        let records = records as f64;
        self.lag.set(records);
    }
}

impl Drop for EntityInputMetrics {
    /// Who reads it now tells its lag.
    fn drop(&mut self) {
        self.lag.set(0.0);
    }
}

fn labels(kind: &str, topic: &str) -> Vec<Label> {
    vec![Label::new("kind", kind.to_owned()), Label::new("topic", topic.to_owned())]
}
