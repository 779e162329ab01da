//! What the native producer, consumer and admin share: the way to the nodes, the view of the cluster, the search for a
//! coordinator.

mod actors;
mod admin;
mod coordinator;
mod entities;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod group_metadata;
mod in_node;
mod link;
mod metadata;
mod quic;
mod streams_group;
mod view;

use std::sync::Arc;
use std::time::Duration;

use millstream_transport::message::Message;
use millstream_transport::peer::{Mtu, Tuning};
use millstream_transport::world::{Arbiters, Core, World};
use tokio::time::Instant;

pub use admin::Admin;
pub(crate) use coordinator::Coordinator;
pub use error::ClientError;
pub use group_metadata::GroupMetadata;
pub use in_node::NodeClient;
pub use link::{Asking, Asks, Closing, Cluster, LinkError, Target};
pub use metadata::MetadataCache;
pub use quic::QuicLink;
pub use streams_group::StreamsGroup;
pub use view::{TopicPartition, TopicView, View};

use crate::custom::named::ActorCalls;
use crate::error::{ErrorCode, Refusal};

/// The least pause before something is tried again (`retry.backoff.ms`).
pub(crate) const RETRY_BACKOFF: Duration = Duration::from_millis(50);

/// The largest: each try in a row waits twice as long (`retry.backoff.max.ms`).
pub(crate) const RETRY_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The pause before try number `tries` (from 1), without jitter.
pub(crate) fn backoff(tries: u32) -> Duration {
    RETRY_BACKOFF.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(RETRY_BACKOFF_MAX)
}

/// What all clients need to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// `bootstrap.servers`: `host:port` of some nodes, asked until one answers.
    pub bootstrap: Vec<String>,
    /// `client.id`: a name for people, shown by the nodes.
    pub client_id: String,
    /// `default.api.timeout.ms`: how long a call that names no time of its own may take; 60 s.
    pub api_timeout: Duration,
    /// `request.timeout.ms`: how long one request may be without an answer before it is tried again; 30 s.
    pub request_timeout: Duration,
    /// Threads for records, beside one for everything else; 1. Only for [`Client::connect`], as the next.
    pub cores: usize,
    /// How large packets may get: the same as the nodes'.
    pub mtu: Mtu,
}

impl ClientSettings {
    /// Settings with their defaults for a cluster that has nodes at these addresses.
    pub fn new(bootstrap: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            bootstrap: bootstrap.into_iter().map(Into::into).collect(),
            client_id: "millstream".to_owned(),
            api_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(30),
            cores: 1,
            mtu: Tuning::default().mtu,
        }
    }

    fn check(&self) -> Result<(), ClientError> {
        if self.bootstrap.is_empty() {
            return Err(ClientError::setting("bootstrap.servers", "must name at least one host:port"));
        }
        if self.cores == 0 || self.cores > 1024 {
            return Err(ClientError::setting("client.cores", "must be from 1 to 1024"));
        }
        Ok(())
    }
}

/// A client of a cluster: what producers, consumers and the admin are made from. Cheap to clone.
///
/// Its work runs on the cores of the world it is given, so that it works from any tokio program.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) world: World,
    pub(crate) link: Arc<dyn Cluster>,
    pub(crate) settings: Arc<ClientSettings>,
    pub(crate) metadata: MetadataCache,
    actors: ActorCalls,
    /// Its own threads, where it has some: they end with the last clone.
    threads: Option<Arc<Arbiters>>,
    /// It belongs to its node, and to others who work with it: who is done with it ends nothing.
    is_lent: bool,
}

impl Client {
    /// A client that speaks over `link`. Asks for metadata at once.
    pub fn over(world: World, link: Arc<dyn Cluster>, settings: ClientSettings) -> Result<Self, ClientError> {
        settings.check()?;
        Ok(Self::begin(world, link, settings))
    }

    fn begin(world: World, link: Arc<dyn Cluster>, settings: ClientSettings) -> Self {
        let metadata = MetadataCache::start(&world, Arc::clone(&link), settings.bootstrap.clone());
        let settings = Arc::new(settings);
        let way = actors::ClientWay::new(Arc::clone(&link), metadata.clone(), settings.request_timeout);
        let actors = ActorCalls::new(Arc::new(way));
        Self { world, link, settings, metadata, actors, threads: None, is_lent: false }
    }

    /// The view of the cluster.
    #[must_use]
    pub const fn metadata(&self) -> &MetadataCache {
        &self.metadata
    }

    /// Makes, changes and describes topics and groups.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// Calls to actors of users, wherever in the cluster they run.
    #[must_use]
    pub fn actors(&self) -> ActorCalls {
        self.actors.clone()
    }

    /// Ends the client's own work and its links; producers and consumers are closed before. Ends nothing of a node's own
    /// client: that ends with its node.
    pub async fn close(&self) {
        if self.is_lent {
            return;
        }
        self.metadata.close();
        self.link.close().await;
    }

    /// One of its cores, drawn at random.
    pub(crate) fn some_core(&self) -> Result<&Core, ClientError> {
        let cores = self.world.threads.cores();
        let place = self.world.random.range(0, u64::try_from(cores.len()).unwrap_or(0));
        usize::try_from(place).ok().and_then(|place| cores.get(place)).ok_or(ClientError::Closed)
    }

    /// Asks one node after the other until one answers, for what any node can answer.
    pub(crate) async fn ask_any<M, T>(&self, what: &str, message: M) -> Result<T, ClientError>
    where
        M: Message<Answer = Result<T, Refusal>> + Clone,
        dyn Cluster: Asks<M>,
    {
        let mut tries = Tries::begin(what, self.settings.api_timeout);
        loop {
            let view = self.metadata.ready(tries.left()).await?;
            for node in view.nodes.keys() {
                let deadline = tries.left().min(self.settings.request_timeout);
                let answer = Asks::<M>::ask(&*self.link, &Target::Node(*node), message.clone(), deadline);
                let error = match answer.await {
                    Ok(Ok(done)) => return Ok(done),
                    // The controller knows all topics: to ask again would only keep a typing error waiting.
                    Ok(Err(refusal)) if refusal.code == ErrorCode::UnknownTopicOrPartition => {
                        return Err(refusal.into());
                    }
                    Ok(Err(refusal)) => ClientError::Refused(refusal),
                    Err(error) => ClientError::Link(error),
                };
                tries.failed(error)?;
            }
            self.metadata.refresh();
            tries.pause().await?;
        }
    }
}

/// Tries something again until its time is up.
#[derive(Debug)]
pub(crate) struct Tries {
    what: String,
    within: Duration,
    until: Instant,
    made: u32,
    last: Option<String>,
}

impl Tries {
    pub(crate) fn begin(what: &str, within: Duration) -> Self {
        Self { what: what.to_owned(), within, until: Instant::now() + within, made: 0, last: None }
    }

    pub(crate) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Whether something went wrong so far.
    pub(crate) const fn has_failed(&self) -> bool {
        self.last.is_some()
    }

    /// Remembers an error that may pass; hands back one that will not.
    pub(crate) fn failed(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.is_retriable() {
            return Err(error);
        }
        self.last = Some(error.to_string());
        Ok(())
    }

    /// Waits before the next try; an error when there is no time for one.
    pub(crate) async fn pause(&mut self) -> Result<(), ClientError> {
        self.made = self.made.saturating_add(1);
        let pause = backoff(self.made);
        if pause >= self.left() {
            let (what, last) = (std::mem::take(&mut self.what), self.last.take());
            return Err(ClientError::TimedOut { what, within: self.within, last });
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
