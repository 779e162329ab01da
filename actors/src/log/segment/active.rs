//! The segment that is appended to: its index in the making, and the space reserved ahead of it.

use std::io::{self, IoSlice};
use std::path::Path;

use millstream_transport::world::{Disk, DiskFile, OpenMode};

use super::index::{Footer, Index, IndexEntry, NO_TIMESTAMP, block};
use crate::ids::Offset;
use crate::record::BatchHeader;

/// Entries that are written to the index file together.
const BLOCK_ENTRIES: usize = 64;

/// The index of the active segment.
#[derive(Debug)]
pub(in crate::log) struct Active {
    file_id: u64,
    /// Bytes of batches between two entries.
    interval: u64,
    index: Index,
    max_timestamp: i64,
    /// Entries that are in the file, and bytes that they take there.
    flushed: usize,
    file_bytes: u64,
    /// When the first batch came in, milliseconds since 1970; `None` while there is none.
    pub(in crate::log) began_ms: Option<i64>,
    pub(in crate::log) space: Preallocated,
}

impl Active {
    pub(in crate::log) fn new(file_id: u64, segment_bytes: u64) -> Self {
        // About 8,000 entries in a full segment: 200 KiB for 1 GiB.
        let interval = (segment_bytes / 8192).clamp(4 << 10, 128 << 10);
        Self {
            file_id,
            interval,
            index: Index::default(),
            max_timestamp: NO_TIMESTAMP,
            flushed: 0,
            file_bytes: 0,
            began_ms: None,
            space: Preallocated::default(),
        }
    }

    /// Goes on with the entries of a segment that was found.
    pub(in crate::log) fn resume(&mut self, entries: Vec<IndexEntry>, max_timestamp: i64) {
        self.index.entries = entries;
        self.max_timestamp = max_timestamp;
    }

    pub(in crate::log) fn index(&self) -> &Index {
        &self.index
    }

    /// The largest timestamp in the segment.
    pub(in crate::log) fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// A batch stands at `position`.
    pub(in crate::log) fn note(&mut self, position: u64, header: &BatchHeader) {
        let last = self.index.entries.last().map_or(0, |entry| entry.position);
        if position >= last + self.interval {
            let max_timestamp = self.max_timestamp;
            self.index.entries.push(IndexEntry { offset: header.base_offset, position, max_timestamp });
        }
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp_ms);
    }

    /// An entry for the end, so that a start has nothing to read there.
    pub(in crate::log) fn note_end(&mut self, position: u64, end: Offset) {
        let entry = IndexEntry { offset: end, position, max_timestamp: self.max_timestamp };
        if self.index.entries.last().map_or(0, |entry| entry.position) < position {
            self.index.entries.push(entry);
        }
    }

    /// Whether enough entries are not in the file yet.
    pub(in crate::log) fn has_block(&self) -> bool {
        self.index.entries.len() >= self.flushed + BLOCK_ENTRIES
    }

    /// Appends the entries that are not there yet to the index file.
    pub(in crate::log) fn flush(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        let bytes = block(self.index.entries.get(self.flushed..).unwrap_or_default(), self.file_id);
        self.append(disk, path, &bytes)?;
        self.flushed = self.index.entries.len();
        Ok(())
    }

    /// Ends the index: the segment has this length and takes no more.
    pub(in crate::log) fn seal(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        length: u64,
        next_offset: Offset,
    ) -> io::Result<()> {
        let footer = Footer { length, next_offset, max_timestamp: self.max_timestamp };
        self.index.footer = Some(footer);
        let mut bytes = block(self.index.entries.get(self.flushed..).unwrap_or_default(), self.file_id);
        bytes.extend_from_slice(&footer.encode(self.file_id));
        self.append(disk, path, &bytes)?;
        self.flushed = self.index.entries.len();
        Ok(())
    }

    /// Writes the index file anew with what is in memory, and syncs it: entries of what was cut must not come back.
    pub(in crate::log) fn rewrite(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        self.file_bytes = self.index.save(disk, path, self.file_id)?;
        disk.open(path, OpenMode::Write)?.sync_data()?;
        self.flushed = self.index.entries.len();
        Ok(())
    }

    /// Writes the index file anew, with its end.
    pub(in crate::log) fn finish(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        length: u64,
        next_offset: Offset,
    ) -> io::Result<()> {
        self.index.footer = Some(Footer { length, next_offset, max_timestamp: self.max_timestamp });
        self.rewrite(disk, path)
    }

    pub(in crate::log) fn into_index(self) -> Index {
        self.index
    }

    fn append(&mut self, disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mode = if self.file_bytes == 0 { OpenMode::Truncate } else { OpenMode::Write };
        let file = disk.open(path, mode)?;
        file.write_at(&[IoSlice::new(bytes)], self.file_bytes)?;
        self.file_bytes += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(())
    }
}

/// Reserved space ahead of the end of a file: it starts with the first append and doubles.
///
/// With it a sync costs a quarter less, and a write cannot run out of space in its middle.
#[derive(Debug, Default)]
pub(in crate::log) struct Preallocated {
    upto: u64,
    ahead: u64,
}

const AHEAD_FIRST: u64 = 64 << 10;
const AHEAD_MAX: u64 = 16 << 20;

impl Preallocated {
    /// Sees to it that there is space from `from` up to `end`; and beyond, where there is enough, but not beyond `limit`.
    pub(in crate::log) fn cover(
        &mut self,
        file: &dyn DiskFile,
        from: u64,
        end: u64,
        limit: u64,
    ) -> io::Result<()> {
        if end <= self.upto {
            return Ok(());
        }
        let from = from.max(self.upto);
        self.ahead = (self.ahead * 2).clamp(AHEAD_FIRST, AHEAD_MAX);
        let wanted = (end + self.ahead).min(limit.max(end));
        if file.preallocate(from, wanted - from).is_ok() {
            self.upto = wanted;
            return Ok(());
        }
        self.ahead = 0;
        file.preallocate(from, end - from)?;
        self.upto = end;
        Ok(())
    }

    /// The file was cut: nothing is reserved.
    pub(in crate::log) fn forget(&mut self) {
        *self = Self::default();
    }
}
