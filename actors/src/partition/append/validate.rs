//! Whether a client's batches may be appended.
//!
//! The records themselves are looked at only where the topic is compacted (each must have a [key](keyed)): to unpack every
//! batch would cost more than all else a broker does with it, and only the consumers of the same topic would meet a lie.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::super::verify::InTransaction;
use crate::error::{ErrorCode, Refusal};
use crate::record::{Batch, BatchError, BatchHeader, BatchProblem, MAX_UNPACKED_BYTES, batches, walk};
use crate::topic_config::{TimestampType, TopicConfig};

/// How far ahead of the broker's clock a producer's timestamp may be (Kafka's default of
/// `message.timestamp.after.max.ms`): one hour. A record from the far future would stand in the way of retention.
pub const TIMESTAMP_AFTER_MAX_MS: i64 = 60 * 60 * 1000;

/// Batches that may be appended: as they came, and the header of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The batches, one behind the other.
    pub bytes: Bytes,
    /// Their headers, in order.
    pub headers: Vec<BatchHeader>,
}

impl Validated {
    /// Leaves out the first `count` batches, which are there already.
    #[must_use]
    pub fn skip(mut self, count: usize) -> Self {
        let rest = self.headers.split_off(count.min(self.headers.len()));
        let skipped: usize = self.headers.iter().map(BatchHeader::total_bytes).sum();
        self.bytes = self.bytes.slice(skipped.min(self.bytes.len())..);
        self.headers = rest;
        self
    }
}

/// Checks the batches that a client sent for one partition. All are taken, or none.
///
/// `transaction` is the one that the request is part of: only its batches may be transactional. That records have keys is not
/// looked at: see [`keyed`].
pub fn validate(
    bytes: Bytes,
    transaction: Option<&InTransaction>,
    config: &TopicConfig,
    now_ms: i64,
) -> Result<Validated, Refusal> {
    let mut headers = Vec::new();
    let mut position: usize = 0;
    for batch in batches(&bytes) {
        let batch = batch.map_err(|error| refuse(&error))?;
        check(&batch, transaction, config, now_ms).map_err(|fault| match fault {
            Fault::Batch(problem) => refuse(&BatchError::at(position, problem)),
            Fault::Told(code, text) => Refusal::new(code, format!("record batch at byte {position}: {text}")),
        })?;
        position = position.saturating_add(batch.bytes.len());
        headers.push(batch.header);
    }
    if headers.is_empty() {
        return Err(Refusal::new(ErrorCode::InvalidRecord, "no record batch was sent for the partition"));
    }
    Ok(Validated { bytes, headers })
}

enum Fault {
    Batch(BatchProblem),
    Told(ErrorCode, String),
}

impl From<BatchError> for Fault {
    fn from(error: BatchError) -> Self {
        Self::Batch(error.problem)
    }
}

fn check(
    batch: &Batch,
    transaction: Option<&InTransaction>,
    config: &TopicConfig,
    now_ms: i64,
) -> Result<(), Fault> {
    let header = &batch.header;
    size(header, config)?;
    batch.verify_checksum()?;
    header.attributes.codec().map_err(Fault::Batch)?;
    count(header)?;
    origin(header, transaction)?;
    producer(header, transaction)?;
    timestamps(header, config, now_ms)
}

fn size(header: &BatchHeader, config: &TopicConfig) -> Result<(), Fault> {
    let (bytes, most) = (header.total_bytes(), config.max_message_bytes);
    if u32::try_from(bytes).is_ok_and(|bytes| bytes <= most) {
        return Ok(());
    }
    Err(Fault::Told(
        ErrorCode::MessageTooLarge,
        format!("{bytes} bytes, max.message.bytes is {most}: send smaller batches or raise the setting"),
    ))
}

/// A client's batch has a record at every offset; only compaction makes holes.
fn count(header: &BatchHeader) -> Result<(), Fault> {
    if header.count > 0 && header.last_offset_delta.checked_add(1) == Some(header.count) {
        return Ok(());
    }
    Err(Fault::Batch(BatchProblem::Count {
        count: header.count,
        last_offset_delta: header.last_offset_delta,
        bytes: header.total_bytes(),
    }))
}

fn origin(header: &BatchHeader, transaction: Option<&InTransaction>) -> Result<(), Fault> {
    if header.attributes.is_control() {
        let text = "a control batch, which only brokers write".to_owned();
        return Err(Fault::Told(ErrorCode::InvalidRecord, text));
    }
    if header.attributes.has_delete_horizon() {
        let text = "a batch with a delete horizon, which only compaction sets".to_owned();
        return Err(Fault::Told(ErrorCode::InvalidRecord, text));
    }
    if header.attributes.is_transactional() && transaction.is_none() {
        let text = "part of a transaction, and the request names no transactional.id".to_owned();
        return Err(Fault::Told(ErrorCode::InvalidTxnState, text));
    }
    if header.attributes.is_transactional() && header.producer().is_none() {
        let text = "part of a transaction of no producer".to_owned();
        return Err(Fault::Told(ErrorCode::InvalidRecord, text));
    }
    Ok(())
}

fn producer(header: &BatchHeader, transaction: Option<&InTransaction>) -> Result<(), Fault> {
    let (id, epoch, sequence) = (header.producer_id, header.producer_epoch, header.base_sequence);
    let idempotent = id >= 0 && epoch >= 0 && sequence >= 0;
    // Epoch and sequence of nobody mean nothing: kafkajs leaves both at 0.
    let plain = id == -1;
    let by_coordinator = transaction.is_some_and(|transaction| transaction.by_coordinator);
    let unnumbered = by_coordinator && id >= 0 && epoch >= 0 && sequence == -1;
    if idempotent || plain || unnumbered {
        return Ok(());
    }
    Err(Fault::Told(
        ErrorCode::InvalidRecord,
        format!(
            "producer id {id}, epoch {epoch} and sequence {sequence} are neither all given nor is the id -1"
        ),
    ))
}

fn timestamps(header: &BatchHeader, config: &TopicConfig, now_ms: i64) -> Result<(), Fault> {
    if header.attributes.timestamp_type() == TimestampType::LogAppendTime {
        let text = "the timestamp type is LogAppendTime, which only brokers set".to_owned();
        return Err(Fault::Told(ErrorCode::InvalidTimestamp, text));
    }
    let latest_ms = now_ms.saturating_add(TIMESTAMP_AFTER_MAX_MS);
    if config.timestamp_type == TimestampType::CreateTime && header.max_timestamp_ms > latest_ms {
        let text = format!(
            "timestamp {} is over an hour ahead of the broker's clock, {now_ms}: set the producer's clock right",
            header.max_timestamp_ms
        );
        return Err(Fault::Told(ErrorCode::InvalidTimestamp, text));
    }
    Ok(())
}

/// Checks that each record of these batches, which are [valid](validate), has a key, as a compacted topic needs. Gives the
/// bytes that were unpacked for it, or `None` where they would be more than `most_bytes`.
pub fn keyed(bytes: &Bytes, most_bytes: usize) -> Result<Option<usize>, Refusal> {
    let mut unpacked: usize = 0;
    let mut position: usize = 0;
    for batch in batches(bytes) {
        let batch = batch.map_err(|error| refuse(&error))?;
        let left = most_bytes.saturating_sub(unpacked);
        let mut keyless = None;
        let walked = walk(&batch, left.min(MAX_UNPACKED_BYTES), |passed| {
            if passed.has_key {
                return ControlFlow::Continue(());
            }
            keyless = Some(passed.index);
            ControlFlow::Break(())
        });
        let here = match walked {
            Ok(here) => here,
            Err(BatchError { problem: BatchProblem::UnpacksTooLarge { .. }, .. })
                if left < MAX_UNPACKED_BYTES =>
            {
                return Ok(None);
            }
            Err(error) => return Err(refuse(&BatchError::at(position, error.problem))),
        };
        if let Some(index) = keyless {
            let text = format!(
                "record batch at byte {position}: record {index} has no key, which a compacted topic needs"
            );
            return Err(Refusal::new(ErrorCode::InvalidRecord, text));
        }
        unpacked = unpacked.saturating_add(here);
        position = position.saturating_add(batch.bytes.len());
    }
    Ok(Some(unpacked))
}

fn refuse(error: &BatchError) -> Refusal {
    let code = match error.problem {
        BatchProblem::CutOff { .. }
        | BatchProblem::Length(_)
        | BatchProblem::Checksum { .. }
        | BatchProblem::Unpack { .. } => ErrorCode::CorruptMessage,
        BatchProblem::Codec(_) => ErrorCode::UnsupportedCompressionType,
        BatchProblem::UnpacksTooLarge { .. } => ErrorCode::MessageTooLarge,
        BatchProblem::Magic(_) | BatchProblem::Count { .. } | BatchProblem::Record { .. } => {
            ErrorCode::InvalidRecord
        }
    };
    Refusal::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::ProducerId;
    use crate::record::{BatchBuilder, Codec, Compression, ProducerStamp, records, set_append_time};

    const NOW_MS: i64 = 1_700_000_000_000;

    fn batch(key: Option<&[u8]>, timestamp_ms: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(10_000, Compression::of(Codec::Lz4));
        for _ in 0..3 {
            builder.push(timestamp_ms, key, Some(&[5; 100]), &[]).unwrap();
        }
        builder.finish(None).to_vec()
    }

    /// The batch with other bytes somewhere, and the checksum that belongs to them.
    fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut batch = batch(None, NOW_MS);
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        let computed = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &batch[21..]);
        batch[17..21].copy_from_slice(&u32::try_from(computed).unwrap().to_be_bytes());
        batch
    }

    fn code(bytes: Vec<u8>, config: &TopicConfig) -> Option<ErrorCode> {
        validate(bytes.into(), None, config, NOW_MS).err().map(|refusal| refusal.code)
    }

    #[test]
    fn good_batches_are_taken_with_their_headers() {
        let bytes = Bytes::from([batch(None, NOW_MS), batch(Some(b"k"), 0)].concat());
        let validated = validate(bytes.clone(), None, &TopicConfig::default(), NOW_MS).unwrap();
        assert_eq!(validated.headers.len(), 2);
        assert_eq!(validated.bytes, bytes);
        let rest = validated.clone().skip(1);
        assert_eq!(rest.headers, validated.headers[1..]);
        assert_eq!(rest.bytes, bytes[validated.headers[0].total_bytes()..]);
        assert!(validated.skip(9).headers.is_empty());
    }

    #[test]
    fn each_fault_has_kafkas_code() {
        let config = TopicConfig::default();
        let mut flipped = batch(None, NOW_MS);
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(code(flipped, &config), Some(ErrorCode::CorruptMessage));
        assert_eq!(code(batch(None, NOW_MS)[..80].to_vec(), &config), Some(ErrorCode::CorruptMessage));
        assert_eq!(code(Vec::new(), &config), Some(ErrorCode::InvalidRecord));
        assert_eq!(code(patched(16, &[1]), &config), Some(ErrorCode::InvalidRecord));
        assert_eq!(code(patched(22, &[7]), &config), Some(ErrorCode::UnsupportedCompressionType));
        assert_eq!(code(patched(22, &[0b10_0011]), &config), Some(ErrorCode::InvalidRecord));
        assert_eq!(code(patched(22, &[0b100_0011]), &config), Some(ErrorCode::InvalidRecord));
        assert_eq!(code(patched(22, &[0b01_0011]), &config), Some(ErrorCode::InvalidTxnState));
        assert_eq!(code(patched(23, &7_i32.to_be_bytes()), &config), Some(ErrorCode::InvalidRecord));
        assert_eq!(code(patched(43, &7_i64.to_be_bytes()), &config), Some(ErrorCode::InvalidRecord));
    }

    #[test]
    fn an_idempotent_batch_is_taken() {
        let mut builder = BatchBuilder::new(1000, Compression::NONE);
        builder.push(NOW_MS, None, None, &[]).unwrap();
        let stamp = ProducerStamp { id: ProducerId(0), epoch: 0, base_sequence: 0 };
        assert_eq!(code(builder.finish(Some(stamp)).to_vec(), &TopicConfig::default()), None);
    }

    #[test]
    fn without_a_producer_id_epoch_and_sequence_may_be_anything_as_kafkajs_sends_zeros() {
        let config = TopicConfig::default();
        assert_eq!(code(patched(51, &[0; 6]), &config), None);
        assert_eq!(code(patched(43, &(-2_i64).to_be_bytes()), &config), Some(ErrorCode::InvalidRecord));
    }

    #[test]
    fn a_batch_over_the_topics_bound_is_refused_with_both_sizes() {
        let config = TopicConfig { max_message_bytes: 100, ..TopicConfig::default() };
        let refusal = validate(batch(None, NOW_MS).into(), None, &config, NOW_MS).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::MessageTooLarge);
        assert!(refusal.text.contains("max.message.bytes is 100"), "{refusal}");
    }

    #[test]
    fn a_timestamp_from_the_future_is_refused_where_it_would_be_kept() {
        let late = batch(None, NOW_MS + TIMESTAMP_AFTER_MAX_MS + 1);
        assert_eq!(code(late.clone(), &TopicConfig::default()), Some(ErrorCode::InvalidTimestamp));
        let config = TopicConfig { timestamp_type: TimestampType::LogAppendTime, ..TopicConfig::default() };
        assert_eq!(code(late, &config), None);
        let mut stamped = batch(None, NOW_MS);
        set_append_time(&mut stamped, NOW_MS).unwrap();
        assert_eq!(code(stamped, &config), Some(ErrorCode::InvalidTimestamp));
    }

    #[test]
    fn a_compacted_topic_takes_no_record_without_a_key_and_no_batch_as_compaction_leaves_them() {
        let config = TopicConfig { compact: true, ..TopicConfig::default() };
        let good = batch(Some(b"k"), NOW_MS);
        let refusal = keyed(&[good.clone(), batch(None, NOW_MS)].concat().into(), 10_000).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidRecord);
        assert!(refusal.text.contains(&format!("at byte {}: record 0", good.len())), "{refusal}");
        assert_eq!(code(good, &config), None);
        let whole = Batch::parse(batch(Some(b"k"), NOW_MS).into()).unwrap();
        let kept: Vec<_> = records(&whole, 10_000).unwrap().map(Result::unwrap).take(2).collect();
        let fewer = crate::record::retain(&whole, &kept, None).unwrap();
        assert_eq!(code(fewer.to_vec(), &config), Some(ErrorCode::InvalidRecord));
        let none = crate::record::empty(&whole.header);
        assert_eq!(code(none.to_vec(), &config), Some(ErrorCode::InvalidRecord));
    }

    #[test]
    fn keys_are_looked_for_in_so_many_bytes_of_all_batches_together() {
        let two = Bytes::from([batch(Some(b"k"), NOW_MS), batch(Some(b"k"), NOW_MS)].concat());
        let unpacked = keyed(&two, 10_000).unwrap().unwrap();
        assert!((600..700).contains(&unpacked), "{unpacked}");
        assert_eq!(keyed(&two, unpacked), Ok(Some(unpacked)));
        assert_eq!(keyed(&two, unpacked - 1), Ok(None));
    }

    #[test]
    fn one_bad_batch_refuses_all_and_says_where() {
        let good = batch(None, NOW_MS);
        let mut bytes = [good.clone(), good.clone()].concat();
        *bytes.last_mut().unwrap() ^= 1;
        let refusal = validate(bytes.into(), None, &TopicConfig::default(), NOW_MS).unwrap_err();
        assert!(refusal.text.contains(&format!("at byte {}", good.len())), "{refusal}");
    }

    proptest! {
        #[test]
        fn garbage_is_refused(bytes: Vec<u8>, compact: bool) {
            let config = TopicConfig { compact, ..TopicConfig::default() };
            prop_assert!(validate(bytes.into(), None, &config, NOW_MS).is_err());
        }

        #[test]
        fn a_flipped_bit_is_refused_unless_the_broker_writes_there(at: prop::sample::Index, bit in 0..8) {
            let mut bytes = batch(Some(b"k"), NOW_MS);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            // Base offset and leader epoch are the broker's to write.
            let free = at < 8 || (12..16).contains(&at);
            prop_assert_eq!(code(bytes, &TopicConfig::default()).is_none(), free);
        }
    }
}
