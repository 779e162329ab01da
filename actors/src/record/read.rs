//! Takes records out of a batch: for consumers, and for brokers where a topic is compacted.

use bytes::Bytes;

use super::batches::Batch;
use super::codec::Codec;
use super::header::HEADER_BYTES;
use super::problem::{BatchError, BatchProblem};
use super::varint;
use crate::ids::Offset;
use crate::topic_config::TimestampType;

/// Bytes that a batch may unpack to, where nobody says better.
pub const MAX_UNPACKED_BYTES: usize = 128 << 20;

/// The least bytes of a header: two lengths.
pub(super) const LEAST_HEADER_BYTES: usize = 2;

/// A header of a record. Names may stand more than once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Header {
    /// Its name; text, though nobody holds producers to it.
    pub name: Bytes,
    /// Its value.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header with a value.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self { name: Bytes::from(name.into()), value: Some(value.into()) }
    }
}

/// A record as it stands in its partition. Its bytes are slices of the batch's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// Its timestamp, milliseconds since 1970; -1 for none.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; none is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<Header>,
}

/// The records of a batch, which may unpack to at most `limit` bytes. The checksum is not looked at.
pub fn records(batch: &Batch, limit: usize) -> Result<Records, BatchError> {
    let packed = batch.bytes.slice(HEADER_BYTES.min(batch.bytes.len())..);
    let fail = |problem| BatchError::at(0, problem);
    let bytes = match batch.header.attributes.codec().map_err(fail)? {
        Codec::None => packed,
        codec => Bytes::from(codec.unpack(&packed, limit).map_err(fail)?),
    };
    let append_time_ms = match batch.header.attributes.timestamp_type() {
        TimestampType::CreateTime => None,
        TimestampType::LogAppendTime => Some(batch.header.max_timestamp_ms),
    };
    Ok(Records {
        bytes,
        index: 0,
        count: batch.header.count,
        base_offset: batch.header.base_offset,
        last_offset_delta: batch.header.last_offset_delta,
        base_timestamp_ms: batch.header.base_timestamp_ms,
        append_time_ms,
    })
}

/// An iterator over records. Ends after an error.
#[derive(Clone, Debug)]
pub struct Records {
    /// What is not read yet.
    bytes: Bytes,
    index: i32,
    count: i32,
    base_offset: Offset,
    last_offset_delta: i32,
    base_timestamp_ms: i64,
    append_time_ms: Option<i64>,
}

impl Records {
    /// Records not taken yet, as the header has it.
    #[must_use]
    pub const fn left(&self) -> i32 {
        self.count.saturating_sub(self.index)
    }

    fn take(&mut self) -> Result<Record, &'static str> {
        let length = self.length().ok_or("its length is cut off or negative")?;
        if length > self.bytes.len() {
            return Err("it is longer than the batch");
        }
        let mut body = Body(self.bytes.split_to(length));
        let record = body.record(self)?;
        if !body.0.is_empty() {
            return Err("bytes follow its last header");
        }
        if self.left() == 1 && !self.bytes.is_empty() {
            return Err("bytes follow the last record");
        }
        Ok(record)
    }

    fn length(&mut self) -> Option<usize> {
        let (length, taken) = varint::read(&self.bytes)?;
        let _ = self.bytes.split_to(taken);
        usize::try_from(length).ok()
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            return None;
        }
        let index = self.index;
        let taken = self.take();
        self.index = if taken.is_ok() { index.saturating_add(1) } else { self.count };
        Some(taken.map_err(|reason| BatchError::at(0, BatchProblem::Record { index, reason })))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // The count is the producer's word: never a lower bound that somebody allocates by.
        (0, usize::try_from(self.left()).ok())
    }
}

/// The bytes of one record behind its length.
struct Body(Bytes);

impl Body {
    fn record(&mut self, batch: &Records) -> Result<Record, &'static str> {
        const CUT_OFF: &str = "it is cut off";
        if self.0.is_empty() {
            return Err(CUT_OFF);
        }
        let _attributes = self.0.split_to(1);
        let timestamp_delta = self.number().ok_or(CUT_OFF)?;
        let offset_delta = self.number().ok_or(CUT_OFF)?;
        if !(0..=i64::from(batch.last_offset_delta)).contains(&offset_delta) {
            return Err("its offset is not among the batch's");
        }
        let key = self.field()?;
        let value = self.field()?;
        let headers = self.headers()?;
        let own_ms = batch.base_timestamp_ms.wrapping_add(timestamp_delta);
        Ok(Record {
            offset: batch.base_offset.plus(offset_delta),
            timestamp_ms: batch.append_time_ms.unwrap_or(own_ms),
            key,
            value,
            headers,
        })
    }

    fn headers(&mut self) -> Result<Vec<Header>, &'static str> {
        let count = self.number().ok_or("its number of headers is cut off")?;
        let count = usize::try_from(count).map_err(|_| "its number of headers is negative")?;
        if count > self.0.len() / LEAST_HEADER_BYTES {
            return Err("its headers are more than its bytes can hold");
        }
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            let name = self.field()?.ok_or("a header has no name")?;
            headers.push(Header { name, value: self.field()? });
        }
        Ok(headers)
    }

    fn number(&mut self) -> Option<i64> {
        let (number, taken) = varint::read(&self.0)?;
        let _ = self.0.split_to(taken);
        Some(number)
    }

    fn field(&mut self) -> Result<Option<Bytes>, &'static str> {
        let length = self.number().ok_or("a length in it is cut off")?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| "a length in it is negative")?;
        if length > self.0.len() {
            return Err("a length in it is larger than the record");
        }
        Ok(Some(self.0.split_to(length)))
    }
}
