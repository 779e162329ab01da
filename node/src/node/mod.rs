//! A node: how its parts are put together, started, stopped and killed.

mod assembly;
mod controller_link;
mod coordination;
mod coordinator_log;
mod council;
mod disk;
mod entities;
mod entity_log;
mod entity_topics;
mod error;
mod groups;
mod health;
mod incarnation;
mod listeners;
#[cfg(test)]
mod looked_at;
mod named;
mod native;
mod native_transactions;
mod output_transactions;
mod publications;
mod reach;
mod replication;
mod simulated;
mod thread;
mod transactions;
mod tree;
mod vigil;
mod vitals;
mod warnings;

pub(crate) use council::QUORUM_DIRECTORY;
pub(crate) use disk::LOG_DIRECTORY;
pub use error::StartError;
pub use simulated::SimulatedNode;
pub use thread::{Node, StopError};
pub(crate) use transactions::Marks;
