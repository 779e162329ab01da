//! How far each follower has come, and how long it has been behind.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ids::{Member, Offset};

/// What a leader knows of one follower in its epoch.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Who it is.
    pub member: Member,
    /// What it has on disk.
    pub durable_end: Offset,
    /// It lacks something since then; `None` if it lacks nothing.
    behind_since: Option<Duration>,
    /// The leader's end when the follower last reported, and when that was.
    mark: (Offset, Duration),
    /// Its log ended before the high watermark when it came: it lost what it had reported (rule 4).
    pub regressed: bool,
    /// It has spoken since its session began and since the controller took it out of the set, if it did. One that
    /// has not is never proposed.
    pub speaks: bool,
}

impl Progress {
    /// A follower whose log, ending at `end`, is a beginning of the leader's, which ends at `leader_end`.
    #[must_use]
    pub fn joined(now: Duration, member: Member, durable_end: Offset, leader_end: Offset) -> Self {
        let behind_since = (durable_end < leader_end).then_some(now);
        Self { member, durable_end, behind_since, mark: (leader_end, now), regressed: false, speaks: true }
    }

    /// The leader's log has grown from `old_end`.
    pub fn leader_appended(&mut self, now: Duration, old_end: Offset) {
        if self.behind_since.is_none() && self.durable_end >= old_end {
            self.behind_since = Some(now);
        }
    }

    /// The follower has so much on disk.
    ///
    /// Under load it never has everything. Having what the leader had when it last reported means that it was level
    /// at that time.
    pub fn reported(&mut self, now: Duration, durable_end: Offset, leader_end: Offset) {
        self.speaks = true;
        self.durable_end = self.durable_end.max(durable_end);
        if self.durable_end >= leader_end {
            self.behind_since = None;
        } else if self.durable_end >= self.mark.0 {
            self.behind_since = self.behind_since.max(Some(self.mark.1));
        }
        self.mark = (leader_end, now);
    }

    /// For how long it has been behind.
    #[must_use]
    pub fn lag(&self, now: Duration) -> Duration {
        self.behind_since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }
}

/// When the leader's log had grown to which end: what lags are measured by. Bounded; coarse where appends are many.
#[derive(Clone, Debug, Default)]
pub struct AppendTimes(VecDeque<(Offset, Duration)>);

impl AppendTimes {
    /// Two appends closer than this share an entry.
    const GRAIN: Duration = Duration::from_millis(20);
    /// Entries kept; with the grain, far more than any lag that matters.
    const ENTRIES_MAX: usize = 128;

    /// The log has grown to `end`.
    pub fn appended(&mut self, now: Duration, end: Offset) {
        match self.0.back_mut() {
            Some((last_end, since)) if now.saturating_sub(*since) < Self::GRAIN => *last_end = end,
            _ => {
                if self.0.len() == Self::ENTRIES_MAX {
                    self.0.pop_front();
                }
                self.0.push_back((end, now));
            }
        }
    }

    /// For how long someone who has everything below `upto` has lacked the next record.
    #[must_use]
    pub fn lag(&self, now: Duration, upto: Offset) -> Duration {
        self.0
            .iter()
            .find(|(end, _)| *end > upto)
            .map_or(Duration::ZERO, |(_, since)| now.saturating_sub(*since))
    }

    /// Nobody lacks anything below `upto` any more.
    pub fn forget(&mut self, upto: Offset) {
        while self.0.front().is_some_and(|(end, _)| *end <= upto) {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::state::fixture::member;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_idle_follower_is_not_behind_however_long_it_is_idle() {
        let mut follower = Progress::joined(ms(0), member(2), Offset(10), Offset(10));
        assert_eq!(follower.lag(ms(60_000)), ms(0));
        follower.leader_appended(ms(60_000), Offset(10));
        assert_eq!(follower.lag(ms(60_100)), ms(100));
        follower.leader_appended(ms(60_200), Offset(11));
        assert_eq!(follower.lag(ms(60_300)), ms(300));
    }

    #[test]
    fn a_follower_always_one_step_behind_under_load_is_not_behind_for_long() {
        let mut follower = Progress::joined(ms(0), member(2), Offset(0), Offset(1));
        for step in 1..1000_u64 {
            let end = i64::try_from(step).unwrap();
            follower.reported(ms(step * 10), Offset(end), Offset(end + 1));
        }
        assert!(follower.lag(ms(10_000)) <= ms(30), "{:?}", follower.lag(ms(10_000)));
    }

    #[test]
    fn a_follower_that_falls_back_is_behind_since_it_last_was_level() {
        let mut follower = Progress::joined(ms(0), member(2), Offset(5), Offset(5));
        follower.leader_appended(ms(100), Offset(5));
        follower.reported(ms(200), Offset(6), Offset(50));
        follower.reported(ms(300), Offset(7), Offset(90));
        assert_eq!(follower.lag(ms(1100)), ms(1000));
    }

    #[test]
    fn append_times_are_bounded_and_tell_the_age_of_what_is_lacking() {
        let mut times = AppendTimes::default();
        for step in 0..10_000_u64 {
            times.appended(ms(step * 5), Offset(i64::try_from(step).unwrap() + 1));
        }
        assert!(times.0.len() <= AppendTimes::ENTRIES_MAX);
        assert_eq!(times.lag(ms(50_000), Offset(10_000)), ms(0));
        assert!(times.lag(ms(50_000), Offset(9_900)) >= ms(480));
        times.forget(Offset(10_000));
        assert_eq!(times.lag(ms(50_000), Offset(0)), ms(0));
    }
}
