//! What a user writes: a struct, its key, its messages, its handler.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::behaviour::PoisonPolicy;
use super::formats::HeldBack;
use super::message::stored;
use super::publication::{Output, OutputRecord, Publish};
use super::records::{Event, Outgoing, Timer};
use crate::custom::{ActorMessage, CallError, Envelope};

/// What tells one entity of a type from the others. Its bytes decide which partition it is in, so they never change.
pub trait EntityKey: Clone + fmt::Debug + Send + Sync + 'static {
    /// Its bytes.
    fn to_bytes(&self) -> Bytes;

    /// The key in these bytes; `None` if they are none.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl EntityKey for String {
    fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_utf8(bytes.to_vec()).ok()
    }
}

impl EntityKey for u64 {
    fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.to_be_bytes())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

impl EntityKey for Uuid {
    fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_slice(bytes).ok()
    }
}

/// A handler's no: the sender hears it as [`CallError::Refused`], and nothing of the turn counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl<T: Into<String>> From<T> for Refused {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

/// A type of keyed actors with a state that survives. There is at most one of each key whose turns count, in the whole
/// cluster; its turns follow one another.
///
/// The struct is the state: it is written after each turn that changed it, in the form of postcard. Enums in it are told by
/// their place; a field more is another form, so the version goes up.
/// ```
/// use millstream_actors::custom::ActorMessage;
/// use millstream_actors::custom::entity::{Entity, Refused, Turn};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Account {
///     cents: i64,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// enum Order {
///     Deposit(i64),
///     Withdraw(i64),
/// }
///
/// impl ActorMessage for Order {
///     const NAME: &'static str = "order";
///     type Answer = i64;
/// }
///
/// impl Entity for Account {
///     const TYPE: &'static str = "account";
///     type Key = String;
///     type Message = Order;
///
///     fn new(_: &String) -> Self {
///         Self { cents: 0 }
///     }
///
///     fn handle(&mut self, order: Order, _: &mut Turn<'_, Self>) -> Result<i64, Refused> {
///         match order {
///             Order::Deposit(cents) => self.cents += cents,
///             Order::Withdraw(cents) if cents > self.cents => return Err("not that much is there".into()),
///             Order::Withdraw(cents) => self.cents -= cents,
///         }
///         Ok(self.cents)
///     }
/// }
/// ```
pub trait Entity: Serialize + DeserializeOwned + Send + Sized + 'static {
    /// The type's name, the same on all nodes and for ever: letters, digits, `-` and `_`, at most 200.
    const TYPE: &'static str;
    /// The version of the state's form.
    const VERSION: u16 = 1;
    /// What is done with messages that cannot be handled.
    const POISON: PoisonPolicy = PoisonPolicy::Fail;
    /// How what it publishes gets into its topics.
    const OUTPUT: Output = Output::EachTopic;
    /// What tells one from the others.
    type Key: EntityKey;
    /// What it can be told.
    type Message: ActorMessage;

    /// The entity of this key before its first message.
    fn new(key: &Self::Key) -> Self;

    /// Handles a message. Runs on the users' threads; should not block, and does nothing outside the entity that may not
    /// be done twice: a turn whose commit fails is run again.
    ///
    /// With an error, or after a panic, nothing of the turn counts.
    fn handle(
        &mut self,
        message: Self::Message,
        turn: &mut Turn<'_, Self>,
    ) -> Result<<Self::Message as ActorMessage>::Answer, Refused>;

    /// The state from the bytes of an earlier version; `None` where that is not understood, and the entity then cannot be
    /// asked.
    #[must_use]
    fn from_earlier(version: u16, bytes: &[u8]) -> Option<Result<Self, String>> {
        let _ = (version, bytes);
        None
    }

    /// The bytes of the state in the form of an earlier version, while a host of the type reads no later one: during a
    /// rolling upgrade, say. [`Self::from_earlier`] reads them back, and the entity goes on with what that makes of them.
    ///
    /// With `None` the entity can be asked what it knows, and whatever would change it is refused as to be tried again, until
    /// all hosts read [`Self::VERSION`].
    #[must_use]
    fn to_earlier(&self, version: u16) -> Option<Result<Vec<u8>, String>> {
        let _ = version;
        None
    }

    /// Takes in an event that was written; of types by events only ([`EventSourced`](super::EventSourced)).
    #[doc(hidden)]
    fn replay(&mut self, version: u16, event: &[u8]) -> Result<(), String> {
        Err(format!("an event of version {version} with {} bytes is in its log", event.len()))
    }
}

/// What a handler may do beside changing its entity. All of it is committed with the change, or nothing.
pub struct Turn<'a, E: Entity> {
    key: &'a E::Key,
    now_ms: i64,
    message_max_bytes: usize,
    pub(super) timers: Vec<(String, Option<Timer>)>,
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) published: Vec<Publish>,
    pub(super) events: Vec<Event>,
    pub(super) is_forgotten: bool,
    pub(super) problem: Option<CallError>,
    /// A host that does not read the latest form of the type.
    pub(super) held_back: Option<HeldBack>,
}

impl<'a, E: Entity> Turn<'a, E> {
    pub(super) fn new(key: &'a E::Key, now_ms: i64, message_max_bytes: usize) -> Self {
        Self {
            key,
            now_ms,
            message_max_bytes,
            timers: Vec::new(),
            outgoing: Vec::new(),
            published: Vec::new(),
            events: Vec::new(),
            is_forgotten: false,
            problem: None,
            held_back: None,
        }
    }

    /// The entity's key.
    #[must_use]
    pub const fn key(&self) -> &E::Key {
        self.key
    }

    /// The time, in milliseconds since 1970.
    #[must_use]
    pub const fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Sends a message to another entity, or to this one: delivered once, after this turn is committed, in the order of
    /// sending between two partitions. Its answer goes nowhere.
    pub fn send<T: Entity>(&mut self, key: &T::Key, message: &T::Message) {
        if let Some(message) = self.sealed(message) {
            self.outgoing.push(Outgoing { kind: T::TYPE.to_owned(), key: key.to_bytes(), message });
        }
    }

    /// Publishes a record: it is in the topic once, after this turn is committed, in the order of publishing between this
    /// entity's partition and that of the topic. Its partition is decided with the turn, by its key, or by turns.
    ///
    /// A turn that publishes to a topic that is not there, to a partition that it has not, or more than `max.message.bytes`
    /// in one record, is refused. What the topic does not take later (its settings may change) goes to the dead letters of
    /// the type, if it has some, and is counted; a topic that is deleted takes with it what was on its way.
    pub fn publish(&mut self, topic: &str, record: OutputRecord) {
        self.published.push(Publish { topic: topic.to_owned(), record });
    }

    /// Gives this entity a message later, at least once a turn of it is committed then. A timer of the same name is
    /// replaced.
    pub fn after(&mut self, timer: &str, wait: Duration, message: &E::Message) {
        let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        let due_ms = self.now_ms.saturating_add(wait_ms);
        if let Some(message) = self.sealed(message) {
            self.timers.push((timer.to_owned(), Some(Timer { due_ms, message })));
        }
    }

    /// Ends a timer.
    pub fn cancel(&mut self, timer: &str) {
        self.timers.push((timer.to_owned(), None));
    }

    /// The entity is forgotten after this turn: its next message finds it new. Its timers stay.
    pub fn forget(&mut self) {
        self.is_forgotten = true;
    }

    fn sealed(&mut self, message: &impl ActorMessage) -> Option<Bytes> {
        match Envelope::seal(message, self.message_max_bytes) {
            Ok(envelope) => Some(stored(&envelope)),
            Err(error) => {
                self.problem.get_or_insert(error);
                None
            }
        }
    }
}

impl<E: Entity> fmt::Debug for Turn<'_, E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Turn").field("key", self.key).finish_non_exhaustive()
    }
}
