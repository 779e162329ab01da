//! Records for topics of users that turns write, and how a partition of entities writes them: as an idempotent producer of its
//! own for each partition of a topic.
//!
//! A publication's sequence is given in the batch of its turn, so a sequence has one content for ever, whoever leads. A
//! record that a topic will not take leaves a hole in the sequences, and so does a topic that lost what it had: then the
//! target begins a new epoch of its producer, in which the publications that wait are numbered from 0.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{PartitionId, ProducerId};
use crate::record::{BatchBuilder, Compression, HEADER_BYTES, Header, ProducerStamp, record_bytes};

/// Sequences are numbers of 31 bits; 0 follows the last (as Kafka has it).
const LAST_SEQUENCE: i32 = i32::MAX;

/// A record that a handler publishes ([`Turn::publish`](super::Turn::publish)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputRecord {
    pub(super) partition: Option<i32>,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<Header>,
    pub(super) timestamp_ms: Option<i64>,
}

impl OutputRecord {
    /// A record without anything. Without a key it goes to partitions in turn; without a value it is a tombstone where the
    /// topic is compacted; its time is that of the turn.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with a key: it decides the partition (murmur2, as Kafka's clients do).
    #[must_use]
    pub fn key(self, key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// The same, with a value.
    #[must_use]
    pub fn value(self, value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ..self }
    }

    /// The same, with a header more.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header::new(name, value));
        self
    }

    /// The same, for this partition whatever the key.
    #[must_use]
    pub fn partition(self, partition: i32) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// The same, with a time of its own, in milliseconds since 1970.
    #[must_use]
    pub fn timestamp_ms(self, timestamp_ms: i64) -> Self {
        Self { timestamp_ms: Some(timestamp_ms), ..self }
    }
}

/// A record for a topic, as a handler gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The topic's name.
    pub topic: String,
    /// The record.
    pub record: OutputRecord,
}

/// A record as it will be in its topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Its time, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers: names and values.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl Written {
    /// The most bytes that it takes in a batch.
    #[must_use]
    pub fn bytes(&self) -> usize {
        record_bytes(self.key.as_deref(), self.value.as_deref(), &self.headers())
    }

    /// One batch of these records, as a producer's.
    #[must_use]
    pub fn batch(records: &[Self], producer: Stamp, base_sequence: i32) -> Bytes {
        let bytes: usize = records.iter().map(Self::bytes).sum();
        let limit = bytes.saturating_add(HEADER_BYTES);
        let mut builder = BatchBuilder::with_capacity(limit, limit, Compression::NONE);
        for record in records {
            // Its room was counted before.
            let _fits = builder.push(
                record.timestamp_ms,
                record.key.as_deref(),
                record.value.as_deref(),
                &record.headers(),
            );
        }
        builder.finish(Some(ProducerStamp { id: producer.id, epoch: producer.epoch, base_sequence }))
    }

    /// Its headers as batches have them.
    #[must_use]
    pub fn headers(&self) -> Vec<Header> {
        let each = self.headers.iter().cloned();
        each.map(|(name, value)| Header { name, value }).collect()
    }
}

/// How what entities publish gets into its topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Each topic by itself: once, in order, as soon as it takes it.
    #[default]
    EachTopic,
    /// All that a turn publishes in one transaction: readers of committed records see all of it or nothing, in all topics.
    /// The partition's `transactional.id` and the group of its position are `__entity_TYPE-PARTITION`.
    Transactional,
}

/// With which others a publication reaches its topic. Told by place: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Together {
    /// By itself.
    Alone,
    /// In the transaction of the one behind it.
    WithNext,
    /// It is the last of its turn.
    AsLast,
}

/// A record on its way to a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Where it goes: decided when its turn was committed, and never again.
    pub target: PartitionId,
    /// Its place among all for that target, of 31 bits; those of transactions have none of their own.
    pub sequence: i32,
    /// With which others it goes.
    pub together: Together,
    /// The record.
    pub record: Written,
}

/// A producer id and its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The id.
    pub id: ProducerId,
    /// The epoch.
    pub epoch: i16,
}

/// How a partition of entities writes to a partition of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The producer as which it does; none before the first, and where its epochs are used up.
    pub producer: Option<Stamp>,
    /// The sequence of the next publication.
    pub next: i32,
    /// The sequence that is number 0 in the producer's epoch.
    pub base: i32,
    /// The version of an image that has the topic: one that is as new and has not knows that it was deleted.
    pub seen_in: u64,
}

impl Target {
    /// What a publication's sequence is in the producer's epoch.
    pub(super) fn in_epoch(self, sequence: i32) -> i32 {
        distance(self.base, sequence)
    }

    /// The same target in a new epoch of its producer, in which this sequence is number 0.
    pub(super) fn renumbered(self, first: i32) -> Self {
        let next = |stamp: Stamp| Some(Stamp { epoch: stamp.epoch.checked_add(1)?, ..stamp });
        Self { producer: self.producer.and_then(next), base: first, ..self }
    }
}

/// The sequence behind this one.
pub(super) fn following(sequence: i32) -> i32 {
    sequence.checked_add(1).unwrap_or(0)
}

/// How far one sequence lies behind another, of 31 bits: `LAST_SEQUENCE` where it is the one before.
pub(super) fn distance(from: i32, to: i32) -> i32 {
    to.wrapping_sub(from) & LAST_SEQUENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_the_last_sequence_comes_0() {
        assert_eq!((following(7), following(i32::MAX)), (8, 0));
        assert_eq!((distance(i32::MAX, 0), distance(i32::MAX - 1, 1), distance(5, 5)), (1, 3, 0));
        assert_eq!(distance(0, i32::MAX), i32::MAX);
        let target = Target { base: i32::MAX, ..Target::default() };
        assert_eq!((target.in_epoch(i32::MAX), target.in_epoch(0), target.in_epoch(1)), (0, 1, 2));
    }

    #[test]
    fn a_new_epoch_begins_with_0_and_behind_the_last_a_new_producer_is_wanted() {
        let stamp = Stamp { id: ProducerId(7), epoch: i16::MAX - 1 };
        let target = Target { producer: Some(stamp), next: 9, base: 0, seen_in: 3 };
        let last = target.renumbered(5);
        assert_eq!(last.producer, Some(Stamp { id: ProducerId(7), epoch: i16::MAX }));
        assert_eq!((last.in_epoch(5), last.next), (0, 9));
        assert_eq!(last.renumbered(6).producer, None);
    }
}
