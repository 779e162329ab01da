//! A record to be sent.

use crate::record::Header;

/// A record to be sent. Its parts are borrowed: they are encoded into a batch before `send` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerRecord<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition; the partitioner's choice where there is none.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [Header],
    /// Milliseconds since 1970; the clock's time where there is none.
    pub timestamp_ms: Option<i64>,
}

impl<'a> ProducerRecord<'a> {
    /// An empty record for a topic.
    #[must_use]
    pub const fn to(topic: &'a str) -> Self {
        Self { topic, partition: None, key: None, value: None, headers: &[], timestamp_ms: None }
    }

    /// The same, with a key.
    #[must_use]
    pub fn key(self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { key: Some(key.as_ref()), ..self }
    }

    /// The same, with a value.
    #[must_use]
    pub fn value(self, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { value: Some(value.as_ref()), ..self }
    }

    /// The same, with headers.
    #[must_use]
    pub const fn headers(self, headers: &'a [Header]) -> Self {
        Self { headers, ..self }
    }

    /// The same, for this partition.
    #[must_use]
    pub const fn partition(self, partition: i32) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// The same, with a timestamp.
    #[must_use]
    pub const fn timestamp_ms(self, timestamp_ms: i64) -> Self {
        Self { timestamp_ms: Some(timestamp_ms), ..self }
    }
}
