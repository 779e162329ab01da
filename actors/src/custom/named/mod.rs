//! Named actors: a user's struct and handler, started on any node, found by its name from everywhere.
//!
//! A name is registered in the metadata quorum, so it has one owner in the cluster. What an owner answers rests on its
//! memory; it answers only while its node holds its lease, and looks again before the answer leaves, so that there are
//! never two owners whose answers count. A node that the quorum takes for lost loses its names in the very entry that
//! says so.
//!
//! - Order: messages of one sender to one actor are handled in the order in which they were put into its mailbox.
//! - Delivery: at most once. A time-out, or a link that ended, means that it is not known whether a message was handled.
//! - State: in memory; a panic begins it anew, the death of a node ends it.
//! - Side effects outside of answers may happen twice: a paused owner does not know yet that it is none.

mod actor;
mod beginning;
mod calls;
mod cell;
mod doors;
mod following;
mod handle;
mod host;
mod mailbox;
pub mod message;
mod parts;
mod runner;
mod serving;
#[cfg(test)]
mod tests;
mod watching;
mod way;

pub use actor::{ActorContext, ActorSettings, Handled, NamedActor};
pub use calls::{ActorCalls, EachTold, NameWatch};
pub use doors::{Answering, Listed, Mail, NameRegistry, NoAnswer, Way};
pub use handle::ActorHandle;
pub use host::NodeActors;
pub use message::{ActorEnd, OwnerChange, StopReason};
pub use parts::{NamedParts, NamedSettings};
