//! So many bytes a tick.

use std::time::Duration;

use tokio::time::Instant;

/// Bounds the bytes of each tick. What one tick uses too much of, the next ones have less.
#[derive(Debug)]
pub(super) struct Throttle {
    bytes: usize,
    tick: Duration,
    began: Instant,
    used: usize,
}

impl Throttle {
    pub(super) fn new(bytes: usize, tick: Duration, now: Instant) -> Self {
        Self { bytes: bytes.max(1), tick: tick.max(Duration::from_millis(1)), began: now, used: 0 }
    }

    /// Whether this tick has bytes left.
    pub(super) fn is_open(&mut self, now: Instant) -> bool {
        let ticks = now.saturating_duration_since(self.began).as_nanos() / self.tick.as_nanos();
        if ticks > 0 {
            let forgiven = self.bytes.saturating_mul(usize::try_from(ticks).unwrap_or(usize::MAX));
            self.used = self.used.saturating_sub(forgiven);
            self.began = now;
        }
        self.used < self.bytes
    }

    pub(super) fn took(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes);
    }

    /// How long until another tick begins.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        self.tick.saturating_sub(now.saturating_duration_since(self.began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_that_took_too_much_is_paid_for_by_the_next() {
        let start = Instant::now();
        let tick = Duration::from_millis(10);
        let mut throttle = Throttle::new(100, tick, start);
        assert!(throttle.is_open(start));
        throttle.took(250);
        assert!(!throttle.is_open(start));
        assert_eq!(throttle.pause(start + Duration::from_millis(4)), Duration::from_millis(6));
        assert!(!throttle.is_open(start + tick), "150 are still owed");
        assert!(throttle.is_open(start + 2 * tick), "50 are");
        throttle.took(60);
        assert!(!throttle.is_open(start + 2 * tick));
        assert!(throttle.is_open(start + Duration::from_secs(60)));
    }
}
