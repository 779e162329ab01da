//! Record batches in Kafka's format, version 2: the bytes that a producer sends are the bytes on disk, between replicas
//! and at the consumer.
//!
//! A broker reads the 61 bytes of a batch's header, checks the checksum, and patches two fields that the checksum does
//! not cover. Only clients build batches and take records out of them, and compaction, which leaves
//! some out. Nothing here allocates by a number that came
//! with the bytes before that number was held against the bytes left.

mod assign;
mod batches;
mod builder;
mod codec;
mod compress;
mod control;
mod header;
pub mod key_hash;
mod problem;
mod read;
mod retain;
mod varint;
mod walk;

pub use assign::{assign, assign_producer, make_transactional, set_append_time};
pub use batches::{Batch, Batches, batches, whole_batches};
pub use builder::{BatchBuilder, Full, Packed, ProducerStamp, record_bytes};
pub use codec::Codec;
pub use compress::Compression;
pub use control::EndMarker;
pub(crate) use header::add_sequence;
pub use header::{Attributes, BatchHeader, HEADER_BYTES, NO_TIMESTAMP, verify_checksum};
pub use problem::{BatchError, BatchProblem};
pub use read::{Header, MAX_UNPACKED_BYTES, Record, Records, records};
pub(crate) use retain::{empty, hole, retain};
pub use walk::{Passed, walk};

#[cfg(test)]
mod golden;
#[cfg(test)]
mod properties;
