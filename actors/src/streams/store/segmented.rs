//! What stores in segments have in common: keys and values that lie in them in the users' forms.

use std::marker::PhantomData;

use bytes::Bytes;

use super::super::codec::SharedCodec;
use super::super::scope::StreamError;
use super::layout::Segments;

/// A store in segments, those of a key together; what lies there is a matter of its `Form`.
#[derive(Debug)]
pub(crate) struct Segmented<K, V, Form> {
    pub(crate) segments: Segments,
    key: SharedCodec<K>,
    pub(super) value: SharedCodec<V>,
    form: PhantomData<fn(Form)>,
}

impl<K, V, Form> Segmented<K, V, Form> {
    pub(crate) fn new(place: usize, key: &SharedCodec<K>, value: &SharedCodec<V>, retention_ms: i64) -> Self {
        let (key, value) = (SharedCodec::clone(key), SharedCodec::clone(value));
        Self { segments: Segments::new(place, retention_ms), key, value, form: PhantomData }
    }

    pub(crate) fn key(&self, key: &K) -> Result<Bytes, StreamError> {
        self.key.encode(key)?.ok_or(StreamError::NoKey)
    }

    pub(crate) fn key_of(&self, bytes: &Bytes) -> Result<K, StreamError> {
        Ok(self.key.decode(Some(bytes))?)
    }
}
