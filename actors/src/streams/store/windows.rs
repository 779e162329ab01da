//! The windows of a key in a store, for whoever asks.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::super::codec::SharedCodec;
use super::super::scope::{Scope, StreamError};
use super::super::window::Window;
use super::layout::{MARKS, Segments, time_first, time_of};
use super::{KeyValue, SessionStore, SlidingStore};

/// How windows lie in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Of one length, one begun at each multiple of a step; time first.
    Hopping { size_ms: i64, advance_ms: i64 },
    /// Of one length; in segments by where they begin.
    Sliding { difference_ms: i64, retention_ms: i64 },
    /// In segments by where they end.
    Session { retention_ms: i64 },
}

/// Looks at the windows of a store.
pub(crate) struct Windows<K, V> {
    place: usize,
    shape: Shape,
    key: SharedCodec<K>,
    value: SharedCodec<V>,
}

impl<K, V> Windows<K, V> {
    pub(crate) fn new(place: usize, shape: Shape, key: SharedCodec<K>, value: SharedCodec<V>) -> Self {
        Self { place, shape, key, value }
    }

    /// The first windows of a key that begin between two times, both included, in order, at most `max`; of sessions those
    /// that have a time between them.
    pub(crate) fn of_key(
        &self,
        scope: &Scope,
        key: &K,
        between_ms: (i64, i64),
        max: usize,
    ) -> Result<Vec<(Window, V)>, StreamError> {
        let key = self.key.encode(key)?.ok_or(StreamError::NoKey)?;
        match self.shape {
            Shape::Hopping { size_ms, advance_ms } => {
                self.hopping(scope, &key, between_ms, (size_ms, advance_ms), max)
            }
            Shape::Sliding { difference_ms, retention_ms } => {
                let store = SlidingStore::new(self.place, &self.key, &self.value, retention_ms);
                let mut segments = Segments::new(self.place, retention_ms);
                let found = segments.page(scope, &key, between_ms, None, max)?.into_iter();
                let each = found.map(|found| {
                    let (start_ms, end_ms) = (found.time_ms, found.time_ms.saturating_add(difference_ms));
                    Ok((Window { start_ms, end_ms }, store.value(&found.value)?))
                });
                each.collect()
            }
            Shape::Session { retention_ms } => self.sessions(scope, &key, between_ms, retention_ms, max),
        }
    }

    /// From one window that is there to the next, whatever their keys: what was asked may be far longer than what is there.
    fn hopping(
        &self,
        scope: &Scope,
        key: &Bytes,
        (from_ms, to_ms): (i64, i64),
        (size_ms, advance_ms): (i64, i64),
        max: usize,
    ) -> Result<Vec<(Window, V)>, StreamError> {
        let state = KeyValue::new(self.place, Arc::clone(&self.key), Arc::clone(&self.value));
        let (store, mut found, mut from_ms) = (scope.store(self.place)?, Vec::new(), from_ms);
        while from_ms <= to_ms && found.len() < max {
            let at = time_first(from_ms, &[]);
            let next = store.scan(Bound::Included(&at), Bound::Excluded(&MARKS), 1)?;
            let Some((at, _)) = next.first() else { break };
            let start_ms = time_of(at)?;
            if start_ms > to_ms {
                break;
            }
            if let Some(value) = state.get_at(scope, &time_first(start_ms, key))? {
                found.push((Window { start_ms, end_ms: start_ms.saturating_add(size_ms) }, value));
            }
            from_ms = start_ms.saturating_add(advance_ms);
        }
        Ok(found)
    }

    fn sessions(
        &self,
        scope: &Scope,
        key: &[u8],
        (from_ms, to_ms): (i64, i64),
        retention_ms: i64,
        max: usize,
    ) -> Result<Vec<(Window, V)>, StreamError> {
        let store = SessionStore::new(self.place, &self.key, &self.value, retention_ms);
        let mut segments = Segments::new(self.place, retention_ms);
        let (mut sessions, mut behind) = (Vec::new(), None);
        loop {
            let page = segments.page(scope, key, (from_ms, i64::MAX), behind.as_ref(), max)?;
            for found in &page {
                let session = SessionStore::<K, V>::session(found)?;
                if session.start_ms <= to_ms && sessions.len() < max {
                    sessions.push((session, store.value(&found.value)?));
                }
            }
            if page.len() < max || sessions.len() >= max {
                return Ok(sessions);
            }
            behind = page.last().cloned();
        }
    }
}
