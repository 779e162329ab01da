//! What a consumer hands its application.

use crate::client::TopicPartition;
use crate::ids::{Offset, TopicId};
use crate::record::{Batch, BatchError, MAX_UNPACKED_BYTES, Record, Records, records};

/// What comes next. Rebalances come in the same order as records, never from another thread.
#[derive(Clone, Debug)]
pub enum ConsumerEvent {
    /// These partitions are read from now on.
    Assigned(Vec<TopicPartition>),
    /// These partitions go to others. They are given up when the next event is asked for: until then, their offsets
    /// can be committed.
    Revoked(Vec<TopicPartition>),
    /// These partitions were lost without notice: others may have them already, and commits for them are refused.
    Lost(Vec<TopicPartition>),
    /// Records of one partition.
    Records(Fetched),
}

/// Records of one partition, in order.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The partition.
    pub partition: TopicPartition,
    /// The topic, which another of its name is not.
    pub topic_id: TopicId,
    /// Offsets below it are committed: how far there is to read.
    pub high_watermark: Offset,
    pub(crate) batches: Vec<Batch>,
    pub(crate) from: Offset,
    pub(crate) next: Offset,
}

impl Fetched {
    /// The offset to go on at: after the last record, and after what brokers wrote behind it.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.next
    }

    /// The offset that was asked for: records below it are not among these.
    #[must_use]
    pub const fn asked_offset(&self) -> Offset {
        self.from
    }

    /// Bytes of its batches, as they came.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes.len()).sum()
    }

    /// The records. They are unpacked one batch at a time as they are taken; keys and values are slices of the batch.
    /// An error is one of the data: a record that its producer made wrong, or a batch that unpacks to too much.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, BatchError>> + '_ {
        self.batches.iter().flat_map(unpacked).filter(|record| is_from(self.from, record))
    }

    /// The same; a batch whose last record was taken is kept no more.
    pub(crate) fn into_records(self) -> impl Iterator<Item = Result<Record, BatchError>> + Send + 'static {
        let from = self.from;
        self.batches
            .into_iter()
            .flat_map(|batch| unpacked(&batch))
            .filter(move |record| is_from(from, record))
    }
}

fn is_from(from: Offset, record: &Result<Record, BatchError>) -> bool {
    record.as_ref().map_or(true, |record| record.offset >= from)
}

fn unpacked(batch: &Batch) -> Either {
    match records(batch, MAX_UNPACKED_BYTES) {
        Ok(records) => Either::Records(records),
        Err(error) => Either::Error(Some(error)),
    }
}

enum Either {
    Records(Records),
    Error(Option<BatchError>),
}

impl Iterator for Either {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Records(records) => records.next(),
            Self::Error(error) => error.take().map(Err),
        }
    }
}
