//! What clients ask of a partition's leader: produce, fetch, list offsets.
//!
//! Kinds 100 to 149. Bodies are record batches (Kafka v2), verbatim.

pub mod transactional;

use bytes::Bytes;
use millstream_transport::message::{Answer, BodyMismatch, Message};
use serde::{Deserialize, Serialize};

use super::append::AbortedTransaction;
use super::verify::InTransaction;
use crate::error::Refusal;
use crate::ids::{LeaderEpoch, NodeId, Offset, PartitionId};

/// When a produce request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acks {
    /// Never.
    None,
    /// When the leader has it: synced, or appended where the topic's `flush.policy` is `os`.
    Leader,
    /// When every in-sync member has it, and at least `min.insync.replicas` do.
    All,
}

/// Appends batches to partitions that the receiver leads. Answered once, when all parts are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Produce {
    /// When to answer.
    pub acks: Acks,
    /// How long `acks=all` may take, in milliseconds.
    pub timeout_ms: u32,
    /// One entry a partition; a partition stands at most once.
    pub parts: Vec<ProducePart>,
}

/// The batches for one partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProducePart {
    /// Where to.
    pub partition: PartitionId,
    /// The leader epoch the sender knows; refused if it is not the current one.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Record batches, one behind the other.
    #[serde(skip)]
    pub batches: Bytes,
    /// The transaction that they are part of. Told within a node only; others say it of the whole request
    /// ([`ProduceInTransaction`](transactional::ProduceInTransaction)).
    #[serde(skip)]
    pub transaction: Option<InTransaction>,
}

/// Where the batches of one part went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Produced {
    /// Offset of the first record; of the first append where this is a duplicate.
    pub base_offset: Offset,
    /// The time given by the broker (`message.timestamp.type=LogAppendTime`), milliseconds since 1970.
    pub log_append_time_ms: Option<i64>,
    /// First offset still in the partition.
    pub log_start_offset: Offset,
}

/// Answers to [`Produce`], in its order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProduceAnswer {
    /// One entry a part.
    pub parts: Vec<(PartitionId, Result<Produced, Refusal>)>,
}

impl Message for Produce {
    const KIND: u16 = 100;
    type Answer = ProduceAnswer;

    fn take_bodies(&mut self) -> Vec<Bytes> {
        self.parts.iter_mut().map(|part| std::mem::take(&mut part.batches)).collect()
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        BodyMismatch::check(self.parts.len(), bodies.len())?;
        for (part, body) in self.parts.iter_mut().zip(bodies) {
            part.batches = body;
        }
        Ok(())
    }
}

impl Answer for ProduceAnswer {}

/// Reads batches from partitions; waits up to `max_wait_ms` until `min_bytes` are there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fetch {
    /// How long to wait, in milliseconds.
    pub max_wait_ms: u32,
    /// Bytes that end the wait.
    pub min_bytes: u32,
    /// Bytes in all parts together; the first batch is sent whole even if it is larger.
    pub max_bytes: u32,
    /// One entry a partition.
    pub parts: Vec<FetchPart>,
}

/// Which replicas a reader may read from beside the leader (KIP-392).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nearby {
    /// A follower that is asked may answer.
    pub from_follower: bool,
    /// Nodes of the reader's own rack with a replica in sync: the leader names the first whose replica has what is wanted,
    /// instead of reading. No more than the partition has replicas.
    pub preferred: Vec<NodeId>,
}

/// What to read of one partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FetchPart {
    /// The partition.
    pub partition: PartitionId,
    /// The leader epoch the sender knows.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The epoch of the record before `offset`, if the sender knows it: it is told where its history and that of the
    /// leader part (KIP-320, KIP-595).
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// The first offset wanted; the batch that holds it comes whole.
    pub offset: Offset,
    /// Bytes of this part.
    pub max_bytes: u32,
    /// Only what is below the last stable offset is wanted. Told within a node only; others ask by
    /// [`FetchStable`](transactional::FetchStable).
    #[serde(skip)]
    pub stable_only: bool,
    /// From which replicas. Told within a node only.
    #[serde(skip)]
    pub nearby: Nearby,
}

/// What was read of one partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fetched {
    /// Offsets below it are committed.
    pub high_watermark: Offset,
    /// First offset still in the partition.
    pub log_start_offset: Offset,
    /// Where the history of the one who asks leaves the leader's: the last epoch that both have, and its end here. Then
    /// there are no batches.
    pub diverging: Option<EpochEnd>,
    /// Who is to be asked from now on, instead of the leader. Then there are no batches.
    #[serde(skip)]
    pub preferred: Option<NodeId>,
    /// Transactions that begin below it have ended, and no record of others is below it.
    #[serde(skip)]
    pub last_stable_offset: Offset,
    /// The aborted transactions that the batches are part of, where only what is stable was asked for.
    #[serde(skip)]
    pub aborted: Vec<AbortedTransaction>,
    /// Whole record batches, all below the high watermark; empty if there is nothing new.
    #[serde(skip)]
    pub batches: Bytes,
}

/// Where a leader epoch ends in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochEnd {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The offset behind its last record.
    pub end: Offset,
}

/// Answers to [`Fetch`], in its order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FetchAnswer {
    /// One entry a part.
    pub parts: Vec<(PartitionId, Result<Fetched, Refusal>)>,
}

impl Message for Fetch {
    const KIND: u16 = 101;
    type Answer = FetchAnswer;
}

impl Answer for FetchAnswer {
    fn take_bodies(&mut self) -> Vec<Bytes> {
        self.parts
            .iter_mut()
            .filter_map(|(_, part)| part.as_mut().ok().map(|part| std::mem::take(&mut part.batches)))
            .collect()
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        let expected = self.parts.iter().filter(|(_, part)| part.is_ok()).count();
        BodyMismatch::check(expected, bodies.len())?;
        for (part, body) in self.parts.iter_mut().filter_map(|(_, part)| part.as_mut().ok()).zip(bodies) {
            part.batches = body;
        }
        Ok(())
    }
}

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OffsetSpec {
    /// The first offset still there.
    Earliest,
    /// The high watermark: the offset the next record to be committed will have.
    Latest,
    /// The first record with this timestamp or a later one (milliseconds since 1970).
    Timestamp(i64),
    /// The first of the records with the greatest timestamp (KIP-734).
    MaxTimestamp,
    /// The end of what lies in tiered storage: there is none.
    Tiered,
    /// The last stable offset.
    LastStable,
    /// As [`Self::Timestamp`], below the last stable offset.
    StableTimestamp(i64),
}

/// Asks for offsets of partitions that the receiver leads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListOffsets {
    /// One entry a partition.
    pub parts: Vec<(PartitionId, OffsetSpec)>,
}

/// One partition of a request for offsets, with the leader epoch that the asker knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListPart {
    /// The partition.
    pub partition: PartitionId,
    /// Refused if it is not the current one.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Which offset.
    pub spec: OffsetSpec,
}

/// Asks where an epoch ends in the log of a leader (KIP-320).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochPart {
    /// The partition.
    pub partition: PartitionId,
    /// The leader epoch that the asker knows; refused if it is not the current one.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The epoch asked about.
    pub epoch: LeaderEpoch,
}

/// An offset found, and the timestamp of its record where one was looked up; `None` if no record is that late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedOffset {
    /// The offset.
    pub offset: Option<Offset>,
    /// The record's timestamp.
    pub timestamp_ms: Option<i64>,
    /// The epoch in which the record at the offset was written; the current one for the end.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// Answers to [`ListOffsets`], in its order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListOffsetsAnswer {
    /// One entry a part.
    pub parts: Vec<(PartitionId, Result<ListedOffset, Refusal>)>,
}

impl Message for ListOffsets {
    const KIND: u16 = 102;
    type Answer = ListOffsetsAnswer;
}

impl Answer for ListOffsetsAnswer {}

/// Deletes the records that lie before an offset, from partitions that the receiver leads. Answered once, when no
/// in-sync member has them any more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeleteRecords {
    /// How long that may take, in milliseconds.
    pub timeout_ms: u32,
    /// One entry a partition; without an offset it is the high watermark.
    pub parts: Vec<(PartitionId, Option<Offset>)>,
}

/// Answers to [`DeleteRecords`], in its order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeleteRecordsAnswer {
    /// One entry a part: where the logs of the in-sync members begin, the least of them.
    pub parts: Vec<(PartitionId, Result<Offset, Refusal>)>,
}

impl Message for DeleteRecords {
    const KIND: u16 = 110;
    type Answer = DeleteRecordsAnswer;
}

impl Answer for DeleteRecordsAnswer {}

/// Where a client should go instead, told with `NotLeaderOrFollower`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderHint {
    /// The leader.
    pub node: NodeId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::ids::TopicId;

    /// A topic's id has its length before it; signs of numbers are in the lowest bit.
    const PARTITION: &str = "10abababababababababababababababab04";

    fn partition() -> PartitionId {
        PartitionId { topic: TopicId(uuid::Uuid::from_bytes([0xab; 16])), index: 2 }
    }

    fn hex(value: &impl Serialize) -> String {
        postcard::to_stdvec(value).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn deletions_have_their_bytes() {
        let parts = vec![(partition(), Some(Offset(5))), (partition(), None)];
        let delete = DeleteRecords { timeout_ms: 300, parts };
        assert_eq!((DeleteRecords::KIND, DeleteRecords::VERSION), (110, 1));
        assert_eq!(hex(&delete), format!("ac0202{PARTITION}010a{PARTITION}00"));
        let refusal = Refusal::new(ErrorCode::OffsetOutOfRange, "no");
        let parts = vec![(partition(), Ok(Offset(5))), (partition(), Err(refusal))];
        let answer = DeleteRecordsAnswer { parts };
        assert_eq!(hex(&answer), format!("02{PARTITION}000a{PARTITION}0101026e6f"));
    }

    #[test]
    fn what_is_asked_of_epochs_and_offsets_has_its_bytes() {
        let part = FetchPart {
            stable_only: false,
            nearby: Default::default(),
            partition: partition(),
            leader_epoch: Some(LeaderEpoch(3)),
            last_fetched_epoch: Some(LeaderEpoch(2)),
            offset: Offset(5),
            max_bytes: 1,
        };
        assert_eq!(hex(&part), format!("{PARTITION}010601040a01"));
        let list = ListOffsets {
            parts: vec![(partition(), OffsetSpec::MaxTimestamp), (partition(), OffsetSpec::Tiered)],
        };
        assert_eq!(hex(&list), format!("02{PARTITION}03{PARTITION}04"));
        let listed =
            ListedOffset { offset: Some(Offset(5)), timestamp_ms: None, leader_epoch: Some(LeaderEpoch(3)) };
        assert_eq!(hex(&listed), "010a000106");
    }
}
