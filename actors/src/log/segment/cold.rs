//! A read from a segment's file, on whatever thread has the time.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use millstream_transport::world::DiskFile;

use super::super::batches::{self, Step, Walk};
use super::super::directory::Shared;
use super::super::epochs::EpochCache;
use super::super::error::LogError;
use super::Segment;
use super::index::IndexEntry;
use super::sealed::{Found, start_of};
use crate::ids::Offset;
use crate::record::BatchHeader;

/// Where a read begins to look.
#[derive(Clone, Copy, Debug)]
pub(in crate::log) enum Start {
    /// At this entry of the active segment's index.
    At(IndexEntry),
    /// Where the index of the sealed segment says.
    ByIndex,
}

/// A read that has to go to the disk. It stands by itself, so that it can be done off the thread that owns the log.
pub struct ColdRead {
    pub(in crate::log) shared: Arc<Shared>,
    pub(in crate::log) segment: Segment,
    pub(in crate::log) epochs: Arc<EpochCache>,
    pub(in crate::log) start: Start,
    pub(in crate::log) from: Offset,
    pub(in crate::log) upto: Offset,
    pub(in crate::log) max_bytes: usize,
}

impl ColdRead {
    /// Reads. Whole batches from the one that holds the offset asked for; the first comes whole whatever its size.
    ///
    /// Every batch is checked before it is given out, whoever wrote it and however often it was read: a disk may spoil
    /// what it once had right. Blocks.
    pub fn run(self) -> Result<Bytes, LogError> {
        let file = self.segment.open(&self.shared)?;
        let (position, first) = self.find(&*file)?;
        let is_beyond = first.next_offset() > self.upto;
        let wanted = if is_beyond { first.total_bytes() } else { self.max_bytes.max(first.total_bytes()) };
        let left = usize::try_from(self.segment.length - position).unwrap_or(usize::MAX);
        let read = file.read_long(wanted.min(left), position);
        let mut buffer = Bytes::from(read.map_err(LogError::io("read", &self.segment.file.path))?);
        if is_beyond {
            // Unless its offsets are what is wrong with it.
            self.verify(&buffer, position)?;
            return Ok(Bytes::new());
        }
        let (length, next) = self.whole_batches(&buffer, position, &first)?;
        buffer.truncate(length);
        let length = u64::try_from(length).unwrap_or(0);
        self.verify(&buffer, position)?;
        self.segment.file.remember(next, position + length);
        self.shared.metrics.cold_read_bytes.increment(length);
        Ok(buffer)
    }

    /// The batch that holds the first offset wanted.
    fn find(&self, file: &dyn DiskFile) -> Result<(u64, BatchHeader), LogError> {
        let segment = &self.segment;
        if let Some(position) = segment.file.remembered(self.from) {
            let mut walk = Walk::headers(file, position, segment.length, self.from);
            if let Ok(Step::Batch(position, header)) = walk.step() {
                return Ok((position, header));
            }
        }
        let (entry, sealed) = match self.start {
            Start::At(entry) => (entry, false),
            Start::ByIndex => match segment.index(&self.shared) {
                Ok(index) => (index.before(self.from, segment.file.base), true),
                // What stands before the corrupt place can be read all the same.
                Err(LogError::Corrupt { .. }) => (start_of(segment), false),
                Err(error) => return Err(error),
            },
        };
        let mut found = segment.walk_to(file, entry, self.from)?;
        if entry.position > 0 && !matches!(found, Found::Batch(..)) {
            // The index is wrong, or the batches are: only the batches can tell.
            found = segment.walk_to(file, start_of(segment), self.from)?;
            if sealed {
                self.shared.indexes.forget(segment.file.file_id);
                segment.rebuild_index(&self.shared, file)?;
            }
        }
        match found {
            Found::Batch(position, header) => Ok((position, header)),
            found => Err(segment.not_found(&self.shared, found, self.from)),
        }
    }

    /// How many of the bytes are whole batches that may be given out, and the offset that follows them.
    fn whole_batches(
        &self,
        bytes: &[u8],
        position: u64,
        first: &BatchHeader,
    ) -> Result<(usize, Offset), LogError> {
        if bytes.len() < first.total_bytes() {
            let found = format!("the file ends within a batch of {} bytes", first.total_bytes());
            return Err(self.segment.file.corrupt(&self.shared, position, first.base_offset, &found));
        }
        let (mut length, mut next) = (0, first.base_offset);
        for header in batches::headers(bytes).map_while(Result::ok) {
            if header.next_offset() > self.upto || header.base_offset != next {
                break;
            }
            length += header.total_bytes();
            next = header.next_offset();
        }
        Ok((length, next))
    }

    fn verify(&self, bytes: &[u8], position: u64) -> Result<(), LogError> {
        let file = &self.segment.file;
        let mut rest = bytes;
        let mut at = position;
        for header in batches::headers(bytes).map_while(Result::ok) {
            let (batch, others) = rest.split_at_checked(header.total_bytes()).unwrap_or((rest, &[]));
            if let Err(error) = crate::record::verify_checksum(batch) {
                return Err(file.corrupt(&self.shared, at, header.base_offset, &error.problem.to_string()));
            }
            if !self.epochs.agrees(&header) {
                let text = format!("a batch of leader epoch {} stands among others", header.leader_epoch);
                return Err(file.corrupt(&self.shared, at, header.base_offset, &text));
            }
            rest = others;
            at += batches::length(&header);
        }
        Ok(())
    }
}

impl fmt::Debug for ColdRead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ColdRead")
            .field("segment", &self.segment.file.path)
            .field("from", &self.from)
            .field("upto", &self.upto)
            .finish_non_exhaustive()
    }
}
