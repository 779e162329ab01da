//! Joins: records of a key that meet, of two streams, of a stream and a table, of two tables.
//!
//! What is joined by key must be in one task: the topics of both sides have as many partitions as one another, which is
//! checked when an application starts, and no side's key was changed since it was read, which is checked when the topology
//! is built. A join by another key ([`foreign_key`]) sends records to where that key is.

mod foreign_key;
mod stream_global;
mod stream_stream;
mod stream_table;
mod table_table;

#[cfg(test)]
mod tests;

pub use foreign_key::ForeignKey;
pub use stream_stream::{JoinWindows, Joined};
