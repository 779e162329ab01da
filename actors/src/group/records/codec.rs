//! A record as its key and value, byte for byte in Kafka's schemas.
//!
//! The first two bytes of a key tell which schema it is of:
//!
//! | key | schema | value versions |
//! |---|---|---|
//! | 0, 1 | OffsetCommit | 0 to 4 read, 4 written (1 where an end was set) |
//! | 2 | GroupMetadata (classic protocol) | 0 to 4 read, 3 written |
//! | 3 | ConsumerGroupMetadata | 0 |
//! | 4 | ConsumerGroupPartitionMetadata | 0 |
//! | 5 | ConsumerGroupMemberMetadata | 0 |
//! | 6 | ConsumerGroupTargetAssignmentMetadata | 0 |
//! | 7 | ConsumerGroupTargetAssignmentMember | 0 |
//! | 8 | ConsumerGroupCurrentMemberAssignment | 0 |
//! | 21000 to 21006 | our own: groups of applications of streams | 0 |
//!
//! Others (9 and up: other kinds of groups, 16: what patterns matched) are left
//! alone when they are read.

use std::sync::Arc;

use bytes::Bytes;

use super::value::{
    read_current, read_epoch, read_member, read_offset, read_target, read_topics, write_current, write_epoch,
    write_member, write_offset, write_target, write_topics,
};
use super::wire::{Reader, RecordError, Writer};
use super::{GroupRecord, classic, streams};

const OFFSET: i16 = 1;
const CLASSIC: i16 = 2;
const EPOCH: i16 = 3;
const TOPICS: i16 = 4;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;

/// A record as it lies in `__consumer_offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// When it was decided, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The key.
    pub key: Bytes,
    /// The value; `None` for a tombstone.
    pub value: Option<Bytes>,
}

/// The bytes of a group's record.
#[must_use]
pub fn encode(timestamp_ms: i64, group: &str, record: &GroupRecord) -> LogRecord {
    LogRecord { timestamp_ms, key: encode_key(group, record), value: encode_value(record) }
}

fn encode_key(group: &str, record: &GroupRecord) -> Bytes {
    let mut out = Writer::default();
    let (kind, member) = match record {
        GroupRecord::Offset { .. } => (OFFSET, None),
        GroupRecord::Classic(_) => (CLASSIC, None),
        GroupRecord::Epoch(_) => (EPOCH, None),
        GroupRecord::Topics(_) => (TOPICS, None),
        GroupRecord::Member { member, .. } => (MEMBER, Some(member)),
        GroupRecord::TargetEpoch(_) => (TARGET_EPOCH, None),
        GroupRecord::Target { member, .. } => (TARGET, Some(member)),
        GroupRecord::Current { member, .. } => (CURRENT, Some(member)),
        GroupRecord::Streams(record) => streams::key(record),
    };
    out.i16(kind);
    out.string(group);
    if let Some(member) = member {
        out.string(member);
    }
    if let GroupRecord::Offset { topic, partition, .. } = record {
        out.string(topic);
        out.i32(*partition);
    }
    out.0.into()
}

fn encode_value(record: &GroupRecord) -> Option<Bytes> {
    let mut out = Writer::default();
    match record {
        GroupRecord::Offset { value, .. } => write_offset(&mut out, value.as_ref()?),
        GroupRecord::Classic(group) => classic::write(&mut out, group.as_ref()?),
        GroupRecord::Epoch(epoch) | GroupRecord::TargetEpoch(epoch) => write_epoch(&mut out, (*epoch)?),
        GroupRecord::Topics(topics) => write_topics(&mut out, topics.as_ref()?),
        GroupRecord::Member { value, .. } => write_member(&mut out, value.as_ref()?),
        GroupRecord::Target { value, .. } => write_target(&mut out, value.as_ref()?),
        GroupRecord::Current { value, .. } => write_current(&mut out, value.as_ref()?),
        GroupRecord::Streams(record) => streams::write(&mut out, record)?,
    }
    Some(out.0.into())
}

/// The group and what is said of it; `None` for a record that is not of a consumer group.
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<(Arc<str>, GroupRecord)>, RecordError> {
    let mut key = Reader(key);
    let kind = key.i16()?;
    if !matches!(kind, 0 | OFFSET | CLASSIC..=CURRENT | streams::EPOCH..=streams::FENCE) {
        return Ok(None);
    }
    let group = key.string()?;
    let mut value = value.map(Reader);
    let record = match kind {
        streams::EPOCH..=streams::FENCE => GroupRecord::Streams(streams::read(kind, &mut key, value)?),
        CLASSIC => GroupRecord::Classic(value.as_mut().map(classic::read).transpose()?),
        EPOCH => GroupRecord::Epoch(value.as_mut().map(read_epoch).transpose()?),
        TOPICS => GroupRecord::Topics(value.as_mut().map(read_topics).transpose()?),
        MEMBER => {
            GroupRecord::Member { member: key.string()?, value: value.as_mut().map(read_member).transpose()? }
        }
        TARGET_EPOCH => GroupRecord::TargetEpoch(value.as_mut().map(read_epoch).transpose()?),
        TARGET => {
            GroupRecord::Target { member: key.string()?, value: value.as_mut().map(read_target).transpose()? }
        }
        CURRENT => GroupRecord::Current {
            member: key.string()?,
            value: value.as_mut().map(read_current).transpose()?,
        },
        _ => GroupRecord::Offset {
            topic: key.string()?,
            partition: key.i32()?,
            value: value.as_mut().map(read_offset).transpose()?,
        },
    };
    Ok(Some((group, record)))
}
