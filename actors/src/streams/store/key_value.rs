//! A store of one value a key, as an operator sees it.

use std::ops::Bound;

use bytes::Bytes;

use super::super::codec::{CodecError, SharedCodec};
use super::super::scope::{Scope, StreamError};
use super::MAX_KEY_BYTES;

/// A store of a task, by its place, and the forms of its keys and values.
#[derive(Debug)]
pub struct KeyValue<K, V> {
    place: usize,
    key: SharedCodec<K>,
    value: SharedCodec<V>,
}

impl<K, V> KeyValue<K, V> {
    pub(crate) fn new(place: usize, key: SharedCodec<K>, value: SharedCodec<V>) -> Self {
        Self { place, key, value }
    }

    /// The bytes of a key. One without bytes, or with too many, cannot be kept.
    pub(crate) fn key(&self, key: &K) -> Result<Bytes, StreamError> {
        let bytes = self.key.encode(key)?.ok_or(StreamError::NoKey)?;
        match bytes.len() {
            ..=MAX_KEY_BYTES => Ok(bytes),
            long => {
                let text = format!("a key has {long} bytes, and state is kept by at most {MAX_KEY_BYTES}");
                Err(CodecError::new(text).into())
            }
        }
    }

    pub(crate) fn get(&self, scope: &Scope, key: &K) -> Result<Option<V>, StreamError> {
        self.get_at(scope, &self.key(key)?)
    }

    pub(crate) fn get_at(&self, scope: &Scope, key: &[u8]) -> Result<Option<V>, StreamError> {
        let found = scope.store(self.place)?.get(key)?;
        found.map(|bytes| self.value.decode(Some(&bytes))).transpose().map_err(StreamError::State)
    }

    pub(crate) fn put(&self, scope: &mut Scope, key: &K, value: Option<&V>) -> Result<(), StreamError> {
        self.put_at(scope, self.key(key)?, value)
    }

    pub(crate) fn put_at(&self, scope: &mut Scope, key: Bytes, value: Option<&V>) -> Result<(), StreamError> {
        self.write(scope, key, value).map(|_| ())
    }

    /// The same; how many bytes the value has there.
    pub(crate) fn write(
        &self,
        scope: &mut Scope,
        key: Bytes,
        value: Option<&V>,
    ) -> Result<usize, StreamError> {
        // A value that is written as none is deleted, as in the changelog.
        let value = value.map(|value| self.value.encode(value)).transpose()?.flatten();
        let bytes = value.as_ref().map_or(0, Bytes::len);
        scope.store_mut(self.place)?.put(key, value);
        Ok(bytes)
    }

    /// The first entries behind a key (of all, without one), at most `max`, in the order of their keys' bytes.
    pub(crate) fn scan(
        &self,
        scope: &Scope,
        behind: Option<&Bytes>,
        max: usize,
    ) -> Result<Vec<(Bytes, K, V)>, StreamError> {
        let from = behind.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_ref()));
        let found = scope.store(self.place)?.scan(from, Bound::Unbounded, max)?;
        let each = found.into_iter().map(|(key, value)| {
            let decoded =
                self.key.decode(Some(&key)).and_then(|of| Ok((of, self.value.decode(Some(&value))?)));
            let (of, value) = decoded.map_err(StreamError::State)?;
            Ok((key, of, value))
        });
        each.collect()
    }

    /// The first entries of a range of keys, at most `max`, in the order of their keys' bytes.
    pub(crate) fn range(
        &self,
        scope: &Scope,
        (from, to): (Bound<&K>, Bound<&K>),
        max: usize,
    ) -> Result<Vec<(K, V)>, StreamError> {
        let (from, to) = (self.bound(from)?, self.bound(to)?);
        let (from, to) = (from.as_ref().map(AsRef::as_ref), to.as_ref().map(AsRef::as_ref));
        let found = scope.store(self.place)?.scan(from, to, max)?.into_iter();
        let each =
            found.map(|(key, value)| Ok((self.key.decode(Some(&key))?, self.value.decode(Some(&value))?)));
        each.collect()
    }

    fn bound(&self, of: Bound<&K>) -> Result<Bound<Bytes>, StreamError> {
        Ok(match of {
            Bound::Included(key) => Bound::Included(self.key(key)?),
            Bound::Excluded(key) => Bound::Excluded(self.key(key)?),
            Bound::Unbounded => Bound::Unbounded,
        })
    }
}
