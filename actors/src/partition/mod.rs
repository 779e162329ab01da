//! Partition replicas.

pub mod append;
pub mod following;
pub mod message;
pub mod state;
