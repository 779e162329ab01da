//! Event time: what each input has reached, and the least of that.

use std::collections::BTreeMap;

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

#[derive(Clone, Copy, Debug)]
struct Reached {
    ms: i64,
    /// When it last said something, by the clock.
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
    /// Of these inputs, none of which has said anything. One that is silent for `idle_max_ms` of the clock is left out.
    pub(crate) fn new(
        inputs: impl IntoIterator<Item = InputId>,
        now_ms: i64,
        idle_max_ms: Option<i64>,
    ) -> Self {
        let silent = Reached { ms: UNKNOWN_MS, heard_ms: now_ms };
        let inputs = inputs.into_iter().map(|input| (input, silent)).collect();
        Self { inputs, now_ms: UNKNOWN_MS, idle_max_ms }
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
        let is_heard = |reached: &&Reached| match self.idle_max_ms {
            Some(idle_ms) => clock_ms.saturating_sub(reached.heard_ms) < idle_ms,
            None => true,
        };
        let least = self.inputs.values().filter(is_heard).map(|reached| reached.ms).min();
        self.now_ms = self.now_ms.max(least.unwrap_or(UNKNOWN_MS));
    }

    /// The least over the inputs of these topics.
    pub(crate) fn of_ms(&self, topics: &std::collections::BTreeSet<usize>) -> i64 {
        let inputs = self.inputs.iter().filter(|((topic, ..), _)| topics.contains(topic));
        inputs.map(|(_, reached)| reached.ms).min().unwrap_or(UNKNOWN_MS)
    }

    /// How far each input has come, to be kept with a commit.
    pub(crate) fn reached(&self) -> impl Iterator<Item = (InputId, i64)> {
        self.inputs.iter().map(|(input, reached)| (*input, reached.ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_time_is_the_least_over_all_inputs_and_never_goes_back() {
        let mut time = StreamTime::new([(0, 0, 0), (1, 0, 0)], 0, None);
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
        let mut time = StreamTime::new([(0, 0, 0), (1, 0, 0)], 0, Some(100));
        time.reach((0, 0, 0), 50, 60);
        assert_eq!(time.now_ms(), UNKNOWN_MS);
        time.settle(100);
        assert_eq!(time.now_ms(), 50);
        time.reach((1, 0, 0), 10, 110);
        assert_eq!(time.now_ms(), 50, "who comes late finds time where it is");
    }
}
