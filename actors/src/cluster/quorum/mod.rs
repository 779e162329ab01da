//! The metadata quorum: openraft on our own disk and wire, with a pre-vote of our own.
//!
//! `storage` keeps log, vote and snapshot in a directory of its own.

#[allow(dead_code, reason = "used by what is built on it")]
mod storage;
#[allow(dead_code, reason = "used by what is built on it")]
mod types;

pub use storage::OpenError;
pub use types::{Seat, VoterId};
