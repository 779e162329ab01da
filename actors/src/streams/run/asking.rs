//! The way to the stores of this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use ractor::ActorRef;
use tokio::sync::Semaphore;

use super::super::query::{Asked, QueryError, QueryRefusal, QueryWay, StoreAnswered, StoreQuery};
use super::host::HostMessage;

/// Questions that may wait in one process of an application.
const WAITING_MAX: usize = 1_000;

/// How long a task may take to come to a question.
const WITHIN: Duration = Duration::from_secs(30);

/// The way to the stores of this process. Cheap to clone.
#[derive(Clone)]
pub(super) struct LocalWay {
    host: ActorRef<HostMessage>,
    places: Arc<Semaphore>,
}

impl fmt::Debug for LocalWay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LocalWay")
    }
}

impl LocalWay {
    pub(super) fn new(host: ActorRef<HostMessage>) -> Self {
        Self { host, places: Arc::new(Semaphore::new(WAITING_MAX)) }
    }

    /// Asks; one answer or one refusal.
    pub(super) async fn answered(&self, query: StoreQuery) -> Result<StoreAnswered, QueryRefusal> {
        let busy = |_| QueryRefusal::Busy(format!("{WAITING_MAX} questions wait in this process"));
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(busy)?;
        let (asked, answer) = Asked::new(query, place);
        // A host that has ended drops it, which is heard below.
        let _ended = self.host.cast(HostMessage::Query(Box::new(asked)));
        let late = |_| QueryRefusal::Retry(format!("its task did not come to it in {WITHIN:?}"));
        let gone = |_| QueryRefusal::NotRunning("its task has ended, or begins again; ask again".to_owned());
        tokio::time::timeout(WITHIN, answer).await.map_err(late)?.map_err(gone)?
    }
}

impl QueryWay for LocalWay {
    fn ask(&self, query: StoreQuery) -> BoxFuture<'static, Result<StoreAnswered, QueryError>> {
        let way = self.clone();
        async move { way.answered(query).await.map_err(QueryError::Refused) }.boxed()
    }
}
