//! What is asked of entities between nodes, and from native clients. Kinds 430 to 459.

use std::time::Duration;

use bytes::Bytes;
use millstream_transport::message::{Answer, BodyMismatch, Message};
use serde::{Deserialize, Serialize};

use super::behaviour::Fault;
use super::publisher::LastSequence;
use super::records::Source;
use crate::custom::{Answered, CallError, Envelope, RequestId};
use crate::error::Refusal;
use crate::ids::{PartitionId, ProducerId};

/// How long one try waits for its answer at most, at both ends; whoever has more time asks again, with the same id.
pub(super) const TRY_WITHIN: Duration = Duration::from_secs(2);

/// Asks an entity; answered by the leader of its partition, when all that the answer may rest on is committed. Asked
/// again with the same id it is applied once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskEntity {
    /// The type.
    pub kind: String,
    /// The request.
    pub request: RequestId,
    /// The message.
    pub message: Envelope,
    /// The entity's key.
    #[serde(skip)]
    pub key: Bytes,
}

impl Message for AskEntity {
    const KIND: u16 = 430;
    type Answer = Result<Answered, CallError>;

    fn take_bodies(&mut self) -> Vec<Bytes> {
        let mut bodies = self.message.take_bodies();
        bodies.push(std::mem::take(&mut self.key));
        bodies
    }

    fn put_bodies(&mut self, mut bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        BodyMismatch::check(2, bodies.len())?;
        self.key = bodies.pop().unwrap_or_default();
        self.message.put_bodies(bodies)
    }
}

/// Messages of entities of one partition to entities of another, in their order. Answered when all are applied; what was
/// applied before is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliverToEntities {
    /// The type they are for.
    pub kind: String,
    /// The partition they are for.
    pub partition: u32,
    /// The partition they come from.
    pub source: Source,
    /// The messages.
    pub messages: Vec<Delivered>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// Its place among all that left the source.
    pub sequence: u64,
    /// The entity's key.
    pub entity: Bytes,
    /// The message as it is stored.
    pub message: Bytes,
}

impl Message for DeliverToEntities {
    const KIND: u16 = 431;
    type Answer = Result<(), CallError>;
}

/// Records of a partition of a topic, as messages for entities of one partition, in their order; the sequence of each is
/// its offset and one. Answered when all are applied and it is written that nothing up to `through` is missing; what was
/// applied before is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedEntities {
    /// The type they are for.
    pub kind: String,
    /// The partition they are for.
    pub partition: u32,
    /// The partition of the topic.
    pub source: Source,
    /// All up to this sequence is here, or was applied before, or is for others.
    pub through: u64,
    /// The messages.
    pub messages: Vec<Delivered>,
}

impl Message for FeedEntities {
    const KIND: u16 = 433;
    type Answer = Result<(), CallError>;
}

/// Asks how far a source is applied in a partition of entities: the last sequence of which that is committed, 0 before the
/// first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionOfSource {
    /// The type.
    pub kind: String,
    /// The partition.
    pub partition: u32,
    /// The source.
    pub source: Source,
}

impl Message for PositionOfSource {
    const KIND: u16 = 434;
    type Answer = Result<Applied, CallError>;
}

/// The answer to [`PositionOfSource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied(pub u64);

impl Answer for Applied {}
/// Asks the leader of a partition of a topic for the last sequence of a producer. Answered when all that it has of the
/// producer is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskLastSequence {
    /// The partition.
    pub partition: PartitionId,
    /// The producer.
    pub producer: ProducerId,
}

/// Answers to [`AskLastSequence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownSequence {
    /// Nothing where the producer is not known.
    pub last: Option<LastSequence>,
}

impl Answer for KnownSequence {}

impl Message for AskLastSequence {
    const KIND: u16 = 440;
    type Answer = Result<KnownSequence, Refusal>;
}

/// A message as the log has it.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    version: u16,
    body: Bytes,
}

/// The bytes of a message in the log.
pub(super) fn stored(envelope: &Envelope) -> Bytes {
    let Envelope { name, version, body } = envelope.clone();
    #[expect(clippy::expect_used, reason = "plain data into memory: nothing in it can fail to serialize")]
    postcard::to_stdvec(&Stored { name, version, body }).expect("plain data serializes").into()
}

/// The message in these bytes.
pub(super) fn unstored(bytes: &[u8]) -> Result<Envelope, Fault> {
    let Stored { name, version, body } =
        postcard::from_bytes(bytes).map_err(|error| Fault::Malformed(error.to_string()))?;
    Ok(Envelope { name, version, body })
}

/// The name of what stands for a record of a topic of which its type could make nothing.
const UNREAD: &str = "__millstream.unread_record";

/// The key and the value of a record of a topic of which its type could make nothing, on their way to the dead letters: with
/// the partition of entities that writes how far the topic is. Its headers and its timestamp stay in the topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unread {
    /// Its key.
    pub(super) key: Option<Bytes>,
    /// Its value.
    pub(super) value: Option<Bytes>,
    /// What was wrong.
    pub(super) why: String,
    /// The bytes of its key and value, where only the beginning of them is here. Stands behind the others, if it is there.
    #[serde(skip)]
    pub(super) truncated: Option<u64>,
}

impl Unread {
    /// As a message, in the form of the log.
    pub(super) fn stored(&self) -> Bytes {
        #[expect(clippy::expect_used, reason = "plain data into memory: nothing in it can fail to serialize")]
        let body = match self.truncated {
            None => postcard::to_stdvec(self),
            Some(bytes) => postcard::to_stdvec(&(self, bytes)),
        }
        .expect("plain data serializes");
        stored(&Envelope { name: UNREAD.to_owned(), version: 1, body: body.into() })
    }

    /// What a message stands for, if it is none for an entity.
    pub(super) fn of(message: &[u8]) -> Option<Self> {
        // Other messages are told by their first bytes.
        message.get(1..).filter(|rest| rest.starts_with(UNREAD.as_bytes()))?;
        let envelope = unstored(message).ok().filter(|envelope| envelope.name == UNREAD)?;
        let (unread, rest) = postcard::take_from_bytes::<Self>(&envelope.body).ok()?;
        let truncated = if rest.is_empty() { None } else { Some(postcard::from_bytes(rest).ok()?) };
        Some(Self { truncated, ..unread })
    }
}

/// Leaves of a key and a value so many bytes, the first of each. The bytes that they had, where that was more: a record may
/// be larger than a batch of entities can be.
pub(super) fn truncate(key: &mut Option<Bytes>, value: &mut Option<Bytes>, most: usize) -> Option<u64> {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let has = length(key).saturating_add(length(value));
    if has <= most {
        return None;
    }
    if let Some(key) = key {
        key.truncate(most / 2);
    }
    let rest = most.saturating_sub(length(key));
    if let Some(value) = value {
        value.truncate(rest);
    }
    Some(u64::try_from(has).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ids::TopicId;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn header(value: &impl Serialize) -> String {
        hex(&postcard::to_stdvec(value).unwrap())
    }

    fn envelope() -> Envelope {
        Envelope { name: "m".to_owned(), version: 2, body: Bytes::from_static(&[7, 8]) }
    }

    #[test]
    fn the_bytes_of_version_1() {
        let uuid = Uuid::from_bytes([0xab; 16]);
        let mut ask = AskEntity {
            kind: "k".to_owned(),
            request: RequestId(uuid),
            message: envelope(),
            key: Bytes::from_static(b"a"),
        };
        let bodies = ask.take_bodies();
        assert_eq!(bodies, [&[7, 8][..], &b"a"[..]]);
        assert_eq!(header(&ask), "016b10abababababababababababababababab016d02");
        let deliver = DeliverToEntities {
            kind: "k".to_owned(),
            partition: 3,
            source: Source { topic: TopicId(uuid), partition: 1 },
            messages: vec![Delivered {
                sequence: 5,
                entity: Bytes::from_static(b"a"),
                message: Bytes::new(),
            }],
        };
        assert_eq!(header(&deliver), "016b0310abababababababababababababababab020105016100");
        assert_eq!(hex(&stored(&envelope())), "016d02020708");
        let source = Source { topic: TopicId(uuid), partition: 1 };
        let feed = FeedEntities {
            kind: "k".to_owned(),
            partition: 3,
            source,
            through: 300,
            messages: deliver.messages,
        };
        assert_eq!(header(&feed), "016b0310abababababababababababababababab02ac020105016100");
        let position = PositionOfSource { kind: "k".to_owned(), partition: 3, source };
        assert_eq!(header(&position), "016b0310abababababababababababababababab02");
        let answers = [Ok(Applied(300)), Err(CallError::NotOwner("a".to_owned()))];
        assert_eq!(answers.map(|answer| header(&answer)), ["00ac02", "01080161"]);
        let asked = AskLastSequence {
            partition: PartitionId { topic: TopicId(uuid), index: 1 },
            producer: ProducerId(5),
        };
        assert_eq!(header(&asked), "10abababababababababababababababab020a");
        let known: Result<_, Refusal> =
            Ok(KnownSequence { last: Some(LastSequence { epoch: 1, sequence: 4 }) });
        assert_eq!(header(&known), "00010208");
    }

    #[test]
    fn a_record_that_was_not_understood_is_told_from_messages() {
        let unread =
            Unread { key: None, value: Some(Bytes::from_static(&[7])), why: "w".to_owned(), truncated: None };
        let bytes = unread.stored();
        assert_eq!(Unread::of(&bytes), Some(unread.clone()));
        let name: String = UNREAD.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex(&bytes), format!("1a{name}01060001010701") + "77");
        let cut = Unread { truncated: Some(300), ..unread };
        assert_eq!(hex(&cut.stored()), format!("1a{name}01080001010701") + "77ac02");
        assert_eq!(Unread::of(&cut.stored()), Some(cut));
        assert_eq!(Unread::of(&stored(&envelope())), None);
        assert_eq!(Unread::of(&[]), None);
    }

    #[test]
    fn of_a_large_record_the_beginning_of_its_key_and_value_is_left() {
        let of = |length: usize| Some(Bytes::from(vec![b'x'; length]));
        for (lengths, left, had) in [
            ((4, 6), (4, 6), None),
            ((4, 7), (4, 6), Some(11)),
            ((8, 7), (5, 5), Some(15)),
            ((20, 0), (5, 0), Some(20)),
        ] {
            let (mut key, mut value) = (of(lengths.0), of(lengths.1));
            assert_eq!(truncate(&mut key, &mut value, 10), had);
            assert_eq!((key, value), (of(left.0), of(left.1)));
        }
    }

    #[test]
    fn a_message_comes_out_of_the_log_as_it_went_in() {
        assert_eq!(unstored(&stored(&envelope())), Ok(envelope()));
        assert!(matches!(unstored(&[9, 1]), Err(Fault::Malformed(_))));
    }
}
