//! What becomes of a record: known batch by batch, awaited record by record.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::budget::Budget;
use crate::client::ClientError;
use crate::error::Refusal;
use crate::ids::Offset;

/// Why a record was not written, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    /// The record is larger than a request may be.
    #[error("the record's {bytes} bytes are more than max.request.size, {limit}")]
    TooLarge {
        /// Bytes of the record.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// `buffer.memory` was used up for longer than `max.block.ms`.
    #[error("buffer.memory was used up for {} ms: the cluster takes less than is sent", .0.as_millis())]
    BufferFull(Duration),
    /// The topic has no such partition.
    #[error("topic {topic} has no partition {partition}, only {partitions}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition named.
        partition: i32,
        /// How many it has.
        partitions: usize,
    },
    /// Not certain within `delivery.timeout.ms`; the record may have been written.
    #[error("not delivered within {} ms; {last}", .within.as_millis())]
    TimedOut {
        /// The time given.
        within: Duration,
        /// What last stood in the way.
        last: String,
    },
    /// The leader refused the record's batch.
    #[error(transparent)]
    Refused(Refusal),
    /// The client could not do its part.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The transaction that the record was part of is aborted, and the record was not delivered before.
    #[error("the record's transaction is aborted")]
    Aborted,
    /// The producer was closed first.
    #[error("the producer was closed before the record was delivered")]
    Closed,
}

/// Where a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The partition.
    pub partition: i32,
    /// Its offset in it; `None` with `acks=0`.
    pub offset: Option<Offset>,
    /// Its timestamp: its own, or the broker's where the topic has `LogAppendTime`. Milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) base_offset: Option<Offset>,
    pub(super) append_time_ms: Option<i64>,
}

/// The fate of one batch, shared by the deliveries of its records.
#[derive(Debug, Default)]
pub(super) struct Fate {
    result: OnceLock<Result<Written, ProduceError>>,
    wakers: Mutex<Vec<Waker>>,
}

impl Fate {
    fn decide(&self, result: Result<Written, ProduceError>) {
        if self.result.set(result).is_err() {
            return;
        }
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in wakers {
            waker.wake();
        }
    }
}

/// The duty to decide a batch's fate, once. Dropped undecided, the batch has failed as closed.
#[derive(Debug)]
pub(super) struct Duty {
    fate: Arc<Fate>,
    budget: Arc<Budget>,
    number: u64,
    /// Bytes of its records, taken from the budget.
    pub(super) bytes: usize,
}

impl Duty {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        let number = budget.begin();
        Self { fate: Arc::default(), budget, number, bytes: 0 }
    }

    /// Batches are numbered as they are begun.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn fate(&self) -> Arc<Fate> {
        Arc::clone(&self.fate)
    }

    pub(super) fn decide(self, result: Result<Written, ProduceError>) {
        if let Err(error) = &result {
            // Before who waits for the batch goes on.
            self.budget.failed(error);
        }
        self.fate.decide(result);
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if self.fate.result.get().is_none() {
            self.budget.failed(&ProduceError::Closed);
            self.fate.decide(Err(ProduceError::Closed));
        }
        self.budget.end(self.number, self.bytes);
    }
}

/// A record under way: await it to learn where it was written. Dropping it does not call the record back.
#[derive(Debug)]
#[must_use = "a record may fail: await its delivery, or drop it on purpose"]
pub struct Delivery {
    pub(super) fate: Arc<Fate>,
    pub(super) partition: i32,
    pub(super) index: i32,
    pub(super) timestamp_ms: i64,
    /// Its place among the fate's wakers.
    pub(super) place: Option<usize>,
}

impl Delivery {
    /// Where the record was written, if that is known.
    #[must_use]
    pub fn now(&self) -> Option<Result<RecordMetadata, ProduceError>> {
        let written = match self.fate.result.get()? {
            Ok(written) => written,
            Err(error) => return Some(Err(error.clone())),
        };
        Some(Ok(RecordMetadata {
            partition: self.partition,
            offset: written.base_offset.map(|base| base.plus(i64::from(self.index))),
            timestamp_ms: written.append_time_ms.unwrap_or(self.timestamp_ms),
        }))
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, ProduceError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.now() {
            return Poll::Ready(result);
        }
        let fate = Arc::clone(&self.fate);
        let mut wakers = fate.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        // Decided between the first look and the lock: nobody would wake us.
        if let Some(result) = self.now() {
            return Poll::Ready(result);
        }
        match self.place.and_then(|place| wakers.get_mut(place)) {
            Some(waker) => waker.clone_from(context.waker()),
            None => {
                self.place = Some(wakers.len());
                wakers.push(context.waker().clone());
            }
        }
        Poll::Pending
    }
}
