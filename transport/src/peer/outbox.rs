//! What waits on the asker's side of one lane: messages to be sent, and asks without an answer. Bounded.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::error::AskError;
use super::lock;
use super::stream::Channel;
use crate::frame::{Encoded, Frame};

/// Most bytes taken for one write.
const BATCH_BYTES: usize = 1 << 20;

/// What an ask ends with: the frame of the answer, or why there is none.
pub(super) type Answered = Result<Frame, AskError>;

/// What the opening of a channel ends with.
pub(super) type Opened = Result<(Frame, Channel), AskError>;

/// A channel to be opened.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) frame: Encoded,
    pub(super) reply: oneshot::Sender<Opened>,
}

/// Everything that waits on one lane of one peer. Who puts something in and who sends are on different threads.
#[derive(Debug)]
pub(super) struct Outbox {
    /// For messages to name the peer.
    pub(super) peer: String,
    most_waiting: usize,
    most_bytes: usize,
    next: AtomicU64,
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Not sent yet, by correlation id, which is the order of the calls.
    queue: BTreeMap<u64, Queued>,
    queued_bytes: usize,
    /// Asked and not answered, sent or not.
    waiting: BTreeMap<u64, oneshot::Sender<Answered>>,
    closed: Option<AskError>,
}

#[derive(Debug)]
enum Queued {
    Message(Encoded),
    Opening(Opening),
}

impl Queued {
    fn bytes(&self) -> usize {
        match self {
            Self::Message(frame) | Self::Opening(Opening { frame, .. }) => frame.bytes,
        }
    }
}

/// What is to be sent now.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) chunks: Vec<Bytes>,
    pub(super) bytes: usize,
    pub(super) openings: Vec<Opening>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.openings.is_empty()
    }
}

impl Outbox {
    pub(super) fn new(peer: String, most_waiting: usize, most_bytes: usize) -> Self {
        Self {
            peer,
            most_waiting,
            most_bytes,
            next: AtomicU64::new(1),
            state: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// The id of the next message.
    pub(super) fn next_correlation(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Queues a message; with `waiter` one that is to be answered. Refused when too much waits already.
    pub(super) fn put(
        &self,
        correlation: u64,
        frame: Encoded,
        waiter: Option<oneshot::Sender<Answered>>,
    ) -> Result<(), AskError> {
        let mut state = lock(&self.state);
        self.check(&state, frame.bytes)?;
        if let Some(waiter) = waiter {
            state.waiting.insert(correlation, waiter);
        }
        self.queue(&mut state, correlation, Queued::Message(frame));
        Ok(())
    }

    /// Queues the opening of a channel.
    pub(super) fn put_opening(&self, correlation: u64, opening: Opening) -> Result<(), AskError> {
        let mut state = lock(&self.state);
        self.check(&state, opening.frame.bytes)?;
        self.queue(&mut state, correlation, Queued::Opening(opening));
        Ok(())
    }

    fn queue(&self, state: &mut State, correlation: u64, queued: Queued) {
        state.queued_bytes += queued.bytes();
        state.queue.insert(correlation, queued);
        self.filled.notify_one();
    }

    fn check(&self, state: &State, bytes: usize) -> Result<(), AskError> {
        if let Some(error) = &state.closed {
            return Err(error.clone());
        }
        let unanswered = state.waiting.len();
        // One message always fits, however long it is.
        let over = !state.queue.is_empty() && state.queued_bytes.saturating_add(bytes) > self.most_bytes;
        if unanswered >= self.most_waiting || state.queue.len() >= self.most_waiting || over {
            let queued_bytes = state.queued_bytes;
            return Err(AskError::Full { peer: self.peer.clone(), unanswered, queued_bytes });
        }
        Ok(())
    }

    /// Forgets an ask that nobody waits for any more; what was not sent yet will not be.
    pub(super) fn forget(&self, correlation: u64) {
        let mut state = lock(&self.state);
        state.waiting.remove(&correlation);
        if let Some(queued) = state.queue.remove(&correlation) {
            state.queued_bytes -= queued.bytes();
        }
    }

    /// Gives an answer to who waits for it; false if nobody does any more.
    pub(super) fn answer(&self, correlation: u64, answered: Answered) -> bool {
        let waiter = lock(&self.state).waiting.remove(&correlation);
        waiter.is_some_and(|waiter| waiter.send(answered).is_ok())
    }

    /// Whether there is something to send.
    pub(super) fn has_work(&self) -> bool {
        !lock(&self.state).queue.is_empty()
    }

    /// Returns when something was put in since the last call.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Wakes who waits in [`Outbox::filled`].
    pub(super) fn nudge(&self) {
        self.filled.notify_one();
    }

    /// What to send next, in order; waits until there is something.
    pub(super) async fn next_batch(&self) -> Batch {
        loop {
            let batch = self.take_batch();
            if !batch.is_empty() {
                return batch;
            }
            self.filled().await;
        }
    }

    fn take_batch(&self) -> Batch {
        let mut batch = Batch::default();
        let mut state = lock(&self.state);
        while batch.bytes < BATCH_BYTES {
            let Some((_, queued)) = state.queue.pop_first() else { break };
            state.queued_bytes -= queued.bytes();
            match queued {
                Queued::Message(frame) => {
                    batch.bytes += frame.bytes;
                    batch.chunks.extend(frame.chunks);
                }
                Queued::Opening(opening) => batch.openings.push(opening),
            }
        }
        batch
    }

    /// The link is gone: all that waits fails, each with its own error.
    pub(super) fn fail_all(&self, error: impl Fn() -> AskError) {
        let failed = std::mem::take(&mut *lock(&self.state));
        if failed.closed.is_some() {
            lock(&self.state).closed = failed.closed;
        }
        for (_, waiter) in failed.waiting {
            let _ = waiter.send(Err(error()));
        }
        for (_, queued) in failed.queue {
            if let Queued::Opening(opening) = queued {
                let _ = opening.reply.send(Err(error()));
            }
        }
    }

    /// Nothing is sent any more: all that waits fails, and all that comes.
    pub(super) fn close(&self, reason: &str) {
        let error = || AskError::Unreachable { peer: self.peer.clone(), reason: reason.to_owned() };
        lock(&self.state).closed = Some(error());
        self.fail_all(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Form, Head, encode};

    fn frame(correlation: u64, bytes: usize) -> Encoded {
        let head = Head { form: Form::Request, kind: 1, version: 1, correlation };
        encode(head, &(), vec![vec![0; bytes].into()], 1 << 20).unwrap()
    }

    fn ask(outbox: &Outbox, bytes: usize) -> Result<(u64, oneshot::Receiver<Answered>), AskError> {
        let correlation = outbox.next_correlation();
        let (sender, receiver) = oneshot::channel();
        outbox.put(correlation, frame(correlation, bytes), Some(sender))?;
        Ok((correlation, receiver))
    }

    #[test]
    fn what_goes_over_the_bounds_is_refused_and_fits_again_when_some_is_gone() {
        let outbox = Outbox::new("node 1".into(), 3, 1000);
        let (first, _one) = ask(&outbox, 5000).unwrap();
        assert!(matches!(ask(&outbox, 1), Err(AskError::Full { unanswered: 1, .. })));
        outbox.forget(first);
        let kept = (0..3).map(|_| ask(&outbox, 10).unwrap()).collect::<Vec<_>>();
        assert!(matches!(ask(&outbox, 1), Err(AskError::Full { unanswered: 3, .. })));
        assert!(outbox.take_batch().bytes > 30);
        assert!(matches!(ask(&outbox, 1), Err(AskError::Full { unanswered: 3, queued_bytes: 0, .. })));
        assert!(outbox.answer(kept[1].0, Err(AskError::Dropped { peer: String::new() })));
        ask(&outbox, 1).unwrap();
    }

    #[test]
    fn what_was_forgotten_before_it_was_sent_is_not_sent() {
        let outbox = Outbox::new("node 1".into(), 9, 1000);
        let (first, _one) = ask(&outbox, 10).unwrap();
        let (_, _two) = ask(&outbox, 20).unwrap();
        outbox.forget(first);
        let batch = outbox.take_batch();
        assert_eq!(batch.chunks.len(), 2);
        assert_eq!(batch.chunks[1].len(), 20);
        assert!(!outbox.has_work());
    }

    #[test]
    fn all_that_waits_fails_with_the_link_and_all_that_comes_after_the_end() {
        let outbox = Outbox::new("node 1".into(), 9, 1000);
        let (_, mut sent) = ask(&outbox, 10).unwrap();
        outbox.take_batch();
        let (_, mut queued) = ask(&outbox, 10).unwrap();
        outbox.fail_all(|| AskError::Closed { peer: outbox.peer.clone(), reason: "cut".into() });
        assert!(matches!(sent.try_recv(), Ok(Err(AskError::Closed { .. }))));
        assert!(matches!(queued.try_recv(), Ok(Err(AskError::Closed { .. }))));
        assert!(!outbox.has_work());
        ask(&outbox, 10).unwrap();
        outbox.close("over");
        assert!(matches!(ask(&outbox, 10), Err(AskError::Unreachable { .. })));
    }
}
