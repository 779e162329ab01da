//! The newest record of a log, by its timestamp.
//!
//! What is known of a segment's timestamps counts batches that are not there any more: removed by compaction, below the
//! log's start, or not committed yet. So it is where to look first, and headers say what there is.

use std::cmp::Reverse;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::directory::Shared;
use super::epochs::EpochCache;
use super::error::LogError;
use super::partition_log::Log;
use super::read::TimedOffset;
use super::segment::{IndexEntry, NO_TIMESTAMP, Segment};
use super::since::BatchAt;
use crate::ids::Offset;
use crate::record::{BatchHeader, MAX_UNPACKED_BYTES, walk};

/// A look for the newest record.
pub(super) struct NewestRead {
    shared: Arc<Shared>,
    epochs: Arc<EpochCache>,
    /// By offset.
    segments: Vec<Candidate>,
    start: Offset,
    upto: Offset,
    /// The newest record that is left of the batch within which the log starts, once it is known.
    at_start: Option<TimedOffset>,
}

/// What headers tell of the newest record.
pub(super) enum Newest {
    /// There is none.
    Nothing,
    /// It is this one.
    Record(TimedOffset),
    /// It may be in this batch, which has to be read.
    In(Box<BatchAt>),
}

/// Why a look at headers ends.
enum Stop {
    /// They could not be read.
    Failed(LogError),
    /// They do not tell how new this batch is.
    Unknown(Box<BatchAt>),
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        Self::Failed(error)
    }
}

/// A segment that may hold it.
struct Candidate {
    segment: Segment,
    /// Of the active segment, whose index is its owner's.
    active: Option<Hints>,
}

/// Where to look in a segment.
#[derive(Clone, Copy)]
struct Hints {
    /// No batch is newer.
    bound: i64,
    /// No batch before has this time.
    by_time: IndexEntry,
    /// Nothing before is part of the log.
    from_start: IndexEntry,
}

/// A batch, and the time of the newest of its records that count.
#[derive(Clone, Copy)]
struct Found {
    timestamp_ms: i64,
    position: u64,
    header: BatchHeader,
}

impl Found {
    fn at(self, candidate: &Candidate) -> BatchAt {
        BatchAt { segment: candidate.segment.clone(), position: self.position, header: self.header }
    }
}

impl Log {
    pub(super) fn newest_read(&self, upto: Offset) -> NewestRead {
        let upto = upto.min(self.end);
        let next_bases = self.segments.iter().skip(1).map(|next| Some(next.file.base)).chain([None]);
        let in_log = self.segments.iter().zip(next_bases).filter(|(segment, next)| {
            segment.length > 0 && segment.file.base < upto && next.is_none_or(|next| next > self.start)
        });
        let candidates = in_log.map(|(segment, next)| {
            let active = next.is_none().then(|| {
                let (index, bound) = (self.active.index(), self.active.max_timestamp());
                let base = segment.file.base;
                Hints {
                    bound,
                    by_time: index.before_time(bound, base),
                    from_start: index.before(self.start, base),
                }
            });
            Candidate { segment: segment.clone(), active }
        });
        NewestRead {
            shared: Arc::clone(self.shared()),
            epochs: Arc::clone(&self.epochs),
            segments: candidates.collect(),
            start: self.start,
            upto,
            at_start: None,
        }
    }
}

impl NewestRead {
    /// Looks at headers. Blocks.
    pub(super) fn look(&self) -> Result<Newest, LogError> {
        match self.newest_batch() {
            Ok(None) => Ok(Newest::Nothing),
            Ok(Some(at)) if self.is_at_start(&at.header) => {
                Ok(self.at_start.map_or(Newest::In(at), Newest::Record))
            }
            Ok(Some(at)) | Err(Stop::Unknown(at)) => Ok(Newest::In(at)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn newest_batch(&self) -> Result<Option<Box<BatchAt>>, Stop> {
        let mut ordered = Vec::with_capacity(self.segments.len());
        for (place, candidate) in self.segments.iter().enumerate() {
            ordered.push((candidate.hints(&self.shared, self.start)?, place, candidate));
        }
        ordered.sort_by_key(|(hints, place, _)| (Reverse(hints.bound), *place));
        let mut best: Option<(Found, usize)> = None;
        for (hints, place, candidate) in ordered {
            if best.is_some_and(|(best, _)| best.timestamp_ms > hints.bound) {
                break;
            }
            if let Some(found) = self.newest_of(candidate, hints)?
                && best.is_none_or(|(best, known)| {
                    (found.timestamp_ms, Reverse(place)) > (best.timestamp_ms, Reverse(known))
                })
            {
                best = Some((found, place));
            }
        }
        let Some((found, place)) = best else { return Ok(None) };
        Ok(self.segments.get(place).map(|candidate| Box::new(found.at(candidate))))
    }

    /// The first of the newest batches of a segment.
    fn newest_of(&self, candidate: &Candidate, hints: Hints) -> Result<Option<Found>, Stop> {
        if hints.bound == NO_TIMESTAMP {
            return Ok(None);
        }
        let by_time = self.walk(candidate, hints.by_time, Some(hints.bound))?;
        if by_time.is_some_and(|found| found.timestamp_ms >= hints.bound) {
            return Ok(by_time);
        }
        self.walk(candidate, hints.from_start, None)
    }

    /// The first of the newest batches from an entry on; the first that is so new, where a time is given.
    fn walk(
        &self,
        candidate: &Candidate,
        from: IndexEntry,
        enough: Option<i64>,
    ) -> Result<Option<Found>, Stop> {
        let segment = &candidate.segment;
        let (mut newest, mut unknown) = (None::<Found>, None);
        segment.each_header(
            &self.shared,
            &*segment.open(&self.shared)?,
            from,
            false,
            |position, header| {
                if header.next_offset() > self.upto {
                    return false;
                }
                if header.count <= 0 || header.next_offset() <= self.start {
                    return true;
                }
                let mut found = Found { timestamp_ms: header.max_timestamp_ms, position, header: *header };
                if self.is_at_start(header) {
                    match self.at_start {
                        Some(record) => found.timestamp_ms = record.timestamp_ms,
                        None => unknown = Some(found),
                    }
                }
                if newest.is_none_or(|newest| found.timestamp_ms > newest.timestamp_ms) {
                    newest = Some(found);
                }
                unknown.is_none() && enough.is_none_or(|enough| found.timestamp_ms < enough)
            },
        )?;
        unknown.map_or(Ok(newest), |found| Err(Stop::Unknown(Box::new(found.at(candidate)))))
    }

    /// Whether the log's start lies within this batch: its newest record may be one of those that were removed.
    fn is_at_start(&self, header: &BatchHeader) -> bool {
        header.base_offset < self.start
    }

    /// The newest record of the log, which is of this batch; `None` if headers have to be looked at again, with what is known
    /// now. Blocks.
    pub(super) fn newest_record(&mut self, at: &BatchAt) -> Result<Option<TimedOffset>, LogError> {
        let record = self.record_of(at)?;
        if self.is_at_start(&at.header) {
            self.at_start = Some(record);
            return Ok(None);
        }
        Ok(Some(record))
    }

    /// The first of the newest records of a batch that are part of the log; its beginning if they cannot be read.
    fn record_of(&self, at: &BatchAt) -> Result<TimedOffset, LogError> {
        let from = at.header.base_offset.max(self.start);
        let mut newest = None::<TimedOffset>;
        if let Some(batch) = at.read(&self.shared, &self.epochs, from)? {
            let _as_far_as_it_went = walk(&batch, MAX_UNPACKED_BYTES, |passed| {
                let is_newer = newest.is_none_or(|newest| {
                    (passed.timestamp_ms, Reverse(passed.offset))
                        > (newest.timestamp_ms, Reverse(newest.offset))
                });
                if passed.offset >= from && is_newer {
                    newest = Some(TimedOffset { offset: passed.offset, timestamp_ms: passed.timestamp_ms });
                }
                ControlFlow::Continue(())
            });
        }
        Ok(newest.unwrap_or(TimedOffset { offset: from, timestamp_ms: at.header.max_timestamp_ms }))
    }
}

impl Candidate {
    fn hints(&self, shared: &Shared, start: Offset) -> Result<Hints, LogError> {
        if let Some(hints) = self.active {
            return Ok(hints);
        }
        let (index, base) = (self.segment.index(shared)?, self.segment.file.base);
        let bound = index.footer.map_or(NO_TIMESTAMP, |footer| footer.max_timestamp);
        Ok(Hints { bound, by_time: index.before_time(bound, base), from_start: index.before(start, base) })
    }
}
