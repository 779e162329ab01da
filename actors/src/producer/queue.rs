//! The records of one partition that are not sent yet. Callers encode into it, the router takes from it.
//!
//! A record is encoded straight into the open batch under the queue's lock, which is held for that only. A full batch
//! is compressed by the caller that filled it, outside the lock: its place in the order is kept meanwhile.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::budget::Budget;
use super::delivery::{Delivery, Duty, ProduceError};
use super::record::ProducerRecord;
use crate::ids::PartitionId;
use crate::record::{BatchBuilder, Codec, Compression, Packed};

/// A batch begins with room for this share of the last one's bytes.
const FIRST_BYTES: usize = 1 << 10;

/// A batch that is closed.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) packed: Packed,
    pub(super) duty: Duty,
    pub(super) begun: Instant,
}

#[derive(Debug)]
enum Slot {
    /// The caller that filled it is compressing it.
    Packing(u64),
    Ready(Closed),
}

#[derive(Debug)]
struct Open {
    builder: BatchBuilder,
    duty: Duty,
    begun: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    slots: VecDeque<Slot>,
    open: Option<Open>,
    /// Bytes of the last batch: the next will be like it.
    last_bytes: usize,
    shut: bool,
}

/// The queue of one partition.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) partition: PartitionId,
    batch_bytes: usize,
    compression: Compression,
    budget: Arc<Budget>,
    inner: Mutex<Inner>,
    queued_bytes: AtomicUsize,
    /// Whether the router has been told of it and has not looked yet.
    pub(super) listed: AtomicBool,
}

/// When the router may take the open batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ripe {
    /// Batches begun before this have lingered long enough.
    pub(super) begun_until: Instant,
    /// Batches with lesser numbers are wanted at once.
    pub(super) below: u64,
}

/// What the router finds.
#[derive(Debug)]
pub(super) enum Front {
    /// The next batch.
    Batch(Closed),
    /// Nothing before the open batch, begun then, is ripe.
    Lingers(Instant),
    /// The next batch is being compressed: the queue is listed when it is ready.
    Packing,
    /// Nothing.
    Empty,
}

/// What to do after a record was added.
#[derive(Debug)]
pub(super) struct Added {
    pub(super) delivery: Delivery,
    /// The router must look: a batch was begun or closed.
    pub(super) news: bool,
}

impl Queue {
    pub(super) fn new(
        partition: PartitionId,
        batch_bytes: usize,
        compression: Compression,
        budget: Arc<Budget>,
    ) -> Self {
        Self {
            partition,
            batch_bytes,
            compression,
            budget,
            inner: Mutex::default(),
            queued_bytes: AtomicUsize::new(0),
            listed: AtomicBool::new(false),
        }
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes.load(Ordering::Relaxed)
    }

    /// Encodes a record whose `bytes` are taken from the budget. `None` if the producer is closed; the bytes are given
    /// back then.
    pub(super) fn add(&self, record: &ProducerRecord<'_>, timestamp_ms: i64, bytes: usize) -> Option<Added> {
        let mut full = None;
        let mut inner = self.lock();
        if inner.shut {
            drop(inner);
            self.budget.give_back(bytes);
            return None;
        }
        let mut news = false;
        let delivery = loop {
            let begun = inner.open.is_none();
            match self.push(&mut inner, record, timestamp_ms, bytes) {
                Some(delivery) => {
                    news |= begun;
                    break delivery;
                }
                None => full = self.close_open(&mut inner),
            }
            news = true;
        };
        drop(inner);
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(open) = full {
            self.pack(open);
        }
        Some(Added { delivery, news })
    }

    fn push(
        &self,
        inner: &mut Inner,
        record: &ProducerRecord<'_>,
        timestamp_ms: i64,
        bytes: usize,
    ) -> Option<Delivery> {
        let capacity = inner.last_bytes.clamp(FIRST_BYTES, self.batch_bytes);
        let open = inner.open.get_or_insert_with(|| Open {
            builder: BatchBuilder::with_capacity(self.batch_bytes, capacity, self.compression),
            duty: Duty::new(Arc::clone(&self.budget)),
            begun: Instant::now(),
        });
        let index = open.builder.push(timestamp_ms, record.key, record.value, record.headers).ok()?;
        open.duty.bytes = open.duty.bytes.saturating_add(bytes);
        let fate = open.duty.fate();
        Some(Delivery { fate, partition: self.partition.index, index, timestamp_ms, place: None })
    }

    /// Closes the open batch. Hands it back where it is to be compressed; its place is kept.
    fn close_open(&self, inner: &mut Inner) -> Option<Open> {
        let open = inner.open.take()?;
        inner.last_bytes = open.builder.used_bytes();
        if self.compression.codec == Codec::None {
            inner.slots.push_back(Slot::Ready(open.close()));
            return None;
        }
        inner.slots.push_back(Slot::Packing(open.duty.number()));
        Some(open)
    }

    fn pack(&self, open: Open) {
        let closed = open.close();
        let number = closed.duty.number();
        let mut inner = self.lock();
        let place =
            inner.slots.iter_mut().find(|slot| matches!(slot, Slot::Packing(packed) if *packed == number));
        // Gone if the producer was closed meanwhile: the batch fails as it is dropped.
        if let Some(place) = place {
            *place = Slot::Ready(closed);
        }
    }

    /// Takes the next batch if it is closed or ripe.
    pub(super) fn take(&self, ripe: Ripe) -> Front {
        let mut inner = self.lock();
        let front = match inner.slots.pop_front() {
            Some(Slot::Ready(closed)) => Front::Batch(closed),
            Some(packing) => {
                inner.slots.push_front(packing);
                Front::Packing
            }
            None => match inner.open.take() {
                None => Front::Empty,
                Some(open) if open.begun <= ripe.begun_until || open.duty.number() < ripe.below => {
                    inner.last_bytes = open.builder.used_bytes();
                    drop(inner);
                    Front::Batch(open.close())
                }
                Some(open) => {
                    let begun = open.begun;
                    inner.open = Some(open);
                    Front::Lingers(begun)
                }
            },
        };
        if let Front::Batch(closed) = &front {
            self.queued_bytes.fetch_sub(closed.duty.bytes, Ordering::Relaxed);
        }
        front
    }

    /// When the oldest batch was begun.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let inner = self.lock();
        let first = inner.slots.iter().find_map(|slot| match slot {
            Slot::Ready(closed) => Some(closed.begun),
            Slot::Packing(_) => None,
        });
        first.or_else(|| inner.open.as_ref().map(|open| open.begun))
    }

    /// Gives up what is there, with this error; records go on coming.
    pub(super) fn abandon(&self, error: &ProduceError) {
        let mut inner = self.lock();
        let (slots, open) = (std::mem::take(&mut inner.slots), inner.open.take());
        drop(inner);
        let closed = slots.into_iter().filter_map(|slot| match slot {
            Slot::Ready(closed) => Some(closed.duty),
            // Who packs it finds its place gone, and drops it.
            Slot::Packing(_) => None,
        });
        for duty in closed.chain(open.map(|open| open.duty)) {
            self.queued_bytes.fetch_sub(duty.bytes, Ordering::Relaxed);
            duty.decide(Err(error.clone()));
        }
    }

    /// Takes no more records, and drops what is there: it has failed.
    pub(super) fn shut(&self) {
        let mut inner = self.lock();
        inner.shut = true;
        let dropped = (std::mem::take(&mut inner.slots), inner.open.take());
        drop(inner);
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn close(self) -> Closed {
        Closed { packed: self.builder.pack(), duty: self.duty, begun: self.begun }
    }
}
