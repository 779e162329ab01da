//! What a user wrote: a named actor that says back what it is told, and an entity that keeps it.

use millstream::{ActorContext, ActorMessage, Entity, Handled, NamedActor, Refused, Turn};
use serde::{Deserialize, Serialize};

/// Comes back as it is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ping(pub(crate) Vec<u8>);

impl ActorMessage for Ping {
    const NAME: &'static str = "ping";
    type Answer = Vec<u8>;
}

/// The actor.
#[derive(Debug, Default)]
pub(crate) struct Ponger;

impl NamedActor for Ponger {
    const KIND: &'static str = "ponger";
    type Message = Ping;

    async fn handle(&mut self, Ping(bytes): Ping, _: &ActorContext) -> Handled<Ping> {
        Ok(bytes)
    }
}

/// What the entity is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Note {
    /// To keep this.
    Write(Vec<u8>),
    /// How often it has been told to; nothing is written.
    Read(Vec<u8>),
}

impl ActorMessage for Note {
    const NAME: &'static str = "note";
    type Answer = u64;
}

/// The entity.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Book {
    written: u64,
    last: Vec<u8>,
}

impl Entity for Book {
    const TYPE: &'static str = "book";
    type Key = u64;
    type Message = Note;

    fn new(_: &u64) -> Self {
        Self { written: 0, last: Vec::new() }
    }

    fn handle(&mut self, note: Note, _: &mut Turn<'_, Self>) -> Result<u64, Refused> {
        if let Note::Write(bytes) = note {
            self.written += 1;
            self.last = bytes;
        }
        Ok(self.written)
    }
}
