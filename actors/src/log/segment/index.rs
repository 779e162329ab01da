//! The sparse index of a segment: for some of its batches the position, and the largest timestamp before it.
//!
//! It is a hint, never the truth: a look-up is checked against the batch that it leads to, and an index that is missing
//! or wrong is rebuilt from the batches. So its file is not synced. Blocks of entries are appended to it while the
//! segment is active; a footer at the end says that the segment is sealed and how long it is.
//!
//! ```text
//! block:  0, file id u64, count u32, then count times: offset i64, position u64, largest timestamp before it i64
//! footer: 1, file id u64, length u64, offset behind the last batch i64, largest timestamp i64
//! ```
//!
//! Each in an envelope of its own.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use millstream_transport::world::{Disk, OpenMode};

use super::super::directory::read_small;
use super::super::error::LogError;
use super::super::persisted::{ENVELOPE_BYTES, INDEX_BLOCK, Reader, seal, unseal};
use crate::ids::Offset;

/// An index larger than this is none.
const BYTES_MAX: u64 = 64 << 20;

/// Indexes of sealed segments kept in memory; about 200 KiB each for a segment of 1 GiB.
const CACHED: usize = 64;

/// Bytes of a footer in its envelope.
const FOOTER_BYTES: usize = ENVELOPE_BYTES + 33;

const BLOCK: u8 = 0;
const FOOTER: u8 = 1;

/// No timestamp is less.
pub(in crate::log) const NO_TIMESTAMP: i64 = i64::MIN;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) struct IndexEntry {
    /// The offset of the batch at the position.
    pub(in crate::log) offset: Offset,
    pub(in crate::log) position: u64,
    /// The largest timestamp of all batches before.
    pub(in crate::log) max_timestamp: i64,
}

/// What is known of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) struct Footer {
    pub(in crate::log) length: u64,
    pub(in crate::log) next_offset: Offset,
    pub(in crate::log) max_timestamp: i64,
}

/// An index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::log) struct Index {
    pub(in crate::log) entries: Vec<IndexEntry>,
    pub(in crate::log) footer: Option<Footer>,
}

impl Index {
    /// The last entry at or before `offset`; the segment's beginning where there is none.
    pub(in crate::log) fn before(&self, offset: Offset, base: Offset) -> IndexEntry {
        let behind = self.entries.partition_point(|entry| entry.offset <= offset);
        self.entry_or_start(behind, base)
    }

    /// The last entry before which no batch has a timestamp of `timestamp` or later.
    pub(in crate::log) fn before_time(&self, timestamp: i64, base: Offset) -> IndexEntry {
        let behind = self.entries.partition_point(|entry| entry.max_timestamp < timestamp);
        self.entry_or_start(behind, base)
    }

    fn entry_or_start(&self, behind: usize, base: Offset) -> IndexEntry {
        let start = IndexEntry { offset: base, position: 0, max_timestamp: NO_TIMESTAMP };
        behind.checked_sub(1).and_then(|last| self.entries.get(last)).copied().unwrap_or(start)
    }

    /// Reads the index of file `file_id` up to where it ends or is damaged. Empty where there is none.
    pub(in crate::log) fn load(disk: &dyn Disk, path: &Path, file_id: u64) -> Result<Self, LogError> {
        let bytes = read_small(disk, path, BYTES_MAX)?.unwrap_or_default();
        let mut index = Self::default();
        let mut rest = bytes.as_slice();
        while let Ok(payload) = unseal(INDEX_BLOCK, rest) {
            if index.footer.is_some() || index.read_block(payload, file_id).is_none() {
                break;
            }
            rest = rest.get(ENVELOPE_BYTES + payload.len()..).unwrap_or_default();
        }
        Ok(index)
    }

    fn read_block(&mut self, payload: &[u8], file_id: u64) -> Option<()> {
        let mut reader = Reader(payload);
        let tag = reader.u8()?;
        if reader.u64()? != file_id {
            return None;
        }
        if tag == FOOTER {
            let (length, next_offset) = (reader.u64()?, Offset(reader.i64()?));
            self.footer = Some(Footer { length, next_offset, max_timestamp: reader.i64()? });
            return Some(());
        }
        if tag != BLOCK {
            return None;
        }
        for _ in 0..reader.u32()? {
            let entry = IndexEntry {
                offset: Offset(reader.i64()?),
                position: reader.u64()?,
                max_timestamp: reader.i64()?,
            };
            let follows = |last: &IndexEntry| last.offset < entry.offset && last.position < entry.position;
            if !self.entries.last().is_none_or(follows) {
                return None;
            }
            self.entries.push(entry);
        }
        Some(())
    }

    /// Writes the whole index anew. Gives the length of its file.
    pub(in crate::log) fn save(&self, disk: &dyn Disk, path: &Path, file_id: u64) -> io::Result<u64> {
        let file = disk.open(path, OpenMode::Truncate)?;
        let mut bytes = block(&self.entries, file_id);
        if let Some(footer) = self.footer {
            bytes.extend_from_slice(&footer.encode(file_id));
        }
        file.write_at(&[IoSlice::new(&bytes)], 0)?;
        Ok(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
    }
}

/// Some entries, as they stand in the file. Nothing for none.
pub(super) fn block(entries: &[IndexEntry], file_id: u64) -> Vec<u8> {
    if entries.is_empty() {
        return Vec::new();
    }
    let mut bytes = Vec::with_capacity(13 + 24 * entries.len());
    bytes.push(BLOCK);
    bytes.extend_from_slice(&file_id.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(entries.len()).unwrap_or(u32::MAX).to_le_bytes());
    for entry in entries {
        bytes.extend_from_slice(&entry.offset.0.to_le_bytes());
        bytes.extend_from_slice(&entry.position.to_le_bytes());
        bytes.extend_from_slice(&entry.max_timestamp.to_le_bytes());
    }
    seal(INDEX_BLOCK, &bytes)
}

impl Footer {
    /// The footer of an index file, without the rest of it.
    pub(in crate::log) fn load(disk: &dyn Disk, path: &Path, file_id: u64) -> Result<Option<Self>, LogError> {
        let file = match disk.open(path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LogError::io("open", path)(error)),
        };
        let mut bytes = [0; FOOTER_BYTES];
        let length = file.length().map_err(LogError::io("look at", path))?;
        let Some(position) = length.checked_sub(FOOTER_BYTES as u64) else { return Ok(None) };
        file.read_at(&mut bytes, position).map_err(LogError::io("read", path))?;
        let mut index = Index::default();
        let read = unseal(INDEX_BLOCK, &bytes).ok().and_then(|payload| index.read_block(payload, file_id));
        Ok(read.and(index.footer))
    }

    pub(super) fn encode(self, file_id: u64) -> Vec<u8> {
        let mut bytes = vec![FOOTER];
        bytes.extend_from_slice(&file_id.to_le_bytes());
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&self.next_offset.0.to_le_bytes());
        bytes.extend_from_slice(&self.max_timestamp.to_le_bytes());
        seal(INDEX_BLOCK, &bytes)
    }
}

/// The indexes of sealed segments that were used last, by file id.
#[derive(Debug, Default)]
pub(in crate::log) struct IndexCache(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    tick: u64,
    indexes: BTreeMap<u64, (u64, Arc<Index>)>,
}

impl IndexCache {
    pub(in crate::log) fn get(&self, file_id: u64) -> Option<Arc<Index>> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached.tick += 1;
        let tick = cached.tick;
        let (used, index) = cached.indexes.get_mut(&file_id)?;
        *used = tick;
        Some(Arc::clone(index))
    }

    pub(in crate::log) fn put(&self, file_id: u64, index: Arc<Index>) {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached.tick += 1;
        let tick = cached.tick;
        cached.indexes.insert(file_id, (tick, index));
        if cached.indexes.len() > CACHED {
            let oldest = cached.indexes.iter().min_by_key(|(_, (used, _))| *used).map(|(id, _)| *id);
            oldest.and_then(|id| cached.indexes.remove(&id));
        }
    }

    pub(in crate::log) fn forget(&self, file_id: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).indexes.remove(&file_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(offset: i64, position: u64, max_timestamp: i64) -> IndexEntry {
        IndexEntry { offset: Offset(offset), position, max_timestamp }
    }

    #[test]
    fn a_look_up_finds_the_last_entry_that_is_not_behind() {
        let index =
            Index { entries: vec![entry(10, 100, 5), entry(20, 200, 5), entry(30, 300, 9)], footer: None };
        let at = |offset| index.before(Offset(offset), Offset(3)).position;
        assert_eq!([at(3), at(9), at(10), at(29), at(99)], [0, 0, 100, 200, 300]);
        let at = |timestamp| index.before_time(timestamp, Offset(3)).position;
        assert_eq!([at(0), at(5), at(6), at(9), at(10)], [0, 0, 200, 200, 300]);
    }

    #[test]
    fn the_bytes_of_version_one_stay_as_they_are() {
        let footer = Footer { length: 5, next_offset: Offset(6), max_timestamp: 7 };
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(&block(&[entry(1, 2, 3)], 9)),
            concat!(
                "4d534c470200010025000000fab24fa4",
                "00090000000000000001000000",
                "010000000000000002000000000000000300000000000000"
            )
        );
        assert_eq!(
            hex(&footer.encode(9)),
            concat!(
                "4d534c470200010021000000a72ab019",
                "010900000000000000",
                "050000000000000006000000000000000700000000000000"
            )
        );
    }
}
