//! Tumbling windows: as long as one another, one after the other.

use std::time::Duration;

use super::super::cogroup::CogroupedStream;
use super::super::event::Data;
use super::super::grouped::GroupedStream;
use super::plan::with_lengths;
use super::{Hopping, TimeWindowed, TimeWindowedCogrouped, Windows, sealed};

/// Windows of one length, each beginning where the one before ends, one of them in 1970. A record is in one.
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
