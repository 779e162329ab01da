//! The fixed header of a batch.
//!
//! ```text
//!  0 base offset i64         | 23 last offset delta i32 | 51 producer epoch i16
//!  8 length i32 (after it)   | 27 base timestamp i64    | 53 base sequence i32
//! 12 leader epoch i32        | 35 max timestamp i64     | 57 count i32
//! 16 magic i8 = 2            | 43 producer id i64       | 61 records, compressed together
//! 17 checksum u32 (crc32c of all behind it)
//! 21 attributes i16: codec 0-2, append time 3, transactional 4, control 5, delete horizon 6
//! ```

use std::fmt;

use bytes::{Buf, BufMut};
use crc_fast::CrcAlgorithm;

use super::codec::Codec;
use super::problem::{BatchError, BatchProblem};
use crate::ids::{LeaderEpoch, Offset, ProducerId};
use crate::topic_config::TimestampType;

/// Bytes of a batch's header.
pub const HEADER_BYTES: usize = 61;

/// The timestamp of a record that has none.
pub const NO_TIMESTAMP: i64 = -1;

/// Bytes before and in the length field: what the length does not count.
pub(super) const UNCOUNTED_BYTES: usize = 12;

/// Where the bytes begin that the checksum covers.
pub(super) const CHECKED_FROM: usize = 21;

/// The least bytes of one record: length, attributes, two deltas, key, value, number of headers.
pub(super) const LEAST_RECORD_BYTES: usize = 7;

const MAGIC: i8 = 2;

/// The attributes of a batch.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0b111;
    const APPEND_TIME: i16 = 0b1000;
    const TRANSACTIONAL: i16 = 0b1_0000;
    const CONTROL: i16 = 0b10_0000;
    const DELETE_HORIZON: i16 = 0b100_0000;

    /// The attributes of a client's batch with this codec.
    #[must_use]
    pub fn with_codec(codec: Codec) -> Self {
        Self(i16::from(codec.number()))
    }

    /// The same, with the broker's timestamp.
    #[must_use]
    pub const fn with_append_time(self) -> Self {
        Self(self.0 | Self::APPEND_TIME)
    }

    /// How the records are compressed.
    pub fn codec(self) -> Result<Codec, BatchProblem> {
        let number = u8::try_from(self.0 & Self::CODEC).unwrap_or(u8::MAX);
        Codec::from_number(number).ok_or(BatchProblem::Codec(number))
    }

    /// Whose the timestamps are.
    #[must_use]
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::APPEND_TIME == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    /// The same, as part of a transaction.
    #[must_use]
    pub const fn as_transactional(self) -> Self {
        Self(self.0 | Self::TRANSACTIONAL)
    }

    /// The same, of a batch that a broker writes about transactions.
    #[must_use]
    pub(super) const fn as_control(self) -> Self {
        Self(self.0 | Self::CONTROL)
    }

    /// Part of a transaction.
    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// The base timestamp is the time from which on the batch's tombstones may go (KIP-534).
    #[must_use]
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same, with the base timestamp being the delete horizon.
    #[must_use]
    pub const fn with_delete_horizon(self) -> Self {
        Self(self.0 | Self::DELETE_HORIZON)
    }

    /// The same of a batch without records: nothing is compressed, no tombstone waits.
    #[must_use]
    pub const fn of_none(self) -> Self {
        Self(self.0 & !(Self::CODEC | Self::DELETE_HORIZON))
    }

    /// Written by a broker about transactions, not by a client.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Attributes({:#08b})", self.0)
    }
}

/// The header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; what a producer writes here is replaced.
    pub base_offset: Offset,
    /// Bytes behind the length field.
    pub length: i32,
    /// The leader epoch in which it was appended; not covered by the checksum.
    pub leader_epoch: LeaderEpoch,
    /// crc32c of everything behind it.
    pub checksum: u32,
    /// Codec, timestamp type, transaction bits.
    pub attributes: Attributes,
    /// Offset of the last record less that of the first.
    pub last_offset_delta: i32,
    /// Timestamp that the records' own count from.
    pub base_timestamp_ms: i64,
    /// The largest timestamp; every record's where the broker gives them.
    pub max_timestamp_ms: i64,
    /// The producer's id, or -1.
    pub producer_id: i64,
    /// The producer's epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Number of records; compaction may leave fewer than offsets.
    pub count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, and checks what can be known from it alone: the format's version,
    /// the length, that so many records can be in so many bytes. The rest of the batch need not be there.
    ///
    /// An error's position is 0: add where `bytes` came from.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        Self::read(bytes).map_err(|problem| BatchError::at(0, problem))
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, BatchProblem> {
        let cut_off = BatchProblem::CutOff { needed: HEADER_BYTES, found: bytes.len() };
        let mut fields = bytes.get(..HEADER_BYTES).ok_or(cut_off)?;
        let base_offset = Offset(fields.get_i64());
        let length = fields.get_i32();
        let leader_epoch = LeaderEpoch(fields.get_i32());
        let magic = fields.get_i8();
        if magic != MAGIC {
            return Err(BatchProblem::Magic(magic));
        }
        let header = Self {
            base_offset,
            length,
            leader_epoch,
            checksum: fields.get_u32(),
            attributes: Attributes(fields.get_i16()),
            last_offset_delta: fields.get_i32(),
            base_timestamp_ms: fields.get_i64(),
            max_timestamp_ms: fields.get_i64(),
            producer_id: fields.get_i64(),
            producer_epoch: fields.get_i16(),
            base_sequence: fields.get_i32(),
            count: fields.get_i32(),
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), BatchProblem> {
        let total = usize::try_from(self.length).ok().and_then(|length| length.checked_add(UNCOUNTED_BYTES));
        let Some(bytes) = total.and_then(|total| total.checked_sub(HEADER_BYTES)) else {
            return Err(BatchProblem::Length(self.length));
        };
        let room = match self.attributes.codec() {
            Ok(Codec::None) => bytes / LEAST_RECORD_BYTES,
            _ => usize::MAX,
        };
        let counted = usize::try_from(self.count).is_ok_and(|count| count <= room);
        // As 64 bits: a delta of i32::MAX has one record more.
        let spans = i64::from(self.last_offset_delta).saturating_add(1);
        if !counted || self.last_offset_delta < 0 || i64::from(self.count) > spans {
            let last_offset_delta = self.last_offset_delta;
            return Err(BatchProblem::Count { count: self.count, last_offset_delta, bytes });
        }
        Ok(())
    }

    /// Bytes of the whole batch, header and all.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        usize::try_from(self.length).unwrap_or(0).saturating_add(UNCOUNTED_BYTES)
    }

    /// Offset of the last record.
    #[must_use]
    pub const fn last_offset(&self) -> Offset {
        self.base_offset.plus(self.last_offset_delta as i64)
    }

    /// The offset that follows the batch.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    /// When its tombstones may go, once compaction has set that (KIP-534).
    #[must_use]
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp_ms)
    }

    /// About when its first record was written: after compaction the base timestamp may be another time, or none.
    #[must_use]
    pub const fn written_ms(&self) -> i64 {
        let is_other = self.count == 0 || self.attributes.has_delete_horizon();
        if is_other { self.max_timestamp_ms } else { self.base_timestamp_ms }
    }

    /// Stands for offsets whose records compaction has removed, and for nothing else.
    #[must_use]
    pub fn is_hole(&self) -> bool {
        self.count == 0 && self.producer().is_none() && !self.attributes.is_control()
    }

    /// Writes the header into `batch`, which has room for it before its records: with the length of all that and the
    /// checksum that belongs to it.
    pub(super) fn seal(self, batch: &mut [u8]) {
        let length = batch.len().saturating_sub(UNCOUNTED_BYTES);
        let mut header = batch.get_mut(..HEADER_BYTES).unwrap_or_default();
        header.put_i64(self.base_offset.0);
        header.put_i32(i32::try_from(length).unwrap_or(i32::MAX));
        header.put_i32(self.leader_epoch.0);
        header.put_i8(MAGIC);
        header.put_u32(0);
        header.put_i16(self.attributes.0);
        header.put_i32(self.last_offset_delta);
        header.put_i64(self.base_timestamp_ms);
        header.put_i64(self.max_timestamp_ms);
        header.put_i64(self.producer_id);
        header.put_i16(self.producer_epoch);
        header.put_i32(self.base_sequence);
        header.put_i32(self.count);
        let computed = checksum(batch);
        if let Some(field) = batch.get_mut(17..21) {
            field.copy_from_slice(&computed.to_be_bytes());
        }
    }

    /// The idempotent producer that wrote it, if one did.
    #[must_use]
    pub fn producer(&self) -> Option<ProducerId> {
        (self.producer_id >= 0).then_some(ProducerId(self.producer_id))
    }

    /// Sequence number of the last record; wraps from `i32::MAX` to 0.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        add_sequence(self.base_sequence, self.last_offset_delta)
    }
}

/// The sequence number `by` further; the one behind `i32::MAX` is 0.
#[must_use]
pub(crate) const fn add_sequence(sequence: i32, by: i32) -> i32 {
    match sequence.checked_add(by) {
        Some(sum) => sum,
        None => by - (i32::MAX - sequence) - 1,
    }
}

/// The crc32c of what a batch's checksum covers; 0 for bytes shorter than a header.
#[must_use]
pub(super) fn checksum(batch: &[u8]) -> u32 {
    let checked = batch.get(CHECKED_FROM..).unwrap_or_default();
    u32::try_from(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, checked)).unwrap_or(0)
}

/// Holds the checksum of one whole batch against its bytes.
pub fn verify_checksum(batch: &[u8]) -> Result<(), BatchError> {
    let header = BatchHeader::parse(batch)?;
    let needed = header.total_bytes();
    let problem = match batch.get(..needed) {
        None => BatchProblem::CutOff { needed, found: batch.len() },
        Some(whole) => {
            let computed = checksum(whole);
            if computed == header.checksum {
                return Ok(());
            }
            BatchProblem::Checksum { stored: header.checksum, computed }
        }
    };
    Err(BatchError::at(0, problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::golden::TWO_RECORDS;

    fn patched(at: usize, bytes: &[u8]) -> Result<BatchHeader, BatchProblem> {
        let mut batch = TWO_RECORDS.to_vec();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        BatchHeader::read(&batch)
    }

    #[test]
    fn every_field_is_read() {
        let header = BatchHeader::parse(TWO_RECORDS).unwrap();
        assert_eq!(header.total_bytes(), TWO_RECORDS.len());
        assert_eq!(
            (header.base_offset, header.last_offset(), header.next_offset()),
            (Offset(7), Offset(8), Offset(9))
        );
        assert_eq!(header.leader_epoch, LeaderEpoch(3));
        assert_eq!(
            (header.base_timestamp_ms, header.max_timestamp_ms),
            (1_700_000_000_000, 1_700_000_000_005)
        );
        assert_eq!((header.producer(), header.producer_epoch), (Some(ProducerId(42)), 1));
        assert_eq!((header.base_sequence, header.last_sequence(), header.count), (10, 11, 2));
        assert_eq!(header.attributes.codec(), Ok(Codec::None));
        assert_eq!(header.attributes.timestamp_type(), TimestampType::CreateTime);
        assert!(!header.attributes.is_transactional() && !header.attributes.is_control());
    }

    #[test]
    fn a_header_that_is_not_whole_is_refused_with_what_is_missing() {
        let error = BatchHeader::parse(&TWO_RECORDS[..60]).unwrap_err();
        assert_eq!(error.to_string(), "record batch at byte 0: cut off: 61 bytes are needed, 60 are there");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(patched(16, &[1]), Err(BatchProblem::Magic(1)));
        assert_eq!(patched(8, &48_i32.to_be_bytes()), Err(BatchProblem::Length(48)));
        assert_eq!(patched(8, &(-1_i32).to_be_bytes()), Err(BatchProblem::Length(-1)));
        assert!(matches!(patched(57, &3_i32.to_be_bytes()), Err(BatchProblem::Count { count: 3, .. })));
        assert!(matches!(patched(57, &(-1_i32).to_be_bytes()), Err(BatchProblem::Count { .. })));
        assert!(matches!(patched(23, &(-1_i32).to_be_bytes()), Err(BatchProblem::Count { .. })));
    }

    #[test]
    fn more_records_than_fit_the_bytes_are_refused() {
        let mut batch = TWO_RECORDS.to_vec();
        batch[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
        batch[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(matches!(BatchHeader::read(&batch), Err(BatchProblem::Count { count: i32::MAX, .. })));
    }

    #[test]
    fn a_flipped_bit_anywhere_behind_the_checksum_is_found() {
        for at in CHECKED_FROM..TWO_RECORDS.len() {
            let mut batch = TWO_RECORDS.to_vec();
            batch[at] ^= 0x10;
            assert!(verify_checksum(&batch).is_err(), "byte {at}");
        }
        assert_eq!(verify_checksum(TWO_RECORDS), Ok(()));
    }

    #[test]
    fn a_sequence_wraps_from_the_largest_to_zero() {
        assert_eq!(add_sequence(i32::MAX, 0), i32::MAX);
        assert_eq!(add_sequence(i32::MAX, 1), 0);
        assert_eq!(add_sequence(i32::MAX - 1, 5), 3);
        assert_eq!(add_sequence(i32::MAX, i32::MAX), i32::MAX - 1);
        assert_eq!(add_sequence(0, 5), 5);
    }
}
