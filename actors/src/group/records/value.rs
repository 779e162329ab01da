//! The values, by schema. Fields stand in the order of the schema; a version that is flexible ends in tagged fields.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::wire::{Reader, RecordError, Writer};
use super::{ClassicTerms, CurrentAssignment, MemberMetadata, MemberState, OffsetValue};
use crate::group::classic::Protocol;
use crate::group::topics::TopicShape;
use crate::ids::{LeaderEpoch, Offset, PartitionId, TopicId};

/// OffsetCommitValue: the tag of the topic's id.
const TOPIC_ID_TAG: usize = 0;
/// ConsumerGroupMemberMetadataValue: the tag of what a member said in the classic protocol.
const CLASSIC_TAG: usize = 0;
/// The byte before a structure that might have been null (KIP-893).
const PRESENT: i8 = 1;

/// OffsetCommitValue. Version 4; version 1 where an end was set, as no later one has that field.
pub(super) fn write_offset(out: &mut Writer, value: &OffsetValue) {
    let version = if value.expires_ms.is_some() { 1 } else { 4 };
    out.i16(version);
    out.i64(value.offset.0);
    if let Some(expires_ms) = value.expires_ms {
        out.string(&value.metadata);
        out.i64(value.committed_ms);
        out.i64(expires_ms);
        return;
    }
    out.i32(value.leader_epoch.map_or(-1, |epoch| epoch.0));
    out.compact_string(&value.metadata);
    out.i64(value.committed_ms);
    match value.topic {
        Some(topic) => {
            out.varint(1);
            out.varint(TOPIC_ID_TAG);
            out.varint(16);
            out.uuid(topic.0);
        }
        None => out.no_tags(),
    }
}

pub(super) fn read_offset(from: &mut Reader<'_>) -> Result<OffsetValue, RecordError> {
    let version = version(from, 4)?;
    let offset = Offset(from.i64()?);
    let leader_epoch =
        if version >= 3 { Some(LeaderEpoch(from.i32()?)).filter(|epoch| epoch.0 >= 0) } else { None };
    let metadata = if version >= 4 { from.compact_string()? } else { from.string()? };
    let committed_ms = from.i64()?;
    let expires_ms = if version == 1 { Some(from.i64()?).filter(|ms| *ms >= 0) } else { None };
    let mut topic = None;
    if version >= 4 {
        from.tags(|tag, field| {
            if tag == TOPIC_ID_TAG {
                topic = Some(TopicId(field.uuid()?)).filter(|topic| !topic.0.is_nil());
            }
            Ok(())
        })?;
    }
    Ok(OffsetValue { offset, leader_epoch, metadata: metadata.to_string(), committed_ms, expires_ms, topic })
}

/// ConsumerGroupMetadataValue, and ConsumerGroupTargetAssignmentMetadataValue, which looks the same. The hash of the
/// topics, a tagged field of later brokers, is not written: the topics themselves are, as their own record.
pub(super) fn write_epoch(out: &mut Writer, epoch: i32) {
    out.i16(0);
    out.i32(epoch);
    out.no_tags();
}

pub(super) fn read_epoch(from: &mut Reader<'_>) -> Result<i32, RecordError> {
    version(from, 0)?;
    let epoch = from.i32()?;
    from.skip_tags()?;
    Ok(epoch)
}

/// ConsumerGroupPartitionMetadataValue. Racks are not written, as brokers since 4.0 do not.
pub(super) fn write_topics(out: &mut Writer, topics: &BTreeMap<Arc<str>, TopicShape>) {
    out.i16(0);
    out.compact_array(topics.iter(), |out, (name, shape)| {
        out.uuid(shape.id.0);
        out.compact_string(name);
        out.i32(shape.partitions);
        out.varint(1);
        out.no_tags();
    });
    out.no_tags();
}

pub(super) fn read_topics(from: &mut Reader<'_>) -> Result<BTreeMap<Arc<str>, TopicShape>, RecordError> {
    version(from, 0)?;
    let topics = from.compact_array(|from| {
        let id = TopicId(from.uuid()?);
        let name = from.compact_string()?;
        let partitions = from.i32()?;
        from.compact_array(|racks| {
            racks.i32()?;
            racks.compact_array(Reader::compact_string)?;
            racks.skip_tags()
        })?;
        from.skip_tags()?;
        Ok((name, TopicShape { id, partitions }))
    })?;
    from.skip_tags()?;
    Ok(topics.into_iter().collect())
}

/// ConsumerGroupMemberMetadataValue.
pub(super) fn write_member(out: &mut Writer, member: &MemberMetadata) {
    out.i16(0);
    out.compact_nullable(member.instance.as_deref());
    out.compact_nullable(member.rack.as_deref());
    out.compact_string(&member.client_id);
    out.compact_string(&member.client_host);
    out.compact_array(member.topics.iter(), |out, name| out.compact_string(name));
    out.compact_nullable(member.pattern.as_deref());
    out.i32(member.rebalance_timeout_ms);
    out.compact_nullable(member.assignor.as_deref());
    let Some(classic) = &member.classic else { return out.no_tags() };
    let mut terms = Writer::default();
    terms.i8(PRESENT);
    terms.i32(classic.session_timeout_ms);
    terms.compact_array(classic.protocols.iter(), |out, protocol| {
        out.compact_string(&protocol.name);
        out.compact_bytes(&protocol.metadata);
        out.no_tags();
    });
    terms.no_tags();
    out.varint(1);
    out.varint(CLASSIC_TAG);
    out.varint(terms.0.len());
    out.0.extend(terms.0);
}

pub(super) fn read_member(from: &mut Reader<'_>) -> Result<MemberMetadata, RecordError> {
    version(from, 0)?;
    let mut member = MemberMetadata {
        instance: from.compact_nullable()?,
        rack: from.compact_nullable()?.map(|text| text.to_string()),
        client_id: from.compact_string()?.to_string(),
        client_host: from.compact_string()?.to_string(),
        topics: from.compact_array(Reader::compact_string)?,
        pattern: from.compact_nullable()?,
        rebalance_timeout_ms: from.i32()?,
        assignor: from.compact_nullable()?.map(|text| text.to_string()),
        classic: None,
    };
    from.tags(|tag, field| {
        if tag == CLASSIC_TAG {
            member.classic = read_classic(field)?;
        }
        Ok(())
    })?;
    Ok(member)
}

fn read_classic(from: &mut Reader<'_>) -> Result<Option<ClassicTerms>, RecordError> {
    if from.i8()? != PRESENT {
        return Ok(None);
    }
    let session_timeout_ms = from.i32()?;
    let protocols = from.compact_array(|from| {
        let name = from.compact_string()?;
        let metadata = Bytes::copy_from_slice(from.compact_bytes()?);
        from.skip_tags()?;
        Ok(Protocol { name, metadata })
    })?;
    from.skip_tags()?;
    Ok(Some(ClassicTerms { session_timeout_ms, protocols }))
}

/// ConsumerGroupTargetAssignmentMemberValue.
pub(super) fn write_target(out: &mut Writer, partitions: &BTreeSet<PartitionId>) {
    out.i16(0);
    write_partitions(out, partitions);
    out.no_tags();
}

pub(super) fn read_target(from: &mut Reader<'_>) -> Result<BTreeSet<PartitionId>, RecordError> {
    version(from, 0)?;
    let partitions = read_partitions(from)?;
    from.skip_tags()?;
    Ok(partitions)
}

/// ConsumerGroupCurrentMemberAssignmentValue.
pub(super) fn write_current(out: &mut Writer, current: &CurrentAssignment) {
    out.i16(0);
    out.i32(current.epoch);
    out.i32(current.previous_epoch);
    out.i8(match current.state {
        MemberState::Stable => 0,
        MemberState::Unrevoked => 1,
        MemberState::Unreleased => 2,
    });
    write_partitions(out, &current.assigned);
    write_partitions(out, &current.revoking);
    out.no_tags();
}

pub(super) fn read_current(from: &mut Reader<'_>) -> Result<CurrentAssignment, RecordError> {
    version(from, 0)?;
    let epoch = from.i32()?;
    let previous_epoch = from.i32()?;
    let state = match from.i8()? {
        0 => MemberState::Stable,
        1 => MemberState::Unrevoked,
        2 => MemberState::Unreleased,
        other => return Err(RecordError::State(other)),
    };
    let assigned = read_partitions(from)?;
    let revoking = read_partitions(from)?;
    from.skip_tags()?;
    Ok(CurrentAssignment { epoch, previous_epoch, state, assigned, revoking })
}

/// Topics with their partitions: a struct that several schemas have.
fn write_partitions(out: &mut Writer, partitions: &BTreeSet<PartitionId>) {
    let mut by_topic: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        by_topic.entry(partition.topic).or_default().push(partition.index);
    }
    out.compact_array(by_topic.into_iter(), |out, (topic, indexes)| {
        out.uuid(topic.0);
        out.compact_array(indexes.into_iter(), Writer::i32);
        out.no_tags();
    });
}

fn read_partitions(from: &mut Reader<'_>) -> Result<BTreeSet<PartitionId>, RecordError> {
    let topics = from.compact_array(|from| {
        let topic = TopicId(from.uuid()?);
        let indexes = from.compact_array(Reader::i32)?;
        from.skip_tags()?;
        Ok(indexes.into_iter().map(move |index| PartitionId { topic, index }))
    })?;
    Ok(topics.into_iter().flatten().collect())
}

pub(super) fn version(from: &mut Reader<'_>, newest: i16) -> Result<i16, RecordError> {
    let version = from.i16()?;
    if (0..=newest).contains(&version) { Ok(version) } else { Err(RecordError::Version(version)) }
}
