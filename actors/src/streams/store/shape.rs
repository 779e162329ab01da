//! How windows lie in a store, for whoever asks.

/// How windows lie in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Of one length, one begun at each multiple of a step; time first.
    Hopping { size_ms: i64 },
    /// Of one length; in segments by where they begin.
    Sliding { difference_ms: i64, retention_ms: i64 },
    /// In segments by where they end.
    Session { retention_ms: i64 },
}
