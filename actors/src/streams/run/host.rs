//! The supervisor of an application's tasks in one process: begins them, commits for all of them at once, and begins again
//! from the last commit when something fails.

mod commit;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_transport::world::watch;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::time::Instant;

use super::super::graph::Topology;
use super::super::task::{Remedy, TaskId};
use super::assembly::{Assembled, Handed, Kept, Workers, assemble, end};
use super::globals::Feeding;
use super::positions::Position;
use super::remedies::Remedies;
use super::settings::StreamsSettings;
use super::transactor::Ends;
use super::worker::WorkerMessage;
use super::{StreamsError, StreamsState};
use crate::client::{Client, TopicPartition};
use crate::ids::Offset;
use commit::Commit;

/// The pause before the first new beginning after a failure; it doubles up to [`AGAIN_MOST`].
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_MOST: Duration = Duration::from_secs(10);

/// How long a worker may take to hand back its stores.
const END_WITHIN: Duration = Duration::from_secs(5);

/// What is run.
#[derive(Clone, Debug)]
pub(super) struct Application {
    pub(super) client: Client,
    pub(super) topology: Topology,
    pub(super) settings: StreamsSettings,
}

pub(super) enum HostMessage {
    /// The tasks of a generation were put together, or could not be.
    Assembled { generation: u64, result: Box<Result<Assembled, StreamsError>> },
    /// It is time to commit.
    Tick { generation: u64 },
    /// Somebody has written so much that a commit should not wait for its time.
    CommitEarly { generation: u64 },
    /// A task's part of the commit is with the transactor.
    Prepared { generation: u64, task: TaskId, positions: Vec<Position>, is_dirty: bool, has_worked: bool },
    /// The commit ended.
    Settled { generation: u64, result: Result<Arc<Ends>, String> },
    /// Something does not work.
    Failed { generation: u64, error: String },
    /// A record cannot be processed: all is to be done again from the last commit, so.
    Poisoned { generation: u64, task: TaskId, topics: Vec<Arc<str>>, remedy: Remedy },
    /// Global tables are not fed any more.
    NotFed { error: String },
    /// There are other topics than those that a generation reads.
    TopicsCame { generation: u64 },
    /// What was read of the library's own topics is removed, as far as it can be.
    Purged,
    /// The workers of a generation have ended: the next may begin, or not.
    Ended { generation: u64, kept: Kept },
    /// A last commit, and the end.
    Close(RpcReplyPort<Result<(), StreamsError>>),
}

impl ractor::Message for HostMessage {}

impl std::fmt::Debug for HostMessage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("HostMessage")
    }
}

pub(super) struct Host;

pub(super) struct Hosting {
    application: Application,
    myself: ActorRef<HostMessage>,
    state: watch::Sender<StreamsState>,
    /// Everything that belongs to an earlier one counts no more.
    generation: u64,
    running: Option<Assembled>,
    commit: Option<Commit>,
    /// In a row.
    failures: u32,
    remedies: Remedies,
    feeding: Option<Arc<Feeding>>,
    /// How far the library's own topics are read, since the last purge.
    read: BTreeMap<TopicPartition, Offset>,
    purged: Instant,
    is_purging: bool,
    /// When the topics that patterns take were last looked for.
    looked: Instant,
    closing: Option<RpcReplyPort<Result<(), StreamsError>>>,
}

impl Actor for Host {
    type Msg = HostMessage;
    type State = Hosting;
    type Arguments = (Application, watch::Sender<StreamsState>);

    async fn pre_start(
        &self,
        myself: ActorRef<HostMessage>,
        (application, state): (Application, watch::Sender<StreamsState>),
    ) -> Result<Hosting, ActorProcessingErr> {
        let mut hosting = Hosting {
            application,
            myself,
            state,
            generation: 0,
            running: None,
            commit: None,
            failures: 0,
            remedies: Remedies::default(),
            feeding: None,
            read: BTreeMap::new(),
            purged: Instant::now(),
            is_purging: false,
            looked: Instant::now(),
            closing: None,
        };
        hosting.begin(Kept::new(), Duration::ZERO);
        Ok(hosting)
    }

    async fn handle(
        &self,
        _myself: ActorRef<HostMessage>,
        message: HostMessage,
        hosting: &mut Hosting,
    ) -> Result<(), ActorProcessingErr> {
        hosting.take(message);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<HostMessage>,
        event: SupervisionEvent,
        hosting: &mut Hosting,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(worker, error) = event {
            let workers = hosting.running.iter().flat_map(|running| running.workers.values());
            let is_known = workers.into_iter().any(|known| known.get_id() == worker.get_id());
            if is_known {
                hosting.fail(&error.to_string());
            }
        }
        Ok(())
    }
}

impl Hosting {
    fn take(&mut self, message: HostMessage) {
        match message {
            HostMessage::Assembled { generation, result } if generation == self.generation => match *result {
                Ok(assembled) => self.assembled(assembled),
                Err(error) if error.is_final() => self.give_up(&error),
                Err(error) => self.fail(&error.to_string()),
            },
            HostMessage::Tick { generation } if generation == self.generation => self.tick(),
            HostMessage::CommitEarly { generation } if generation == self.generation => self.prepare(),
            HostMessage::Prepared { generation, task, positions, is_dirty, has_worked }
                if generation == self.generation =>
            {
                if has_worked {
                    self.worked(task);
                }
                self.prepared(task, positions, is_dirty);
            }
            HostMessage::Settled { generation, result } if generation == self.generation => match result {
                Ok(ends) => self.committed(&ends),
                Err(error) => self.fail(&format!("a commit failed: {error}")),
            },
            HostMessage::Failed { generation, error } if generation == self.generation => self.fail(&error),
            HostMessage::Poisoned { generation, task, topics, remedy } if generation == self.generation => {
                self.remedies.add(task, &topics, remedy);
                self.end_workers();
            }
            HostMessage::NotFed { error } => {
                self.feeding = None;
                self.fail(&format!("global tables: {error}"));
            }
            HostMessage::TopicsCame { generation } if generation == self.generation => {
                tracing::info!(application = self.application.topology.application(), "topics have come");
                self.state.send_replace(StreamsState::Starting);
                self.end_workers();
            }
            HostMessage::Purged => self.is_purging = false,
            HostMessage::Ended { generation, kept } if generation == self.generation => self.ended(kept),
            HostMessage::Close(reply) => self.close(reply),
            // Of an earlier generation.
            HostMessage::Assembled { result, .. } => {
                if let Ok(assembled) = *result {
                    end(&assembled.workers);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, kept: Kept, after: Duration) {
        self.generation += 1;
        let (application, myself, generation) =
            (self.application.clone(), self.myself.clone(), self.generation);
        let (remedies, feeding) = (self.remedies.clone(), self.feeding.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let handed = Handed { kept, remedies, feeding };
            let result = Box::new(assemble(&application, handed, myself.clone(), generation).await);
            let workers = result.as_ref().as_ref().map_or_else(|_| Workers::new(), |it| it.workers.clone());
            if myself.cast(HostMessage::Assembled { generation, result }).is_err() {
                end(&workers);
            }
        });
    }

    fn assembled(&mut self, assembled: Assembled) {
        for worker in assembled.workers.values() {
            let _ended = worker.cast(WorkerMessage::Begin(assembled.reader.clone()));
        }
        self.feeding = Some(Arc::clone(&assembled.feeding));
        self.running = Some(assembled);
        self.looked = Instant::now();
        self.state.send_replace(StreamsState::Running);
        self.tick_later();
    }

    fn tick_later(&self) {
        let (myself, generation) = (self.myself.clone(), self.generation);
        let interval = self.application.settings.commit_interval;
        tokio::spawn(async move {
            tokio::time::sleep(interval).await;
            let _ended = myself.cast(HostMessage::Tick { generation });
        });
    }

    fn tell(&self, message: impl Fn() -> WorkerMessage) {
        for worker in self.running.iter().flat_map(|running| running.workers.values()) {
            // One that has ended is told of by supervision.
            let _ended = worker.cast(message());
        }
    }

    /// All begins again from the last commit, after a pause.
    fn fail(&mut self, error: &str) {
        tracing::warn!(application = self.application.topology.application(), error, "streams begin again");
        self.failures += 1;
        if self.failures > self.application.settings.retries_max {
            let error = StreamsError::Failed(format!("given up after {} failures: {error}", self.failures));
            return self.give_up(&error);
        }
        self.state.send_replace(StreamsState::Restarting { error: error.to_owned() });
        self.end_workers();
    }

    /// Takes the stores from the workers; [`HostMessage::Ended`] tells when all have ended. Nothing that was not committed
    /// counts.
    fn end_workers(&mut self) {
        self.commit = None;
        let workers = self.running.take().map(|running| running.workers).unwrap_or_default();
        // What they still say counts no more.
        self.generation += 1;
        let (myself, generation) = (self.myself.clone(), self.generation);
        tokio::spawn(async move {
            let mut kept = Kept::new();
            for (id, worker) in workers {
                match worker.call(WorkerMessage::End, Some(END_WITHIN)).await {
                    Ok(ractor::rpc::CallResult::Success(stores)) => {
                        kept.extend(stores.map(|stores| (id, stores)));
                    }
                    // It has died, or hangs: its stores are built anew.
                    _ => worker.kill(),
                }
            }
            let _ended = myself.cast(HostMessage::Ended { generation, kept });
        });
    }

    fn ended(&mut self, kept: Kept) {
        if self.closing.is_some() {
            // Whoever waits for the end may open what is on disk then.
            drop(kept);
            return self.closed();
        }
        let pause = match self.failures {
            0 => Duration::ZERO,
            failures => AGAIN.saturating_mul(1 << (failures - 1).min(10)).min(AGAIN_MOST),
        };
        self.begin(kept, pause);
    }

    fn close(&mut self, reply: RpcReplyPort<Result<(), StreamsError>>) {
        self.closing = Some(reply);
        if self.running.is_none() {
            // What is being put together now has done nothing yet.
            self.closed();
        } else if self.commit.is_none() {
            self.prepare();
        }
    }

    fn closed(&mut self) {
        self.state.send_replace(StreamsState::Closed);
        if let Some(reply) = self.closing.take() {
            // Who does not wait any more needs no answer.
            let _ = reply.send(Ok(()));
        }
        self.myself.stop(None);
    }

    fn give_up(&mut self, error: &StreamsError) {
        self.state.send_replace(StreamsState::Failed { error: error.to_string() });
        if let Some(reply) = self.closing.take() {
            // Who does not wait any more needs no answer.
            let _ = reply.send(Err(error.clone()));
        }
        self.myself.stop(None);
    }
}
