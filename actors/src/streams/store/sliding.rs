//! A store of sliding windows: in segments, those of a key together, so that all that hold a time, or border on it, are found
//! at once.

use bytes::Bytes;

use super::super::scope::{Scope, StreamError};
use super::layout::{Found, ordered, time_of};
use super::segmented::Segmented;

/// A value is behind the time of the newest record in it, and a byte that says whether there is one.
const FRONT: usize = 9;

/// The bytes of a value, where there is one, in what a store of sliding windows has.
pub(crate) fn sliding_value(bytes: &Bytes) -> Option<Bytes> {
    let is_there = bytes.get(FRONT - 1) == Some(&1);
    is_there.then(|| bytes.slice(FRONT..))
}

/// What lies in a store of sliding windows.
#[derive(Debug)]
pub(crate) enum Sliding {}

/// A store of sliding windows of a task.
pub(crate) type SlidingStore<K, V> = Segmented<K, V, Sliding>;

impl<K, V> SlidingStore<K, V> {
    /// Where a key lies of the window that begins then.
    pub(crate) fn at(&self, key: &[u8], start_ms: i64) -> Bytes {
        self.segments.at(key, start_ms, &[])
    }

    /// When the newest record in a window was.
    pub(crate) fn newest_ms(found: &Found) -> Result<i64, StreamError> {
        time_of(&found.value)
    }

    /// The value of a window.
    pub(crate) fn value(&self, bytes: &Bytes) -> Result<V, StreamError> {
        Ok(self.value.decode(sliding_value(bytes).as_ref())?)
    }

    /// Writes a window; how many bytes it has there.
    pub(crate) fn put(
        &mut self,
        scope: &mut Scope,
        start_ms: i64,
        at: Bytes,
        (newest_ms, value): (i64, &V),
    ) -> Result<usize, StreamError> {
        let value = self.value.encode(value)?;
        let rest = value.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(rest.len().saturating_add(FRONT));
        bytes.extend_from_slice(&ordered(newest_ms));
        bytes.push(u8::from(value.is_some()));
        bytes.extend_from_slice(rest);
        let length = bytes.len();
        self.segments.put(scope, start_ms, at, Some(bytes.into()))?;
        Ok(length)
    }

    /// The value of a key in the window that begins then.
    pub(crate) fn get(&self, scope: &Scope, key: &K, start_ms: i64) -> Result<Option<V>, StreamError> {
        let at = self.at(&self.key(key)?, start_ms);
        self.segments.get(scope, &at)?.map(|bytes| self.value(&bytes)).transpose()
    }
}
