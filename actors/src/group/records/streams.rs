//! Records of groups of applications: a version, then the value as it is on the wire.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::value::version;
use super::wire::{Reader, RecordError, Writer};
use crate::group::streams::record::StreamsRecord;

pub(super) const EPOCH: i16 = 21_000;
const TARGET_EPOCH: i16 = 21_001;
const TOPOLOGY: i16 = 21_002;
const MEMBER: i16 = 21_003;
const TARGET: i16 = 21_004;
const CURRENT: i16 = 21_005;
pub(super) const FENCE: i16 = 21_006;

/// The version written.
const WRITTEN: i16 = 0;

/// The number before the key, and what is in the key after the group.
pub(super) fn key(record: &StreamsRecord) -> (i16, Option<&Arc<str>>) {
    match record {
        StreamsRecord::Epoch(_) => (EPOCH, None),
        StreamsRecord::TargetEpoch(_) => (TARGET_EPOCH, None),
        StreamsRecord::Topology(_) => (TOPOLOGY, None),
        StreamsRecord::Member { member, .. } => (MEMBER, Some(member)),
        StreamsRecord::Target { member, .. } => (TARGET, Some(member)),
        StreamsRecord::Current { member, .. } => (CURRENT, Some(member)),
        StreamsRecord::Fence { id, .. } => (FENCE, Some(id)),
    }
}

/// Writes the value; `None` for a tombstone.
pub(super) fn write(out: &mut Writer, record: &StreamsRecord) -> Option<()> {
    match record {
        StreamsRecord::Epoch(epoch) | StreamsRecord::TargetEpoch(epoch) => write_value(out, epoch.as_ref()?),
        StreamsRecord::Topology(topology) => write_value(out, topology.as_ref()?),
        StreamsRecord::Member { value, .. } => write_value(out, value.as_ref()?),
        StreamsRecord::Target { value, .. } => write_value(out, value.as_ref()?),
        StreamsRecord::Current { value, .. } => write_value(out, value.as_ref()?),
        StreamsRecord::Fence { tasks, .. } => write_value(out, tasks.as_ref()?),
    }
    Some(())
}

fn write_value(out: &mut Writer, value: &impl Serialize) {
    out.i16(WRITTEN);
    #[expect(clippy::expect_used, reason = "plain data into memory: nothing in it can fail to serialize")]
    let written = postcard::to_extend(value, std::mem::take(&mut out.0)).expect("plain data serializes");
    out.0 = written;
}

/// Reads what stands behind the group in a key of this number, and the value.
pub(super) fn read(
    kind: i16,
    key: &mut Reader<'_>,
    value: Option<Reader<'_>>,
) -> Result<StreamsRecord, RecordError> {
    Ok(match kind {
        EPOCH => StreamsRecord::Epoch(read_value(value)?),
        TARGET_EPOCH => StreamsRecord::TargetEpoch(read_value(value)?),
        TOPOLOGY => StreamsRecord::Topology(read_value(value)?),
        MEMBER => StreamsRecord::Member { member: key.string()?, value: read_value(value)? },
        TARGET => StreamsRecord::Target { member: key.string()?, value: read_value(value)? },
        CURRENT => StreamsRecord::Current { member: key.string()?, value: read_value(value)? },
        _ => StreamsRecord::Fence { id: key.string()?, tasks: read_value(value)? },
    })
}

fn read_value<T: DeserializeOwned>(value: Option<Reader<'_>>) -> Result<Option<T>, RecordError> {
    let Some(mut value) = value else { return Ok(None) };
    version(&mut value, WRITTEN)?;
    postcard::from_bytes(value.0).map(Some).map_err(|_| RecordError::Body)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{GroupRecord, RecordError, decode, encode};
    use super::*;
    use crate::group::message::streams::{
        StreamsPart, StreamsTask, StreamsTasks, StreamsTerms, StreamsTopology,
    };
    use crate::group::streams::record::{StreamsCurrent, StreamsMember};

    /// Both ways, and the tombstone.
    fn check(record: StreamsRecord, tombstone: StreamsRecord, key: &[u8], value: &[u8]) {
        for (record, value) in [(record, Some(value)), (tombstone, None)] {
            let record = GroupRecord::Streams(record);
            let encoded = encode(7, "g", &record);
            assert_eq!((&encoded.key[..], encoded.value.as_deref()), (key, value), "{record:?}");
            assert_eq!(decode(key, value), Ok(Some(("g".into(), record))));
        }
    }

    const TASK: StreamsTask = StreamsTask { part: 1, partition: 2 };

    #[test]
    fn of_the_group() {
        check(
            StreamsRecord::Epoch(Some(5)),
            StreamsRecord::Epoch(None),
            b"\x52\x08\x00\x01g",
            b"\x00\x00\x0a",
        );
        let none = StreamsRecord::TargetEpoch(None);
        check(StreamsRecord::TargetEpoch(Some(5)), none, b"\x52\x09\x00\x01g", b"\x00\x00\x0a");
        let topology = StreamsTopology {
            epoch: 4,
            fingerprint: 300,
            parts: vec![StreamsPart { part: 1, tasks: 3, is_stateful: true, sources: vec!["t".to_owned()] }],
            terms: StreamsTerms { standbys: 1, warm_up_max: 2, acceptable_lag: 10 },
        };
        let value = b"\x00\x00\x04\xac\x02\x01\x01\x03\x01\x01\x01t\x01\x02\x0a";
        let none = StreamsRecord::Topology(None);
        check(StreamsRecord::Topology(Some(topology)), none, b"\x52\x0a\x00\x01g", value);
        let fence = |tasks| StreamsRecord::Fence { id: "x".into(), tasks };
        let tasks = Some(BTreeSet::from([TASK]));
        check(fence(tasks), fence(None), b"\x52\x0e\x00\x01g\x00\x01x", b"\x00\x00\x01\x01\x02");
    }

    #[test]
    fn of_a_member() {
        let said = StreamsMember {
            instance: "i".to_owned(),
            client_id: "c".to_owned(),
            client_host: "h".to_owned(),
            transactional_id: Some("x".to_owned()),
            rebalance_timeout_ms: 300,
            joined_epoch: 5,
            topology_epoch: 4,
        };
        let member = |value| StreamsRecord::Member { member: "m".into(), value };
        let value = b"\x00\x00\x01i\x01c\x01h\x01\x01x\xac\x02\x0a\x04";
        check(member(Some(said)), member(None), b"\x52\x0b\x00\x01g\x00\x01m", value);
        let tasks = StreamsTasks { active: [TASK].into(), ..StreamsTasks::default() };
        let target = |value| StreamsRecord::Target { member: "m".into(), value };
        let value = b"\x00\x00\x01\x01\x02\x00\x00";
        check(target(Some(tasks.clone())), target(None), b"\x52\x0c\x00\x01g\x00\x01m", value);
        let told =
            StreamsCurrent { epoch: 5, tasks, revoking: [StreamsTask { part: 0, partition: 3 }].into() };
        let current = |value| StreamsRecord::Current { member: "m".into(), value };
        let value = b"\x00\x00\x0a\x01\x01\x02\x00\x00\x01\x00\x03";
        check(current(Some(told)), current(None), b"\x52\x0d\x00\x01g\x00\x01m", value);
    }

    #[test]
    fn what_is_none_is_refused() {
        let key = b"\x52\x08\x00\x01g";
        assert_eq!(decode(key, Some(b"\x00\x01\x0a")), Err(RecordError::Version(1)));
        assert_eq!(decode(key, Some(b"\x00\x00")), Err(RecordError::Body));
        assert_eq!(decode(b"\x52\x0f\x00\x01g", Some(b"")), Ok(None), "not one of ours");
    }
}
