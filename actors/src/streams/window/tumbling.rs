//! Tumbling windows: as long as one another, one after the other.

use std::time::Duration;

use super::super::cogroup::CogroupedStream;
use super::super::event::Data;
use super::super::grouped::GroupedStream;
use super::plan::with_lengths;
use super::{Hopping, TimeWindowed, TimeWindowedCogrouped, Windows, sealed};

/// Windows of one length, each beginning where the one before ends, one of them in 1970. A record is in one.
///
/// ```
/// use std::time::Duration;
///
/// use millstream_actors::streams::window::{Emit, Tumbling, Windowed};
/// use millstream_actors::streams::{StreamBuilder, TopologyDriver};
///
/// let builder = StreamBuilder::new("visits");
/// let visits = builder.stream::<String, i64>("visits").group_by_key("visits-by-page");
/// let windows = Tumbling::of(Duration::from_secs(60));
/// visits.windowed_by(windows).emit(Emit::OnClose).count("counts").to_stream().to("counts");
/// let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
/// for at_ms in [5_000, 59_999, 60_000] {
///     driver.send("visits", &"home".to_owned(), &1_i64, at_ms).unwrap();
/// }
/// driver.end().unwrap();
/// let counts = driver.read::<Windowed<String>, i64>("counts").unwrap();
/// let counts: Vec<_> = counts
///     .iter()
///     .map(|event| (event.key.window.start_ms, event.key.window.end_ms, event.value))
///     .collect();
/// assert_eq!(counts, [(0, 60_000, 2), (60_000, 120_000, 1)]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Tumbling(Hopping);

impl Tumbling {
    /// Of this length; at least 1 ms, in whole milliseconds.
    #[must_use]
    pub const fn of(size: Duration) -> Self {
        Self(Hopping::of(size, size))
    }
}

with_lengths! {
    Tumbling, 0.lengths,
    /// A window stays open for so long after its end; not at all, where nothing is said.
    grace,
    /// Results stay in the store for so long after their windows began: at least size and grace, which is what it is where
    /// nothing is said.
    retention
}

impl sealed::Sealed for Tumbling {}

impl Windows for Tumbling {
    type Form<K: Data, V: Data> = TimeWindowed<K, V>;

    fn over<K: Data, V: Data>(self, grouped: &GroupedStream<K, V>) -> TimeWindowed<K, V> {
        self.0.over(grouped)
    }

    type Cogrouped<K: Data, A: Data> = TimeWindowedCogrouped<K, A>;

    fn over_all<K: Data, A: Data>(self, streams: CogroupedStream<K, A>) -> TimeWindowedCogrouped<K, A> {
        self.0.over_all(streams)
    }
}
