//! Consumer groups (KIP-848).
//!
//! A member heartbeats to its group's coordinator with what it subscribes to and what it owns, and is told what it
//! should own; it commits how far it has read. The way of a heartbeat: [`front`] finds the group's partition of
//! `__consumer_offsets` → `supervisor` hands it to the group's actor → `coordinator` lets the state machine in
//! [`modern`] decide (with [`assignor`] where the target is computed anew), appends what it wrote as [`records`]
//! through [`doors`], and gives the answer when that is committed. What a coordinator knows is what its log says.
//!
//! Groups of Kafka's [`classic`] protocol are coordinated by the same actors. One of consumers goes over to KIP-848 when a
//! member of that joins, and back when the last one leaves, as [`migration`] allows.
//!
//! Groups of applications of [`streams`] are a type of their own, with tasks in the place of partitions.
//!
//! What the rest of the node lends is in [`doors`] (log, lease, ends), [`topics`] and [`following`] (the image).

pub mod assignor;
pub mod classic;
mod classic_part;
mod coordinator;
pub mod doors;
mod embedded;
pub mod following;
pub mod front;
pub mod lag;
pub mod message;
pub mod migration;
pub mod modern;
pub mod offsets;
pub mod pending;
pub mod records;
pub(crate) mod release;
pub(crate) mod request;
pub mod settings;
pub mod streams;
mod supervision;
mod supervisor;
pub mod topics;

#[cfg(test)]
mod fakes;

#[cfg(test)]
mod golden;

#[cfg(test)]
mod tests;
