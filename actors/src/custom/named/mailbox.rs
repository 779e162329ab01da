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
pub(super) struct CallReply {
    send: Option<Send>,
    /// The message is being handled.
    is_begun: bool,
}

impl CallReply {
    /// A reply that calls `send` once.
    #[must_use]
    pub(super) fn new(send: impl FnOnce(Result<Answered, CallError>) + std::marker::Send + 'static) -> Self {
        Self { send: Some(Box::new(send)), is_begun: false }
    }

    /// Of a message that is not answered.
    pub(super) const fn of_tell() -> Self {
        Self { send: None, is_begun: false }
    }

    /// Whether somebody waits for it.
    pub(super) const fn is_awaited(&self) -> bool {
        self.send.is_some()
    }

    /// The message is handled from now on.
    pub(super) const fn begun(&mut self) {
        self.is_begun = true;
    }

    /// Answers; an error with a text of bounded length, whatever users' code has said in it.
    pub(super) fn send(mut self, answer: Result<Answered, CallError>) {
        if let Some(send) = self.send.take() {
            send(answer.map_err(CallError::bounded));
        }
    }
}

impl Drop for CallReply {
    fn drop(&mut self) {
        if let Some(send) = self.send.take() {
            let text = match self.is_begun {
                // The users' threads have ended under it.
                true => "its handler was cut off in this message: what it had done by then is done",
                false => "it stopped before it came to this message",
            };
            send(Err(CallError::Stopped(text.to_owned())));
        }
    }
}

impl fmt::Debug for CallReply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CallReply").field("open", &self.send.is_some()).finish()
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

    fn told(reply: impl FnOnce(CallReply)) -> Result<Answered, CallError> {
        let (sender, answer) = std::sync::mpsc::channel();
        reply(CallReply::new(move |answer| sender.send(answer).unwrap()));
        answer.recv().unwrap()
    }

    #[test]
    fn an_error_has_a_bound_however_much_users_code_has_to_say() {
        let long = "é".repeat(1 << 20);
        let error = told(|reply| reply.send(Err(CallError::Refused(format!("x{long}")))));
        assert_eq!(error, Err(CallError::Refused(format!("x{}", "é".repeat(511)))));
    }

    #[test]
    fn who_is_not_answered_is_told_whether_its_message_had_been_begun() {
        let text = |told| match told {
            Err(CallError::Stopped(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(text(told(drop)).contains("before it came to"));
        let begun = told(|mut reply| reply.begun());
        assert!(text(begun).contains("cut off"));
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
