//! How a cleaning reads the segments that it cleans: all of them, and every byte checked, as its checksums will be new.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use millstream_transport::world::DiskFile;

use super::super::batches::{Step, Walk};
use super::super::directory::Shared;
use super::super::epochs::EpochCache;
use super::super::error::LogError;
use super::super::segment::{NO_TIMESTAMP, Segment, start_of};
use super::plan::Part;
use crate::ids::{LeaderEpoch, Offset};
use crate::record::Batch;

/// Bytes read in one step, about: a step is to take milliseconds.
const STEP_BYTES: u64 = 1 << 20;

/// A sealed segment, the offset behind it, and up to where it is clean.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) segment: Segment,
    pub(super) next: Offset,
    pub(super) clean: Offset,
}

/// Where it is to go on: in which of the inputs, and where in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    pub(super) place: usize,
    pub(super) position: u64,
    pub(super) offset: Offset,
    pub(super) epoch: LeaderEpoch,
}

/// What segments are read with.
pub(super) struct Reading {
    pub(super) shared: Arc<Shared>,
    pub(super) epochs: Arc<EpochCache>,
    /// The log's owner has cut or removed some of them.
    pub(super) stale: Arc<AtomicBool>,
}

impl Reading {
    pub(super) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::SeqCst)
    }

    /// What the decision has to know of a segment; the time of its first batch only if that counts.
    pub(super) fn part(&self, input: &Input, wants_first: bool) -> Result<Part, LogError> {
        let Input { segment, next, clean } = input;
        let footer = segment.index(&self.shared)?.footer;
        let newest_ms = footer.map_or(NO_TIMESTAMP, |footer| footer.max_timestamp);
        let mut first_ms = newest_ms;
        if wants_first && clean < next {
            let file = self.open(segment)?;
            segment.each_header(&self.shared, &*file, start_of(segment), false, |_, header| {
                first_ms = header.max_timestamp_ms;
                false
            })?;
        }
        Ok(Part { next: *next, bytes: segment.length, clean: *clean, newest_ms, first_ms })
    }

    fn open(&self, segment: &Segment) -> Result<Arc<dyn DiskFile>, LogError> {
        let file = &segment.file;
        self.shared.files.to_read(file.file_id, &file.path).map_err(LogError::io("open", &file.path))
    }

    /// Shows some batches from the cursor on, every byte of them checked, as long as `see` wants more. True at the end
    /// of the input.
    pub(super) fn walk(
        &self,
        input: &Input,
        cursor: &mut Cursor,
        mut see: impl FnMut(&Batch) -> Result<bool, LogError>,
    ) -> Result<bool, LogError> {
        let segment = &input.segment;
        let file = self.open(segment)?;
        let mut walk = Walk::verified(&*file, cursor.position, segment.length, cursor.offset);
        walk.epoch = cursor.epoch;
        let enough = cursor.position + STEP_BYTES;
        loop {
            let step = walk.step().map_err(LogError::io("read", &segment.file.path))?;
            let (at, header) = match step {
                Step::Batch(at, header) if self.epochs.agrees(&header) => (at, header),
                Step::Batch(at, header) => {
                    let found = format!("no batch of leader epoch {} belongs there", header.leader_epoch);
                    return Err(self.corrupt(segment, at, header.base_offset, &found));
                }
                Step::End if walk.offset == input.next => return Ok(true),
                Step::End => {
                    let found = format!("the segment ends before offset {}", input.next);
                    return Err(self.corrupt(segment, walk.position, walk.offset, &found));
                }
                Step::Bad(found) => {
                    return Err(self.corrupt(segment, walk.position, walk.offset, &found));
                }
            };
            let mut bytes = BytesMut::zeroed(header.total_bytes());
            file.read_at(&mut bytes, at).map_err(LogError::io("read", &segment.file.path))?;
            let batch = Batch { header, bytes: bytes.freeze() };
            let goes_on = see(&batch)?;
            (cursor.position, cursor.offset, cursor.epoch) = (walk.position, walk.offset, walk.epoch);
            if !goes_on || (walk.position >= enough && walk.position < segment.length) {
                return Ok(false);
            }
        }
    }

    /// What the log's owner has cut or removed meanwhile is not corrupt.
    fn corrupt(&self, segment: &Segment, position: u64, offset: Offset, found: &str) -> LogError {
        if self.is_stale() {
            return LogError::Closed { directory: self.shared.path.clone() };
        }
        segment.file.corrupt(&self.shared, position, offset, found)
    }
}
