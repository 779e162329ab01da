//! Where a source lays out what is to be handled, and its actor takes it: one fetch, no queue.
//!
//! Batches are unpacked one after the other, and never more records than one chunk has: what a fetch unpacks to is bounded by
//! its largest batch. An actor has a desk of its own: one that is over and still at its last chunk moves nothing on the desk of
//! the next.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Label};

use super::super::chunks::Chunks;
use super::super::record::SourceRecord;
use crate::client::TopicPartition;
use crate::consumer::Fetched;
use crate::events::Events;
use crate::ids::{Offset, PartitionId};
use crate::record::{BatchError, Record};

/// The desk.
#[derive(Debug)]
pub(super) struct Desk {
    laid: Mutex<Laid>,
    handled: Counted,
    chunk_max: usize,
}

#[derive(Clone)]
struct Counted(Counter);

impl fmt::Debug for Counted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Counted")
    }
}

#[derive(Debug)]
struct Laid {
    fetch: Option<Fetch>,
    chunks: Chunks,
}

/// What of a fetch is not handed out yet.
struct Fetch {
    id: PartitionId,
    partition: TopicPartition,
    records: Box<dyn Iterator<Item = Result<Record, BatchError>> + Send>,
    /// Nothing behind it can be unpacked.
    error: Option<BatchError>,
    is_exhausted: bool,
    /// Behind the last record that was handled.
    reached: Offset,
    behind: Offset,
}

impl fmt::Debug for Fetch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fetch").field("partition", &self.partition).finish_non_exhaustive()
    }
}

/// How far what lies there is handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) id: PartitionId,
    pub(super) partition: TopicPartition,
    /// Where to go on.
    pub(super) position: Offset,
    /// Nothing of it is left.
    pub(super) is_done: bool,
}

impl Fetch {
    fn of(fetched: Fetched) -> Self {
        let partition = fetched.partition.clone();
        Self {
            id: PartitionId { topic: fetched.topic_id, index: partition.partition },
            partition,
            error: None,
            is_exhausted: false,
            reached: fetched.asked_offset(),
            behind: fetched.next_offset(),
            records: Box::new(fetched.into_records()),
        }
    }

    /// So many records more, or as many as there are.
    fn unpack(&mut self, most: usize) -> Vec<SourceRecord> {
        let mut unpacked = Vec::new();
        while unpacked.len() < most && self.error.is_none() && !self.is_exhausted {
            match self.records.next() {
                Some(Ok(record)) => unpacked.push(SourceRecord {
                    topic: Arc::clone(&self.partition.topic),
                    topic_id: self.id.topic,
                    partition: self.id.index,
                    record,
                }),
                Some(Err(error)) => self.error = Some(error),
                None => self.is_exhausted = true,
            }
        }
        unpacked
    }
}

impl Laid {
    /// Unpacks more where all that was unpacked is handled.
    fn fill(&mut self, most: usize) {
        if let Some(fetch) = &mut self.fetch
            && self.chunks.first_open().is_none()
        {
            self.chunks.put(fetch.unpack(most));
        }
    }
}

impl Desk {
    pub(super) fn new(chunk_max: usize, events: &Events, kind: &'static str) -> Self {
        let handled = events.counter("millstream_source_records_total", vec![Label::new("kind", kind)]);
        Self::with(chunk_max, Counted(handled))
    }

    /// One with nothing on it, for the next actor.
    pub(super) fn anew(&self) -> Self {
        Self::with(self.chunk_max, self.handled.clone())
    }

    fn with(chunk_max: usize, handled: Counted) -> Self {
        let laid = Laid { fetch: None, chunks: Chunks::new(chunk_max) };
        Self { laid: Mutex::new(laid), handled, chunk_max: chunk_max.max(1) }
    }

    fn laid(&self) -> MutexGuard<'_, Laid> {
        self.laid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays a fetch down, in place of what lay there.
    pub(super) fn put(&self, fetched: Fetched) {
        let mut laid = self.laid();
        laid.chunks.put(Vec::new());
        laid.fetch = Some(Fetch::of(fetched));
    }

    /// Takes what lies there away.
    pub(super) fn clear(&self) {
        let mut laid = self.laid();
        laid.chunks.put(Vec::new());
        laid.fetch = None;
    }

    /// What to handle next; empty when all is handled. Unpacks: on the caller's thread.
    pub(super) fn next(&self) -> Result<Vec<SourceRecord>, BatchError> {
        let mut laid = self.laid();
        laid.fill(self.chunk_max);
        match laid.fetch.as_ref().and_then(|fetch| fetch.error.as_ref()) {
            Some(error) if laid.chunks.first_open().is_none() => Err(error.clone()),
            _ => Ok(laid.chunks.next().to_vec()),
        }
    }

    /// The first of what was handed out are handled.
    pub(super) fn handled(&self, count: usize) {
        let mut laid = self.laid();
        let Laid { fetch, chunks } = &mut *laid;
        let last = count.checked_sub(1).and_then(|last| chunks.next().get(last));
        if let (Some(fetch), Some(last)) = (fetch, last) {
            fetch.reached = last.offset.plus(1);
        }
        chunks.handled(count);
        // Whether anything is left is known only now.
        laid.fill(self.chunk_max);
        self.handled.0.increment(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// The handler failed at one of them.
    pub(super) fn failed(&self) {
        self.laid().chunks.failed();
    }

    /// How far it is; `None` when nothing lies there.
    pub(super) fn progress(&self) -> Option<Progress> {
        let laid = self.laid();
        let fetch = laid.fetch.as_ref()?;
        let open = laid.chunks.first_open();
        let is_done = fetch.is_exhausted && open.is_none();
        let position = match open {
            Some(record) => record.offset,
            None if is_done => fetch.behind,
            None => fetch.reached,
        };
        Some(Progress { id: fetch.id, partition: fetch.partition.clone(), position, is_done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TopicId;
    use crate::record::{Batch, BatchBuilder, Compression};

    fn batch(records: usize, base: i64) -> Batch {
        let mut builder = BatchBuilder::new(1 << 20, Compression::NONE);
        for _ in 0..records {
            builder.push(0, None, Some(b"v"), &[]).unwrap();
        }
        let mut batch = Batch::parse(builder.finish(None)).unwrap();
        batch.header.base_offset = Offset(base);
        batch
    }

    fn fetched(batches: Vec<Batch>, from: i64, next: i64) -> Fetched {
        Fetched {
            partition: TopicPartition::new("t", 2),
            topic_id: TopicId(uuid::Uuid::nil()),
            high_watermark: Offset(next),
            batches,
            from: Offset(from),
            next: Offset(next),
        }
    }

    fn desk(chunk_max: usize) -> Desk {
        Desk::with(chunk_max, Counted(Counter::noop()))
    }

    fn position(desk: &Desk) -> (i64, bool) {
        desk.progress().map(|at| (at.position.0, at.is_done)).unwrap()
    }

    fn next(desk: &Desk) -> usize {
        desk.next().unwrap().len()
    }

    #[test]
    fn no_more_is_unpacked_than_a_chunk_and_the_position_is_behind_what_is_handled() {
        let desk = desk(4);
        assert_eq!(desk.progress(), None);
        desk.put(fetched(vec![batch(6, 0)], 1, 8));
        assert_eq!(position(&desk), (1, false));
        assert_eq!(next(&desk), 4);
        assert_eq!(desk.laid().chunks.next().len(), 4);
        desk.handled(2);
        assert_eq!(position(&desk), (3, false));
        assert_eq!(next(&desk), 2);
        desk.handled(2);
        assert_eq!(position(&desk), (5, false));
        assert_eq!(next(&desk), 1);
        desk.handled(1);
        // Behind the last record lies what brokers wrote.
        assert_eq!(position(&desk), (8, true));
        assert_eq!(next(&desk), 0);
    }

    #[test]
    fn what_an_actor_that_is_over_still_handles_moves_nothing_on_the_desk_of_the_next() {
        let old = desk(4);
        old.put(fetched(vec![batch(6, 0)], 0, 6));
        assert_eq!(next(&old), 4);
        let new = old.anew();
        new.put(fetched(vec![batch(6, 0)], 0, 6));
        assert_eq!(next(&new), 4);
        old.handled(4);
        assert_eq!(position(&new), (0, false));
    }
}
