//! Reads: from the tail in memory, else from the segments.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use millstream_transport::world::DiskFile;

use super::error::LogError;
use super::partition_log::Log;
use super::segment::{ColdRead, Segment, Start, start_of};
use crate::ids::Offset;
use crate::record::{Batch, BatchHeader, EndMarker};

/// What a read found.
#[derive(Debug)]
pub enum Batches {
    /// Whole batches from memory, not copied; empty if there is nothing to be had.
    Ready(Vec<Bytes>),
    /// They are on disk: [`ColdRead::run`] gets them, on any thread.
    Cold(ColdRead),
}

/// A record's place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOffset {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp, milliseconds since 1970.
    pub timestamp_ms: i64,
}

impl Log {
    /// Whole batches from the one that holds `from`, all of them below `upto`, of `max_bytes` together; the first comes
    /// whole in any case. Empty where `from` is not below `upto`. May be fewer than there are: ask again.
    ///
    /// Blocks if they are on disk; [`read_batches`](Self::read_batches) leaves that to the caller.
    pub fn read(&self, from: Offset, upto: Offset, max_bytes: usize) -> Result<Bytes, LogError> {
        match self.read_batches(from, upto, max_bytes)? {
            Batches::Ready(mut buffers) if buffers.len() <= 1 => Ok(buffers.pop().unwrap_or_default()),
            Batches::Ready(buffers) => {
                let mut bytes = BytesMut::with_capacity(buffers.iter().map(Bytes::len).sum());
                buffers.iter().for_each(|buffer| bytes.extend_from_slice(buffer));
                Ok(bytes.freeze())
            }
            Batches::Cold(cold) => cold.run(),
        }
    }

    /// The same without a copy where they are in memory, and without blocking where they are not.
    pub fn read_batches(&self, from: Offset, upto: Offset, max_bytes: usize) -> Result<Batches, LogError> {
        if from < self.start || from > self.end {
            return Err(LogError::OutOfRange { asked: from, start: self.start, end: self.end });
        }
        let mut upto = upto.min(self.end);
        if self.shared().health.has_failed() {
            // The page cache may show what is not on disk.
            upto = upto.min(self.durable_end());
        }
        if from >= upto {
            return Ok(Batches::Ready(Vec::new()));
        }
        if let Some(buffers) = self.tail.read(from, upto, max_bytes) {
            return Ok(Batches::Ready(buffers));
        }
        let (segment, next) = self.segment_of(from)?;
        let is_active = next.is_none();
        let upto = next.map_or(upto, |next| upto.min(next.file.base));
        let base = segment.file.base;
        let start =
            if is_active { Start::At(self.active.index().before(from, base)) } else { Start::ByIndex };
        let (shared, segment) = (Arc::clone(self.shared()), segment.clone());
        let epochs = Arc::clone(&self.epochs);
        Ok(Batches::Cold(ColdRead { shared, segment, epochs, start, from, upto, max_bytes }))
    }

    /// Shows the headers of all batches from `from` on, and of markers what they say: whoever keeps a state made of them
    /// rebuilds it so. Blocks.
    pub fn replay_headers(
        &self,
        from: Offset,
        mut see: impl FnMut(&BatchHeader, Option<EndMarker>),
    ) -> Result<(), LogError> {
        let shared = self.shared();
        for (place, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(place + 1);
            if next.is_some_and(|next| next.file.base <= from) || segment.length == 0 {
                continue;
            }
            let base = segment.file.base;
            if base >= self.end {
                // Behind damage that the start has found: not in the log.
                break;
            }
            let entry = match next {
                // Damaged: an index cannot be made of it.
                Some(next) if next.file.base > self.end => start_of(segment),
                Some(_) => segment.index(shared)?.before(from, base),
                None => self.active.index().before(from, base),
            };
            let end = next.map_or(self.end, |next| next.file.base.min(self.end));
            let file = segment.open(shared)?;
            let mut unread = None;
            segment.each_header(shared, &*file, entry, false, |position, header| {
                if header.next_offset() > from && header.base_offset < end {
                    match marker_at(&*file, position, header) {
                        Ok(marker) => see(header, marker),
                        Err(error) => unread = Some(LogError::io("read", &segment.file.path)(error)),
                    }
                }
                header.next_offset() < end && unread.is_none()
            })?;
            if let Some(error) = unread {
                return Err(error);
            }
        }
        Ok(())
    }

    /// The segment that holds an offset below the end, and the one behind it.
    fn segment_of(&self, offset: Offset) -> Result<(&Segment, Option<&Segment>), LogError> {
        let behind = self.segments.partition_point(|segment| segment.file.base <= offset);
        let place = behind.saturating_sub(1);
        let found = self.segments.get(place).map(|segment| (segment, self.segments.get(place + 1)));
        found.ok_or(LogError::OutOfRange { asked: offset, start: self.start, end: self.end })
    }
}

/// The marker that a batch is, if it is one. It is not trusted more than its header: its checksum is looked at as every
/// batch's when it is served.
fn marker_at(file: &dyn DiskFile, position: u64, header: &BatchHeader) -> std::io::Result<Option<EndMarker>> {
    if !header.attributes.is_control() {
        return Ok(None);
    }
    let mut bytes = BytesMut::zeroed(header.total_bytes());
    file.read_at(&mut bytes, position)?;
    Ok(EndMarker::of(&Batch { header: *header, bytes: bytes.freeze() }))
}
