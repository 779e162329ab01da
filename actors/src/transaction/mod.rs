//! Transactions: records written to many partitions, and offsets of groups, that become visible together or not at all
//! (KIP-98, KIP-360, KIP-447, KIP-890).
//!
//! The way of a transaction: a producer gets its id and epoch from the coordinator of its `transactional.id`, the leader
//! of that id's partition of `__transaction_state`. Partitions become part of its transaction there, before their leader
//! takes the first batch ([`partition::verify`](crate::partition::verify)). Its end is decided there: once the decision
//! is committed, `markers` are written to all these partitions, on whatever nodes, until each has one.
//!
//! [`state`] decides, pure; `coordinator` is the actor that carries out, one for each partition of `__transaction_state`
//! that the node leads; [`front`] is the entrance. What a coordinator knows is what its log says, as of groups, whose doors
//! it shares.

mod coordinator;
pub mod doors;
pub mod following;
pub mod front;
mod markers;
pub mod message;
pub mod records;
mod request;
pub mod settings;
pub mod state;
mod supervisor;

#[cfg(test)]
mod tests;
