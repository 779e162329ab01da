//! The producer's settings, by Kafka's names.

use std::sync::Arc;
use std::time::Duration;

use super::partitioner::{DefaultPartitioner, Partitioner};
use crate::client::ClientError;
use crate::partition::message::Acks;
use crate::record::Compression;

/// The producer's settings. Change the fields, or take the defaults.
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    /// `acks`: when the leader answers; `All` by default. Less than `All` is not idempotent.
    pub acks: Acks,
    /// `enable.idempotence`: a batch sent again is appended once, and the order of a partition's records is kept when
    /// batches are sent again. By default true with `acks=all`, else false; true with less is refused.
    pub idempotent: Option<bool>,
    /// `batch.size`, in bytes: 128 KiB by default; 1 KiB to 16 MiB. Records of one partition travel together up to it,
    /// and never more than the topic's `max.message.bytes`. Kafka's 16 KiB make eight times the requests; a batch does
    /// not wait to be full, so a larger bound costs no latency.
    pub batch_bytes: usize,
    /// `linger.ms`: how long a batch that is not full waits for more records; 0 by default, up to a minute. While as
    /// many requests as may be are in flight, batches grow anyway.
    pub linger: Duration,
    /// `buffer.memory`, in bytes: records not yet answered; 32 MiB by default, at least `max.request.size`.
    /// [`Producer::send`](super::Producer::send) waits while it is used up.
    pub buffer_bytes: usize,
    /// `max.request.size`, in bytes: batches in one request, and so the largest record; 8 MiB by default, 1 KiB to
    /// 32 MiB.
    pub request_bytes: usize,
    /// `max.block.ms`: how long a send may wait for memory or for the topic to be known; 60 s.
    pub max_block: Duration,
    /// `delivery.timeout.ms`: how long after its batch was begun a record's fate is certain; 120 s, at least `linger.ms`.
    pub delivery_timeout: Duration,
    /// `max.in.flight.requests.per.connection`: requests without an answer per node; 5, and 1 to 5 where idempotent, as
    /// leaders know a producer's last five batches again.
    pub max_in_flight: usize,
    /// `transactional.id`: the name by which the cluster knows this producer over its restarts, at most 1,024 bytes; for
    /// [`Client::transactional_producer`](crate::client::Client::transactional_producer) only. Whoever begins with it
    /// fences the one before.
    pub transactional_id: Option<String>,
    /// `transaction.timeout.ms`: how long a transaction may be open before its coordinator aborts it and fences the
    /// producer; 60 s, at most the nodes' `transaction.max.timeout.ms`.
    pub transaction_timeout: Duration,
    /// `compression.type` and its level.
    pub compression: Compression,
    /// Which partition a record goes to that names none: murmur2 of its key; without a key one partition for
    /// `batch.size` bytes, then another.
    pub partitioner: Arc<dyn Partitioner>,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotent: None,
            batch_bytes: 128 << 10,
            linger: Duration::ZERO,
            buffer_bytes: 32 << 20,
            request_bytes: 8 << 20,
            max_block: Duration::from_secs(60),
            delivery_timeout: Duration::from_secs(120),
            max_in_flight: 5,
            transactional_id: None,
            transaction_timeout: Duration::from_secs(60),
            compression: Compression::NONE,
            partitioner: Arc::new(DefaultPartitioner),
        }
    }
}

impl ProducerSettings {
    /// Settings of a transactional producer with this `transactional.id`.
    #[must_use]
    pub fn transactional(id: impl Into<String>) -> Self {
        Self { transactional_id: Some(id.into()), ..Self::default() }
    }

    /// Whether batches carry a producer id.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.idempotent.unwrap_or(self.acks == Acks::All)
    }

    /// Says which setting cannot be taken, and why.
    pub fn check(&self) -> Result<(), ClientError> {
        within("batch.size", self.batch_bytes, 1 << 10, 16 << 20)?;
        within("max.request.size", self.request_bytes, 1 << 10, 32 << 20)?;
        within("buffer.memory", self.buffer_bytes, self.request_bytes, 1 << 40)?;
        let most_in_flight = if self.is_idempotent() { 5 } else { 100 };
        within("max.in.flight.requests.per.connection", self.max_in_flight, 1, most_in_flight)?;
        if self.is_idempotent() && self.acks != Acks::All {
            return Err(ClientError::setting("enable.idempotence", "needs acks=all"));
        }
        if let Some(id) = &self.transactional_id {
            within("transactional.id", id.len(), 1, 1_024)?;
            if !self.is_idempotent() {
                return Err(ClientError::setting(
                    "transactional.id",
                    "needs enable.idempotence and acks=all",
                ));
            }
            if self.transaction_timeout.is_zero() || self.transaction_timeout > TRANSACTION_TIMEOUT_MOST {
                return Err(ClientError::setting("transaction.timeout.ms", "must be from 1 to 2147483647"));
            }
        }
        if self.linger > Duration::from_secs(60) {
            return Err(ClientError::setting("linger.ms", "must be at most 60000"));
        }
        if self.delivery_timeout < self.linger.saturating_add(Duration::from_millis(100)) {
            return Err(ClientError::setting("delivery.timeout.ms", "must be at least linger.ms + 100"));
        }
        Ok(())
    }
}

/// What a coordinator can be told.
const TRANSACTION_TIMEOUT_MOST: Duration = Duration::from_millis(0x7fff_ffff);

fn within(name: &'static str, value: usize, least: usize, most: usize) -> Result<(), ClientError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ClientError::setting(name, format!("{value} is not from {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_bounds() {
        assert_eq!(ProducerSettings::default().check(), Ok(()));
        assert!(ProducerSettings::default().is_idempotent());
    }

    #[test]
    fn what_does_not_go_together_is_refused_by_name() {
        let refused = |settings: ProducerSettings| settings.check().unwrap_err().to_string();
        let less = ProducerSettings { acks: Acks::Leader, ..ProducerSettings::default() };
        assert!(!less.is_idempotent());
        assert!(refused(ProducerSettings { idempotent: Some(true), ..less }).contains("acks=all"));
        let flood = ProducerSettings { max_in_flight: 6, ..ProducerSettings::default() };
        assert!(refused(flood).contains("max.in.flight"));
        let nameless = ProducerSettings::transactional("");
        assert!(refused(nameless).contains("transactional.id"));
        let hasty = ProducerSettings { acks: Acks::Leader, ..ProducerSettings::transactional("copy") };
        assert!(refused(hasty).contains("transactional.id"));
        let small = ProducerSettings { buffer_bytes: 1 << 20, ..ProducerSettings::default() };
        assert!(refused(small).contains("buffer.memory"));
        let short = ProducerSettings {
            linger: Duration::from_secs(10),
            delivery_timeout: Duration::from_secs(5),
            ..ProducerSettings::default()
        };
        assert!(refused(short).contains("delivery.timeout.ms"));
    }
}
