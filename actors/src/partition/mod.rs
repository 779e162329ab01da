//! Partition replicas.

pub mod append;
pub mod message;
