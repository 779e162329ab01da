//! A node: how its parts are put together, started, stopped and killed.

mod assembly;
mod controller_link;
mod coordinator_log;
mod error;
mod groups;
mod health;
mod incarnation;
mod native;
mod native_transactions;
mod reach;
mod replication;
mod simulated;
mod thread;
mod transactions;
mod tree;
mod vigil;
mod vitals;
mod warnings;

pub(crate) use assembly::{LOG_DIRECTORY, QUORUM_DIRECTORY};
pub use error::StartError;
pub use simulated::SimulatedNode;
pub use thread::{Node, StopError};
pub(crate) use transactions::Marks;
