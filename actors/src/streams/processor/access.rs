//! What a processor may do while it is called.

use std::fmt;
use std::ops::{Deref, DerefMut, RangeBounds};
use std::sync::Arc;

use super::super::event::{Data, Event};
use super::super::operator::Outlet;
use super::super::scope::{Origin, Scope, StreamError};
use super::super::store::KeyValue;
use super::super::time::UNKNOWN_MS;
use crate::record::Header;

/// The stores of a task, its times, and where the record came from.
pub struct Access<'a> {
    scope: &'a mut Scope,
    now_ms: i64,
    is_of_record: bool,
}

impl<'a> Access<'a> {
    pub(super) const fn new(scope: &'a mut Scope, now_ms: i64, is_of_record: bool) -> Self {
        Self { scope, now_ms, is_of_record }
    }

    /// What a store has of a key.
    pub fn get<K, V>(&self, store: &KeyValue<K, V>, key: &K) -> Result<Option<V>, StreamError> {
        store.get(self.scope, key)
    }

    /// A key has this value from now on.
    pub fn put<K, V>(&mut self, store: &KeyValue<K, V>, key: &K, value: &V) -> Result<(), StreamError> {
        store.put(self.scope, key, Some(value))
    }

    /// A key is gone from a store.
    pub fn delete<K, V>(&mut self, store: &KeyValue<K, V>, key: &K) -> Result<(), StreamError> {
        store.put(self.scope, key, None)
    }

    /// The first entries of a range of keys, at most `max`, in the order of the bytes of their keys, which is also that by
    /// which the range is understood.
    pub fn range<K, V>(
        &self,
        store: &KeyValue<K, V>,
        keys: impl RangeBounds<K>,
        max: usize,
    ) -> Result<Vec<(K, V)>, StreamError> {
        store.range(self.scope, (keys.start_bound(), keys.end_bound()), max)
    }

    /// The stream time here, in milliseconds since 1970: before which no more records come that are in order. While a record
    /// is processed it is what it was before that. `None` before it is known, `i64::MAX` once all input has ended.
    #[must_use]
    pub const fn stream_time_ms(&self) -> Option<i64> {
        match self.now_ms {
            UNKNOWN_MS => None,
            time_ms => Some(time_ms),
        }
    }

    /// The clock, in milliseconds since 1970. What is made of it is not the same when a record is processed again.
    #[must_use]
    pub const fn clock_ms(&self) -> i64 {
        self.scope.clock_ms
    }

    /// Where the record came from that is processed, or that which caused it; `None` where time is the cause.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.is_of_record.then_some(&self.scope.origin)
    }

    /// The headers that what is forwarded will have: those of the record, unless they were changed.
    #[must_use]
    pub fn headers(&self) -> &[Header] {
        &self.scope.origin.headers
    }

    /// Gives what is forwarded from now on, until the call returns, other headers.
    pub fn set_headers(&mut self, headers: impl Into<Arc<[Header]>>) {
        self.scope.origin.headers = headers.into();
    }
}

impl fmt::Debug for Access<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Access").field("origin", &self.origin()).finish_non_exhaustive()
    }
}

/// What a processor may do: all that [`Access`] allows, and to forward records.
pub struct Context<'a, K, V> {
    access: Access<'a>,
    outlet: &'a Outlet<K, V>,
}

impl<'a, K: Data, V: Data> Context<'a, K, V> {
    pub(super) const fn new(access: Access<'a>, outlet: &'a Outlet<K, V>) -> Self {
        Self { access, outlet }
    }

    /// Gives a record to all that comes behind. An error of theirs is to be returned.
    pub fn forward(&mut self, event: Event<K, V>) -> Result<(), StreamError> {
        self.outlet.give(event, self.access.scope)
    }
}

impl<'a, K, V> Deref for Context<'a, K, V> {
    type Target = Access<'a>;

    fn deref(&self) -> &Access<'a> {
        &self.access
    }
}

impl<K, V> DerefMut for Context<'_, K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.access
    }
}

impl<K, V> fmt::Debug for Context<'_, K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.access.fmt(formatter)
    }
}

/// What an operator may do that leaves keys as they are: all that [`Access`] allows, and to forward values under the record's
/// key.
pub struct ValueContext<'a, K, V> {
    access: Access<'a>,
    outlet: &'a Outlet<K, V>,
    key: &'a K,
    timestamp_ms: i64,
}

impl<'a, K: Data, V: Data> ValueContext<'a, K, V> {
    pub(super) const fn new(context: &'a mut Context<'_, K, V>, key: &'a K, timestamp_ms: i64) -> Self {
        let Context { access: Access { scope, now_ms, is_of_record }, outlet } = context;
        let access = Access { scope, now_ms: *now_ms, is_of_record: *is_of_record };
        Self { access, outlet, key, timestamp_ms }
    }

    /// The record's key.
    #[must_use]
    pub const fn key(&self) -> &K {
        self.key
    }

    /// When the record occurred, in milliseconds since 1970.
    #[must_use]
    pub const fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }

    /// Gives a value to all that comes behind, under the record's key and at its time. An error of theirs is to be returned.
    pub fn forward(&mut self, value: V) -> Result<(), StreamError> {
        let key = self.key.clone();
        self.outlet.give(Event { key, value, timestamp_ms: self.timestamp_ms }, self.access.scope)
    }
}

impl<'a, K, V> Deref for ValueContext<'a, K, V> {
    type Target = Access<'a>;

    fn deref(&self) -> &Access<'a> {
        &self.access
    }
}

impl<K, V> DerefMut for ValueContext<'_, K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.access
    }
}

impl<K, V> fmt::Debug for ValueContext<'_, K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.access.fmt(formatter)
    }
}
