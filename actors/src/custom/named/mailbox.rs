//! The bounds of mailboxes: so many messages a mailbox, so many bytes all mailboxes of a node together.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::custom::call::{CallError, Deadline};
use crate::custom::envelope::{Answered, Envelope};
use crate::partition::memory::{Budget, Permit};

/// What a message that waits takes beside its name and body.
const BESIDE_BYTES: usize = 256;

/// The places of one mailbox. ractor's own mailbox has no bound: nothing gets there without a place.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    waiting: Arc<AtomicUsize>,
    most: usize,
    bytes: Budget,
}

impl Mailbox {
    pub(super) fn new(most: usize, bytes: Budget) -> Self {
        Self { waiting: Arc::default(), most, bytes }
    }

    /// A place for a message.
    pub(super) fn take(&self, message: &Envelope) -> Result<Place, CallError> {
        let Some(permit) = self.bytes.take(BESIDE_BYTES + message.name.len() + message.body.len()) else {
            let text = "the mailboxes of this node hold as many bytes as they may (actors.mailbox.bytes)";
            return Err(CallError::Busy(text.to_owned()));
        };
        // Given back by its drop where there was none left.
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place { waiting: Arc::clone(&self.waiting), _bytes: permit };
        if before < self.most {
            return Ok(place);
        }
        Err(CallError::Busy(format!("{} messages wait in the mailbox, as many as may", self.most)))
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// The place of one message.
#[derive(Debug)]
pub(super) struct Place {
    waiting: Arc<AtomicUsize>,
    _bytes: Permit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

type Send = Box<dyn FnOnce(Result<Answered, CallError>) + std::marker::Send>;

/// Where the answer to a call goes. Dropped unsent, it says that the actor stopped: no call is left without an answer.
pub(super) struct CallReply(Option<Send>);

impl CallReply {
    /// A reply that calls `send` once.
    #[must_use]
    pub(super) fn new(send: impl FnOnce(Result<Answered, CallError>) + std::marker::Send + 'static) -> Self {
        Self(Some(Box::new(send)))
    }

    /// Of a message that is not answered.
    pub(super) const fn of_tell() -> Self {
        Self(None)
    }

    /// Whether somebody waits for it.
    pub(super) const fn is_awaited(&self) -> bool {
        self.0.is_some()
    }

    /// Answers.
    pub(super) fn send(mut self, answer: Result<Answered, CallError>) {
        if let Some(send) = self.0.take() {
            send(answer);
        }
    }
}

impl Drop for CallReply {
    fn drop(&mut self) {
        if let Some(send) = self.0.take() {
            send(Err(CallError::Stopped("it stopped before it came to this message".to_owned())));
        }
    }
}

impl fmt::Debug for CallReply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CallReply").field("open", &self.0.is_some()).finish()
    }
}

/// A message on its way to its actor.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) envelope: Envelope,
    pub(super) reply: CallReply,
    /// After that nobody waits for the answer; `None` for a message that is not answered.
    pub(super) deadline: Option<Deadline>,
    pub(super) place: Place,
}

impl ractor::Message for Delivery {}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Envelope {
        Envelope { name: String::new(), version: 1, body: bytes::Bytes::from(vec![0; bytes]) }
    }

    #[test]
    fn a_mailbox_takes_so_many_messages_and_all_of_them_so_many_bytes() {
        let bytes = Budget::new(3 * BESIDE_BYTES + 100);
        let (one, two) = (Mailbox::new(2, bytes.clone()), Mailbox::new(9, bytes));
        let first = one.take(&message(10)).unwrap();
        let _second = one.take(&message(10)).unwrap();
        assert!(matches!(one.take(&message(10)), Err(CallError::Busy(_))));
        assert_eq!(one.waiting(), 2);
        drop(first);
        let _third = one.take(&message(10)).unwrap();
        assert!(matches!(two.take(&message(90)), Err(CallError::Busy(_))));
        assert!(two.take(&message(80)).is_ok());
    }

    #[test]
    fn messages_without_a_body_count_too() {
        let mailbox = Mailbox::new(9, Budget::new(2 * BESIDE_BYTES));
        let _two = [mailbox.take(&message(0)).unwrap(), mailbox.take(&message(0)).unwrap()];
        assert!(matches!(mailbox.take(&message(0)), Err(CallError::Busy(_))));
    }

    #[test]
    fn a_reply_that_is_dropped_says_so() {
        let (sender, receiver) = std::sync::mpsc::channel();
        drop(CallReply::new(move |answer| sender.send(answer).unwrap()));
        assert!(matches!(receiver.recv().unwrap(), Err(CallError::Stopped(_))));
    }
}
