//! Event time: what each input has reached, and the least of that.

use std::collections::{BTreeMap, BTreeSet};

/// Before any record.
pub(crate) const UNKNOWN_MS: i64 = i64::MIN;

/// After the last: the input has ended, and all windows close.
pub(crate) const END_MS: i64 = i64::MAX;

/// A time that is this much behind another; not known where that is not, and the end where that is it.
pub(crate) const fn behind_ms(time_ms: i64, lag_ms: i64) -> i64 {
    match time_ms {
        UNKNOWN_MS | END_MS => time_ms,
        _ => time_ms.saturating_sub(lag_ms),
    }
}

/// The stream time as one operator sees it, so that what operators before it send is not late because they held it back.
///
/// It is behind the task's by as much as they may hold back. And it goes on only when the operator is told that time has
/// passed, which they are told before: what they send then comes while it is as it was.
#[derive(Debug)]
pub(crate) struct SeenTime {
    lag_ms: i64,
    now_ms: i64,
}

impl SeenTime {
    /// Not known yet, and so much behind the task's.
    pub(crate) const fn new(lag_ms: i64) -> Self {
        Self { lag_ms, now_ms: UNKNOWN_MS }
    }

    /// The time as the operator sees it; `i64::MIN` before it is known.
    pub(crate) const fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The task's time has come this far. It never goes back.
    pub(crate) fn pass(&mut self, time_ms: i64) {
        self.now_ms = self.now_ms.max(behind_ms(time_ms, self.lag_ms));
    }

    /// It was here at the last commit.
    pub(crate) fn resume(&mut self, now_ms: i64) {
        self.now_ms = self.now_ms.max(now_ms);
    }
}

/// What an input is to a task: a partition of a source, or an upstream task that writes into one.
pub(crate) type InputId = (usize, i32, i32);

/// What a task knew of time when it committed: it begins again from there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeLeft {
    /// How far each input had come.
    pub(crate) reached: BTreeMap<InputId, i64>,
    /// Inputs that were left out since they were silent for too long.
    pub(crate) idle: BTreeSet<InputId>,
    /// Stream time where it is not the least of [`Self::reached`], but later.
    pub(crate) ahead_ms: Option<i64>,
}

impl TimeLeft {
    /// The stream time.
    pub(crate) fn now_ms(&self) -> i64 {
        let least_ms = self.reached.values().copied().min();
        self.ahead_ms.max(least_ms).unwrap_or(UNKNOWN_MS)
    }

    /// The same over these inputs. One that is new is at this time, which it so holds until it says more.
    pub(crate) fn over(&self, inputs: impl IntoIterator<Item = InputId>, new_ms: i64) -> Self {
        let at = |input: InputId| (input, self.reached.get(&input).copied().unwrap_or(new_ms));
        let reached: BTreeMap<InputId, i64> = inputs.into_iter().map(at).collect();
        let idle = self.idle.iter().copied().filter(|input| reached.contains_key(input)).collect();
        Self { reached, idle, ahead_ms: self.ahead_ms }
    }
}

#[derive(Clone, Copy, Debug)]
struct Reached {
    ms: i64,
    /// When it last said something, by the clock; long ago, where it was left out before the task began.
    heard_ms: i64,
}

/// How far an input had come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeMark {
    input: InputId,
    reached: Option<Reached>,
    now_ms: i64,
}

/// How far a task's inputs have come. The task's stream time is the least over them, and never goes back.
#[derive(Debug)]
pub(crate) struct StreamTime {
    inputs: BTreeMap<InputId, Reached>,
    now_ms: i64,
    idle_max_ms: Option<i64>,
}

impl StreamTime {
    /// Goes on from what was left. An input that is silent for `idle_max_ms` of the clock is left out; one that was stays so
    /// until it says something, so that time does not wait for it anew whenever a task moves.
    pub(crate) fn new(left: &TimeLeft, clock_ms: i64, idle_max_ms: Option<i64>) -> Self {
        let heard_ms = |input| if left.idle.contains(input) { i64::MIN } else { clock_ms };
        let inputs = left.reached.iter();
        let inputs = inputs.map(|(input, ms)| (*input, Reached { ms: *ms, heard_ms: heard_ms(input) }));
        let mut time = Self { inputs: inputs.collect(), now_ms: left.now_ms(), idle_max_ms };
        time.settle(clock_ms);
        time
    }

    /// The stream time: `i64::MIN` before anything is known.
    pub(crate) const fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// How far an input and stream time have come.
    pub(crate) fn mark(&self, input: InputId) -> TimeMark {
        TimeMark { input, reached: self.inputs.get(&input).copied(), now_ms: self.now_ms }
    }

    /// The same again: what told more was left out.
    pub(crate) fn take_back(&mut self, mark: TimeMark) {
        if let (Some(reached), Some(before)) = (self.inputs.get_mut(&mark.input), mark.reached) {
            *reached = before;
        }
        self.now_ms = mark.now_ms;
    }

    /// An input has come this far; where it had been farther it stays there.
    pub(crate) fn reach(&mut self, input: InputId, ms: i64, clock_ms: i64) {
        if let Some(reached) = self.inputs.get_mut(&input) {
            reached.ms = reached.ms.max(ms);
            reached.heard_ms = clock_ms;
        }
        self.settle(clock_ms);
    }

    /// Looks for inputs that have become silent.
    pub(crate) fn settle(&mut self, clock_ms: i64) {
        let heard = self.inputs.values().filter(|reached| self.is_heard(reached, clock_ms));
        let least = heard.map(|reached| reached.ms).min();
        self.now_ms = self.now_ms.max(least.unwrap_or(UNKNOWN_MS));
    }

    fn is_heard(&self, reached: &Reached, clock_ms: i64) -> bool {
        self.idle_max_ms.is_none_or(|idle_ms| clock_ms.saturating_sub(reached.heard_ms) < idle_ms)
    }

    /// The least over the inputs of these topics.
    pub(crate) fn of_ms(&self, topics: &BTreeSet<usize>) -> i64 {
        let inputs = self.inputs.iter().filter(|((topic, ..), _)| topics.contains(topic));
        inputs.map(|(_, reached)| reached.ms).min().unwrap_or(UNKNOWN_MS)
    }

    /// What is to be kept with a commit.
    pub(crate) fn left(&self, clock_ms: i64) -> TimeLeft {
        let idle = self.inputs.iter().filter(|(_, reached)| !self.is_heard(reached, clock_ms));
        let mut left = TimeLeft {
            reached: self.inputs.iter().map(|(input, reached)| (*input, reached.ms)).collect(),
            idle: idle.map(|(input, _)| *input).collect(),
            ahead_ms: None,
        };
        left.ahead_ms = (left.now_ms() < self.now_ms).then_some(self.now_ms);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_two(idle_max_ms: Option<i64>) -> StreamTime {
        StreamTime::new(&TimeLeft::default().over([(0, 0, 0), (1, 0, 0)], UNKNOWN_MS), 0, idle_max_ms)
    }

    #[test]
    fn stream_time_is_the_least_over_all_inputs_and_never_goes_back() {
        let mut time = of_two(None);
        time.reach((0, 0, 0), 50, 0);
        assert_eq!(time.now_ms(), UNKNOWN_MS);
        time.reach((1, 0, 0), 20, 0);
        assert_eq!(time.now_ms(), 20);
        time.reach((1, 0, 0), 10, 0);
        assert_eq!(time.now_ms(), 20);
        time.reach((1, 0, 0), 80, 0);
        assert_eq!(time.now_ms(), 50);
    }

    #[test]
    fn an_operator_sees_time_behind_what_is_held_back_before_it() {
        let mut seen = SeenTime::new(10);
        seen.pass(UNKNOWN_MS);
        assert_eq!(seen.now_ms(), UNKNOWN_MS);
        seen.pass(25);
        assert_eq!(seen.now_ms(), 15);
        seen.resume(20);
        seen.pass(29);
        assert_eq!(seen.now_ms(), 20);
        seen.pass(END_MS);
        assert_eq!(seen.now_ms(), END_MS);
    }

    #[test]
    fn a_silent_input_is_left_out_where_that_is_allowed() {
        let mut time = of_two(Some(100));
        time.reach((0, 0, 0), 50, 60);
        assert_eq!(time.now_ms(), UNKNOWN_MS);
        time.settle(100);
        assert_eq!(time.now_ms(), 50);
        time.reach((1, 0, 0), 10, 110);
        assert_eq!(time.now_ms(), 50, "who comes late finds time where it is");
        assert_eq!(time.left(110).ahead_ms, Some(50));
    }

    #[test]
    fn an_input_that_was_left_out_stays_so_when_the_task_begins_again_until_it_says_something() {
        let mut time = of_two(Some(100));
        time.reach((0, 0, 0), 50, 60);
        time.settle(100);
        let left = time.left(100);
        assert_eq!((left.idle.clone(), left.ahead_ms), ([(1, 0, 0)].into(), Some(50)));
        let mut again = StreamTime::new(&left, 100, Some(100));
        assert_eq!(again.now_ms(), 50);
        again.reach((0, 0, 0), 70, 110);
        assert_eq!(again.now_ms(), 70);
        again.reach((1, 0, 0), 20, 120);
        again.reach((0, 0, 0), 90, 130);
        assert_eq!(again.now_ms(), 70, "it is waited for again");
        let mut strict = StreamTime::new(&left, 100, None);
        strict.reach((0, 0, 0), 70, 110);
        assert_eq!(strict.now_ms(), 50, "where none is left out, time waits where it was");
    }

    #[test]
    fn what_is_left_of_time_says_more_than_how_far_inputs_had_come_only_where_some_are_left_out() {
        let mut time = of_two(None);
        time.reach((0, 0, 0), 50, 0);
        time.reach((1, 0, 0), 20, 0);
        let left = time.left(1_000);
        assert_eq!((left.now_ms(), left.idle.len(), left.ahead_ms), (20, 0, None));
        let moved = left.over([(0, 0, 0), (2, 0, 0)], left.now_ms());
        assert_eq!(moved.reached, [((0, 0, 0), 50), ((2, 0, 0), 20)].into());
    }
}
