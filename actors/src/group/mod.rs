//! Consumer groups.

pub mod message;
