//! The harness: what happened (history), whether it may have (checker), real processes, the simulated cluster.

pub mod checker;
pub mod history;
