//! A store of sessions: in segments by where they end, those of a key together, so that all that a time borders on are found
//! at once.

use bytes::Bytes;

use super::super::scope::{Scope, StreamError};
use super::super::window::Window;
use super::layout::{Found, ordered, time_of};
use super::segmented::Segmented;

/// What lies in a store of sessions.
#[derive(Debug)]
pub(crate) enum Sessions {}

/// A store of sessions of a task.
pub(crate) type SessionStore<K, V> = Segmented<K, V, Sessions>;

impl<K, V> SessionStore<K, V> {
    /// Where a key's session lies.
    pub(crate) fn at(&self, key: &[u8], session: Window) -> Bytes {
        self.segments.at(key, session.end_ms, &ordered(session.start_ms))
    }

    /// The bounds of a session that was found.
    pub(crate) fn session(found: &Found) -> Result<Window, StreamError> {
        Ok(Window { start_ms: time_of(&found.tail)?, end_ms: found.time_ms })
    }

    pub(crate) fn value(&self, bytes: &Bytes) -> Result<V, StreamError> {
        Ok(self.value.decode(Some(bytes))?)
    }

    /// Writes a session, a new one or one that is there; how many bytes it has there.
    pub(crate) fn put(
        &mut self,
        scope: &mut Scope,
        session: Window,
        (at, is_new): (Bytes, bool),
        value: &V,
    ) -> Result<usize, StreamError> {
        let value = self.value.encode(value)?;
        let length = value.as_ref().map_or(0, Bytes::len);
        match value {
            Some(value) if is_new => self.segments.put_new(scope, session.end_ms, at, value)?,
            value => self.segments.put(scope, session.end_ms, at, value)?,
        }
        Ok(length)
    }

    /// The value of a key's session.
    pub(crate) fn get(&self, scope: &Scope, key: &K, session: Window) -> Result<Option<V>, StreamError> {
        let at = self.at(&self.key(key)?, session);
        self.segments.get(scope, &at)?.map(|bytes| self.value(&bytes)).transpose()
    }
}
