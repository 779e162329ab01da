//! The settings of transaction coordinators, by Kafka's names.

use crate::kinds::TRANSACTION_SUPERVISOR;

/// How a node coordinates transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionSettings {
    /// `transaction.max.timeout.ms`: the longest time-out that a producer may ask for.
    pub timeout_max_ms: i32,
    /// `transactional.id.expiration.ms`: how long an id is known of which nothing is heard.
    pub id_expiration_ms: i64,
    /// How often open transactions are held against the clock, in milliseconds: the grace of a time-out.
    pub time_out_check_ms: u64,
    /// How often ids that nobody uses are looked for, in milliseconds.
    pub expiration_check_ms: u64,
    /// Transactional ids of one partition of `__transaction_state`; about 300 bytes each.
    pub ids_max: usize,
    /// Transactions of one such partition whose markers are written at once.
    pub marking_max: usize,
    /// Requests that may wait for their answer on this node; more are refused.
    pub max_waiting: usize,
}

impl Default for TransactionSettings {
    fn default() -> Self {
        Self {
            timeout_max_ms: 15 * 60 * 1_000,
            id_expiration_ms: 7 * 24 * 60 * 60 * 1_000,
            time_out_check_ms: 1_000,
            expiration_check_ms: 600_000,
            ids_max: 100_000,
            marking_max: 64,
            max_waiting: TRANSACTION_SUPERVISOR.mailbox_max,
        }
    }
}
