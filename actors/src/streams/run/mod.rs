//! An application of streams that runs: its tasks as actors under one supervisor, over topics of a cluster.
//!
//! `host` is the supervisor, `member` its place in the group of all processes, which says what tasks run here; `ground` is what
//! they stand on, `assembly` puts them together, `reader` reads for them, `worker` is the actor of one, `transactor` writes for
//! all, `restore` brings their stores up, `standby` keeps copies of those of other processes, `globals` feeds the tables that all
//! of them read. `asking` and `polling` bring questions to stores, from here and from elsewhere.

mod asking;
mod assembly;
mod cancel;
mod globals;
mod ground;
mod host;
mod identity;
mod inbox;
mod member;
mod polling;
mod positions;
mod reader;
mod remedies;
mod restore;
mod settings;
mod standby;
mod stores;
mod topics;
mod transactor;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use millstream_transport::world::watch;
use ractor::{Actor, ActorRef};
use tokio::task::JoinHandle;

use super::event::Data;
use super::graph::{Topology, TopologyError};
use super::query::{QueriedStore, QueryRefusal};
use super::scope::StreamError;
use crate::client::{Client, ClientError};
use crate::producer::TransactionError;
use asking::LocalWay;
use host::{Application, Host, HostMessage};
use polling::{GOODBYE_WITHIN, Polling};
pub use settings::{Guarantee, StreamsSettings};

/// An application does not run.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StreamsError {
    /// Its topology does not fit the topics that are there.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The cluster says no, or nothing.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its transactions do not work.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// A record could not be processed.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// What was committed was written by a later version of the library: what it says of time is not known here, and to begin
    /// without it would close windows at other times.
    #[error(
        "the application was run by a later version of the library, which committed its times in form {found}, and this one \
         reads up to form {known}; run the later version, or reset the application"
    )]
    LaterVersion {
        /// The version of what was committed.
        found: u8,
        /// The latest that is read.
        known: u8,
    },
    /// What is said.
    #[error("{0}")]
    Failed(String),
}

impl StreamsError {
    /// Whether it will be the same again.
    const fn is_final(&self) -> bool {
        matches!(self, Self::Topology(_) | Self::LaterVersion { .. })
    }
}

/// What an application does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamsState {
    /// It finds its topics, and brings its stores up.
    Starting,
    /// It processes records.
    Running,
    /// Something failed: it begins again from its last commit.
    Restarting {
        /// What.
        error: String,
    },
    /// It has given up.
    Failed {
        /// Why.
        error: String,
    },
    /// It was closed.
    Closed,
}

/// An application of streams in this process. Dropped without [`Streams::close`], it ends without a last commit: nothing is
/// lost, and the next one does again what was not committed.
///
/// Several processes of one application share its tasks, as its group says: a task runs in one of them at a time, is given up
/// with a commit, and goes on elsewhere when its process dies, whose transaction is aborted first. One that starts under the
/// [`StreamsSettings::instance`] of another takes its place.
#[derive(Debug)]
pub struct Streams {
    host: ActorRef<HostMessage>,
    state: watch::Receiver<StreamsState>,
    topology: Topology,
    way: LocalWay,
    /// Fetches questions of others.
    polling: JoinHandle<()>,
}

impl Streams {
    /// Starts an application. Its tasks run on the runtime from which this is called, and process users' code there.
    ///
    /// Returns at once; an error names a setting that cannot be taken.
    pub async fn start(
        client: &Client,
        topology: &Topology,
        settings: StreamsSettings,
    ) -> Result<Self, StreamsError> {
        settings.check()?;
        let (tell, state) = watch::channel(StreamsState::Starting);
        let application = Application { client: client.clone(), topology: topology.clone(), settings };
        let spawned = Actor::spawn(None, Host, (application, tell)).await;
        let (host, _) = spawned.map_err(|error| StreamsError::Failed(error.to_string()))?;
        let way = LocalWay::new(host.clone());
        let polling = Polling::new(client, topology, (host.clone(), way.clone()));
        let polling = tokio::spawn(polling.run(state.clone()));
        Ok(Self { host, state, topology: topology.clone(), way, polling })
    }

    /// What it does now.
    #[must_use]
    pub fn state(&self) -> StreamsState {
        self.state.borrow().clone()
    }

    /// Waits until it processes records; an error where it gives up, or does not come so far in time.
    pub async fn running(&self, within: Duration) -> Result<(), StreamsError> {
        let mut state = self.state.clone();
        let waited = tokio::time::timeout(within, async {
            loop {
                match &*state.borrow_and_update() {
                    StreamsState::Running => return Ok(()),
                    StreamsState::Failed { error } => return Err(StreamsError::Failed(error.clone())),
                    StreamsState::Closed => return Err(StreamsError::Failed("it was closed".to_owned())),
                    StreamsState::Starting | StreamsState::Restarting { .. } => {}
                }
                if state.changed().await.is_err() {
                    return Err(StreamsError::Failed("it has ended".to_owned()));
                }
            }
        });
        let late = || StreamsError::Failed(format!("not within {within:?}: {:?}", self.state()));
        waited.await.map_err(|_| late())?
    }

    /// A state store or global table of the topology, to be asked for what the tasks of this process have in it. An error where
    /// there is no such store, or where its keys and values are of other types.
    pub fn store<K: Data, V: Data>(&self, name: &str) -> Result<QueriedStore<K, V>, QueryRefusal> {
        let unknown = || QueryRefusal::UnknownStore(format!("no store {name:?} that can be asked"));
        let forms = self.topology.graph.forms.get(name).ok_or_else(unknown)?;
        Ok(QueriedStore::new(Arc::new(self.way.clone()), name, forms.codecs(name)?))
    }

    /// Commits what was done, and ends. An error where the commit failed or took longer: what was not committed is done again by
    /// whoever runs the tasks next.
    pub async fn close(mut self, within: Duration) -> Result<(), StreamsError> {
        match self.host.call(HostMessage::Close, Some(within)).await {
            Ok(ractor::rpc::CallResult::Success(result)) => {
                // It hears of the end by the state, and says goodbye.
                let _over = tokio::time::timeout(GOODBYE_WITHIN, &mut self.polling).await;
                result
            }
            Ok(_) | Err(_) => match self.state() {
                StreamsState::Closed => Ok(()),
                state => Err(StreamsError::Failed(format!("not closed in time: {state:?}"))),
            },
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.polling.abort();
        self.host.stop(None);
    }
}
