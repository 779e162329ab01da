//! A typed message: its kind, its version, its answer, and which of its parts travel as raw bodies.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A message between nodes, or between a native client and a node.
///
/// The serde form (postcard) is the header. Bytes that may be large (record batches) are not in it: they are
/// taken out by [`Message::take_bodies`] before sending and put back by [`Message::put_bodies`] after receiving, so
/// that they are never copied through serde. Such a field carries `#[serde(skip)]`.
///
/// A new version of a message appends enum variants or gets a new kind; the receiver refuses a version it does not know.
pub trait Message: Serialize + DeserializeOwned + Send + std::fmt::Debug + 'static {
    /// Unique among all messages of the workspace. Ranges: 1 to 99 transport, 100 to 199 partition and replication,
    /// 200 to 299 cluster, 300 to 349 group, 350 to 369 transactions, 400 and up custom actors.
    const KIND: u16;
    /// Version of the header's form.
    const VERSION: u16 = 1;
    /// What it is answered with; `()` for a one-way message.
    type Answer: Answer;

    /// Takes the raw bodies out, in the order in which [`Message::put_bodies`] expects them.
    fn take_bodies(&mut self) -> Vec<Bytes> {
        Vec::new()
    }

    /// Puts the raw bodies back; an error says which was missing or too many.
    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        BodyMismatch::check(0, bodies.len())
    }
}

/// The answer to a [`Message`].
pub trait Answer: Serialize + DeserializeOwned + Send + std::fmt::Debug + 'static {
    /// As [`Message::take_bodies`].
    fn take_bodies(&mut self) -> Vec<Bytes> {
        Vec::new()
    }

    /// As [`Message::put_bodies`].
    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        BodyMismatch::check(0, bodies.len())
    }
}

impl Answer for () {}

impl Answer for crate::identity::NodeId {}

impl<T: Serialize + DeserializeOwned + Send + std::fmt::Debug + 'static> Answer for Vec<T> {}

impl<T, E> Answer for Result<T, E>
where
    T: Answer,
    E: Serialize + DeserializeOwned + Send + std::fmt::Debug + 'static,
{
    fn take_bodies(&mut self) -> Vec<Bytes> {
        self.as_mut().map(T::take_bodies).unwrap_or_default()
    }

    fn put_bodies(&mut self, bodies: Vec<Bytes>) -> Result<(), BodyMismatch> {
        match self {
            Ok(answer) => answer.put_bodies(bodies),
            Err(_) => BodyMismatch::check(0, bodies.len()),
        }
    }
}

/// A frame carried another number of bodies than its header speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header speaks of {expected} bodies, the frame carries {found}")]
pub struct BodyMismatch {
    /// Bodies that the header speaks of.
    pub expected: usize,
    /// Bodies in the frame.
    pub found: usize,
}

impl BodyMismatch {
    /// An error unless the two are equal.
    pub fn check(expected: usize, found: usize) -> Result<(), Self> {
        if expected == found { Ok(()) } else { Err(Self { expected, found }) }
    }
}
