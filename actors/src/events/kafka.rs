//! Kafka's listener.

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
