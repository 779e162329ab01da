//! A producer table as bytes, for the start after this one.
//!
//! ```text
//! "MSPT" | version u16 = 2 | offset i64 | producers u32 | each: id i64, epoch i16, touched i64, batches u8,
//!   each: first and last sequence i32, first and last offset i64;
//!   coordinator epoch i32, marker i64, first offset of the open transaction i64, -1 for none |
//! markers perhaps uncommitted u32 | each: first offset and marker i64 |
//! aborted transactions u32 | each: producer, first offset, marker, last stable offset i64 |
//! crc32c of all before it u32        (big endian)
//! ```
//!
//! Version 1 knew nothing of transactions, of which there were none.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use crc_fast::CrcAlgorithm;

use super::producers::{Entry, ProducerLimits, ProducerTable, REMEMBERED, Span};
use super::transactions::AbortedTransaction;
use crate::ids::{Offset, ProducerId};

const MAGIC: &[u8; 4] = b"MSPT";
const VERSION: u16 = 2;
/// The first version that tells of transactions.
const TRANSACTIONS_FROM: u16 = 2;
const CHECKSUM_BYTES: usize = 4;
const PRODUCER_BYTES: usize = 19;
const MARKER_BYTES: usize = 16;
const ABORTED_BYTES: usize = 32;
/// For offsets and epochs that there are not.
const NONE: i64 = -1;

/// A snapshot cannot be used; the table is rebuilt from the log instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It is not whole, or its checksum is wrong.
    #[error("the producer snapshot is corrupt")]
    Corrupt,
    /// A later program wrote it.
    #[error(
        "the producer snapshot has version {0}, this program knows {VERSION}: use the program that wrote it"
    )]
    Newer(u16),
}

impl ProducerTable {
    /// The table as bytes; it holds everything below `upto`.
    #[must_use]
    pub fn snapshot(&self, upto: Offset) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(MAGIC);
        out.put_u16(VERSION);
        out.put_i64(upto.0);
        out.put_u32(u32::try_from(self.producers.len()).unwrap_or(u32::MAX));
        for (id, entry) in &self.producers {
            out.put_i64(id.0);
            out.put_i16(entry.epoch);
            out.put_i64(entry.touched_ms);
            out.put_u8(u8::try_from(entry.spans.len()).unwrap_or(u8::MAX));
            for span in &entry.spans {
                out.put_i32(span.first_sequence);
                out.put_i32(span.last_sequence);
                out.put_i64(span.first_offset.0);
                out.put_i64(span.last_offset.0);
            }
            out.put_i32(entry.coordinator_epoch.unwrap_or(-1));
            out.put_i64(entry.marker.map_or(NONE, |marker| marker.0));
            out.put_i64(self.transactions.first(*id).map_or(NONE, |first| first.0));
        }
        self.put_ended(&mut out);
        out.put_u32(checksum(&out));
        out.freeze()
    }

    fn put_ended(&self, out: &mut BytesMut) {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        out.put_u32(count(self.transactions.uncommitted.len()));
        for (first, marker) in &self.transactions.uncommitted {
            out.put_i64(first.0);
            out.put_i64(marker.0);
        }
        out.put_u32(count(self.transactions.aborted.len()));
        for aborted in &self.transactions.aborted {
            out.put_i64(aborted.producer_id.0);
            out.put_i64(aborted.first.0);
            out.put_i64(aborted.last.0);
            out.put_i64(aborted.last_stable.0);
        }
    }

    /// The table of a snapshot, and the offset from which on it wants to be replayed.
    pub fn restore(snapshot: &[u8], limits: ProducerLimits) -> Result<(Self, Offset), SnapshotError> {
        let (version, mut body) = checked(snapshot)?;
        let upto = Offset(body.try_get_i64().map_err(|_| SnapshotError::Corrupt)?);
        let mut table = Self::new(limits);
        read_table(version, &mut body, &mut table).ok_or(SnapshotError::Corrupt)?;
        Ok((table, upto))
    }
}

/// The version, and what stands between it and the checksum.
fn checked(snapshot: &[u8]) -> Result<(u16, &[u8]), SnapshotError> {
    let (magic, rest) = snapshot.split_first_chunk::<4>().ok_or(SnapshotError::Corrupt)?;
    let (version, _) = rest.split_first_chunk::<2>().ok_or(SnapshotError::Corrupt)?;
    let version = u16::from_be_bytes(*version);
    if magic != MAGIC {
        return Err(SnapshotError::Corrupt);
    }
    if version > VERSION {
        return Err(SnapshotError::Newer(version));
    }
    let (body, stored) = snapshot.split_last_chunk::<CHECKSUM_BYTES>().ok_or(SnapshotError::Corrupt)?;
    if version == 0 || u32::from_be_bytes(*stored) != checksum(body) {
        return Err(SnapshotError::Corrupt);
    }
    let body = body.get(MAGIC.len().saturating_add(2)..).ok_or(SnapshotError::Corrupt)?;
    Ok((version, body))
}

fn read_table(version: u16, body: &mut &[u8], table: &mut ProducerTable) -> Option<()> {
    let knows_transactions = version >= TRANSACTIONS_FROM;
    for _ in 0..count(body, PRODUCER_BYTES)? {
        let id = ProducerId(body.try_get_i64().ok()?);
        let mut entry = read_entry(body)?;
        let mut transaction = None;
        if knows_transactions {
            entry.coordinator_epoch = Some(body.try_get_i32().ok()?).filter(|epoch| *epoch >= 0);
            entry.marker = read_offset(body)?;
            transaction = read_offset(body)?;
        }
        table.insert(id, entry, transaction);
    }
    if knows_transactions {
        read_ended(body, table)?;
    }
    body.is_empty().then_some(())
}

fn read_ended(body: &mut &[u8], table: &mut ProducerTable) -> Option<()> {
    for _ in 0..count(body, MARKER_BYTES)? {
        let ended = (Offset(body.try_get_i64().ok()?), Offset(body.try_get_i64().ok()?));
        table.transactions.uncommitted.push_back(ended);
    }
    for _ in 0..count(body, ABORTED_BYTES)? {
        table.transactions.aborted(AbortedTransaction {
            producer_id: ProducerId(body.try_get_i64().ok()?),
            first: Offset(body.try_get_i64().ok()?),
            last: Offset(body.try_get_i64().ok()?),
            last_stable: Offset(body.try_get_i64().ok()?),
        });
    }
    Some(())
}

/// A count of things of at least so many bytes: not more than the bytes left can hold.
fn count(body: &mut &[u8], bytes_each: usize) -> Option<usize> {
    let count = usize::try_from(body.try_get_u32().ok()?).ok()?;
    (count <= body.len() / bytes_each).then_some(count)
}

fn read_offset(body: &mut &[u8]) -> Option<Option<Offset>> {
    Some(Some(Offset(body.try_get_i64().ok()?)).filter(|offset| offset.0 != NONE))
}

fn read_entry(body: &mut &[u8]) -> Option<Entry> {
    let mut entry =
        Entry { epoch: body.try_get_i16().ok()?, touched_ms: body.try_get_i64().ok()?, ..Entry::default() };
    let spans = usize::from(body.try_get_u8().ok()?);
    if spans > REMEMBERED {
        return None;
    }
    for _ in 0..spans {
        entry.spans.push_back(Span {
            first_sequence: body.try_get_i32().ok()?,
            last_sequence: body.try_get_i32().ok()?,
            first_offset: Offset(body.try_get_i64().ok()?),
            last_offset: Offset(body.try_get_i64().ok()?),
        });
    }
    Some(entry)
}

fn checksum(bytes: &[u8]) -> u32 {
    u32::try_from(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table() -> ProducerTable {
        let span = |first: i32| Span {
            first_sequence: first,
            last_sequence: first + 4,
            first_offset: Offset(i64::from(first) + 100),
            last_offset: Offset(i64::from(first) + 104),
        };
        let mut table = ProducerTable::default();
        let spans = [span(0), span(5)].into();
        let entry = Entry { epoch: 2, touched_ms: 1_700_000_000_000, spans, ..Entry::default() };
        table.insert(ProducerId(7), entry, None);
        table
    }

    /// Another producer with an open transaction, one aborted, and a marker that may be lost yet.
    fn table_with_transactions() -> ProducerTable {
        let mut table = table();
        let entry = Entry { coordinator_epoch: Some(3), marker: Some(Offset(64)), ..Entry::default() };
        table.insert(ProducerId(8), entry, Some(Offset(96)));
        table.transactions.uncommitted.push_back((Offset(32), Offset(64)));
        table.transactions.aborted(AbortedTransaction {
            producer_id: ProducerId(8),
            first: Offset(32),
            last: Offset(64),
            last_stable: Offset(65),
        });
        table
    }

    /// Version 1, as it will be read for ever.
    #[rustfmt::skip]
    const GOLDEN: &[u8] = &[
        0x4d, 0x53, 0x50, 0x54, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x6e, 0x00, 0x00,
        0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x00, 0x02, 0x00, 0x00, 0x01, 0x8b,
        0xcf, 0xe5, 0x68, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x64, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x68, 0x00, 0x00, 0x00,
        0x05, 0x00, 0x00, 0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x69, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x6d, 0xff, 0x02, 0x3e, 0x3c,
    ];

    /// Version 2 of the table with transactions: between the producers and the checksum.
    #[rustfmt::skip]
    const GOLDEN_2: &[u8] = &[
        0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x40,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x41,
    ];

    /// The second producer of it.
    #[rustfmt::skip]
    const GOLDEN_2_PRODUCER: &[u8] = &[
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x60,
    ];

    #[test]
    fn version_2_is_written_and_read_as_ever() {
        let table = table_with_transactions();
        let bytes = table.snapshot(Offset(110));
        let first = &GOLDEN[18..GOLDEN.len() - CHECKSUM_BYTES];
        let none = [[0xff; 20].as_slice()].concat();
        let body = [&GOLDEN[..5], &[2], &GOLDEN[6..17], &[2], first, &none, GOLDEN_2_PRODUCER, GOLDEN_2];
        assert_eq!(bytes[..bytes.len() - CHECKSUM_BYTES], body.concat());
        assert_eq!(ProducerTable::restore(&bytes, ProducerLimits::default()), Ok((table, Offset(110))));
    }

    #[test]
    fn version_1_is_read_as_ever() {
        assert_eq!(ProducerTable::restore(GOLDEN, ProducerLimits::default()), Ok((table(), Offset(110))));
    }

    #[test]
    fn a_later_version_is_named() {
        let mut bytes = GOLDEN.to_vec();
        bytes[5] = 3;
        let error = ProducerTable::restore(&bytes, ProducerLimits::default()).unwrap_err();
        assert_eq!(error, SnapshotError::Newer(3));
    }

    #[test]
    fn a_flipped_or_missing_byte_is_found() {
        for at in 0..GOLDEN.len() {
            let mut bytes = GOLDEN.to_vec();
            bytes[at] ^= 0x40;
            assert!(ProducerTable::restore(&bytes, ProducerLimits::default()).is_err(), "byte {at}");
            assert!(ProducerTable::restore(&GOLDEN[..at], ProducerLimits::default()).is_err());
        }
    }

    #[test]
    fn a_count_that_the_bytes_cannot_hold_is_refused() {
        let mut bytes = GOLDEN[..GOLDEN.len() - CHECKSUM_BYTES].to_vec();
        bytes[14..18].copy_from_slice(&u32::MAX.to_be_bytes());
        bytes.put_u32(checksum(&bytes));
        assert_eq!(ProducerTable::restore(&bytes, ProducerLimits::default()), Err(SnapshotError::Corrupt));
    }

    proptest! {
        #[test]
        fn garbage_is_refused(bytes: Vec<u8>) {
            prop_assert!(ProducerTable::restore(&bytes, ProducerLimits::default()).is_err());
        }
    }
}
