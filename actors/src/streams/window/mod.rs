//! Windows: records of a key, cut by the time at which they occurred, and aggregated each by itself.
//!
//! A window closes when stream time has passed its end by its grace; what comes for it afterwards is *late*: it is counted,
//! sent to a side topic if asked, and changes nothing. Which windows are closed is kept with the results, so that what was
//! closed stays so, whatever stream time a task begins from.
//!
//! ```
//! use std::time::Duration;
//!
//! use millstream_actors::streams::window::{Emit, Tumbling, Windowed};
//! use millstream_actors::streams::{StreamBuilder, TopologyDriver};
//!
//! let builder = StreamBuilder::new("visits");
//! builder
//!     .stream::<String, i64>("visits")
//!     .group_by_key("visits-by-page")
//!     .windowed_by(Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(10)))
//!     .emit(Emit::OnClose)
//!     .count("visits-a-minute")
//!     .to_stream()
//!     .to("visits-a-minute");
//! let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
//! for at_ms in [5_000, 61_000, 59_000, 130_000] {
//!     driver.send("visits", &"home".to_owned(), &1_i64, at_ms).unwrap();
//! }
//! let counts = driver.read::<Windowed<String>, i64>("visits-a-minute").unwrap();
//! let counts: Vec<_> = counts.iter().map(|event| (event.key.window.start_ms, event.value)).collect();
//! assert_eq!(counts, [(0, 2), (60_000, 1)]);
//! ```
//!
//! A result that is sent when its window closes is as old as window and grace. Operators behind it see stream time that much
//! later, so that they do not find it late.

mod aggregate;
mod aligned;
mod closed;
mod codec;
mod cogrouped;
mod forms;
mod hopping;
mod late;
mod output;
mod plan;
mod session;
mod sliding;
mod tumbling;

#[cfg(test)]
mod tests;

pub use codec::{session_windowed, time_windowed};
pub use cogrouped::{SessionWindowedCogrouped, TimeWindowedCogrouped};
pub use forms::{SessionWindowed, TimeWindowed};
pub use hopping::Hopping;
pub use session::Session;
pub use sliding::Sliding;
pub use tumbling::Tumbling;

pub(crate) use aggregate::{Enter, Entrance};
pub(crate) use closed::{CHUNK, Closed, TimeFirst, send_all};
pub(crate) use cogrouped::LateTopics;
pub(crate) use forms::aggregating;
pub(crate) use late::Late;
pub(crate) use plan::whole_ms;

use super::cogroup::CogroupedStream;
use super::event::Data;
use super::grouped::GroupedStream;

/// A window's bounds, in milliseconds since 1970. Whether its end belongs to it is a matter of its kind: not of tumbling and
/// hopping windows; of sliding windows and sessions it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// Where it begins. This belongs to it.
    pub start_ms: i64,
    /// Where it ends.
    pub end_ms: i64,
}

/// A key in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Windowed<K> {
    /// The key.
    pub key: K,
    /// The window.
    pub window: Window,
}

/// When the results of windows are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closes {
    /// How long after a window's end, as its bounds have it, stream time closes it.
    pub(crate) after_ms: i64,
    /// Whether a window's end belongs to it.
    pub(crate) holds_end: bool,
    /// How long they are kept, from their beginnings, or of sessions from their ends: at least until they are final.
    pub(crate) retention_ms: i64,
}

/// When the result of a window is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emit {
    /// Whenever it changes: at once, and refined by what comes later.
    #[default]
    OnUpdate,
    /// Once, when its window closes; at the last time that the window has.
    OnClose,
}

mod sealed {
    pub trait Sealed {}
}

/// A kind of windows: [`Tumbling`], [`Hopping`], [`Sliding`], [`Session`].
pub trait Windows: sealed::Sealed {
    /// What a grouped stream becomes under it.
    type Form<K: Data, V: Data>;

    /// The stream in these windows.
    fn over<K: Data, V: Data>(self, grouped: &GroupedStream<K, V>) -> Self::Form<K, V>;

    /// What streams become under it that go into one aggregate.
    type Cogrouped<K: Data, A: Data>;

    /// Streams that go into one aggregate, in these windows.
    fn over_all<K: Data, A: Data>(self, streams: CogroupedStream<K, A>) -> Self::Cogrouped<K, A>;
}
