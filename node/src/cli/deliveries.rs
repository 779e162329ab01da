//! What became of the records sent: counted, failures told, and the longest time without an acknowledgement.

use std::collections::VecDeque;
use std::time::Duration;

use millstream_actors::producer::{Delivery, ProduceError};
use tokio::time::Instant;

use super::quantity::{mb_per_s, ms, per_second};

/// Failures told one by one; the rest are only counted.
const TOLD: u64 = 10;

/// Records sent whose fate is not known yet, and counts of the others.
#[derive(Debug)]
pub(super) struct Deliveries {
    start: Instant,
    open: VecDeque<Open>,
    sent: u64,
    acknowledged: u64,
    failed: u64,
    bytes: u64,
    gaps: Gaps,
}

#[derive(Debug)]
struct Open {
    delivery: Delivery,
    line: u64,
    bytes: usize,
    since: Instant,
}

impl Deliveries {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            open: VecDeque::new(),
            sent: 0,
            acknowledged: 0,
            failed: 0,
            bytes: 0,
            gaps: Gaps::default(),
        }
    }

    /// Records taken so far, whatever became of them.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// A record is under way.
    pub(super) fn began(&mut self, delivery: Delivery, bytes: usize, now: Instant) {
        self.sent += 1;
        self.open.push_back(Open { delivery, line: self.sent, bytes, since: now });
    }

    /// A record was not taken; what to tell of it.
    pub(super) fn refused(&mut self, error: &ProduceError) -> Option<String> {
        self.sent += 1;
        self.fail(self.sent, error)
    }

    /// Waits until the oldest record's fate is known; for ever without one.
    pub(super) async fn decided(&mut self) {
        match self.open.front_mut() {
            // Its result is looked at by `settle`.
            Some(oldest) => drop((&mut oldest.delivery).await),
            None => std::future::pending().await,
        }
    }

    /// Counts what is decided, from the oldest on; what to tell of failures.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(result) = self.open.front().and_then(|oldest| oldest.delivery.now()) {
            let Some(open) = self.open.pop_front() else { break };
            match result {
                Ok(_) => {
                    self.acknowledged += 1;
                    self.bytes += u64::try_from(open.bytes).unwrap_or(0);
                    self.gaps.acknowledged(now, open.since);
                }
                Err(error) => told.extend(self.fail(open.line, &error)),
            }
        }
        told
    }

    fn fail(&mut self, line: u64, error: &ProduceError) -> Option<String> {
        self.failed += 1;
        match self.failed {
            1..=TOLD => Some(format!("line {line} was not delivered: {error}")),
            failed if failed == TOLD + 1 => {
                Some("more lines were not delivered; they are counted".to_owned())
            }
            _ => None,
        }
    }

    /// One line about all of it.
    pub(super) fn summary(&self, now: Instant) -> String {
        let time = now.duration_since(self.start);
        format!(
            "{} sent, {} acknowledged, {} failed in {:.1} s ({:.0}/s, {:.3} MB/s); \
             longest time without an acknowledgement {:.0} ms",
            self.sent,
            self.acknowledged,
            self.failed,
            time.as_secs_f64(),
            per_second(self.acknowledged, time),
            mb_per_s(self.bytes, time),
            ms(self.gaps.longest)
        )
    }

    /// An error unless all were acknowledged.
    pub(super) fn verdict(&self) -> Result<(), String> {
        if self.acknowledged == self.sent {
            return Ok(());
        }
        Err(format!("{} of {} records were not delivered", self.sent - self.acknowledged, self.sent))
    }
}

/// The longest time in which records were under way and none was acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gaps {
    last: Option<Instant>,
    /// The longest so far.
    pub(super) longest: Duration,
}

impl Gaps {
    /// A record that was under way since `since` is acknowledged.
    pub(super) fn acknowledged(&mut self, now: Instant, since: Instant) {
        let from = self.last.map_or(since, |last| last.max(since));
        self.longest = self.longest.max(now.saturating_duration_since(from));
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_gap_is_a_time_with_records_under_way_and_no_acknowledgement() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut gaps = Gaps::default();
        gaps.acknowledged(at(10), at(0));
        gaps.acknowledged(at(25), at(5));
        assert_eq!(gaps.longest, Duration::from_millis(15));
        gaps.acknowledged(at(1_002), at(1_000));
        assert_eq!(gaps.longest, Duration::from_millis(15), "nothing was under way");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_failures_are_told_and_all_are_counted() {
        let mut deliveries = Deliveries::new(Instant::now());
        let error = ProduceError::TooLarge { bytes: 9, limit: 8 };
        let told: Vec<String> = (0..30).filter_map(|_| deliveries.refused(&error)).collect();
        assert_eq!(told.len(), 11);
        assert!(told.first().unwrap().contains("line 1 was not delivered: the record's 9 bytes"), "{told:?}");
        assert_eq!(deliveries.verdict(), Err("30 of 30 records were not delivered".to_owned()));
        assert!(
            deliveries
                .summary(Instant::now())
                .starts_with("30 sent, 0 acknowledged, 30 failed in 0.0 s (0/s")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_sent_is_nothing_failed() {
        assert_eq!(Deliveries::new(Instant::now()).verdict(), Ok(()));
    }
}
