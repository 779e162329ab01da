//! Entities: keyed actors of users whose state is in the log.
//!
//! The entity of a key lives on the leader of its key's partition of the internal topic `__entity_TYPE`. It is read from
//! there on its first message, put to rest when nobody asks it, and moves with the leader. What a turn changes, whom it
//! answers, what it sends and which timers it sets is one part of one batch with the leader's epoch: all of it counts, or
//! nothing, and an earlier leader can commit none.
//!
//! [`partition`] decides, pure; `host` is the actor that carries out, one for each partition that the node leads, on the
//! users' threads; [`front`] is the entrance; [`EntityCaller`] finds the leader from anywhere. What followers know of a partition,
//! so that the next leader need not read it, is in `standby`; in which version states are written, `formats` tells.

mod arrivals;
mod batch;
pub mod behaviour;
mod by_events;
mod caller;
mod dead_letter;
mod definition;
pub mod doors;
pub mod following;
mod formats;
pub mod front;
mod host;
mod input;
pub mod message;
pub mod outbox;
mod outward;
pub mod partition;
pub mod publication;
pub mod publisher;
pub mod publishing;
mod reader;
pub mod records;
mod series;
mod settings;
mod standby;
mod standby_host;
mod supervisor;
pub mod table;
pub mod topics;
mod transactions;
mod turns;
mod typed;
mod types;

#[cfg(test)]
mod model;
#[cfg(test)]
mod publishing_model;
#[cfg(test)]
mod publishing_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod upgrades;

pub use behaviour::PoisonPolicy;
pub use by_events::{ByEvents, Decided, EventSourced};
pub use caller::{EntityCaller, EntityReach, EntityRef, Place};
pub use definition::{Entity, EntityKey, Refused, Turn};
pub use publication::{Output, OutputRecord};
pub use reader::{TopicInput, TopicRecord};
pub use settings::{DEDUPE_LEAST, EntitySettings};
pub use types::{EntityTypes, InvalidType};
