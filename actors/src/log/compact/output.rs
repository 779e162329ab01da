//! The file that a cleaning writes, until the log's owner takes it for a segment.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_transport::world::{DiskFile, OpenMode};

use super::super::batches;
use super::super::directory::Shared;
use super::super::directory::ends::ReplicaEnds;
use super::super::error::{LogError, is_no_space};
use super::super::segment::{Active, Cleaned, Footer, Index, Name, Segment, SegmentFile};
use crate::ids::{LeaderEpoch, Offset};
use crate::record::{self, BatchHeader};

/// Bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// A file in the making. Whole batches go in, or what stands for them.
pub(super) struct Output {
    base: Offset,
    file_id: u64,
    directory: PathBuf,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    buffer: Vec<u8>,
    flushed: u64,
    index: Active,
    hole: Option<Hole>,
    inputs: Vec<(u64, u64)>,
}

/// Offsets whose batches are gone and for which nothing stands yet.
#[derive(Clone, Copy, Debug)]
struct Hole {
    base: Offset,
    last: Offset,
    epoch: LeaderEpoch,
    max_timestamp_ms: i64,
}

/// A whole file, synced under a name that no start takes for a segment.
#[derive(Debug)]
pub struct Prepared {
    unfinished: PathBuf,
    pub(super) segment: Segment,
    pub(super) index: Index,
    /// The segments whose place it takes: file id and length.
    pub(super) inputs: Vec<(u64, u64)>,
}

/// Segments that are not part of their log any more, and the one that is.
#[derive(Debug)]
pub struct Replaced {
    pub(super) old: Vec<Arc<SegmentFile>>,
    pub(super) new: Arc<SegmentFile>,
    pub(super) index: Arc<Index>,
}

impl Output {
    /// A new file, for a segment that begins at `base`. `segment_bytes` is how large it may become.
    pub(super) fn create(
        shared: &Shared,
        directory: &Path,
        base: Offset,
        segment_bytes: u64,
    ) -> Result<Box<Self>, LogError> {
        let file_id = shared.next_file_id()?;
        let path = directory.join(Name::unfinished(base, file_id));
        let file =
            shared.disk.open(&path, OpenMode::CreateNew).map_err(|error| match is_no_space(&error) {
                true => LogError::NoSpace { path: path.clone(), needed: 0 },
                // Nothing was written. The log may have been removed meanwhile.
                false => LogError::io("make", &path)(error),
            })?;
        Ok(Box::new(Self {
            base,
            file_id,
            directory: directory.to_path_buf(),
            path,
            file,
            buffer: Vec::new(),
            flushed: 0,
            index: Active::new(file_id, segment_bytes),
            hole: None,
            inputs: Vec::new(),
        }))
    }

    /// Bytes in it.
    pub(super) fn bytes(&self) -> u64 {
        self.flushed + u64::try_from(self.buffer.len()).unwrap_or(0)
    }

    /// All of this segment has gone in.
    pub(super) fn took(&mut self, input: &Segment) {
        self.inputs.push((input.file.file_id, input.length));
    }

    /// A batch that stays.
    pub(super) fn put(
        &mut self,
        shared: &Shared,
        header: &BatchHeader,
        bytes: &[u8],
    ) -> Result<(), LogError> {
        self.fill_hole();
        self.append(header, bytes);
        if self.buffer.len() >= WRITE_BYTES { self.flush(shared) } else { Ok(()) }
    }

    /// A batch that is gone: it widens the hole before it, or begins one.
    pub(super) fn skip(&mut self, header: &BatchHeader) {
        let last = header.last_offset();
        let widens =
            |hole: &Hole| hole.epoch == header.leader_epoch && last.0 - hole.base.0 <= i64::from(i32::MAX);
        match &mut self.hole {
            Some(hole) if widens(hole) => {
                hole.last = last;
                hole.max_timestamp_ms = hole.max_timestamp_ms.max(header.max_timestamp_ms);
            }
            _ => {
                self.fill_hole();
                self.hole = Some(Hole {
                    base: header.base_offset,
                    last,
                    epoch: header.leader_epoch,
                    max_timestamp_ms: header.max_timestamp_ms,
                });
            }
        }
    }

    fn fill_hole(&mut self) {
        let Some(Hole { base, last, epoch, max_timestamp_ms }) = self.hole.take() else { return };
        let bytes = record::hole(base, last, epoch, max_timestamp_ms);
        if let Ok(header) = BatchHeader::parse(&bytes) {
            self.append(&header, &bytes);
        }
    }

    fn append(&mut self, header: &BatchHeader, bytes: &[u8]) {
        self.index.note(self.bytes(), header);
        self.buffer.extend_from_slice(bytes);
    }

    /// Where there is no space, it says how large the file had come to be with what it did not take.
    fn flush(&mut self, shared: &Shared) -> Result<(), LogError> {
        let written = self.file.write_at(&[IoSlice::new(&self.buffer)], self.flushed);
        written.map_err(|error| match is_no_space(&error) {
            true => LogError::NoSpace { path: self.path.clone(), needed: self.bytes() },
            false => shared.fail("write to", &self.path, &error),
        })?;
        self.flushed = self.bytes();
        self.buffer.clear();
        Ok(())
    }

    /// The file is whole, up to `next`, and clean below `clean`. Synced; removed if that fails.
    pub(super) fn finish(
        mut self: Box<Self>,
        shared: &Shared,
        next: Offset,
        clean: Offset,
    ) -> Result<Prepared, LogError> {
        self.fill_hole();
        let written = self.flush(shared);
        let synced = written
            .and_then(|()| self.file.sync_data().map_err(|error| shared.fail("sync", &self.path, &error)));
        if let Err(error) = synced {
            self.discard(shared);
            return Err(error);
        }
        let Self { base, file_id, directory, path, flushed: length, index, inputs, .. } = *self;
        let name = Name { base, file_id, cleaned: Some(Cleaned { next, clean: clean.min(next) }) };
        // This process made every byte of it out of batches that it had checked.
        let file = Arc::new(SegmentFile::new(&directory, name));
        let max_timestamp = index.max_timestamp();
        let mut index = index.into_index();
        index.footer = Some(Footer { length, next_offset: next, max_timestamp });
        Ok(Prepared { unfinished: path, segment: Segment { file, length }, index, inputs })
    }

    /// It is not wanted.
    pub(super) fn discard(&self, shared: &Shared) {
        discard(shared, &self.path);
    }
}

impl Prepared {
    /// The offset behind it.
    pub(super) fn next(&self) -> Offset {
        self.segment.file.cleaned.map_or(self.segment.file.base, |cleaned| cleaned.next)
    }

    /// Gives the file its name: from now on a start takes it for the log's, in place of its inputs.
    pub(super) fn rename(&self, shared: &Shared) -> io::Result<()> {
        shared.disk.rename(&self.unfinished, &self.segment.file.path)
    }

    /// It is not wanted.
    pub(super) fn discard(&self, shared: &Shared) {
        discard(shared, &self.unfinished);
    }
}

fn discard(shared: &Shared, path: &Path) {
    // What stays is removed at the next start of the log.
    let _ = batches::remove_if_there(&*shared.disk, path);
}

impl Replaced {
    /// Makes the exchange durable, and removes what is not needed any more. Blocks.
    pub(super) fn settle(self, shared: &Shared, ends: &ReplicaEnds) -> Result<(), LogError> {
        shared.sync_names(ends)?;
        // A hint: without it the index is made from the batches when it is needed.
        let _ = self.index.save(&*shared.disk, &self.new.index_path(), self.new.file_id);
        shared.bury(self.old)
    }
}
