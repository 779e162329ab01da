//! How far each follower has come, and how long it has been behind.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ids::{Member, Offset};

/// A follower outside the set that is no longer behind than this is near enough to be waited for.
const NEAR: Duration = Duration::from_secs(1);

/// The longest that the high watermark waits for one that is near.
const WAIT: Duration = Duration::from_millis(500);

/// How long nobody waits again for one that did not come in that time, at first: twice as long after each wait in vain.
const NOT_AGAIN_WITHIN: Duration = Duration::from_secs(3);

/// So often that time is doubled at most: to a little more than three minutes.
const DOUBLINGS_MAX: u32 = 6;

/// What a leader knows of one follower in its epoch.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Who it is.
    pub member: Member,
    /// What it has on disk.
    pub durable_end: Offset,
    /// It lacks something since then; `None` if it lacks nothing.
    behind_since: Option<Duration>,
    /// An end that the leader's log had, and when: the follower was level with that time once it has come so far.
    mark: (Offset, Duration),
    /// Whether it has come as far as a mark since it joined.
    has_been_level: bool,
    /// The high watermark waits for it until then, or did.
    awaited_until: Option<Duration>,
    /// How often it was waited for since it last came in: one with a slow disk would hold up all acknowledgements again
    /// and again.
    waits: u32,
    /// Its log ended before the high watermark when it came: it lost what it had reported (rule 4).
    pub regressed: bool,
    /// The log start that it has on disk, as far as it has told since its session began.
    pub log_start: Offset,
    /// It has spoken since its session began and since the controller took it out of the set, if it did. One that
    /// has not is never proposed.
    pub speaks: bool,
}

impl Progress {
    /// A follower whose log, ending at `end`, is a beginning of the leader's, which ends at `leader_end`.
    #[must_use]
    pub fn joined(now: Duration, member: Member, durable_end: Offset, leader_end: Offset) -> Self {
        let behind_since = (durable_end < leader_end).then_some(now);
        Self {
            member,
            durable_end,
            behind_since,
            mark: (leader_end, now),
            has_been_level: false,
            awaited_until: None,
            waits: 0,
            regressed: false,
            log_start: Offset::ZERO,
            speaks: true,
        }
    }

    /// It had joined before, in the same life: what it lacked then and lacks still, it has lacked since then. So one that
    /// comes again and again and cannot write, for want of space, is behind all the while.
    #[must_use]
    pub fn again(mut self, before: &Self) -> Self {
        let (leader_end, now) = self.mark;
        if self.behind_since.is_some() && before.behind_since.is_some() {
            self.behind_since = before.behind_since;
        }
        self.awaited_until = before.awaited_until;
        self.waits = before.waits;
        self.mark = before.mark;
        self.reported(now, self.durable_end, leader_end);
        self
    }

    /// The leader's log has grown from `old_end`.
    pub fn leader_appended(&mut self, now: Duration, old_end: Offset) {
        if self.behind_since.is_none() && self.durable_end >= old_end {
            self.behind_since = Some(now);
        }
    }

    /// The follower has so much on disk.
    ///
    /// Under load it never has everything, nor what the leader had at its last report: batches are on their way and in
    /// the next sync. So a mark stays until it is reached, and only then another is set.
    pub fn reported(&mut self, now: Duration, durable_end: Offset, leader_end: Offset) {
        self.speaks = true;
        self.durable_end = self.durable_end.max(durable_end);
        if self.durable_end < self.mark.0 {
            return;
        }
        self.has_been_level = true;
        let level = self.durable_end >= leader_end;
        self.behind_since = if level { None } else { self.behind_since.max(Some(self.mark.1)) };
        self.mark = (leader_end, now);
    }

    /// Begins to wait for this follower, outside the set, to reach `level`, if it is near.
    ///
    /// Under load the high watermark is always a little ahead of a follower that it does not wait for, however well that
    /// one keeps up: it would never be let in.
    pub fn consider(&mut self, now: Duration, level: Offset) {
        let lacks = self.speaks && self.durable_end < level;
        let near = self.has_been_level && self.lag(now) <= NEAR;
        let rest = NOT_AGAIN_WITHIN * (1 << self.waits.saturating_sub(1).min(DOUBLINGS_MAX));
        let rested = self.awaited_until.is_none_or(|until| until + rest <= now);
        if lacks && near && rested {
            self.awaited_until = Some(now + WAIT);
            self.waits += 1;
        }
    }

    /// It is in the set, or about to be: should it ever leave, it may be waited for again.
    pub fn has_come_in(&mut self) {
        self.awaited_until = None;
        self.waits = 0;
    }

    /// Whether the high watermark waits for it, though it is outside the set.
    #[must_use]
    pub fn is_awaited(&self, now: Duration) -> bool {
        self.speaks && self.awaited_until.is_some_and(|until| now < until)
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
    fn a_follower_several_reports_behind_under_load_is_not_behind_for_long() {
        let mut follower = Progress::joined(ms(0), member(2), Offset(0), Offset(5));
        for step in 1..10_000_u64 {
            let end = i64::try_from(step).unwrap();
            follower.reported(ms(step * 10), Offset(end), Offset(end + 5));
            assert!(follower.lag(ms(step * 10)) <= ms(120), "{:?} at {step}", follower.lag(ms(step * 10)));
        }
    }

    #[test]
    fn a_near_follower_is_awaited_for_a_while_and_not_soon_again() {
        let mut follower = Progress::joined(ms(0), member(2), Offset(0), Offset(5));
        follower.consider(ms(1), Offset(5));
        assert!(!follower.is_awaited(ms(1)), "it may be anywhere");
        follower.reported(ms(10), Offset(5), Offset(8));
        follower.consider(ms(10), Offset(7));
        assert!(follower.is_awaited(ms(10)));
        assert!(!follower.is_awaited(ms(510)));
        follower.reported(ms(520), Offset(8), Offset(10));
        follower.consider(ms(520), Offset(9));
        assert!(!follower.is_awaited(ms(521)));
        follower.reported(ms(3_600), Offset(10), Offset(12));
        follower.consider(ms(3_600), Offset(11));
        assert!(!follower.is_awaited(ms(3_600)), "it is not near any more");
        follower.reported(ms(3_700), Offset(12), Offset(13));
        follower.consider(ms(3_700), Offset(13));
        assert!(follower.is_awaited(ms(3_700)));
    }

    #[test]
    fn a_follower_awaited_in_vain_is_awaited_ever_less_often_until_it_comes_in() {
        let mut follower = Progress::joined(ms(0), member(2), Offset(5), Offset(5));
        let mut began = Vec::new();
        for at in (0..120_000_u64).step_by(100) {
            let end = i64::try_from(at).unwrap();
            follower.reported(ms(at), Offset(end), Offset(end + 5));
            let before = follower.is_awaited(ms(at));
            follower.consider(ms(at), Offset(end + 3));
            if !before && follower.is_awaited(ms(at)) {
                began.push(at);
            }
        }
        let rests: Vec<u64> = began.windows(2).map(|two| two[1] - two[0] - 500).collect();
        assert_eq!(rests, [3_000, 6_000, 12_000, 24_000, 48_000]);
        follower.has_come_in();
        follower.consider(ms(120_000), Offset(120_003));
        assert!(follower.is_awaited(ms(120_000)));
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
    fn a_follower_that_comes_again_and_again_and_gets_no_further_is_behind_all_the_while() {
        let mut follower = Progress::joined(ms(0), member(2), Offset(5), Offset(9));
        for at in [300, 600, 900] {
            follower = Progress::joined(ms(at), member(2), Offset(5), Offset(9)).again(&follower);
        }
        assert_eq!(follower.lag(ms(1000)), ms(1000));
        let level = Progress::joined(ms(1000), member(2), Offset(9), Offset(9)).again(&follower);
        assert_eq!(level.lag(ms(1000)), ms(0));
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
