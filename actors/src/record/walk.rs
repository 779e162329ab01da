//! Passes the records of a batch one after the other as they are unpacked, so that no more of it is in memory than the codec
//! needs: for brokers, who want to know where a record is, not what is in it.

use std::io::{BufRead, BufReader, ErrorKind};
use std::ops::ControlFlow;

use super::batches::Batch;
use super::codec::Codec;
use super::compress::unpacking;
use super::header::HEADER_BYTES;
use super::problem::{BatchError, BatchProblem};
use super::read::LEAST_HEADER_BYTES;
use super::varint::{Digits, MAX_BYTES};
use crate::ids::Offset;
use crate::topic_config::TimestampType;

/// What is unpacked at a time.
const CHUNK_BYTES: usize = 16 << 10;

/// A record that a walk has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Its place in the batch, from 0.
    pub index: i32,
    /// Its place in the partition.
    pub offset: Offset,
    /// Its timestamp, milliseconds since 1970; -1 for none.
    pub timestamp_ms: i64,
    /// Whether it has a key.
    pub has_key: bool,
}

/// Walks through the records of a batch, which may unpack to at most `limit` bytes, until `see` says that it is enough. Gives
/// the bytes that were unpacked. Allocates nothing per record. The checksum is not looked at.
pub fn walk(
    batch: &Batch,
    limit: usize,
    see: impl FnMut(Passed) -> ControlFlow<()>,
) -> Result<usize, BatchError> {
    let packed = batch.bytes.get(HEADER_BYTES..).unwrap_or_default();
    let codec = batch.header.attributes.codec().map_err(|problem| BatchError::at(0, problem))?;
    let walked = match codec {
        Codec::None => Walk { reader: packed, batch, taken: 0, limit }.run(see),
        codec => match unpacking(codec, packed, limit) {
            Ok(reader) => {
                let reader = BufReader::with_capacity(CHUNK_BYTES, reader);
                Walk { reader, batch, taken: 0, limit }.run(see)
            }
            Err(error) => Err(Stop::Unpack(error)),
        },
    };
    walked.map_err(|stop| {
        let problem = match stop {
            Stop::TooLarge => BatchProblem::UnpacksTooLarge { limit },
            Stop::Unpack(error) => BatchProblem::Unpack { codec, reason: error.to_string() },
            Stop::Record(index, reason) => BatchProblem::Record { index, reason },
            Stop::Short => BatchProblem::Record { index: 0, reason: "it is cut off" },
        };
        BatchError::at(0, problem)
    })
}

/// Why a walk has ended.
#[derive(Debug)]
enum Stop {
    TooLarge,
    Unpack(std::io::Error),
    Record(i32, &'static str),
    /// The bytes have ended.
    Short,
}

struct Walk<'a, R> {
    reader: R,
    batch: &'a Batch,
    taken: usize,
    limit: usize,
}

impl<R: BufRead> Walk<'_, R> {
    fn run(mut self, mut see: impl FnMut(Passed) -> ControlFlow<()>) -> Result<usize, Stop> {
        for index in 0..self.batch.header.count {
            let passed = self.record(index).map_err(|stop| match stop {
                Stop::Short => Stop::Record(index, "it is longer than the batch"),
                other => other,
            })?;
            if see(passed).is_break() {
                break;
            }
        }
        Ok(self.taken)
    }

    fn record(&mut self, index: i32) -> Result<Passed, Stop> {
        const LENGTH: &str = "its length is cut off or negative";
        let fail = |reason| Stop::Record(index, reason);
        let mut most = MAX_BYTES;
        let length = match self.number(&mut most) {
            Ok(Some(length)) => usize::try_from(length).map_err(|_| fail(LENGTH))?,
            Ok(None) | Err(Stop::Short) => return Err(fail(LENGTH)),
            Err(stop) => return Err(stop),
        };
        let mut left = length;
        let passed = self.body(index, &mut left, fail)?;
        if left > 0 {
            return Err(fail("bytes follow its last header"));
        }
        if index == self.batch.header.count - 1 && self.has_more()? {
            return Err(fail("bytes follow the last record"));
        }
        Ok(passed)
    }

    fn body(
        &mut self,
        index: i32,
        left: &mut usize,
        fail: impl Fn(&'static str) -> Stop,
    ) -> Result<Passed, Stop> {
        const CUT_OFF: &str = "it is cut off";
        if *left == 0 {
            return Err(fail(CUT_OFF));
        }
        // Its attributes, which say nothing.
        self.pass(left, 1)?;
        let timestamp_delta = self.number(left)?.ok_or_else(|| fail(CUT_OFF))?;
        let offset_delta = self.number(left)?.ok_or_else(|| fail(CUT_OFF))?;
        if !(0..=i64::from(self.batch.header.last_offset_delta)).contains(&offset_delta) {
            return Err(fail("its offset is not among the batch's"));
        }
        let has_key = self.field(left, &fail)?;
        let _has_value = self.field(left, &fail)?;
        let headers = self.number(left)?.ok_or_else(|| fail("its number of headers is cut off"))?;
        let headers = usize::try_from(headers).map_err(|_| fail("its number of headers is negative"))?;
        if headers > *left / LEAST_HEADER_BYTES {
            return Err(fail("its headers are more than its bytes can hold"));
        }
        for _ in 0..headers {
            if !self.field(left, &fail)? {
                return Err(fail("a header has no name"));
            }
            let _has_value = self.field(left, &fail)?;
        }
        let header = &self.batch.header;
        let timestamp_ms = match header.attributes.timestamp_type() {
            TimestampType::CreateTime => header.base_timestamp_ms.wrapping_add(timestamp_delta),
            TimestampType::LogAppendTime => header.max_timestamp_ms,
        };
        Ok(Passed { index, offset: header.base_offset.plus(offset_delta), timestamp_ms, has_key })
    }

    /// Passes a field; false if it is null.
    fn field(&mut self, left: &mut usize, fail: &impl Fn(&'static str) -> Stop) -> Result<bool, Stop> {
        let length = self.number(left)?.ok_or_else(|| fail("a length in it is cut off"))?;
        if length == -1 {
            return Ok(false);
        }
        let length = usize::try_from(length).map_err(|_| fail("a length in it is negative"))?;
        if length > *left {
            return Err(fail("a length in it is larger than the record"));
        }
        self.pass(left, length)?;
        Ok(true)
    }

    /// A number of at most `left` bytes; `None` if it is longer or makes no sense.
    fn number(&mut self, left: &mut usize) -> Result<Option<i64>, Stop> {
        let mut digits = Digits::default();
        while *left > 0 {
            let byte = *self.chunk()?.first().ok_or(Stop::Short)?;
            self.consume(1)?;
            *left -= 1;
            match digits.push(byte) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    fn pass(&mut self, left: &mut usize, mut bytes: usize) -> Result<(), Stop> {
        *left -= bytes;
        while bytes > 0 {
            let here = self.chunk()?.len().min(bytes);
            if here == 0 {
                return Err(Stop::Short);
            }
            self.consume(here)?;
            bytes -= here;
        }
        Ok(())
    }

    fn has_more(&mut self) -> Result<bool, Stop> {
        let more = !self.chunk()?.is_empty();
        if more && self.taken >= self.limit { Err(Stop::TooLarge) } else { Ok(more) }
    }

    fn chunk(&mut self) -> Result<&[u8], Stop> {
        self.reader.fill_buf().map_err(|error| match error.kind() {
            ErrorKind::FileTooLarge => Stop::TooLarge,
            _ => Stop::Unpack(error),
        })
    }

    fn consume(&mut self, bytes: usize) -> Result<(), Stop> {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken > self.limit {
            return Err(Stop::TooLarge);
        }
        self.reader.consume(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::record::{BatchBuilder, BatchHeader, Compression, Record, records};

    fn batch(codec: Codec, records: &[(Option<&[u8]>, usize)]) -> Batch {
        let mut builder = BatchBuilder::new(64 << 20, Compression::of(codec));
        for (key, value_bytes) in records {
            builder.push(5, *key, Some(&vec![7; *value_bytes]), &[]).unwrap();
        }
        Batch::parse(builder.finish(None)).unwrap()
    }

    fn walked(batch: &Batch, limit: usize) -> Result<Vec<Passed>, BatchError> {
        let mut all = Vec::new();
        walk(batch, limit, |passed| {
            all.push(passed);
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    /// The same said by taking every record out.
    fn taken_out(batch: &Batch, limit: usize) -> Result<Vec<Passed>, BatchError> {
        let passed = |(index, record): (i32, Result<Record, BatchError>)| {
            let Record { offset, timestamp_ms, key, .. } = record?;
            Ok(Passed { index, offset, timestamp_ms, has_key: key.is_some() })
        };
        (0..).zip(records(batch, limit)?).map(passed).collect()
    }

    #[test]
    fn records_are_passed_in_every_codec_until_it_is_enough() {
        for codec in Codec::ALL {
            let large = batch(codec, &[(Some(b"a"), 90_000), (None, 0), (Some(b""), 200_000)]);
            assert_eq!(walked(&large, 300_000), taken_out(&large, 300_000), "{codec}");
            let mut seen = 0;
            let unpacked = walk(&large, 300_000, |passed| {
                seen += 1;
                if passed.has_key { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            assert!((90_000..91_000).contains(&unpacked.unwrap()), "{codec}");
            assert_eq!(seen, 2, "{codec}");
        }
    }

    #[test]
    fn what_unpacks_to_more_than_the_limit_is_not_unpacked_further() {
        for codec in Codec::ALL {
            let large = batch(codec, &[(Some(b"a"), 8 << 20), (Some(b"b"), 8 << 20)]);
            let go_on = |_| ControlFlow::Continue(());
            let exact = walk(&large, 64 << 20, go_on).unwrap();
            assert_eq!(walk(&large, exact, go_on), Ok(exact), "{codec}");
            for limit in [1, 1000, exact - 1] {
                let problem = walk(&large, limit, go_on).unwrap_err().problem;
                assert_eq!(problem, BatchProblem::UnpacksTooLarge { limit }, "{codec}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_walk_and_taking_records_out_agree(
            sizes in prop::collection::vec((any::<bool>(), 0_usize..400), 1..20),
            codec in 0_u8..5, at: prop::sample::Index, flip: u8, cut: bool, lie in -1_i32..2,
        ) {
            let codec = Codec::from_number(codec).unwrap();
            let records: Vec<(Option<&[u8]>, usize)> =
                sizes.iter().map(|(keyed, size)| (keyed.then_some(&b"key"[..]), *size)).collect();
            let whole = batch(codec, &records);
            let mut bytes = whole.bytes.to_vec();
            let at = HEADER_BYTES + at.index(bytes.len() - HEADER_BYTES);
            if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
            let header = BatchHeader { count: (whole.header.count + lie).max(1), ..whole.header };
            let damaged = Batch { header, bytes: Bytes::from(bytes) };
            let (walked, taken) = (walked(&damaged, 1 << 20), taken_out(&damaged, 1 << 20));
            match taken {
                Ok(taken) => prop_assert_eq!(walked.unwrap(), taken),
                Err(_) => prop_assert!(walked.is_err()),
            }
        }
    }
}
