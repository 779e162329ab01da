//! The mailbox of a sink: so many records and bytes, waiting or sent and not answered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::SinkRecord;
use crate::producer::{ProduceError, RecordMetadata};

/// The mailbox.
#[derive(Debug)]
pub(super) struct Mailbox {
    waiting: Mutex<VecDeque<Waiting>>,
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    bytes_max: usize,
    filled: Notify,
}

/// A record in it. Dropped, its sender is told that nobody publishes it, and its place is free.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) record: SinkRecord,
    pub(super) answer: Answer,
}

/// Where the answer to a record goes, and the place that it keeps until then.
#[derive(Debug)]
pub(super) struct Answer {
    send: oneshot::Sender<Result<RecordMetadata, ProduceError>>,
    _places: [OwnedSemaphorePermit; 2],
}

impl Answer {
    /// Answers, and gives the place back.
    pub(super) fn send(self, result: Result<RecordMetadata, ProduceError>) {
        // Who told it does not wait.
        let _ = self.send.send(result);
    }
}

impl Mailbox {
    /// With room for so many records, and bytes.
    pub(super) fn new(most: usize, bytes_max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            places: Arc::new(Semaphore::new(most)),
            bytes: Arc::new(Semaphore::new(bytes_max)),
            bytes_max,
            filled: Notify::new(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a record in once there is room; `None` when it is closed.
    pub(super) async fn put(
        &self,
        record: SinkRecord,
        bytes: usize,
    ) -> Option<oneshot::Receiver<Result<RecordMetadata, ProduceError>>> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let bytes = u32::try_from(bytes.min(self.bytes_max)).unwrap_or(u32::MAX);
        let its_bytes = Arc::clone(&self.bytes).acquire_many_owned(bytes).await.ok()?;
        let (send, answered) = oneshot::channel();
        let answer = Answer { send, _places: [place, its_bytes] };
        let mut waiting = self.waiting();
        // Under the lock under which it is closed: nothing gets in behind that.
        if self.places.is_closed() {
            return None;
        }
        waiting.push_back(Waiting { record, answer });
        drop(waiting);
        self.filled.notify_one();
        Some(answered)
    }

    /// All that waits, in order.
    pub(super) fn take(&self) -> VecDeque<Waiting> {
        std::mem::take(&mut *self.waiting())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    /// Done when something was put in since the last call.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes no more.
    pub(super) fn close(&self) {
        let _waiting = self.waiting();
        self.places.close();
        self.bytes.close();
    }

    /// Throws away what waits: its senders are told.
    pub(super) fn clear(&self) {
        drop(self.take());
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn record() -> SinkRecord {
        SinkRecord::of("v")
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_until_an_answer_makes_some() {
        let mailbox = Mailbox::new(2, 1_000);
        let mut first = mailbox.put(record(), 100).await.unwrap();
        let _second = mailbox.put(record(), 100).await.unwrap();
        assert!(mailbox.put(record(), 100).now_or_never().is_none());
        let mut taken = mailbox.take();
        assert!(mailbox.is_empty() && mailbox.put(record(), 100).now_or_never().is_none());
        let metadata = RecordMetadata { partition: 1, offset: None, timestamp_ms: 0 };
        taken.pop_front().unwrap().answer.send(Ok(metadata));
        assert_eq!(first.try_recv().unwrap(), Ok(metadata));
        // Bytes are bounded, too; what is larger than the whole is let in alone.
        let _third = mailbox.put(record(), 100).await.unwrap();
        drop(taken);
        assert!(mailbox.put(record(), 5_000).now_or_never().is_none());
        mailbox.clear();
        assert!(mailbox.put(record(), 5_000).now_or_never().is_some());
    }

    #[tokio::test]
    async fn one_that_is_closed_takes_nothing_and_tells_who_waits() {
        let mailbox = Mailbox::new(1, 1_000);
        let first = mailbox.put(record(), 10).await.unwrap();
        let second = mailbox.put(record(), 10);
        mailbox.close();
        assert!(second.await.is_none());
        mailbox.clear();
        assert!(first.await.is_err());
    }
}
