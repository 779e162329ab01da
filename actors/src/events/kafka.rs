//! Kafka's listeners.

use std::fmt;

use metrics::{Counter, Gauge};

use super::Events;

/// The series of fetch sessions (KIP-227).
pub struct FetchSessionSeries {
    /// Sessions now.
    pub sessions: Gauge,
    /// Their partitions.
    pub partitions: Gauge,
    /// Sessions that had to go for others.
    pub evictions: Counter,
}

impl FetchSessionSeries {
    /// The handles of a node.
    #[must_use]
    pub fn of(events: &Events) -> Self {
        Self {
            sessions: events.gauge("millstream_fetch_sessions", Vec::new()),
            partitions: events.gauge("millstream_fetch_session_partitions", Vec::new()),
            evictions: events.counter("millstream_fetch_session_evictions_total", Vec::new()),
        }
    }
}

impl fmt::Debug for FetchSessionSeries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FetchSessionSeries")
    }
}

/// The series of the way in.
pub struct AdmissionSeries {
    /// Connections that were let in.
    pub admitted: Counter,
    /// Connections that were not.
    pub refused: Counter,
}

impl AdmissionSeries {
    /// The handles of a node.
    #[must_use]
    pub fn of(events: &Events) -> Self {
        Self {
            admitted: events.counter("millstream_kafka_clients_admitted_total", Vec::new()),
            refused: events.counter("millstream_kafka_clients_refused_total", Vec::new()),
        }
    }
}

impl fmt::Debug for AdmissionSeries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AdmissionSeries")
    }
}
