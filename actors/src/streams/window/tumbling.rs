//! Tumbling windows: as long as one another, one after the other.

use std::time::Duration;

use super::super::event::Data;
use super::super::grouped::GroupedStream;
use super::{Hopping, TimeWindowed, Windows, sealed};

/// Windows of one length, each beginning where the one before ends, one of them in 1970. A record is in one.
#[derive(Clone, Copy, Debug)]
pub struct Tumbling(Hopping);

impl Tumbling {
    /// Of this length; at least 1 ms, in whole milliseconds.
    #[must_use]
    pub const fn of(size: Duration) -> Self {
        Self(Hopping::of(size, size))
    }

    /// A window stays open for so long after its end; not at all, where nothing is said.
    #[must_use]
    pub const fn grace(self, grace: Duration) -> Self {
        Self(self.0.grace(grace))
    }

    /// Results stay in the store for so long after their windows began: at least size and grace, which is what it is where
    /// nothing is said.
    #[must_use]
    pub const fn retention(self, retention: Duration) -> Self {
        Self(self.0.retention(retention))
    }
}

impl sealed::Sealed for Tumbling {}

impl Windows for Tumbling {
    type Form<K: Data, V: Data> = TimeWindowed<K, V>;

    fn over<K: Data, V: Data>(self, grouped: &GroupedStream<K, V>) -> TimeWindowed<K, V> {
        self.0.over(grouped)
    }
}
