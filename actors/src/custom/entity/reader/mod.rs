//! Topics as input of entities: a reader for each partition of a topic that a type reads, on the node that leads the
//! partition of entities with its index (modulo their count), for the life of that leadership.
//!
//! A reader gives each record to the partition of its entity, in order, with the record's offset and one as sequence. The
//! receiver writes what it has applied in the batch with what came of it and leaves out what it has; a reader resumes at
//! the least of what the receivers have. So nothing is lost or applied twice, whoever is killed, also where an earlier
//! leader's reader still runs: it can only send again what is known. That rests on one thing: the same record always
//! goes to the same entity.
//!
//! [`progress`] decides, pure; the actor beside it carries out.

mod actor;
mod declared;
mod lane;
mod placed;
mod progress;
mod settings;
mod source;
mod supervisor;
mod unpacking;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub(super) use declared::Declared;
pub use declared::{TopicInput, TopicRecord};
pub(super) use placed::{Assignment, ReaderKey, readers_here};
pub(super) use supervisor::{ReaderSupervisor, ReadersMessage};
