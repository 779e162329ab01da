//! Logs on disk: what a partition's records are kept in, and how they become durable.
//!
//! A [`LogDirectory`] is a disk, or part of one, with an identity, a lock and a table of durable ends. It opens a [`Log`]
//! for each partition: segments of record batches as they came, appended to by one owner. The directory's [`Syncer`]
//! makes the appends of all its logs durable, many files a round. What is kept true:
//!
//! - An offset below [`Log::durable_end`] is past an `fdatasync`, and so are the names that lead to it (promise 1).
//! - A failed write or sync fails the directory for the rest of the process; nothing that was not synced before is
//!   believed then (rule 3). A full disk is not a failure: the append is refused, and taken when there is space.
//! - A byte that is not what was written is not served, and not cut without being told (promise 4).
//! - The cost of an append, of a read and of a start does not grow with what is stored (promise 7).

mod append;
mod batches;
mod compact;
mod directory;
mod epochs;
mod error;
mod newest;
mod partition_log;
mod persisted;
mod producers;
mod read;
mod recover;
mod retain;
mod segment;
mod since;
mod sync;
mod tail;
mod timed;
mod truncate;

pub use append::Appended;
pub use compact::{
    Cleaned, CleanerSettings, Cleaning, CleaningTurn, KnownProducers, Lacked, Prepared, Replaced, Stepped,
};
pub use directory::{DirectoryHealth, DirectorySettings, LogDirectory};
pub use epochs::Epochs;
pub use error::LogError;
pub use partition_log::Log;
pub use producers::ProducerSnapshot;
pub use read::{Batches, TimedOffset};
pub use recover::{Doubt, Recovery};
pub use segment::ColdRead;
pub use sync::{SyncDone, Syncer};
pub use tail::TailBudget;
pub use timed::{TimedRead, TimedStep};

#[cfg(test)]
pub(crate) use compact::fixture as cleaning;

#[cfg(test)]
mod tests;
