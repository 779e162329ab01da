//! Reads a session's turns and brings them to its actor, one at a time: while the actor has not let it go on, nothing more
//! is read, and QUIC's flow control holds the other side up.

use actix::{Message, Recipient};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::channel::{SessionError, TurnReceiver};

/// A turn came, or the last one has come.
#[derive(Debug)]
pub(super) struct Received<T> {
    /// The session it came from, where an actor has one after the other.
    pub(super) session: u64,
    /// The turn, or why there is no other.
    pub(super) turn: Result<T, SessionError>,
    /// Used when the next one may come; dropped, nothing more is read.
    pub(super) go_on: oneshot::Sender<()>,
}

impl<T: Send + 'static> Message for Received<T> {
    type Result = ();
}

/// The reading end of a session at work. Dropped, it stops.
#[derive(Debug)]
pub(super) struct Reader(JoinHandle<()>);

impl Reader {
    /// Starts to read, on this core.
    pub(super) fn start<T: Send + 'static>(
        session: u64,
        mut receiver: Box<dyn TurnReceiver<T>>,
        to: Recipient<Received<T>>,
    ) -> Self {
        Self(actix_rt::spawn(async move {
            loop {
                let turn = receiver.receive().await.and_then(|turn| turn.ok_or(SessionError::Finished));
                let (go_on, gone_on) = oneshot::channel();
                to.do_send(Received { session, turn, go_on });
                if gone_on.await.is_err() {
                    return;
                }
            }
        }))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}
