//! What waits on the answering side of one link: requests being answered, and answers to be sent. Bounded.
//!
//! A request is read only while there is room for it and its answer; its answer is then never refused.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use tokio::sync::Notify;

use super::lock;
use super::tuning::Limits;
use crate::frame::Encoded;

/// Most bytes taken for one write.
const BATCH_BYTES: usize = 1 << 20;

/// The answers of one link. Handlers put them in from any thread.
#[derive(Debug)]
pub(super) struct Answers {
    limits: Limits,
    state: Mutex<State>,
    filled: Notify,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Encoded>,
    queued_bytes: usize,
    unanswered: usize,
    unanswered_bytes: usize,
    closed: bool,
}

impl Answers {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default(), filled: Notify::new(), freed: Notify::new() }
    }

    /// Returns when another request may be read.
    pub(super) async fn room(&self) {
        while !self.has_room() {
            self.freed.notified().await;
        }
    }

    fn has_room(&self) -> bool {
        let state = lock(&self.state);
        state.unanswered < self.limits.unanswered
            && state.unanswered_bytes < self.limits.unanswered_bytes
            && state.queued_bytes < self.limits.answer_bytes
    }

    /// Takes the place of a request of so many bytes, until [`Answers::put`].
    pub(super) fn admit(&self, bytes: usize) {
        let mut state = lock(&self.state);
        state.unanswered += 1;
        state.unanswered_bytes += bytes;
    }

    /// The answer to a request of so many bytes; `None` if there is none to be sent.
    pub(super) fn put(&self, request_bytes: usize, answer: Option<Encoded>) {
        let mut state = lock(&self.state);
        state.unanswered -= 1;
        state.unanswered_bytes -= request_bytes;
        if let Some(answer) = answer.filter(|_| !state.closed) {
            state.queued_bytes += answer.bytes;
            state.queue.push_back(answer);
            self.filled.notify_one();
        }
        self.freed.notify_one();
    }

    /// What to send next, with its length; waits until there is something.
    pub(super) async fn next_batch(&self) -> (Vec<Bytes>, usize) {
        loop {
            let batch = self.take_batch();
            if batch.1 > 0 {
                return batch;
            }
            self.filled.notified().await;
        }
    }

    fn take_batch(&self) -> (Vec<Bytes>, usize) {
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        let mut state = lock(&self.state);
        while bytes < BATCH_BYTES {
            let Some(answer) = state.queue.pop_front() else { break };
            bytes += answer.bytes;
            chunks.extend(answer.chunks);
        }
        state.queued_bytes -= bytes;
        self.freed.notify_one();
        (chunks, bytes)
    }

    /// The link is gone: answers go nowhere.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.queue.clear();
        state.queued_bytes = 0;
    }
}
