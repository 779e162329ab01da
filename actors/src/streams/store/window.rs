//! A store of windows whose beginnings are known before they are looked up: time first.

use bytes::Bytes;

use super::super::codec::SharedCodec;
use super::super::scope::{Scope, StreamError};
use super::KeyValue;
use super::layout::{time_first, time_of};

/// A window store of a task: of a key in a window, its value.
#[derive(Debug)]
pub(crate) struct WindowStore<K, V> {
    place: usize,
    key: SharedCodec<K>,
    value: SharedCodec<V>,
    state: KeyValue<K, V>,
}

impl<K, V> WindowStore<K, V> {
    pub(crate) fn new(place: usize, key: &SharedCodec<K>, value: &SharedCodec<V>) -> Self {
        let (key, value) = (SharedCodec::clone(key), SharedCodec::clone(value));
        let state = KeyValue::new(place, SharedCodec::clone(&key), SharedCodec::clone(&value));
        Self { place, key, value, state }
    }

    pub(crate) const fn place(&self) -> usize {
        self.place
    }

    /// Where a key lies of the window that begins then.
    pub(crate) fn at(start_ms: i64, key: &[u8]) -> Bytes {
        time_first(start_ms, key)
    }

    /// The store by the bytes of [`Self::at`].
    pub(crate) const fn state(&self) -> &KeyValue<K, V> {
        &self.state
    }

    /// Where the window begins, the key, the value.
    pub(crate) fn entry(&self, at: &Bytes, value: &Bytes) -> Result<(i64, K, V), StreamError> {
        let start_ms = time_of(at)?;
        let key = self.key.decode(Some(&at.slice(8..)))?;
        Ok((start_ms, key, self.value.decode(Some(value))?))
    }

    /// The value of a key in the window that begins then.
    pub(crate) fn get(&self, scope: &Scope, key: &K, start_ms: i64) -> Result<Option<V>, StreamError> {
        let key = self.state.key(key)?;
        self.state.get_at(scope, &Self::at(start_ms, &key))
    }
}
