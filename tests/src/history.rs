//! What clients did and saw in a run.

use std::collections::BTreeMap;

use millstream_actors::ids::{Offset, PartitionId};

/// What identifies a record in a test: its producer, and its number among that producer's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// The producer.
    pub producer: u32,
    /// Counts the producer's records to one partition, from 0.
    pub number: u64,
}

impl Tag {
    /// The tag as a record's value.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.producer.to_be_bytes());
        bytes[4..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// The tag at the start of a record's value.
    #[must_use]
    pub fn from_bytes(value: &[u8]) -> Option<Self> {
        let producer = u32::from_be_bytes(value.get(..4)?.try_into().ok()?);
        let number = u64::from_be_bytes(value.get(4..12)?.try_into().ok()?);
        Some(Self { producer, number })
    }
}

/// How a send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Acknowledged at this offset.
    Acknowledged(Offset),
    /// Refused: it is not in the log.
    Refused,
    /// Nobody knows: it may be in the log, once.
    Unknown,
}

/// A run as its clients saw it.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every send, by partition.
    pub sends: BTreeMap<PartitionId, Vec<(Tag, Sent)>>,
    /// Every record that any reader saw, in the order seen, by partition.
    pub reads: BTreeMap<PartitionId, Vec<(Offset, Tag)>>,
    /// What the partitions hold at the end, read once from their start.
    pub finals: BTreeMap<PartitionId, Vec<(Offset, Tag)>>,
}

impl History {
    /// Notes how a send ended.
    pub fn sent(&mut self, partition: PartitionId, tag: Tag, sent: Sent) {
        self.sends.entry(partition).or_default().push((tag, sent));
    }

    /// Notes what a reader saw.
    pub fn read(&mut self, partition: PartitionId, offset: Offset, tag: Tag) {
        self.reads.entry(partition).or_default().push((offset, tag));
    }

    /// Notes what a partition holds at the end.
    pub fn hold(&mut self, partition: PartitionId, offset: Offset, tag: Tag) {
        self.finals.entry(partition).or_default().push((offset, tag));
    }

    /// How many sends were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        let all = self.sends.values().flatten();
        all.filter(|(_, sent)| matches!(sent, Sent::Acknowledged(_))).count()
    }
}
