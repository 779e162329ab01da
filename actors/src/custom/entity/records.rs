//! What a partition of `__entity_TYPE` holds: one record for each thing to be known, by its key, so that compaction keeps
//! what counts. A key is a byte of kind and postcard; a value a byte of version and postcard; a tombstone forgets.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::publication::{Publication, Target};
use crate::custom::RequestId;
use crate::group::records::LogRecord;
use crate::ids::{PartitionId, TopicId};

/// The version written of all values but [`RecordValue::Failed`].
const VERSION: u8 = 1;

/// The version of [`RecordValue::Failed`], which stands under the key of a request.
const FAILED_VERSION: u8 = 2;

/// A log that messages come from in order, each with a sequence number of its own: a partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The topic.
    pub topic: TopicId,
    /// The partition's index.
    pub partition: i32,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKey {
    /// An entity's whole state.
    Snapshot {
        /// The entity's key.
        entity: Bytes,
    },
    /// Something that happened to an entity. Tombstoned only once a committed snapshot covers it.
    Event {
        /// The entity's key.
        entity: Bytes,
        /// Counts its events, from 1.
        sequence: u64,
    },
    /// A request that was applied, with its answer.
    Request {
        /// The entity that was asked.
        entity: Bytes,
        /// The request.
        request: RequestId,
    },
    /// How far messages of a source are applied.
    Position {
        /// The source.
        source: Source,
    },
    /// A message that an entity gives itself, later.
    Timer {
        /// The entity's key.
        entity: Bytes,
        /// The timer's name.
        name: String,
    },
    /// A message to another entity that is not delivered yet.
    Outgoing {
        /// Its place among all that ever left this partition, from 1.
        sequence: u64,
    },
    /// Which sequence an outgoing message gets next: outlives the messages.
    OutboxNext,
    /// A record for a topic of users that is not known to be there yet.
    Publication {
        /// Its place among all that this partition ever published, from 1.
        number: u64,
    },
    /// Which number a publication gets next: outlives the publications.
    PublishedNext,
    /// How this partition writes to a partition of a topic: outlives the publications.
    Target {
        /// The partition.
        target: PartitionId,
    },
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordValue {
    /// Of [`RecordKey::Snapshot`].
    Snapshot(Snapshot),
    /// Of [`RecordKey::Event`].
    Event(Event),
    /// Of [`RecordKey::Request`].
    Request(Remembered),
    /// Of [`RecordKey::Position`]: the sequence of the last message applied.
    Position(u64),
    /// Of [`RecordKey::Timer`].
    Timer(Timer),
    /// Of [`RecordKey::Outgoing`].
    Outgoing(Outgoing),
    /// Of [`RecordKey::OutboxNext`].
    OutboxNext(u64),
    /// Of [`RecordKey::Request`], too.
    Failed(Failed),
    /// Of [`RecordKey::Publication`].
    Publication(Publication),
    /// Of [`RecordKey::PublishedNext`].
    PublishedNext(u64),
    /// Of [`RecordKey::Target`].
    Target(Target),
}

/// An entity's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The sequence of the last event in it; 0 before the first.
    pub sequence: u64,
    /// The version of the state's form, the user's.
    pub version: u16,
    /// The state.
    pub state: Bytes,
}

/// An event of an entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The version of the event's form, the user's.
    pub version: u16,
    /// The event.
    pub event: Bytes,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// When it was applied, in milliseconds since 1970.
    pub applied_ms: i64,
    /// The answer.
    pub answer: Bytes,
}

/// A request that went to the dead letters: asked again it does not go there twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When, in milliseconds since 1970.
    pub applied_ms: i64,
    /// Whether its handler panicked; else the message was not understood.
    pub is_panic: bool,
    /// What its sender was told.
    pub text: String,
}

/// A message that is due later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// When, in milliseconds since 1970.
    pub due_ms: i64,
    /// The message.
    pub message: Bytes,
}

/// A message to another entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// The entity's type.
    pub kind: String,
    /// Its key.
    pub key: Bytes,
    /// The message.
    pub message: Bytes,
}

/// Why bytes are not a record of an entity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A kind that this program does not know.
    #[error("a record of kind {0} is not known here; upgrade this program")]
    Kind(u8),
    /// A version that this program does not know.
    #[error("a value of version {0} is not known here; upgrade this program")]
    Version(u8),
    /// They do not decode.
    #[error("a record does not decode: {0}")]
    Malformed(String),
}

const SNAPSHOT: u8 = 1;
const EVENT: u8 = 2;
const REQUEST: u8 = 3;
const POSITION: u8 = 4;
const TIMER: u8 = 5;
const OUTGOING: u8 = 6;
const OUTBOX_NEXT: u8 = 7;
const PUBLICATION: u8 = 8;
const PUBLISHER: u8 = 9;

/// What a record of the kind [`PUBLISHER`] is about: told by place, new ones go to the end.
#[derive(Serialize, Deserialize)]
enum OfPublisher {
    Next,
    Target(PartitionId),
}

impl RecordKey {
    /// The entity it is about, if it is about one.
    #[must_use]
    pub fn entity(&self) -> Option<&Bytes> {
        match self {
            Self::Snapshot { entity }
            | Self::Event { entity, .. }
            | Self::Request { entity, .. }
            | Self::Timer { entity, .. } => Some(entity),
            Self::Position { .. }
            | Self::Outgoing { .. }
            | Self::OutboxNext
            | Self::Publication { .. }
            | Self::PublishedNext
            | Self::Target { .. } => None,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Snapshot { entity } => bytes(SNAPSHOT, entity),
            Self::Event { entity, sequence } => bytes(EVENT, &(entity, sequence)),
            Self::Request { entity, request } => bytes(REQUEST, &(entity, request)),
            Self::Position { source } => bytes(POSITION, source),
            Self::Timer { entity, name } => bytes(TIMER, &(entity, name)),
            Self::Outgoing { sequence } => bytes(OUTGOING, sequence),
            Self::OutboxNext => bytes(OUTBOX_NEXT, &()),
            Self::Publication { number } => bytes(PUBLICATION, number),
            Self::PublishedNext => bytes(PUBLISHER, &OfPublisher::Next),
            Self::Target { target } => bytes(PUBLISHER, &OfPublisher::Target(*target)),
        }
    }

    /// The key in these bytes.
    pub fn decode(key: &[u8]) -> Result<Self, RecordError> {
        let (kind, rest) = key.split_first().ok_or_else(|| malformed("it is empty"))?;
        Ok(match *kind {
            SNAPSHOT => Self::Snapshot { entity: whole(rest)? },
            EVENT => {
                let (entity, sequence) = whole(rest)?;
                Self::Event { entity, sequence }
            }
            REQUEST => {
                let (entity, request) = whole(rest)?;
                Self::Request { entity, request }
            }
            POSITION => Self::Position { source: whole(rest)? },
            TIMER => {
                let (entity, name) = whole(rest)?;
                Self::Timer { entity, name }
            }
            OUTGOING => Self::Outgoing { sequence: whole(rest)? },
            OUTBOX_NEXT => Self::OutboxNext,
            PUBLICATION => Self::Publication { number: whole(rest)? },
            PUBLISHER => match whole(rest)? {
                OfPublisher::Next => Self::PublishedNext,
                OfPublisher::Target(target) => Self::Target { target },
            },
            kind => return Err(RecordError::Kind(kind)),
        })
    }

    /// The value of this key in these bytes.
    pub fn decode_value(&self, value: &[u8]) -> Result<RecordValue, RecordError> {
        let (version, rest) = value.split_first().ok_or_else(|| malformed("its value is empty"))?;
        if *version == FAILED_VERSION && matches!(self, Self::Request { .. }) {
            return Ok(RecordValue::Failed(whole(rest)?));
        }
        if *version != VERSION {
            return Err(RecordError::Version(*version));
        }
        Ok(match self {
            Self::Snapshot { .. } => RecordValue::Snapshot(whole(rest)?),
            Self::Event { .. } => RecordValue::Event(whole(rest)?),
            Self::Request { .. } => RecordValue::Request(whole(rest)?),
            Self::Position { .. } => RecordValue::Position(whole(rest)?),
            Self::Timer { .. } => RecordValue::Timer(whole(rest)?),
            Self::Outgoing { .. } => RecordValue::Outgoing(whole(rest)?),
            Self::OutboxNext => RecordValue::OutboxNext(whole(rest)?),
            Self::Publication { .. } => RecordValue::Publication(whole(rest)?),
            Self::PublishedNext => RecordValue::PublishedNext(whole(rest)?),
            Self::Target { .. } => RecordValue::Target(whole(rest)?),
        })
    }
}

impl RecordValue {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Snapshot(snapshot) => bytes(VERSION, snapshot),
            Self::Event(event) => bytes(VERSION, event),
            Self::Request(remembered) => bytes(VERSION, remembered),
            Self::Position(sequence) | Self::OutboxNext(sequence) | Self::PublishedNext(sequence) => {
                bytes(VERSION, sequence)
            }
            Self::Timer(timer) => bytes(VERSION, timer),
            Self::Outgoing(outgoing) => bytes(VERSION, outgoing),
            Self::Failed(failed) => bytes(FAILED_VERSION, failed),
            Self::Publication(publication) => bytes(VERSION, publication),
            Self::Target(target) => bytes(VERSION, target),
        }
    }
}

/// The record of a key; without a value, its tombstone.
#[must_use]
pub fn record(timestamp_ms: i64, key: &RecordKey, value: Option<&RecordValue>) -> LogRecord {
    LogRecord { timestamp_ms, key: key.encode(), value: value.map(RecordValue::encode) }
}

fn bytes(first: u8, value: &impl Serialize) -> Bytes {
    #[expect(clippy::expect_used, reason = "plain data into memory: nothing in it can fail to serialize")]
    postcard::to_extend(value, vec![first]).expect("plain data serializes").into()
}

fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(malformed(&format!("{} bytes are left over", rest.len()))),
        Err(error) => Err(malformed(&error.to_string())),
    }
}

fn malformed(reason: &str) -> RecordError {
    RecordError::Malformed(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::publication::{Stamp, Together, Written};
    use super::*;
    use crate::ids::ProducerId;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn publication(topic: TopicId) -> Publication {
        Publication {
            target: PartitionId { topic, index: 3 },
            sequence: 3,
            together: Together::AsLast,
            record: Written {
                timestamp_ms: 6,
                key: Some(Bytes::from_static(b"a")),
                value: None,
                headers: vec![(Bytes::from_static(b"h"), Some(Bytes::from_static(b"v")))],
            },
        }
    }

    type Golden = (RecordKey, RecordValue, &'static str, &'static str);

    fn of_publishing() -> Vec<Golden> {
        let uuid = Uuid::from_bytes([0xab; 16]);
        vec![
            (
                RecordKey::Request { entity: Bytes::from_static(b"a"), request: RequestId(uuid) },
                RecordValue::Failed(Failed { applied_ms: 4, is_panic: true, text: "no".to_owned() }),
                "03016110abababababababababababababababab",
                "020801026e6f",
            ),
            (
                RecordKey::Publication { number: 300 },
                RecordValue::Publication(publication(TopicId(uuid))),
                "08ac02",
                "0110abababababababababababababababab0606020c01016100010168010176",
            ),
            (RecordKey::PublishedNext, RecordValue::PublishedNext(2), "0900", "0102"),
            (
                RecordKey::Target { target: PartitionId { topic: TopicId(uuid), index: 3 } },
                RecordValue::Target(Target {
                    producer: Some(Stamp { id: ProducerId(7), epoch: 1 }),
                    next: 9,
                    base: 2,
                    seen_in: 5,
                }),
                "090110abababababababababababababababab06",
                "01010e02120405",
            ),
        ]
    }

    fn all() -> Vec<Golden> {
        let entity = Bytes::from_static(b"a");
        let uuid = Uuid::from_bytes([0xab; 16]);
        let sixteen = "10abababababababababababababababab";
        assert_eq!(sixteen.len(), 34);
        vec![
            (
                RecordKey::Snapshot { entity: entity.clone() },
                RecordValue::Snapshot(Snapshot { sequence: 7, version: 2, state: Bytes::from_static(&[9]) }),
                "010161",
                "0107020109",
            ),
            (
                RecordKey::Event { entity: entity.clone(), sequence: 300 },
                RecordValue::Event(Event { version: 1, event: Bytes::from_static(&[5, 6]) }),
                "020161ac02",
                "0101020506",
            ),
            (
                RecordKey::Request { entity: entity.clone(), request: RequestId(uuid) },
                RecordValue::Request(Remembered { applied_ms: 4, answer: Bytes::from_static(&[1]) }),
                "03016110abababababababababababababababab",
                "01080101",
            ),
            (
                RecordKey::Position { source: Source { topic: TopicId(uuid), partition: 3 } },
                RecordValue::Position(12),
                "0410abababababababababababababababab06",
                "010c",
            ),
            (
                RecordKey::Timer { entity, name: "t".to_owned() },
                RecordValue::Timer(Timer { due_ms: 1, message: Bytes::from_static(&[2]) }),
                "0501610174",
                "01020102",
            ),
            (
                RecordKey::Outgoing { sequence: 1 },
                RecordValue::Outgoing(Outgoing {
                    kind: "k".to_owned(),
                    key: Bytes::from_static(b"b"),
                    message: Bytes::from_static(&[3]),
                }),
                "0601",
                "01016b01620103",
            ),
            (RecordKey::OutboxNext, RecordValue::OutboxNext(2), "07", "0102"),
        ]
    }

    #[test]
    fn the_bytes_of_version_1() {
        for (key, value, key_hex, value_hex) in all().into_iter().chain(of_publishing()) {
            assert_eq!((hex(&key.encode()), hex(&value.encode())), (key_hex.into(), value_hex.into()));
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (key, value, ..) in all().into_iter().chain(of_publishing()) {
            assert_eq!(RecordKey::decode(&key.encode()).as_ref(), Ok(&key));
            assert_eq!(key.decode_value(&value.encode()), Ok(value));
        }
    }

    #[test]
    fn what_is_of_a_later_program_or_damaged_is_an_error() {
        assert_eq!(RecordKey::decode(&[200]), Err(RecordError::Kind(200)));
        assert!(matches!(RecordKey::decode(&[]), Err(RecordError::Malformed(_))));
        assert!(matches!(RecordKey::decode(&[1, 5, 0]), Err(RecordError::Malformed(_))));
        assert!(matches!(RecordKey::decode(&[6, 1, 0]), Err(RecordError::Malformed(_))));
        assert_eq!(RecordKey::OutboxNext.decode_value(&[2, 0]), Err(RecordError::Version(2)));
        assert!(matches!(RecordKey::OutboxNext.decode_value(&[1]), Err(RecordError::Malformed(_))));
    }
}
