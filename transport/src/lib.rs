//! Moves messages between the nodes of a cluster; knows bytes and peers, nothing of partitions.

pub mod frame;
pub mod identity;
pub mod intake;
pub mod kafka;
pub mod message;
pub mod peer;
pub mod wire;
pub mod world;
