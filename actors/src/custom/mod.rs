//! Actors of users: what a call is, how a user's message travels, and the threads on which users' code runs.
//!
//! Nothing of a user's runs on the cores of the data plane or on the control thread: a handler that blocks, loops or
//! panics harms its own actor, and at worst the other actors of users.

mod call;
mod depth;
pub mod entity;
mod envelope;
mod metrics;
pub mod named;
mod threads;

pub use self::metrics::{Counter, Gauge, Histogram, UserMetrics, WrongSeries};
pub use call::{CallError, Deadline, RequestId};
pub use envelope::{ActorMessage, Answered, Envelope, open_answer, seal_answer};
pub use threads::{Turn, UserThreads, UserThreadsSettings};
