//! Entities whose log holds what happened to them, and now and then their state.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::behaviour::PoisonPolicy;
use super::definition::{Entity, EntityKey, Refused, Turn};
use super::publication::Output;
use super::records::Event;
use crate::custom::ActorMessage;

/// A decision: the answer, and what happened.
pub type Decided<T> =
    (<<T as EventSourced>::Message as ActorMessage>::Answer, Vec<<T as EventSourced>::Event>);

/// A type of keyed actors that decides on events and applies them: the events are written, the state follows from them.
/// For states that are large beside what changes in them. Host and ask it as [`ByEvents`] of it.
///
/// The state itself is written after `snapshot_events` events, and the events that it covers are removed.
pub trait EventSourced: Serialize + DeserializeOwned + Send + Sized + 'static {
    /// As [`Entity::TYPE`].
    const TYPE: &'static str;
    /// As [`Entity::VERSION`].
    const VERSION: u16 = 1;
    /// The version of an event's form.
    const EVENT_VERSION: u16 = 1;
    /// As [`Entity::POISON`].
    const POISON: PoisonPolicy = PoisonPolicy::Fail;
    /// As [`Entity::OUTPUT`].
    const OUTPUT: Output = Output::EachTopic;
    /// What tells one from the others.
    type Key: EntityKey;
    /// What it can be told.
    type Message: ActorMessage;
    /// What can happen to it.
    type Event: Serialize + DeserializeOwned;

    /// The entity of this key before its first event.
    fn new(key: &Self::Key) -> Self;

    /// Decides on a message. As [`Entity::handle`], but that nothing changes here.
    fn decide(
        &self,
        message: Self::Message,
        turn: &mut Turn<'_, ByEvents<Self>>,
    ) -> Result<Decided<Self>, Refused>;

    /// Takes in what happened: the same again whenever the entity is read.
    fn apply(&mut self, event: Self::Event);

    /// As [`Entity::from_earlier`].
    #[must_use]
    fn from_earlier(version: u16, bytes: &[u8]) -> Option<Result<Self, String>> {
        let _ = (version, bytes);
        None
    }

    /// The event from the bytes of an earlier version; `None` where that is not understood, and the entity then cannot be
    /// asked.
    #[must_use]
    fn event_from_earlier(version: u16, bytes: &[u8]) -> Option<Result<Self::Event, String>> {
        let _ = (version, bytes);
        None
    }
}

/// The entity of an event-sourced type.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByEvents<T>(pub T);

impl<T: EventSourced> Entity for ByEvents<T> {
    const TYPE: &'static str = T::TYPE;
    const VERSION: u16 = T::VERSION;
    const POISON: PoisonPolicy = T::POISON;
    const OUTPUT: Output = T::OUTPUT;
    type Key = T::Key;
    type Message = T::Message;

    fn new(key: &T::Key) -> Self {
        Self(T::new(key))
    }

    fn handle(
        &mut self,
        message: T::Message,
        turn: &mut Turn<'_, Self>,
    ) -> Result<<T::Message as ActorMessage>::Answer, Refused> {
        let (answer, events) = self.0.decide(message, turn)?;
        for event in events {
            let bytes = postcard::to_stdvec(&event).map_err(|error| Refused(error.to_string()))?;
            turn.events.push(Event { version: T::EVENT_VERSION, event: bytes.into() });
            self.0.apply(event);
        }
        Ok(answer)
    }

    fn from_earlier(version: u16, bytes: &[u8]) -> Option<Result<Self, String>> {
        T::from_earlier(version, bytes).map(|read| read.map(Self))
    }

    fn replay(&mut self, version: u16, event: &[u8]) -> Result<(), String> {
        let event = if version == T::EVENT_VERSION {
            postcard::from_bytes(event).map_err(|error| error.to_string())
        } else {
            let unknown = || Err(format!("an event of it has version {version}"));
            T::event_from_earlier(version, event).unwrap_or_else(unknown)
        };
        self.0.apply(event?);
        Ok(())
    }
}
