//! A node's lease: until when it may answer from memory what must have one owner (rule 8).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// A lease, counted on the monotonic clock. Cheap to clone; any thread may look at it.
#[derive(Clone, Debug)]
pub struct Lease {
    origin: Instant,
    /// Microseconds since the origin; 0 for never held.
    until: Arc<AtomicU64>,
}

impl Lease {
    /// A lease not held.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { origin: now, until: Arc::default() }
    }

    /// For how long it still holds; zero if it does not. Who finds it over confirms its epoch otherwise before it answers.
    #[must_use]
    pub fn left(&self, now: Instant) -> Duration {
        let until = self.origin + Duration::from_micros(self.until.load(Ordering::Acquire));
        until.saturating_duration_since(now)
    }

    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, now: Instant) -> bool {
        !self.left(now).is_zero()
    }

    /// A grant came in: it counts from when it was asked for.
    pub(crate) fn granted(&self, asked_at: Instant, length: Duration) {
        let until = asked_at.saturating_duration_since(self.origin).saturating_add(length);
        self.until.fetch_max(u64::try_from(until.as_micros()).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// It is over: another life of this node has registered, or the controller has given it up.
    pub(crate) fn revoke(&self) {
        self.until.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_from_the_asking_and_never_gets_shorter_by_a_late_answer() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let lease = Lease::new(start);
        assert!(!lease.holds(start));
        lease.granted(start + ms(100), ms(300));
        assert_eq!(lease.left(start + ms(150)), ms(250));
        lease.granted(start, ms(300));
        assert_eq!(lease.left(start + ms(150)), ms(250));
        assert!(!lease.holds(start + ms(400)));
        lease.granted(start + ms(500), ms(300));
        lease.revoke();
        assert!(!lease.holds(start + ms(501)));
    }
}
