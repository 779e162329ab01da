//! The word that the endpoint is being closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Said once, heard by all. Not a `watch` channel: that one wakes its listeners in random order, and a simulation must
/// wake them in the same order every time.
#[derive(Clone, Debug, Default)]
pub(super) struct Closing(Arc<Word>);

#[derive(Debug, Default)]
struct Word {
    said: AtomicBool,
    listeners: Notify,
}

impl Closing {
    pub(super) fn say(&self) {
        self.0.said.store(true, Ordering::Release);
        self.0.listeners.notify_waiters();
    }

    /// Returns once the word was said.
    pub(super) async fn heard(&self) {
        let listening = self.0.listeners.notified();
        tokio::pin!(listening);
        // Listens from here on, so that the word cannot be said between the look and the wait.
        listening.as_mut().enable();
        if !self.0.said.load(Ordering::Acquire) {
            listening.await;
        }
    }
}
