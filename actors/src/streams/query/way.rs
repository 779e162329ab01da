//! How a question comes to the process that has the store.

use std::fmt;

use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{QueryError, QueryRefusal, StoreAnswered, StoreQuery};

/// A way to stores.
pub(crate) trait QueryWay: fmt::Debug + Send + Sync {
    /// Asks; one answer or one error, in bounded time.
    fn ask(&self, query: StoreQuery) -> BoxFuture<'static, Result<StoreAnswered, QueryError>>;
}

/// A question that waits in a process, and the place that it has there.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) query: StoreQuery,
    reply: oneshot::Sender<Result<StoreAnswered, QueryRefusal>>,
    _place: OwnedSemaphorePermit,
}

impl Asked {
    pub(crate) fn new(
        query: StoreQuery,
        place: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Result<StoreAnswered, QueryRefusal>>) {
        let (reply, answer) = oneshot::channel();
        (Self { query, reply, _place: place }, answer)
    }

    /// Its one answer. Without it, who asks is told so when this is dropped.
    pub(crate) fn answer(self, answer: Result<StoreAnswered, QueryRefusal>) {
        // Who does not wait any more needs none.
        let _ = self.reply.send(answer);
    }
}
