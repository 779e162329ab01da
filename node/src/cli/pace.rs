//! Sends at a rate: when which record is due.

use std::time::Duration;

use tokio::time::Instant;

/// A sender later than this is behind; less is the timer's own coarseness.
const COARSENESS: Duration = Duration::from_millis(5);

/// When records are due, from a start on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    start: Instant,
    per_second: Option<u64>,
}

impl Pace {
    /// So many records a second; without a number, all at once.
    pub(super) fn new(start: Instant, per_second: Option<u64>) -> Self {
        Self { start, per_second: per_second.filter(|rate| *rate > 0) }
    }

    /// When record number `index` (from 0) is due.
    pub(super) fn due(&self, index: u64) -> Instant {
        let Some(rate) = self.per_second else { return self.start };
        let (seconds, rest) = (index / rate, index % rate);
        let nanoseconds = rest.saturating_mul(1_000_000_000) / rate;
        self.start + Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
    }

    /// Waits until the record is due.
    pub(super) async fn wait(&self, index: u64) {
        let due = self.due(index);
        if self.per_second.is_some() && due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
    }

    /// From when on a record's latency counts: from now, but from when it was due where the sender could not keep up.
    /// Else a cluster that stands still would hold up the very records that would have shown it.
    pub(super) fn counts_from(&self, index: u64, now: Instant) -> Instant {
        let due = self.due(index);
        if self.per_second.is_some() && now > due + COARSENESS { due } else { now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn records_are_due_one_after_the_other() {
        let start = Instant::now();
        let pace = Pace::new(start, Some(5_000));
        assert_eq!(pace.due(0), start);
        assert_eq!(pace.due(7), start + Duration::from_micros(1_400));
        assert_eq!(pace.due(10_001), start + Duration::from_micros(2_000_200));
        pace.wait(50).await;
        assert!(start.elapsed() >= Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nothing_waits() {
        let start = Instant::now();
        for rate in [None, Some(0)] {
            Pace::new(start, rate).wait(1_000_000).await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_latency_of_a_late_sender_counts_from_when_its_record_was_due() {
        let start = Instant::now();
        let pace = Pace::new(start, Some(1_000));
        let (soon, late) = (start + Duration::from_millis(12), start + Duration::from_millis(500));
        assert_eq!(pace.counts_from(10, soon), soon);
        assert_eq!(pace.counts_from(10, late), start + Duration::from_millis(10));
        assert_eq!(Pace::new(start, None).counts_from(10, late), late);
    }
}
