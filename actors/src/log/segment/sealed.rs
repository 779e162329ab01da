//! Finding things in a segment: by its index, and where that is missing or wrong by its batches.

use std::io;
use std::sync::Arc;

use millstream_transport::world::DiskFile;

use super::super::batches::{Step, Walk};
use super::super::directory::Shared;
use super::super::error::LogError;
use super::index::{Footer, Index, IndexEntry, NO_TIMESTAMP};
use super::{Active, Segment};
use crate::ids::Offset;
use crate::record::BatchHeader;

/// Where a walk through a segment ended.
#[derive(Debug)]
pub(super) enum Found {
    /// At the batch that was looked for.
    Batch(u64, BatchHeader),
    /// At the end of the segment.
    End(u64, Offset),
    /// At bytes that are no batch.
    Bad(u64, Offset, String),
}

/// The beginning of a segment.
pub(in crate::log) fn start_of(segment: &Segment) -> IndexEntry {
    IndexEntry { offset: segment.file.base, position: 0, max_timestamp: NO_TIMESTAMP }
}

impl Segment {
    /// The file, open to read. A missing one is corruption, and not the same as a failed disk.
    pub(in crate::log) fn open(&self, shared: &Shared) -> Result<Arc<dyn DiskFile>, LogError> {
        shared.files.to_read(self.file.file_id, &self.file.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.file.corrupt(shared, 0, self.file.base, "the file is missing"),
            _ => LogError::io("open", &self.file.path)(error),
        })
    }

    /// The index of a sealed segment, rebuilt if it is missing or wrong.
    pub(in crate::log) fn index(&self, shared: &Shared) -> Result<Arc<Index>, LogError> {
        if let Some(index) = shared.indexes.get(self.file.file_id) {
            return Ok(index);
        }
        let index = Index::load(&*shared.disk, &self.file.index_path(), self.file.file_id)?;
        match index.footer {
            Some(footer) if footer.length == self.length => {
                let index = Arc::new(index);
                shared.indexes.put(self.file.file_id, Arc::clone(&index));
                Ok(index)
            }
            _ => self.rebuild_index(shared, &*self.open(shared)?),
        }
    }

    /// Where the last whole batch ends, in the file and as an offset. Headers are looked at, not checksums.
    pub(in crate::log) fn whole_end(&self, shared: &Shared) -> Result<(u64, Offset), LogError> {
        let index = Index::load(&*shared.disk, &self.file.index_path(), self.file.file_id)?;
        let file = self.open(shared)?;
        let mut starts = index.entries.iter().rev().filter(|entry| entry.position < self.length).copied();
        loop {
            let start = starts.next().unwrap_or_else(|| start_of(self));
            let found = self.walk_to(&*file, start, Offset(i64::MAX))?;
            let (Found::End(position, offset) | Found::Bad(position, offset, _)) = found else { continue };
            // An entry that leads to no batch is wrong; the next one before it may be right.
            if position > start.position || start.position == 0 {
                return Ok((position, offset));
            }
        }
    }

    /// Walks from an index entry to the batch that holds `offset`.
    pub(super) fn walk_to(
        &self,
        file: &dyn DiskFile,
        entry: IndexEntry,
        offset: Offset,
    ) -> Result<Found, LogError> {
        let mut walk = Walk::headers(file, entry.position, self.length, entry.offset);
        loop {
            match walk.step().map_err(LogError::io("read", &self.file.path))? {
                Step::Batch(position, header) if header.next_offset() > offset => {
                    return Ok(Found::Batch(position, header));
                }
                Step::Batch(..) => {}
                Step::End => return Ok(Found::End(walk.position, walk.offset)),
                Step::Bad(text) => return Ok(Found::Bad(walk.position, walk.offset, text)),
            }
        }
    }

    /// The error for an offset that should be in this segment.
    pub(super) fn not_found(&self, shared: &Shared, found: Found, wanted: Offset) -> LogError {
        match found {
            Found::Bad(position, offset, text) => self.file.corrupt(shared, position, offset, &text),
            Found::End(position, offset)
            | Found::Batch(position, BatchHeader { base_offset: offset, .. }) => {
                let text = format!("the segment ends at offset {offset} and should hold {wanted}");
                self.file.corrupt(shared, position, offset, &text)
            }
        }
    }

    /// Makes the index of a sealed segment from its batches, all of which are checked on the way.
    pub(super) fn rebuild_index(&self, shared: &Shared, file: &dyn DiskFile) -> Result<Arc<Index>, LogError> {
        let mut active = Active::new(self.file.file_id, self.length);
        let next_offset = self.each_header(shared, file, start_of(self), true, |position, header| {
            active.note(position, header);
            true
        })?;
        let max_timestamp = active.max_timestamp();
        let mut index = active.into_index();
        index.footer = Some(Footer { length: self.length, next_offset, max_timestamp });
        // A hint that cannot be written is made again at the next start.
        let _ = index.save(&*shared.disk, &self.file.index_path(), self.file.file_id);
        let index = Arc::new(index);
        shared.indexes.put(self.file.file_id, Arc::clone(&index));
        Ok(index)
    }

    /// Shows all headers.
    pub(in crate::log) fn each_batch(
        &self,
        shared: &Shared,
        mut see: impl FnMut(&BatchHeader),
    ) -> Result<(), LogError> {
        let file = self.open(shared)?;
        self.each_header(shared, &*file, start_of(self), false, |_, header| {
            see(header);
            true
        })?;
        Ok(())
    }

    /// Shows all headers from an index entry on, until `see` has seen enough. Gives the offset behind the last.
    pub(in crate::log) fn each_header(
        &self,
        shared: &Shared,
        file: &dyn DiskFile,
        entry: IndexEntry,
        verify: bool,
        mut see: impl FnMut(u64, &BatchHeader) -> bool,
    ) -> Result<Offset, LogError> {
        let (position, offset) = (entry.position, entry.offset);
        let mut walk = if verify {
            Walk::verified(file, position, self.length, offset)
        } else {
            Walk::headers(file, position, self.length, offset)
        };
        loop {
            match walk.step().map_err(LogError::io("read", &self.file.path))? {
                Step::Batch(position, header) => {
                    if !see(position, &header) {
                        return Ok(walk.offset);
                    }
                }
                Step::End => return Ok(walk.offset),
                Step::Bad(text) => {
                    return Err(self.file.corrupt(shared, walk.position, walk.offset, &text));
                }
            }
        }
    }
}
