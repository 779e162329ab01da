//! What a type of entities reads, and what it makes of a record: the user's code.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::super::behaviour::{Fault, PoisonPolicy};
use super::super::definition::{Entity, EntityKey};
use super::super::front::KEY_BYTES_MAX;
use super::super::message::stored;
use super::super::typed::caught;
use crate::custom::Envelope;
use crate::ids::Offset;
use crate::record::{Header, Record};

/// A record of a topic that entities read.
#[derive(Clone, Copy, Debug)]
pub struct TopicRecord<'a> {
    topic: &'a str,
    partition: i32,
    record: &'a Record,
}

impl<'a> TopicRecord<'a> {
    pub(super) const fn new(topic: &'a str, partition: i32, record: &'a Record) -> Self {
        Self { topic, partition, record }
    }

    /// Its topic.
    #[must_use]
    pub const fn topic(&self) -> &'a str {
        self.topic
    }

    /// Its partition.
    #[must_use]
    pub const fn partition(&self) -> i32 {
        self.partition
    }

    /// Its place in the partition.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.record.offset
    }

    /// Its timestamp, milliseconds since 1970; -1 for none.
    #[must_use]
    pub const fn timestamp_ms(&self) -> i64 {
        self.record.timestamp_ms
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.record.key.as_deref()
    }

    /// Its value; none is a tombstone in a compacted topic.
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.record.value.as_deref()
    }

    /// Its headers, in order.
    #[must_use]
    pub fn headers(&self) -> &'a [Header] {
        &self.record.headers
    }
}

/// What a user's code makes of a record.
type Read<E> = dyn Fn(&TopicRecord<'_>) -> Result<Option<(<E as Entity>::Key, <E as Entity>::Message)>, String>
    + Send
    + Sync;

/// A topic that entities of a type read, whatever its partitions and whoever writes it: see
/// [`EntityTypes::reading`](super::super::EntityTypes::reading).
pub struct TopicInput<E: Entity> {
    topic: Arc<str>,
    read: Arc<Read<E>>,
}

impl<E: Entity> TopicInput<E> {
    /// Reads this topic from its beginning. `read` says which entity a record is for and what that is told; `None` where it
    /// is for none; an error where it cannot be understood, which is the type's poison, as is a panic.
    ///
    /// `read` runs on the users' threads, again for the same record after a failure, and must then say the same: it looks at
    /// nothing but the record. Only so each record is applied once.
    pub fn new(
        topic: impl Into<String>,
        read: impl Fn(&TopicRecord<'_>) -> Result<Option<(E::Key, E::Message)>, String> + Send + Sync + 'static,
    ) -> Self {
        Self { topic: Arc::from(topic.into()), read: Arc::new(read) }
    }
}

impl<E: Entity> fmt::Debug for TopicInput<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TopicInput").field("type", &E::TYPE).field("topic", &self.topic).finish()
    }
}

/// A message for an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addressed {
    pub(super) entity: Bytes,
    pub(super) message: Bytes,
}

type Address = dyn Fn(&TopicRecord<'_>, usize) -> Result<Option<Addressed>, String> + Send + Sync;

/// An input as the engine sees it: keys and messages are bytes.
pub(in crate::custom::entity) struct Declared {
    pub(in crate::custom::entity) topic: Arc<str>,
    pub(super) poison: PoisonPolicy,
    address: Box<Address>,
}

impl Declared {
    pub(in crate::custom::entity) fn of<E: Entity>(input: TopicInput<E>) -> Self {
        let TopicInput { topic, read } = input;
        let address = move |record: &TopicRecord<'_>, message_max_bytes: usize| {
            let Some((key, message)) = read(record)? else { return Ok(None) };
            let entity = key.to_bytes();
            if entity.len() > KEY_BYTES_MAX {
                return Err(format!("a key has at most {KEY_BYTES_MAX} bytes, this one {}", entity.len()));
            }
            let message = Envelope::seal(&message, message_max_bytes).map_err(|error| error.to_string())?;
            Ok(Some(Addressed { entity, message: stored(&message) }))
        };
        Self { topic, poison: E::POISON, address: Box::new(address) }
    }

    /// What a record is, asked again after a panic as often as it may be.
    pub(super) fn address(
        &self,
        record: &TopicRecord<'_>,
        message_max_bytes: usize,
        panics_max: u32,
    ) -> Result<Option<Addressed>, String> {
        let mut panics = 0;
        loop {
            match caught(|| (self.address)(record, message_max_bytes)) {
                Ok(addressed) => return addressed,
                Err(fault) => {
                    panics += 1;
                    if panics >= panics_max {
                        return Err(text(fault));
                    }
                }
            }
        }
    }
}

fn text(fault: Fault) -> String {
    match fault {
        Fault::Panicked(text) => text,
        other => crate::custom::CallError::from(other).to_string(),
    }
}

impl fmt::Debug for Declared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Declared").field("topic", &self.topic).finish_non_exhaustive()
    }
}
