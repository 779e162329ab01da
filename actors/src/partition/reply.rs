//! An answer that is given exactly once: whoever holds it gives it by letting go of it.

use std::fmt;

use crate::error::{ErrorCode, Refusal};

/// What takes the answer. It must not block.
type Taker<T> = Box<dyn FnOnce(Result<T, Refusal>) + Send>;

/// The one answer to a request. Dropped without one, it refuses: the replica died with the request in its hands, and
/// the sender should look for the leader again.
pub struct Reply<T>(Option<Taker<T>>);

impl<T> Reply<T> {
    /// An answer that goes to `take`.
    #[must_use]
    pub fn new(take: impl FnOnce(Result<T, Refusal>) + Send + 'static) -> Self {
        Self(Some(Box::new(take)))
    }

    /// Answers.
    pub fn send(mut self, answer: Result<T, Refusal>) {
        if let Some(take) = self.0.take() {
            take(answer);
        }
    }

    /// Refuses.
    pub fn refuse(self, code: ErrorCode, text: impl Into<String>) {
        self.send(Err(Refusal::new(code, text)));
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(take) = self.0.take() {
            let text = "the replica stopped before it could answer; look for the leader and try again";
            take(Err(Refusal::new(ErrorCode::NotLeaderOrFollower, text)));
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Reply(open)" } else { "Reply(given)" })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn reply() -> (Reply<u32>, mpsc::Receiver<Result<u32, Refusal>>) {
        let (send, receive) = mpsc::channel();
        (Reply::new(move |answer| send.send(answer).unwrap()), receive)
    }

    #[test]
    fn an_answer_given_is_the_only_one() {
        let (reply, answers) = reply();
        reply.send(Ok(3));
        assert_eq!(answers.try_iter().collect::<Vec<_>>(), [Ok(3)]);
    }

    #[test]
    fn an_answer_forgotten_is_a_refusal() {
        let (reply, answers) = reply();
        drop(reply);
        assert_eq!(answers.recv().unwrap().unwrap_err().code, ErrorCode::NotLeaderOrFollower);
    }
}
