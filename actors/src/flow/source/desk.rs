//! Where a source lays out what is to be handled, and its actor takes it: one fetch, no queue.

use std::sync::{Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Label};

use super::super::chunks::Chunks;
use super::super::record::SourceRecord;
use crate::client::TopicPartition;
use crate::consumer::Fetched;
use crate::events::Events;
use crate::ids::Offset;
use crate::record::BatchError;

/// The desk.
#[derive(Debug)]
pub(super) struct Desk {
    laid: Mutex<Laid>,
    handled: Counted,
}

struct Counted(Counter);

impl std::fmt::Debug for Counted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Counted")
    }
}

#[derive(Debug)]
struct Laid {
    fetched: Option<Fetched>,
    is_unpacked: bool,
    chunks: Chunks,
}

/// How far what lies there is handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) partition: TopicPartition,
    /// Where to go on.
    pub(super) position: Offset,
    /// Nothing of it is left.
    pub(super) is_done: bool,
}

impl Desk {
    pub(super) fn new(chunk_max: usize, events: &Events, kind: &'static str) -> Self {
        let handled = events.counter("millstream_source_records_total", vec![Label::new("kind", kind)]);
        let laid = Laid { fetched: None, is_unpacked: false, chunks: Chunks::new(chunk_max) };
        Self { laid: Mutex::new(laid), handled: Counted(handled) }
    }

    fn laid(&self) -> MutexGuard<'_, Laid> {
        self.laid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays a fetch down, in place of what lay there.
    pub(super) fn put(&self, fetched: Fetched) {
        let mut laid = self.laid();
        laid.chunks.put(Vec::new());
        laid.is_unpacked = false;
        laid.fetched = Some(fetched);
    }

    /// Takes what lies there away.
    pub(super) fn clear(&self) {
        let mut laid = self.laid();
        laid.chunks.put(Vec::new());
        laid.fetched = None;
    }

    /// What to handle next; empty when all is handled. The first call unpacks: on the caller's thread.
    pub(super) fn next(&self) -> Result<Vec<SourceRecord>, BatchError> {
        let mut laid = self.laid();
        let Laid { fetched, is_unpacked, chunks } = &mut *laid;
        let Some(fetched) = fetched.as_ref() else { return Ok(Vec::new()) };
        if !*is_unpacked {
            chunks.put(unpacked(fetched)?);
            *is_unpacked = true;
        }
        Ok(chunks.next().to_vec())
    }

    /// The first of what was handed out are handled.
    pub(super) fn handled(&self, count: usize) {
        self.laid().chunks.handled(count);
        self.handled.0.increment(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// The handler failed at one of them.
    pub(super) fn failed(&self) {
        self.laid().chunks.failed();
    }

    /// How far it is; `None` when nothing lies there.
    pub(super) fn progress(&self) -> Option<Progress> {
        let laid = self.laid();
        let fetched = laid.fetched.as_ref()?;
        let open = laid.chunks.first_open();
        let position = match open {
            Some(record) => record.offset,
            None if laid.is_unpacked => fetched.next_offset(),
            None => fetched.asked_offset(),
        };
        let is_done = laid.is_unpacked && open.is_none();
        Some(Progress { partition: fetched.partition.clone(), position, is_done })
    }
}

fn unpacked(fetched: &Fetched) -> Result<Vec<SourceRecord>, BatchError> {
    let of = |record| SourceRecord {
        topic: fetched.partition.topic.clone(),
        topic_id: fetched.topic_id,
        partition: fetched.partition.partition,
        record,
    };
    fetched.records().map(|record| record.map(of)).collect()
}
