//! Transactions.

use super::{Event, Events};
use crate::error::Refusal;
use crate::ids::ProducerId;

/// A coordinator has read its partition of `__transaction_state`.
#[derive(Debug)]
pub struct TransactionsLoaded {
    /// The partition.
    pub partition: i32,
    /// Transactional ids found.
    pub ids: usize,
    /// Records read.
    pub records: u64,
    /// Records that could not be understood.
    pub undecodable: u64,
}

impl Event for TransactionsLoaded {
    fn tell(&self, events: &Events) {
        let (partition, ids, records, undecodable) =
            (self.partition, self.ids, self.records, self.undecodable);
        tracing::info!(node = %events.node(), partition, ids, records, "transactions are coordinated here");
        if undecodable > 0 {
            tracing::error!(node = %events.node(), partition, undecodable, "records of transactions could not be understood");
        }
    }
}

/// A decision was not committed, or the log could not be read: it is read again.
#[derive(Debug)]
pub struct TransactionsBroken<'a> {
    /// The partition.
    pub partition: i32,
    /// Why.
    pub refusal: &'a Refusal,
}

impl Event for TransactionsBroken<'_> {
    fn tell(&self, events: &Events) {
        tracing::warn!(node = %events.node(), partition = self.partition, refusal = %self.refusal, "transactions are read back from their log");
    }
}

/// A transaction was open for longer than it may, and is aborted.
#[derive(Debug)]
pub struct TransactionTimedOut<'a> {
    /// The transactional id.
    pub id: &'a str,
}

impl Event for TransactionTimedOut<'_> {
    fn tell(&self, events: &Events) {
        tracing::warn!(node = %events.node(), id = self.id, "a transaction took too long and is aborted; its producer is fenced");
    }
}

/// Markers of a decided transaction could not be written yet; it is tried on.
#[derive(Debug)]
pub struct MarkersDelayed<'a> {
    /// The producer.
    pub producer: ProducerId,
    /// Partitions without their marker.
    pub partitions: usize,
    /// Why one of them was refused.
    pub refusal: Option<&'a Refusal>,
}

impl Event for MarkersDelayed<'_> {
    fn tell(&self, events: &Events) {
        let refusal = self.refusal.map(ToString::to_string).unwrap_or_default();
        tracing::warn!(node = %events.node(), producer = %self.producer, partitions = self.partitions, refusal, "markers of a transaction are late");
    }
}
