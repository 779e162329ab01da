//! What flows through a topology.

/// What a key or a value may be.
pub trait Data: Clone + Send + Sync + 'static {}

impl<T: Clone + Send + Sync + 'static> Data for T {}

/// A record of a stream, as its operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<K, V> {
    /// Its key.
    pub key: K,
    /// Its value.
    pub value: V,
    /// When it occurred, in milliseconds since 1970: event time.
    pub timestamp_ms: i64,
}

impl<K, V> Event<K, V> {
    /// An event.
    #[must_use]
    pub const fn new(key: K, value: V, timestamp_ms: i64) -> Self {
        Self { key, value, timestamp_ms }
    }

    /// The same with another value.
    #[must_use]
    pub fn with_value<W>(self, value: W) -> Event<K, W> {
        Event { key: self.key, value, timestamp_ms: self.timestamp_ms }
    }
}

/// What becomes of a key's value in a table. Both are `None` where a key that was not there is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change<V> {
    /// Its value from now on; `None` where it is gone.
    pub new: Option<V>,
    /// Its value before.
    pub old: Option<V>,
}

impl<V> Change<V> {
    /// The same change of what `with` makes of a value.
    pub fn map<W>(self, mut with: impl FnMut(V) -> W) -> Change<W> {
        Change { new: self.new.map(&mut with), old: self.old.map(with) }
    }
}
