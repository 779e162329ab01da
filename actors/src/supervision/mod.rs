//! Help for those who look after actors: how often one may be begun anew, and when; which live, and what they do.

mod early;
pub mod listing;
pub mod roster;

use std::collections::VecDeque;
use std::time::Duration;

pub use early::EarlyDeaths;

use crate::kinds::RestartBudget;

/// The longest wait before a restart.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The wait before one is begun anew that has died too often, and is not given up.
const REST: Duration = Duration::from_secs(60);

/// The recent deaths of one actor.
#[derive(Clone, Debug, Default)]
pub struct Deaths(VecDeque<Duration>);

impl Deaths {
    /// It died now. How long to wait before it is begun anew; `None` if it has died too often.
    pub fn died(&mut self, now: Duration, budget: &RestartBudget) -> Option<Duration> {
        self.0.push_back(now);
        while self.0.front().is_some_and(|death| now.saturating_sub(*death) > budget.within) {
            self.0.pop_front();
        }
        let deaths = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        if deaths > budget.deaths {
            return None;
        }
        let doubled = budget.first_wait.saturating_mul(1 << deaths.saturating_sub(1).min(16));
        Some(doubled.min(WAIT_MAX))
    }

    /// The same for one that is never given up: it rests for a minute where it has died too often.
    pub fn rest(&mut self, now: Duration, budget: &RestartBudget) -> Duration {
        self.died(now, budget).unwrap_or(REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: RestartBudget =
        RestartBudget { deaths: 3, within: Duration::from_secs(10), first_wait: Duration::from_millis(100) };

    #[test]
    fn waits_double_and_end_with_the_budget() {
        let mut deaths = Deaths::default();
        let waits: Vec<_> = (0..4).map(|at| deaths.died(Duration::from_secs(at), &BUDGET)).collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(waits, [ms(100), ms(200), ms(400), None]);
        assert_eq!(deaths.rest(Duration::from_secs(4), &BUDGET), REST);
        assert_eq!(deaths.rest(Duration::from_secs(40), &BUDGET), Duration::from_millis(100));
    }

    #[test]
    fn old_deaths_are_forgotten() {
        let mut deaths = Deaths::default();
        for at in 0..100 {
            assert!(deaths.died(Duration::from_secs(at * 11), &BUDGET).is_some());
        }
    }
}
