//! Hopping windows: as long as one another, one begun at each multiple of a step.

use std::time::Duration;

use super::super::cogroup::CogroupedStream;
use super::super::event::Data;
use super::super::graph::Graph;
use super::super::grouped::GroupedStream;
use super::super::operator::entered;
use super::forms::Kind;
use super::plan::{Lengths, whole_ms, with_lengths};
use super::{TimeWindowed, TimeWindowedCogrouped, Window, Windows, sealed};

/// Windows of one length, one begun at each multiple of a step since 1970. A record is in all that overlap there: length by
/// step, rounded down or up where that does not divide. Those that hold 1970 begin before it.
///
/// ```
/// use std::time::Duration;
///
/// use millstream_actors::streams::window::{Emit, Hopping, Windowed};
/// use millstream_actors::streams::{StreamBuilder, TopologyDriver};
///
/// let builder = StreamBuilder::new("visits");
/// let visits = builder.stream::<String, i64>("visits").group_by_key("visits-by-page");
/// let windows = Hopping::of(Duration::from_secs(60), Duration::from_secs(30));
/// visits.windowed_by(windows).emit(Emit::OnClose).count("counts").to_stream().to("counts");
/// let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
/// for at_ms in [65_000, 95_000] {
///     driver.send("visits", &"home".to_owned(), &1_i64, at_ms).unwrap();
/// }
/// driver.end().unwrap();
/// let counts = driver.read::<Windowed<String>, i64>("counts").unwrap();
/// let counts: Vec<_> = counts
///     .iter()
///     .map(|event| (event.key.window.start_ms, event.key.window.end_ms, event.value))
///     .collect();
/// assert_eq!(counts, [(30_000, 90_000, 1), (60_000, 120_000, 2), (90_000, 150_000, 1)]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Hopping {
    size: Duration,
    advance: Duration,
    pub(super) lengths: Lengths,
}

impl Hopping {
    /// Of this length, with this step; both at least 1 ms, in whole milliseconds, and the step no longer than the length.
    #[must_use]
    pub const fn of(size: Duration, advance: Duration) -> Self {
        Self { size, advance, lengths: Lengths::NONE }
    }

    fn plan(&self, graph: &mut Graph) -> HoppingPlan {
        let size_ms = whole_ms(graph, "size of windows", self.size, 1);
        let advance_ms = whole_ms(graph, "advance of windows", self.advance, 1);
        if advance_ms > size_ms {
            let text = "is more than their size: some records would be in none";
            graph.problem(format!("the advance of windows, {advance_ms} ms, {text}, {size_ms} ms"));
        }
        let (grace_ms, retention_ms) = self.lengths.plan(graph, size_ms);
        HoppingPlan { size_ms, advance_ms, grace_ms, retention_ms }
    }
}

with_lengths! {
    Hopping, lengths,
    /// A window stays open for so long after its end; not at all, where nothing is said.
    grace,
    /// Results stay in the store for so long after their windows began: at least size and grace, which is what it is where
    /// nothing is said.
    retention
}

impl sealed::Sealed for Hopping {}

impl Windows for Hopping {
    type Form<K: Data, V: Data> = TimeWindowed<K, V>;

    fn over<K: Data, V: Data>(self, grouped: &GroupedStream<K, V>) -> TimeWindowed<K, V> {
        let plan = self.plan(&mut entered(&grouped.graph));
        TimeWindowed::new(grouped, Kind::Hopping(plan))
    }

    type Cogrouped<K: Data, A: Data> = TimeWindowedCogrouped<K, A>;

    fn over_all<K: Data, A: Data>(self, streams: CogroupedStream<K, A>) -> TimeWindowedCogrouped<K, A> {
        let plan = self.plan(&mut entered(&streams.graph));
        TimeWindowedCogrouped::new(streams, Kind::Hopping(plan))
    }
}

/// Tumbling windows, too: they are those whose step is their length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HoppingPlan {
    pub(crate) size_ms: i64,
    pub(crate) advance_ms: i64,
    pub(crate) grace_ms: i64,
    pub(crate) retention_ms: i64,
}

impl HoppingPlan {
    /// How long after its beginning a window closes.
    pub(crate) const fn closes_after_ms(&self) -> i64 {
        self.size_ms.saturating_add(self.grace_ms)
    }

    /// The window that begins here: its start was checked.
    pub(super) const fn window(&self, start_ms: i64) -> Window {
        Window { start_ms, end_ms: start_ms.saturating_add(self.size_ms) }
    }

    /// Where the first and the last of the windows begin that hold a time; `None` where that, or when they close, is no
    /// number of 64 bits.
    pub(crate) fn starts(&self, time_ms: i64) -> Option<(i64, i64)> {
        time_ms.checked_add(self.closes_after_ms())?;
        let last = time_ms.div_euclid(self.advance_ms).checked_mul(self.advance_ms)?;
        let before = time_ms.checked_sub(self.size_ms)?.div_euclid(self.advance_ms);
        let first = before.checked_add(1)?.checked_mul(self.advance_ms)?;
        Some((first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(size_ms: i64, advance_ms: i64, time_ms: i64) -> Option<(i64, i64)> {
        HoppingPlan { size_ms, advance_ms, grace_ms: 0, retention_ms: size_ms }.starts(time_ms)
    }

    #[test]
    fn a_time_is_in_the_windows_that_have_begun_and_not_ended() {
        assert_eq!(starts(10, 10, 0), Some((0, 0)));
        assert_eq!(starts(10, 10, 9), Some((0, 0)));
        assert_eq!(starts(10, 10, 10), Some((10, 10)));
        assert_eq!(starts(10, 5, 10), Some((5, 10)));
        assert_eq!(starts(10, 5, 4), Some((-5, 0)));
        assert_eq!(starts(10, 1, 0), Some((-9, 0)));
    }

    #[test]
    fn a_step_that_does_not_divide_the_size_leaves_a_time_in_more_windows_or_less() {
        assert_eq!(starts(10, 4, 8), Some((0, 8)));
        assert_eq!(starts(10, 4, 10), Some((4, 8)));
        assert_eq!(starts(10, 4, 11), Some((4, 8)));
    }

    #[test]
    fn before_1970_windows_lie_as_they_do_after() {
        assert_eq!(starts(10, 10, -1), Some((-10, -10)));
        assert_eq!(starts(10, 10, -10), Some((-10, -10)));
        assert_eq!(starts(10, 5, -11), Some((-20, -15)));
    }

    #[test]
    fn a_window_whose_bounds_are_no_numbers_is_none() {
        assert_eq!(starts(10, 10, i64::MAX), None);
        assert_eq!(starts(10, 10, i64::MIN), None);
        assert!(starts(10, 10, i64::MAX - 10).is_some());
        assert!(starts(10, 10, i64::MIN + 20).is_some());
    }
}
