//! What a type of entities does, as the engine sees it: keys, states and messages are bytes.

use bytes::Bytes;

use super::publication::{Output, Publish};
use super::records::{Event, Outgoing, Timer};
use crate::custom::CallError;

/// Why a message was not applied. None of them changed anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not known whether it was, or it was not for now: the same request again finds out.
    Retry(String),
    /// As much as may waits here already.
    Busy(String),
    /// What it would write is larger than it may be.
    TooLarge {
        /// The bytes that it would write.
        bytes: usize,
        /// The most.
        most: usize,
    },
    /// The handler said no.
    Refused(String),
    /// The message is of a type or version that the entity does not know.
    UnknownMessage {
        /// The message's name.
        name: String,
        /// The version of its form.
        version: u16,
        /// What the entity knows.
        expected: String,
    },
    /// The message is of a later version than is known here: an upgraded node reads it.
    TooNew {
        /// The message's name.
        name: String,
        /// The version of its form.
        version: u16,
        /// What the entity knows.
        expected: String,
    },
    /// The message does not decode.
    Malformed(String),
    /// The handler panicked each time it was given the message.
    Panicked(String),
    /// What the log holds of the entity is not of this program.
    Unreadable(String),
    /// What the handler publishes cannot be in its topic.
    Unpublishable(String),
}

impl From<Fault> for CallError {
    fn from(fault: Fault) -> Self {
        let wide = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        match fault {
            Fault::Retry(text) => Self::Retry(text),
            Fault::Busy(text) => Self::Busy(text),
            Fault::TooLarge { bytes, most } => Self::TooLarge { bytes: wide(bytes), most: wide(most) },
            Fault::Refused(text) | Fault::Unpublishable(text) => Self::Refused(text),
            Fault::UnknownMessage { name, version, expected } | Fault::TooNew { name, version, expected } => {
                Self::UnknownMessage { name, version, expected }
            }
            Fault::Malformed(text) => Self::Malformed(text),
            Fault::Panicked(text) => Self::Stopped(format!("{text}; nothing was changed")),
            Fault::Unreadable(text) => Self::Stopped(text),
        }
    }
}

impl From<CallError> for Fault {
    fn from(error: CallError) -> Self {
        match error {
            CallError::UnknownMessage { name, version, expected } => {
                Self::UnknownMessage { name, version, expected }
            }
            CallError::TooLarge { bytes, most } => {
                let narrow = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
                Self::TooLarge { bytes: narrow(bytes), most: narrow(most) }
            }
            CallError::Refused(text) => Self::Refused(text),
            CallError::Retry(text) => Self::Retry(text),
            other => Self::Malformed(other.to_string()),
        }
    }
}

/// What is done with a message that panics its handler each time, or that it does not understand. One of a later version than
/// its receiver knows waits, whatever the policy is: an upgraded node reads it. So does one of nobody who asks whose turn
/// publishes to a topic that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoisonPolicy {
    /// Who asked is told. A message of another entity, of a timer or of a topic stays, and those behind it wait: nothing is
    /// lost.
    #[default]
    Fail,
    /// Who asked is told. A message of another entity, of a timer or of a topic is left out.
    Skip,
    /// Who asked is told. The message goes to this topic, once, with headers that say why: in the batch that leaves it out.
    /// So does one of another entity or of a timer that the handler refuses; while the topic is not there, or full of what
    /// is on its way, it stays, and those behind it wait.
    DeadLetter {
        /// The topic's name.
        topic: &'static str,
    },
}

/// What the log holds of an entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The sequence of its last event, 0 before the first.
    pub sequence: u64,
    /// The version of its last snapshot, and the state in it.
    pub snapshot: Option<(u16, Bytes)>,
    /// Its events behind that.
    pub events: Vec<Event>,
}

/// What a turn changes in its entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    #[default]
    Nothing,
    /// The state, which is written whole.
    State {
        /// The version of its form.
        version: u16,
        /// The state.
        state: Bytes,
    },
    /// These happened.
    Events(Vec<Event>),
    /// The entity is forgotten, of a type without events.
    Gone,
}

/// What a handler made of a message. All of it is committed, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handled {
    /// The answer.
    pub answer: Bytes,
    /// What changes.
    pub change: Change,
    /// Bytes of the state that events lead to.
    pub state_bytes: usize,
    /// Timers set, or ended, by name.
    pub timers: Vec<(String, Option<Timer>)>,
    /// Messages to other entities.
    pub outgoing: Vec<Outgoing>,
    /// Records for topics.
    pub published: Vec<Publish>,
}

impl Handled {
    /// Whether nothing but the answer came of it.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        self.change == Change::Nothing
            && self.timers.is_empty()
            && self.outgoing.is_empty()
            && self.published.is_empty()
    }
}

/// A type of entities. A panic in it is caught by whoever implements this, and is [`Fault::Panicked`].
pub trait Behaviour {
    /// An entity in memory.
    type Entity;

    /// What is done with messages that cannot be handled.
    fn poison(&self) -> PoisonPolicy;

    /// How what it publishes gets into its topics.
    fn output(&self) -> Output {
        Output::EachTopic
    }

    /// The entity of this key as it was saved; a new one where nothing was.
    fn load(&self, key: &[u8], saved: &Saved) -> Result<Self::Entity, Fault>;

    /// Gives it a message. After a fault the entity is thrown away and loaded again.
    fn handle(
        &self,
        entity: &mut Self::Entity,
        key: &[u8],
        now_ms: i64,
        message: &[u8],
    ) -> Result<Handled, Fault>;

    /// Its state with the version of its form, for a snapshot that covers events; `None` while it may not be written.
    fn snapshot(&self, entity: &Self::Entity) -> Result<Option<(u16, Bytes)>, Fault>;
}
