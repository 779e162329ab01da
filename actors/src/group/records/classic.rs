//! GroupMetadataValue: a group of the classic protocol, whole.

use std::sync::Arc;

use bytes::Bytes;

use super::value::version;
use super::wire::{Reader, RecordError, Writer};
use crate::group::classic::{ClassicMember, ClassicMetadata};

/// The version written: the last one before lengths became varints, so that every broker of the last years reads it.
const WRITTEN: i16 = 3;
/// The last version read.
const KNOWN: i16 = 4;
/// The first version with varints.
const FLEXIBLE: i16 = 4;
/// The time of a group that never had one.
const NO_TIME: i64 = -1;

pub(super) fn write(out: &mut Writer, group: &ClassicMetadata) {
    out.i16(WRITTEN);
    out.string(&group.protocol_type);
    out.i32(group.generation);
    out.nullable(group.protocol.as_deref());
    out.nullable(group.leader.as_deref());
    out.i64(group.state_since_ms.unwrap_or(NO_TIME));
    out.i32(i32::try_from(group.members.len()).unwrap_or(i32::MAX));
    for member in &group.members {
        out.string(&member.member);
        out.nullable(member.instance.as_deref());
        out.string(&member.client_id);
        out.string(&member.client_host);
        out.i32(member.rebalance_timeout_ms);
        out.i32(member.session_timeout_ms);
        out.bytes(&member.subscription);
        out.bytes(&member.assignment);
    }
}

pub(super) fn read(from: &mut Reader<'_>) -> Result<ClassicMetadata, RecordError> {
    let version = version(from, KNOWN)?;
    let group = ClassicMetadata {
        protocol_type: string(from, version)?,
        generation: from.i32()?,
        protocol: nullable(from, version)?,
        leader: nullable(from, version)?,
        state_since_ms: if version >= 2 { Some(from.i64()?).filter(|ms| *ms != NO_TIME) } else { None },
        members: if version >= FLEXIBLE {
            from.compact_array(|from| member(from, version))?
        } else {
            from.array_of(|from| member(from, version))?
        },
    };
    if version >= FLEXIBLE {
        from.skip_tags()?;
    }
    Ok(group)
}

fn member(from: &mut Reader<'_>, version: i16) -> Result<ClassicMember, RecordError> {
    let member = ClassicMember {
        member: string(from, version)?,
        instance: if version >= 3 { nullable(from, version)? } else { None },
        client_id: string(from, version)?,
        client_host: string(from, version)?,
        rebalance_timeout_ms: if version >= 1 { from.i32()? } else { -1 },
        session_timeout_ms: from.i32()?,
        subscription: bytes(from, version)?,
        assignment: bytes(from, version)?,
    };
    if version >= FLEXIBLE {
        from.skip_tags()?;
    }
    Ok(member)
}

fn string(from: &mut Reader<'_>, version: i16) -> Result<Arc<str>, RecordError> {
    if version >= FLEXIBLE { from.compact_string() } else { from.string() }
}

fn nullable(from: &mut Reader<'_>, version: i16) -> Result<Option<Arc<str>>, RecordError> {
    if version >= FLEXIBLE { from.compact_nullable() } else { from.nullable() }
}

fn bytes(from: &mut Reader<'_>, version: i16) -> Result<Bytes, RecordError> {
    let bytes = if version >= FLEXIBLE { from.compact_bytes()? } else { from.bytes()? };
    Ok(Bytes::copy_from_slice(bytes))
}
