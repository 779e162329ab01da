//! The newest record of a log, by its timestamp.
//!
//! What is known of a segment's timestamps counts batches that are not there any more: removed by compaction, below the
//! log's start, or not committed yet. So it is where to look first, and headers say what there is.

use std::cmp::Reverse;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::directory::Shared;
use super::epochs::EpochCache;
use super::error::LogError;
use super::partition_log::Log;
use super::read::TimedOffset;
use super::segment::{IndexEntry, NO_TIMESTAMP, Segment};
use super::since::batch_at;
use crate::ids::Offset;
use crate::record::{BatchHeader, MAX_UNPACKED_BYTES, walk};

/// A look for the newest record. It stands by itself, so that it can be done off the thread that owns the log.
pub struct NewestRead {
    shared: Arc<Shared>,
    epochs: Arc<EpochCache>,
    /// By offset.
    segments: Vec<Candidate>,
    start: Offset,
    upto: Offset,
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

impl Log {
    /// The first of the records with the greatest timestamp, of those below `upto`.
    pub fn newest(&self, upto: Offset) -> NewestRead {
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
        }
    }
}

impl NewestRead {
    /// Looks; `None` if the log has no record there. Blocks.
    pub fn run(self) -> Result<Option<TimedOffset>, LogError> {
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
        let candidate = self.segments.get(place);
        candidate.map(|candidate| self.record_of(candidate, found)).transpose()
    }

    /// The first of the newest batches of a segment.
    fn newest_of(&self, candidate: &Candidate, hints: Hints) -> Result<Option<Found>, LogError> {
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
    ) -> Result<Option<Found>, LogError> {
        let segment = &candidate.segment;
        let (mut newest, mut failed) = (None::<Found>, None);
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
                if header.base_offset < self.start {
                    // Its newest record may be one of those that were removed.
                    match self.record_of(candidate, found) {
                        Ok(record) => found.timestamp_ms = record.timestamp_ms,
                        Err(error) => failed = Some(error),
                    }
                }
                if newest.is_none_or(|newest| found.timestamp_ms > newest.timestamp_ms) {
                    newest = Some(found);
                }
                failed.is_none() && enough.is_none_or(|enough| found.timestamp_ms < enough)
            },
        )?;
        failed.map_or(Ok(newest), Err)
    }

    /// The first of the newest records of a batch that are part of the log; its beginning if they cannot be read.
    fn record_of(&self, candidate: &Candidate, found: Found) -> Result<TimedOffset, LogError> {
        let Found { position, header, .. } = found;
        let from = header.base_offset.max(self.start);
        let batch = batch_at(&self.shared, &self.epochs, &candidate.segment, position, &header, from)?;
        let mut newest = None::<TimedOffset>;
        if let Some(batch) = batch {
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
        Ok(newest.unwrap_or(TimedOffset { offset: from, timestamp_ms: header.max_timestamp_ms }))
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

impl fmt::Debug for NewestRead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NewestRead").field("upto", &self.upto).finish_non_exhaustive()
    }
}
