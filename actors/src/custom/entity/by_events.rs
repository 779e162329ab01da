//! Entities whose log holds what happened to them, and now and then their state.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::behaviour::PoisonPolicy;
use super::definition::{Entity, EntityKey, Refused, Turn};
use super::formats::HeldBack;
use super::publication::Output;
use super::records::Event;
use super::typed::text_of_held_back;
use crate::custom::{ActorMessage, CallError};

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
    /// The version of an event's form. Raised only together with [`Self::VERSION`], which is what hosts tell of each other.
    const EVENT_VERSION: u16 = 1;
    /// The [`Self::VERSION`] with which [`Self::EVENT_VERSION`] came: hosts of it and later ones read such events.
    const EVENTS_SINCE: u16 = if Self::EVENT_VERSION == 1 { 1 } else { Self::VERSION };
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

    /// As [`Entity::to_earlier`], for snapshots: they wait where it gives `None`, or bytes that do not say all.
    #[must_use]
    fn to_earlier(&self, version: u16) -> Option<Result<Vec<u8>, String>> {
        let _ = version;
        None
    }

    /// An event for hosts of an earlier [`Self::VERSION`] than [`Self::EVENTS_SINCE`]: the version of its form, and its
    /// bytes. [`Self::event_from_earlier`] reads them back, and that is what is applied. With `None` the message is refused as
    /// to be tried again until there are no such hosts.
    #[must_use]
    fn event_to_earlier(event: &Self::Event, version: u16) -> Option<Result<(u16, Vec<u8>), String>> {
        let _ = (event, version);
        None
    }
}

/// An event in the form in which it is written, as read back from that; what is said where it cannot be.
fn written<T: EventSourced>(
    event: T::Event,
    held_back: Option<HeldBack>,
) -> Result<Result<(Event, T::Event), CallError>, Refused> {
    const { assert!(T::EVENT_VERSION <= T::VERSION, "with EVENT_VERSION, VERSION is to be raised") };
    let Some(held_back) = held_back.filter(|held_back| held_back.version < T::EVENTS_SINCE) else {
        let bytes = postcard::to_stdvec(&event).map_err(|error| Refused(error.to_string()))?;
        return Ok(Ok((Event { version: T::EVENT_VERSION, event: bytes.into() }, event)));
    };
    let earlier = T::event_to_earlier(&event, held_back.version);
    let earlier =
        earlier.unwrap_or_else(|| Err("the type does not write earlier ones (event_to_earlier)".to_owned()));
    let written = earlier.and_then(|(version, bytes)| {
        let read = read_event::<T>(version, &bytes)?;
        Ok((Event { version, event: bytes.into() }, read))
    });
    Ok(written.map_err(|reason| {
        let what = format!("an event of this {}", T::TYPE);
        CallError::Retry(text_of_held_back(&what, T::EVENTS_SINCE, held_back, &reason))
    }))
}

fn read_event<T: EventSourced>(version: u16, event: &[u8]) -> Result<T::Event, String> {
    if version == T::EVENT_VERSION {
        return postcard::from_bytes(event).map_err(|error| error.to_string());
    }
    let unknown = || Err(format!("an event of it has version {version}"));
    T::event_from_earlier(version, event).unwrap_or_else(unknown)
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
            match written::<T>(event, turn.held_back)? {
                Ok((written, event)) => {
                    turn.events.push(written);
                    self.0.apply(event);
                }
                Err(error) => {
                    turn.problem.get_or_insert(error);
                    break;
                }
            }
        }
        Ok(answer)
    }

    fn from_earlier(version: u16, bytes: &[u8]) -> Option<Result<Self, String>> {
        T::from_earlier(version, bytes).map(|read| read.map(Self))
    }

    fn to_earlier(&self, version: u16) -> Option<Result<Vec<u8>, String>> {
        self.0.to_earlier(version)
    }

    fn replay(&mut self, version: u16, event: &[u8]) -> Result<(), String> {
        self.0.apply(read_event::<T>(version, event)?);
        Ok(())
    }
}
