//! The supervisor of an application's tasks in one process: runs those that the group says, commits for all of them at once, and
//! begins again from the last commit when something fails.

mod commit;
mod generation;
mod queries;
mod tasks;

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_transport::world::watch;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::graph::Topology;
use super::super::query::Asked;
use super::super::task::{Remedy, TaskId};
use super::assembly::Begun;
use super::globals::Feeding;
use super::ground::Ground;
use super::identity::Identity;
use super::member::{Member, Wanted};
use super::positions::Position;
use super::remedies::Remedies;
use super::settings::StreamsSettings;
use super::stores::Kept;
use super::transactor::Ends;
use super::{StreamsError, StreamsState};
use crate::client::{Client, TopicPartition};
use crate::events::{StreamsBeginAgain, StreamsMetrics};
use crate::ids::Offset;
use commit::Commit;
pub(super) use queries::{Here, shapes};
use tasks::Tasks;

/// What is run.
#[derive(Clone, Debug)]
pub(super) struct Application {
    pub(super) client: Client,
    pub(super) topology: Topology,
    pub(super) settings: StreamsSettings,
}

pub(super) enum HostMessage {
    /// It is known who the process is.
    Identified(Result<Arc<Identity>, StreamsError>),
    /// The ground of a generation was laid, or could not be.
    Grounded { generation: u64, result: Box<Result<Ground, StreamsError>> },
    /// What was left on disk is found, and what it lacks.
    Found { generation: u64, kept: Kept, lags: Vec<(TaskId, u64)> },
    /// The group says what is to run here.
    Assigned { number: u64, wanted: Wanted },
    /// The process is no member of the group any more: others have its tasks.
    Lost { error: String },
    /// The group does not take it.
    Refused(StreamsError),
    /// Tasks were put together, or could not be.
    Begun { generation: u64, tasks: Vec<TaskId>, result: Box<Result<Begun, StreamsError>> },
    /// Tasks that could not be put together are to be tried again.
    BeginAgain { generation: u64 },
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
    /// Tasks, or copies of their stores, have ended.
    GaveUp { tasks: Vec<TaskId>, kept: Kept },
    /// All workers of a generation have ended: the next may begin, or not.
    Ended { kept: Kept },
    /// A store is asked.
    Query(Box<Asked>),
    /// What runs here is to be told.
    Show(oneshot::Sender<Here>),
    /// A last commit, and the end.
    Close(RpcReplyPort<Result<(), StreamsError>>),
    /// The group was left.
    Left,
}

impl ractor::Message for HostMessage {}

impl std::fmt::Debug for HostMessage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("HostMessage")
    }
}

pub(super) struct Host;

pub(super) struct Hosting {
    application: Arc<Application>,
    myself: ActorRef<HostMessage>,
    state: watch::Sender<StreamsState>,
    identity: Option<Arc<Identity>>,
    /// Everything that belongs to an earlier one counts no more.
    generation: u64,
    ground: Option<Arc<Ground>>,
    /// A ground is being laid. One at a time: the later one fences the earlier.
    is_laying: bool,
    /// How often workers of earlier generations are being ended.
    endings: u32,
    member: Option<Member>,
    wanted: Option<Wanted>,
    /// The number of what the group said last.
    heard: u64,
    /// It was put out of its group, and has not joined again.
    is_out: bool,
    tasks: Tasks,
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
    metrics: StreamsMetrics,
    closing: Option<RpcReplyPort<Result<(), StreamsError>>>,
    has_given_up: bool,
    is_leaving: bool,
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
        let metrics = StreamsMetrics::of(&application.client.events, application.topology.application());
        let hosting = Hosting {
            application: Arc::new(application),
            metrics,
            myself,
            state,
            identity: None,
            generation: 0,
            ground: None,
            is_laying: false,
            endings: 0,
            member: None,
            wanted: None,
            heard: 0,
            is_out: false,
            tasks: Tasks::default(),
            commit: None,
            failures: 0,
            remedies: Remedies::default(),
            feeding: None,
            read: BTreeMap::new(),
            purged: Instant::now(),
            is_purging: false,
            looked: Instant::now(),
            closing: None,
            has_given_up: false,
            is_leaving: false,
        };
        hosting.identify();
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
        if let SupervisionEvent::ActorFailed(worker, error) = event
            && hosting.tasks.has_worker(worker.get_id())
        {
            hosting.fail(&error.to_string());
        }
        Ok(())
    }
}

impl Hosting {
    fn take(&mut self, message: HostMessage) {
        match message {
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
                self.begins_again(
                    StreamsBeginAgain::Poisoned,
                    &format!("task {task}: a record cannot be processed"),
                );
                self.remedies.add(task, &topics, remedy);
                if !self.ends_after_commit(task) {
                    self.end_generation();
                }
            }
            HostMessage::NotFed { error } => {
                self.feeding = None;
                self.fail(&format!("global tables: {error}"));
            }
            HostMessage::TopicsCame { generation } if generation == self.generation => {
                tracing::info!(application = self.application.topology.application(), "topics have come");
                self.state.send_replace(StreamsState::Starting);
                self.end_generation();
            }
            HostMessage::BeginAgain { generation } if generation == self.generation => {
                self.tasks.waits = false;
                self.reconcile();
            }
            HostMessage::Purged => self.is_purging = false,
            HostMessage::Begun { generation, tasks, result } => self.begun(generation, &tasks, *result),
            HostMessage::GaveUp { tasks, kept } => self.gave_up(&tasks, kept),
            HostMessage::Assigned { number, wanted } => self.assigned(number, wanted),
            HostMessage::Query(asked) => self.query(*asked),
            HostMessage::Show(reply) => self.show(reply),
            other => self.take_of_generations(other),
        }
    }

    fn take_of_generations(&mut self, message: HostMessage) {
        match message {
            HostMessage::Identified(Ok(identity)) => {
                self.identity = Some(identity);
                self.next_generation();
            }
            HostMessage::Identified(Err(error)) => {
                self.fail(&error.to_string());
            }
            HostMessage::Grounded { generation, result } => {
                self.is_laying = false;
                match *result {
                    // Something failed meanwhile: the next one is laid now.
                    _ if generation != self.generation => self.next_generation(),
                    Ok(ground) => self.grounded(ground),
                    Err(error) if error.is_final() => self.give_up(&error),
                    Err(error) => self.fail(&error.to_string()),
                }
            }
            HostMessage::Found { generation, kept, lags } => self.found(generation, kept, lags),
            HostMessage::Lost { error } => {
                (self.is_out, self.wanted) = (true, None);
                self.fail(&error);
            }
            HostMessage::Refused(error) => self.give_up(&error),
            HostMessage::Ended { kept } => self.ended(kept),
            HostMessage::Close(reply) => self.close(reply),
            HostMessage::Left => self.closed(),
            // Of an earlier generation.
            _ => {}
        }
    }
}
