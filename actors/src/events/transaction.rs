//! Transactions.

use std::fmt;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

use super::{Event, Events};
use crate::error::Refusal;
use crate::ids::ProducerId;

/// The series of transaction coordinators that move with every transaction.
#[derive(Clone)]
pub struct TransactionMetrics {
    /// Transactions that are open.
    pub open: Gauge,
    /// Transactions whose commit was decided.
    pub committed: Counter,
    /// Transactions whose abort was decided.
    pub aborted: Counter,
    /// Requests of producers that another has replaced.
    pub fenced: Counter,
    /// Time of a transaction from its first partition to its last marker.
    pub seconds: Histogram,
    /// Time from the decision to the last marker.
    pub marker_seconds: Histogram,
}

impl TransactionMetrics {
    /// The handles of this node's series.
    #[must_use]
    pub fn new(events: &Events) -> Self {
        Self {
            open: events.gauge("millstream_transactions_open", Vec::new()),
            committed: events.counter("millstream_transactions_committed_total", Vec::new()),
            aborted: events.counter("millstream_transactions_aborted_total", Vec::new()),
            fenced: events.counter("millstream_transactions_fenced_total", Vec::new()),
            seconds: events.histogram("millstream_transactions_seconds", Vec::new()),
            marker_seconds: events.histogram("millstream_transactions_marker_seconds", Vec::new()),
        }
    }

    /// So many are open now, not so many as before. Coordinators of a node share the gauge.
    pub fn open_changed(&self, before: usize, now: usize) {
        let as_number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        if now != before {
            self.open.increment(as_number(now) - as_number(before));
        }
    }

    /// A transaction has this outcome from now on.
    pub fn decided(&self, commits: bool) {
        if commits { self.committed.increment(1) } else { self.aborted.increment(1) }
    }

    /// All its markers are written; it had been open for so long.
    pub fn marked(&self, since_decision: Duration, since_beginning: Duration) {
        self.marker_seconds.record(since_decision.as_secs_f64());
        self.seconds.record(since_beginning.as_secs_f64());
    }
}

impl fmt::Debug for TransactionMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TransactionMetrics").finish_non_exhaustive()
    }
}

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
        events.counter("millstream_transactions_timed_out_total", Vec::new()).increment(1);
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
