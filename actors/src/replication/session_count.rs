//! Counts open sessions.

use std::fmt;

use metrics::Gauge;

/// One session in the gauge, until dropped.
pub(super) struct SessionCount(Gauge);

impl SessionCount {
    pub(super) fn new(gauge: Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for SessionCount {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

impl fmt::Debug for SessionCount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionCount")
    }
}
