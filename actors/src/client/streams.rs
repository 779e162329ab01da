//! Applications of streams, asked from anywhere in the cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Asks, Client, ClientError, Coordinator, Target, backoff};
use crate::streams::QueriedStore;
use crate::streams::codec::{Coded, SharedCodec};
use crate::streams::event::Data;
use crate::streams::query::message::{AskStore, ListStreams, StreamsShown};
use crate::streams::query::{QueryError, QueryWay, StoreAnswered, StoreQuery};

/// How long a question may take, where nothing is said.
const WITHIN: Duration = Duration::from_secs(30);

/// How long one node is waited for before the question is asked again: it, or the process behind it, may have died.
const TRY_WITHIN: Duration = Duration::from_secs(3);

/// How much longer an answer may take than what was waited for at the node.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// An application of streams, to be asked for what is in its stores. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StreamsClient {
    way: RemoteWay,
}

impl Client {
    /// The application of streams of this id, wherever its processes run.
    #[must_use]
    pub fn streams(&self, application: &str) -> StreamsClient {
        let coordinator = Arc::new(Coordinator::new(self.clone(), application));
        let application = Arc::from(application);
        StreamsClient { way: RemoteWay { client: self.clone(), coordinator, application, within: WITHIN } }
    }
}

impl StreamsClient {
    /// How long each question may take, tried again meanwhile; 30 s where nothing is said.
    #[must_use]
    pub const fn within(mut self, within: Duration) -> Self {
        self.way.within = within;
        self
    }

    /// A store, or a global table, of keys and values in the forms of their types.
    #[must_use]
    pub fn store<K: Coded, V: Coded>(&self, name: &str) -> QueriedStore<K, V> {
        self.store_with(name, K::codec(), V::codec())
    }

    /// The same in forms that are not those of the types: they have to be the store's.
    #[must_use]
    pub fn store_with<K: Data, V: Data>(
        &self,
        name: &str,
        key: SharedCodec<K>,
        value: SharedCodec<V>,
    ) -> QueriedStore<K, V> {
        QueriedStore::new(Arc::new(self.way.clone()), name, (key, value))
    }
}

impl Client {
    /// The applications of streams that run, or this one only, with their processes, by name.
    pub async fn list_streams(
        &self,
        application: Option<&str>,
    ) -> Result<BTreeMap<String, StreamsShown>, ClientError> {
        let view = self.metadata.ready(self.settings.api_timeout).await?;
        let deadline = self.settings.api_timeout.min(self.settings.request_timeout);
        let message = ListStreams { application: application.map(ToOwned::to_owned) };
        let mut shown: BTreeMap<String, StreamsShown> = BTreeMap::new();
        for node in view.nodes.keys() {
            let asked =
                Asks::<ListStreams>::ask(&*self.link, &Target::Node(*node), message.clone(), deadline);
            for one in asked.await? {
                // A node that coordinated it before may still know of it.
                let known = shown.entry(one.application.clone()).or_insert_with(|| one.clone());
                for (id, member) in one.members {
                    if known.members.get(&id).is_none_or(|known| member.heard_ms <= known.heard_ms) {
                        known.members.insert(id, member);
                    }
                }
            }
        }
        Ok(shown)
    }
}

/// The way by the coordinator of the application's group.
#[derive(Clone)]
struct RemoteWay {
    client: Client,
    coordinator: Arc<Coordinator>,
    application: Arc<str>,
    within: Duration,
}

impl fmt::Debug for RemoteWay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RemoteWay").field("application", &self.application).finish_non_exhaustive()
    }
}

impl QueryWay for RemoteWay {
    fn ask(&self, query: StoreQuery) -> BoxFuture<'static, Result<StoreAnswered, QueryError>> {
        let way = self.clone();
        async move { way.tried(query).await }.boxed()
    }
}

impl RemoteWay {
    /// Asks until there is an answer that will not change by asking again, or the time is up: then the last error.
    async fn tried(&self, query: StoreQuery) -> Result<StoreAnswered, QueryError> {
        let clock = &self.client.world.clock;
        let until = clock.now() + self.within;
        let mut tries = 0;
        loop {
            let left = until.saturating_duration_since(clock.now());
            let within = left.min(TRY_WITHIN);
            let message = AskStore {
                application: self.application.to_string(),
                within_ms: u32::try_from(within.as_millis()).unwrap_or(u32::MAX),
                query: query.clone(),
            };
            let error = match self.coordinator.ask_once(message, within + ANSWER_TIME).await {
                Ok(Ok(answered)) => return Ok(answered),
                Ok(Err(refusal)) if refusal.is_retriable() => QueryError::Refused(refusal),
                Ok(Err(refusal)) => return Err(refusal.into()),
                Err(error) if error.is_retriable() => QueryError::Client(error),
                Err(error) => return Err(error.into()),
            };
            tries += 1;
            let pause = backoff(tries);
            if pause >= until.saturating_duration_since(clock.now()) {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }
}
