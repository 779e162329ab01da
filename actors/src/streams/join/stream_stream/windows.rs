//! How far apart in time records of two streams may be to meet.

use std::time::Duration;

use super::super::super::graph::Graph;
use super::super::super::window::whole_ms;

/// How far apart in event time records of two streams may be that are joined, and how long a record that comes out of order
/// is waited for.
///
/// A record on the left at time `t` meets those on the right from `t - before` to `t + after`, both included. It is in its
/// window until the stream time is past `t + after + grace`; one on the right until it is past `t + before + grace`. Two
/// records meet if both are in their windows when the second of them comes. One that comes when its own window has closed is
/// late: counted, and left out.
///
/// ```
/// use std::time::Duration;
///
/// use millstream_actors::streams::{JoinWindows, StreamBuilder, TopologyDriver};
///
/// let builder = StreamBuilder::new("shop");
/// let orders = builder.stream::<String, i64>("orders");
/// let payments = builder.stream::<String, i64>("payments");
/// let windows = JoinWindows::within(Duration::from_secs(60)).before(Duration::ZERO);
/// orders.join(&payments, |_, cents, paid| cents - paid, windows, "paid-orders").to("owed");
/// let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
/// let order = "o1".to_owned();
/// driver.send("payments", &order, &100_i64, 4_999).unwrap();
/// driver.send("orders", &order, &500_i64, 5_000).unwrap();
/// driver.send("payments", &order, &200_i64, 65_000).unwrap();
/// let owed = driver.read::<String, i64>("owed").unwrap();
/// assert_eq!((owed.len(), owed[0].value, owed[0].timestamp_ms), (1, 300, 65_000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinWindows {
    before: Duration,
    after: Duration,
    grace: Duration,
}

impl JoinWindows {
    /// At most so far apart, whichever comes first, and without grace. All durations are of whole milliseconds.
    #[must_use]
    pub const fn within(difference: Duration) -> Self {
        Self { before: difference, after: difference, grace: Duration::ZERO }
    }

    /// How much earlier than the left one the right one may be.
    #[must_use]
    pub const fn before(mut self, before: Duration) -> Self {
        self.before = before;
        self
    }

    /// How much later than the left one the right one may be.
    #[must_use]
    pub const fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }

    /// How long after the end of its window a record is still waited for, in event time. Results of left and outer joins
    /// come that much later.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    pub(super) fn spans(self, graph: &mut Graph) -> Spans {
        Spans {
            before_ms: whole_ms(graph, "time before a record in which it is joined", self.before, 0),
            after_ms: whole_ms(graph, "time after a record in which it is joined", self.after, 0),
            grace_ms: whole_ms(graph, "grace of a join", self.grace, 0),
        }
    }
}

/// The same in milliseconds, each so little that sums of a few with a time are times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spans {
    pub(super) before_ms: i64,
    pub(super) after_ms: i64,
    pub(super) grace_ms: i64,
}

impl Spans {
    /// How long a record is kept, at most.
    pub(super) const fn retention_ms(self) -> i64 {
        self.before_ms.saturating_add(self.after_ms).saturating_add(self.grace_ms)
    }
}
