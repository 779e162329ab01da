//! The first record of a log that is not older than a time.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::directory::Shared;
use super::epochs::EpochCache;
use super::error::LogError;
use super::partition_log::Log;
use super::read::TimedOffset;
use super::segment::{ColdRead, IndexEntry, NO_TIMESTAMP, Segment, Start};
use crate::ids::Offset;
use crate::record::{Batch, BatchHeader, MAX_UNPACKED_BYTES, walk};

/// A look for the first record since a time.
pub(super) struct SinceRead {
    shared: Arc<Shared>,
    epochs: Arc<EpochCache>,
    /// By offset.
    segments: Vec<Candidate>,
    start: Offset,
    upto: Offset,
    timestamp_ms: i64,
}

/// A segment that may hold it.
struct Candidate {
    segment: Segment,
    /// Of the active segment, whose index is its owner's: its greatest timestamp, and before which entry no batch is so new.
    active: Option<(i64, IndexEntry)>,
}

impl Log {
    pub(super) fn since_read(&self, timestamp_ms: i64, upto: Offset) -> SinceRead {
        let upto = upto.min(self.end);
        let next_bases = self.segments.iter().skip(1).map(|next| Some(next.file.base)).chain([None]);
        let in_log = self.segments.iter().zip(next_bases).filter(|(segment, next)| {
            segment.length > 0 && segment.file.base < upto && next.is_none_or(|next| next > self.start)
        });
        let candidates = in_log.map(|(segment, next)| {
            let active = next.is_none().then(|| {
                let entry = self.active.index().before_time(timestamp_ms, segment.file.base);
                (self.active.max_timestamp(), entry)
            });
            Candidate { segment: segment.clone(), active }
        });
        SinceRead {
            shared: Arc::clone(self.shared()),
            epochs: Arc::clone(&self.epochs),
            segments: candidates.collect(),
            start: self.start,
            upto,
            timestamp_ms,
        }
    }
}

impl SinceRead {
    /// The first batch that has a record so new, as far as its header says. Blocks.
    pub(super) fn first_batch(&self) -> Result<Option<Box<BatchAt>>, LogError> {
        for candidate in &self.segments {
            if let Some(batch) = self.first_batch_of(candidate)? {
                return Ok(Some(Box::new(batch)));
            }
        }
        Ok(None)
    }

    fn first_batch_of(&self, candidate: &Candidate) -> Result<Option<BatchAt>, LogError> {
        let (segment, shared) = (&candidate.segment, &self.shared);
        let (newest, entry) = match candidate.active {
            Some(hints) => hints,
            None => {
                let index = segment.index(shared)?;
                let newest = index.footer.map_or(NO_TIMESTAMP, |footer| footer.max_timestamp);
                (newest, index.before_time(self.timestamp_ms, segment.file.base))
            }
        };
        if newest < self.timestamp_ms {
            return Ok(None);
        }
        let mut found = None;
        segment.each_header(shared, &*segment.open(shared)?, entry, false, |position, header| {
            if header.next_offset() > self.upto {
                return false;
            }
            // What lies below the log's start is no longer part of it.
            let has_records = header.count > 0 && header.next_offset() > self.start;
            if header.max_timestamp_ms >= self.timestamp_ms && has_records {
                found = Some(BatchAt { segment: segment.clone(), position, header: *header });
            }
            found.is_none()
        })?;
        Ok(found)
    }

    /// The first record of a batch that is so new; the batch's beginning if its records cannot be read. Blocks.
    pub(super) fn first_record(&self, at: &BatchAt) -> Result<TimedOffset, LogError> {
        let from = at.header.base_offset.max(self.start);
        let mut found = None;
        if let Some(batch) = at.read(&self.shared, &self.epochs, from)? {
            let _as_far_as_it_went = walk(&batch, MAX_UNPACKED_BYTES, |passed| {
                if passed.timestamp_ms < self.timestamp_ms || passed.offset < self.start {
                    return ControlFlow::Continue(());
                }
                found = Some(TimedOffset { offset: passed.offset, timestamp_ms: passed.timestamp_ms });
                ControlFlow::Break(())
            });
        }
        Ok(found.unwrap_or(TimedOffset { offset: from, timestamp_ms: at.header.max_timestamp_ms }))
    }
}

/// Where a batch lies.
pub(super) struct BatchAt {
    pub(super) segment: Segment,
    pub(super) position: u64,
    pub(super) header: BatchHeader,
}

impl BatchAt {
    /// The batch, for its records from `from` on. Checked as whenever a batch is read; `None` if it is not whole.
    pub(super) fn read(
        &self,
        shared: &Arc<Shared>,
        epochs: &Arc<EpochCache>,
        from: Offset,
    ) -> Result<Option<Batch>, LogError> {
        let (position, header) = (self.position, &self.header);
        let entry = IndexEntry { offset: header.base_offset, position, max_timestamp: NO_TIMESTAMP };
        let read = ColdRead {
            shared: Arc::clone(shared),
            segment: self.segment.clone(),
            epochs: Arc::clone(epochs),
            start: Start::At(entry),
            from,
            upto: header.next_offset(),
            max_bytes: header.total_bytes(),
        };
        Ok(Batch::parse(read.run()?).ok())
    }
}
