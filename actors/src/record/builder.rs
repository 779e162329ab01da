//! Makes one batch out of records. A record is encoded straight into the batch's bytes, once.

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::Codec;
use super::compress::Compression;
use super::header::{Attributes, BatchHeader, HEADER_BYTES, NO_TIMESTAMP};
use super::read::Header;
use super::varint;
use crate::ids::{LeaderEpoch, Offset, ProducerId};

/// Bytes that a batch begins with, where nobody says better.
const FIRST_BYTES: usize = 1 << 10;

/// Bytes of one batch that the format's 32-bit length certainly holds.
const MOST_BYTES: usize = 1 << 30;

/// Who wrote a batch, for a broker to know a batch it has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer's id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: i16,
    /// Sequence number of the batch's first record.
    pub base_sequence: i32,
}

/// The record does not go into the batch any more: finish this one and begin another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record's {needed} bytes do not fit the batch, which has {used} of {limit}")]
pub struct Full {
    /// Bytes of the record.
    pub needed: usize,
    /// Bytes of the batch so far.
    pub used: usize,
    /// Bytes it may have.
    pub limit: usize,
}

/// A batch that is being filled.
#[derive(Debug)]
pub struct BatchBuilder {
    bytes: BytesMut,
    limit: usize,
    compression: Compression,
    count: i32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

impl BatchBuilder {
    /// An empty batch of at most `limit` bytes before compression. The first record is taken however large it is (up to
    /// 1 GiB), as it fits no other batch better.
    #[must_use]
    pub fn new(limit: usize, compression: Compression) -> Self {
        Self::with_capacity(limit, FIRST_BYTES, compression)
    }

    /// The same, with room for `capacity` bytes from the start.
    #[must_use]
    pub fn with_capacity(limit: usize, capacity: usize, compression: Compression) -> Self {
        let mut bytes = BytesMut::with_capacity(capacity.max(HEADER_BYTES));
        bytes.put_bytes(0, HEADER_BYTES);
        let limit = limit.min(MOST_BYTES);
        let (base_timestamp_ms, max_timestamp_ms) = (NO_TIMESTAMP, NO_TIMESTAMP);
        Self { bytes, limit, compression, count: 0, base_timestamp_ms, max_timestamp_ms }
    }

    /// Records in it.
    #[must_use]
    pub const fn count(&self) -> i32 {
        self.count
    }

    /// Whether no record is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes in it before compression, header included.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record. Returns its offset in the batch.
    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<i32, Full> {
        if self.is_empty() {
            self.base_timestamp_ms = timestamp_ms;
        }
        let delta = timestamp_ms.wrapping_sub(self.base_timestamp_ms);
        let body = body_bytes(delta, self.count, key, value, headers);
        let needed = body.saturating_add(varint::length(as_i64(body)));
        let used = self.bytes.len();
        let limit = if self.is_empty() { MOST_BYTES } else { self.limit };
        if used.saturating_add(needed) > limit || self.count == i32::MAX {
            return Err(Full { needed, used, limit });
        }
        let record = Encoded { timestamp_delta: delta, offset_delta: self.count, key, value, headers };
        record.put(&mut self.bytes, body);
        let offset_delta = self.count;
        self.count = offset_delta.saturating_add(1);
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        Ok(offset_delta)
    }

    /// The batch's bytes: base offset 0, no leader epoch, and its checksum. Compressed, unless that would make it
    /// larger.
    #[must_use]
    pub fn finish(self, stamp: Option<ProducerStamp>) -> Bytes {
        self.pack().seal(stamp)
    }

    /// Compresses the records, unless that would make them larger. What is left to do is cheap: [`Packed::seal`].
    #[must_use]
    pub fn pack(mut self) -> Packed {
        let packed = self.packed();
        let codec = packed.as_ref().map_or(Codec::None, |_| self.compression.codec);
        Packed {
            bytes: packed.unwrap_or_else(|| std::mem::take(&mut self.bytes)),
            codec,
            count: self.count,
            base_timestamp_ms: self.base_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
        }
    }

    /// Room for a header, and the records compressed; `None` where they are better left alone.
    fn packed(&self) -> Option<BytesMut> {
        if self.compression.codec == Codec::None {
            return None;
        }
        let records = self.bytes.get(HEADER_BYTES..).unwrap_or_default();
        let mut packed = Vec::with_capacity(HEADER_BYTES.saturating_add(records.len() / 2));
        packed.resize(HEADER_BYTES, 0);
        self.compression.pack(records, &mut packed).ok()?;
        (packed.len() < self.bytes.len()).then(|| BytesMut::from(Bytes::from(packed)))
    }
}

/// A batch whose records are packed and whose header is not written yet.
#[derive(Debug)]
pub struct Packed {
    bytes: BytesMut,
    codec: Codec,
    count: i32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

impl Packed {
    /// Records in it.
    #[must_use]
    pub const fn count(&self) -> i32 {
        self.count
    }

    /// Bytes of the whole batch.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Writes the header, with the producer's stamp and the checksum.
    #[must_use]
    pub fn seal(self, stamp: Option<ProducerStamp>) -> Bytes {
        let nobody = ProducerStamp { id: ProducerId(-1), epoch: -1, base_sequence: -1 };
        let attributes = Attributes::with_codec(self.codec);
        self.sealed(attributes, stamp.unwrap_or(nobody))
    }

    /// The same, as part of the producer's transaction.
    #[must_use]
    pub fn seal_in_transaction(self, stamp: ProducerStamp) -> Bytes {
        let attributes = Attributes::with_codec(self.codec).as_transactional();
        self.sealed(attributes, stamp)
    }

    fn sealed(mut self, attributes: Attributes, stamp: ProducerStamp) -> Bytes {
        let header = BatchHeader {
            base_offset: Offset(0),
            length: 0,
            leader_epoch: LeaderEpoch(-1),
            checksum: 0,
            attributes,
            last_offset_delta: self.count.saturating_sub(1),
            base_timestamp_ms: self.base_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
            producer_id: stamp.id.0,
            producer_epoch: stamp.epoch,
            base_sequence: stamp.base_sequence,
            count: self.count,
        };
        header.seal(&mut self.bytes);
        self.bytes.freeze()
    }
}

/// A record as it stands in a batch.
pub(super) struct Encoded<'a> {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [Header],
}

impl Encoded<'_> {
    /// Bytes of it behind its length.
    pub(super) fn body_bytes(&self) -> usize {
        body_bytes(self.timestamp_delta, self.offset_delta, self.key, self.value, self.headers)
    }

    /// Appends it; `body` is what [`Self::body_bytes`] says.
    pub(super) fn put(&self, out: &mut BytesMut, body: usize) {
        out.reserve(body.saturating_add(varint::length(as_i64(body))));
        varint::put(out, as_i64(body));
        out.put_i8(0);
        varint::put(out, self.timestamp_delta);
        varint::put(out, i64::from(self.offset_delta));
        put_field(out, self.key);
        put_field(out, self.value);
        varint::put(out, as_i64(self.headers.len()));
        for header in self.headers {
            put_field(out, Some(&header.name));
            put_field(out, header.value.as_deref());
        }
    }
}

/// The most bytes that a record takes in a batch, wherever in it it stands.
#[must_use]
pub fn record_bytes(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> usize {
    let body = body_bytes(i64::MIN, i32::MAX, key, value, headers);
    body.saturating_add(varint::length(as_i64(body)))
}

fn body_bytes(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) -> usize {
    let fixed = 1 + varint::length(timestamp_delta) + varint::length(i64::from(offset_delta));
    let headers: usize = headers
        .iter()
        .map(|header| field_bytes(Some(&header.name)).saturating_add(field_bytes(header.value.as_deref())))
        .fold(varint::length(as_i64(headers.len())), usize::saturating_add);
    fixed.saturating_add(field_bytes(key)).saturating_add(field_bytes(value)).saturating_add(headers)
}

fn field_bytes(field: Option<&[u8]>) -> usize {
    field.map_or(1, |bytes| varint::length(as_i64(bytes.len())).saturating_add(bytes.len()))
}

fn put_field(out: &mut BytesMut, field: Option<&[u8]>) {
    varint::put(out, field.map_or(-1, |bytes| as_i64(bytes.len())));
    out.put_slice(field.unwrap_or_default());
}

fn as_i64(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Batch;

    #[test]
    fn a_batch_is_full_before_it_passes_its_limit() {
        let mut builder = BatchBuilder::new(500, Compression::NONE);
        let mut count = 0;
        while builder.push(1, None, Some(&[7; 50]), &[]).is_ok() {
            count += 1;
        }
        assert!(count > 5 && builder.used_bytes() <= 500, "{count} {}", builder.used_bytes());
        let error = builder.push(1, None, Some(&[7; 50]), &[]).unwrap_err();
        assert_eq!(error.limit, 500);
        assert_eq!(BatchHeader::parse(&builder.finish(None)).unwrap().count, count);
    }

    #[test]
    fn one_record_larger_than_the_limit_has_a_batch_of_its_own() {
        let mut builder = BatchBuilder::new(100, Compression::NONE);
        assert_eq!(builder.push(1, None, Some(&[7; 5000]), &[]), Ok(0));
        assert!(builder.push(1, None, None, &[]).is_err());
    }

    #[test]
    fn what_compression_would_make_larger_stays_as_it_is() {
        for codec in Codec::ALL {
            let mut builder = BatchBuilder::new(1000, Compression::of(codec));
            builder.push(1, None, Some(b"x"), &[]).unwrap();
            let batch = Batch::parse(builder.finish(None)).unwrap();
            assert_eq!(batch.header.attributes.codec(), Ok(Codec::None));
            batch.verify_checksum().unwrap();
        }
    }

    #[test]
    fn a_records_bytes_are_known_beforehand() {
        let headers = [Header { name: Bytes::from("name"), value: Some(Bytes::from("value")) }];
        let most = record_bytes(Some(b"key"), Some(&[1; 300]), &headers);
        let mut builder = BatchBuilder::new(10_000, Compression::NONE);
        builder.push(0, None, None, &[]).unwrap();
        let before = builder.used_bytes();
        builder.push(i64::MAX, Some(b"key"), Some(&[1; 300]), &headers).unwrap();
        let took = builder.used_bytes() - before;
        assert!(took <= most && took + 10 > most, "{took} {most}");
    }

    #[test]
    fn the_largest_timestamp_is_the_batchs() {
        let mut builder = BatchBuilder::new(1000, Compression::NONE);
        for timestamp_ms in [50, 70, 20] {
            builder.push(timestamp_ms, None, None, &[]).unwrap();
        }
        let header = BatchHeader::parse(&builder.finish(None)).unwrap();
        assert_eq!((header.base_timestamp_ms, header.max_timestamp_ms), (50, 70));
        assert_eq!(header.producer(), None);
    }
}
