//! The cluster's metadata as the quorum has decided it.

pub mod assignment;
