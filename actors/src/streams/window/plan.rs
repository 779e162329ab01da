//! The lengths of windows as whole milliseconds, and what is wrong with them.

use std::time::Duration;

use super::super::graph::Graph;

/// The longest that any part of a window may be: sums of a few stay far from the end of 64 bits.
const LENGTH_MAX_MS: i64 = i64::MAX / 16;

/// Windows' lengths, before they are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    pub(super) grace: Duration,
    pub(super) retention: Option<Duration>,
}

impl Lengths {
    pub(super) const NONE: Self = Self { grace: Duration::ZERO, retention: None };

    /// Grace and retention in milliseconds, of windows whose entries are needed for `needed_ms` and the grace.
    pub(super) fn plan(&self, graph: &mut Graph, needed_ms: i64) -> (i64, i64) {
        let grace_ms = whole_ms(graph, "grace of windows", self.grace, 0);
        let least_ms = needed_ms.saturating_add(grace_ms);
        let Some(retention) = self.retention else { return (grace_ms, least_ms) };
        let retention_ms = whole_ms(graph, "retention of windows", retention, 0);
        if retention_ms < least_ms {
            let text = "is less than their windows and grace need";
            graph.problem(format!("the retention of windows, {retention_ms} ms, {text}: {least_ms} ms"));
        }
        (grace_ms, retention_ms.max(least_ms))
    }
}

/// Gives a kind of windows the settings that all kinds have, which are in its [`Lengths`] at this place, under its own texts.
macro_rules! with_lengths {
    ($windows:ident, $($place:tt).+, $(#[$grace:meta])+ grace, $(#[$retention:meta])+ retention) => {
        impl $windows {
            $(#[$grace])+
            #[must_use]
            pub const fn grace(mut self, grace: Duration) -> Self {
                self.$($place).+.grace = grace;
                self
            }

            $(#[$retention])+
            #[must_use]
            pub const fn retention(mut self, retention: Duration) -> Self {
                self.$($place).+.retention = Some(retention);
                self
            }
        }
    };
}
pub(super) use with_lengths;

/// A length in milliseconds, of at least `least_ms`. One that cannot be is a problem of the topology.
pub(crate) fn whole_ms(graph: &mut Graph, what: &str, length: Duration, least_ms: i64) -> i64 {
    let ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    if ms > LENGTH_MAX_MS {
        graph.problem(format!("the {what} is longer than {LENGTH_MAX_MS} ms: {length:?}"));
        return LENGTH_MAX_MS;
    }
    if !length.subsec_nanos().is_multiple_of(1_000_000) {
        graph.problem(format!("the {what} is no whole number of milliseconds: {length:?}"));
    }
    if ms < least_ms {
        graph.problem(format!("the {what} is less than {least_ms} ms: {length:?}"));
    }
    ms.max(least_ms)
}
