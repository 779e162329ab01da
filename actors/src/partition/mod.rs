//! Partition replicas.

pub mod message;
