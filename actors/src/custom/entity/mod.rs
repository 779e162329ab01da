//! Entities: keyed actors of users whose state is in the log.
//!
//! The entity of a key lives on the leader of its key's partition of the internal topic `__entity_TYPE`. It is read from
//! there on its first message, put to rest when nobody asks it, and moves with the leader. What a turn changes, whom it
//! answers, what it sends and which timers it sets is one part of one batch with the leader's epoch: all of it counts, or
//! nothing, and an earlier leader can commit none.
//!
//! [`partition`] decides, pure; `host` is the actor that carries out, one for each partition that the node leads, on the
//! users' threads; [`front`] is the entrance; [`EntityCaller`] finds the leader from anywhere.

mod arrivals;
mod batch;
pub mod behaviour;
mod by_events;
mod caller;
mod definition;
pub mod doors;
pub mod following;
pub mod front;
mod host;
mod input;
pub mod message;
pub mod outbox;
pub mod partition;
pub mod records;
mod series;
mod settings;
mod supervisor;
pub mod table;
mod turns;
mod typed;
mod types;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use behaviour::PoisonPolicy;
pub use by_events::{ByEvents, Decided, EventSourced};
pub use caller::{EntityCaller, EntityReach, EntityRef, Place};
pub use definition::{Entity, EntityKey, Refused, Turn};
pub use settings::EntitySettings;
pub use types::{EntityTypes, InvalidType};
