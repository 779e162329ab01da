//! The process as a member of its application's group: tells the coordinator what runs here, and hears what is to run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millstream_transport::world::watch;
use ractor::ActorRef;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

use super::super::graph::{PartitionCounts, Topology};
use super::super::task::TaskId;
use super::StreamsError;
use super::host::HostMessage;
use super::identity::Identity;
use super::settings::StreamsSettings;
use crate::client::{Client, ClientError, StreamsGroup};
use crate::error::ErrorCode;
use crate::group::message::streams::{
    StreamsHeartbeat, StreamsHeartbeatAnswer, StreamsPart, StreamsTask, StreamsTasks, StreamsTerms,
    StreamsTopology,
};
use crate::producer::{ProducerSettings, TransactionError};

/// How often it heartbeats before the coordinator has said how often it is to.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer is waited for.
const WITHIN: Duration = Duration::from_secs(5);

/// How long the end of a producer that was made to fence another may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What is to run here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) active: BTreeSet<TaskId>,
    /// Stand-bys, and what is brought up to be moved here.
    pub(super) copies: BTreeSet<TaskId>,
}

/// What runs here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) active: BTreeSet<TaskId>,
    pub(super) copies: BTreeSet<TaskId>,
    /// Which of what was to run it is an answer to: what was handed over since may have begun.
    pub(super) heard: u64,
}

/// What is told.
#[derive(Clone, Debug)]
struct Told {
    /// Counts the times that it joins.
    life: u64,
    topology: StreamsTopology,
    running: Running,
    lags: Vec<(StreamsTask, u64)>,
}

/// A member; without [`Member::leave`], it is gone without a word when this is dropped.
pub(super) struct Member {
    told: watch::Sender<Told>,
    leaves: oneshot::Sender<oneshot::Sender<()>>,
}

impl Member {
    /// Joins, with what stores on its disk lack.
    pub(super) fn join(
        client: &Client,
        identity: Arc<Identity>,
        (topology, lags): (StreamsTopology, Vec<(TaskId, u64)>),
        host: ActorRef<HostMessage>,
    ) -> Self {
        let told = Told { life: 1, topology, running: Running::default(), lags: named(lags) };
        let (told, hears) = watch::channel(told);
        let (leaves, left) = oneshot::channel();
        let membership = Membership {
            group: StreamsGroup::new(client, &*identity.group),
            client: client.clone(),
            identity,
            host,
            life: 0,
            member: String::new(),
            epoch: 0,
            interval: FIRST_INTERVAL,
            said: None,
            copies: StreamsTasks::default(),
            handed: BTreeMap::new(),
            number: 0,
            wanted: None,
            fencing: JoinSet::new(),
            being_fenced: BTreeSet::new(),
            fenced: BTreeSet::new(),
        };
        // On a thread of the client's: heartbeats do not depend on what users' code does with theirs.
        let host = membership.host.clone();
        let core = client.world.threads.cores().first();
        if !core.is_some_and(|core| core.spawn(move || membership.run(hears, left))) {
            // A host that has ended needs no word.
            let _ended = host.cast(HostMessage::Refused(ClientError::Closed.into()));
        }
        Self { told, leaves }
    }

    /// Joins again, after [`HostMessage::Lost`]; nothing runs here.
    pub(super) fn join_again(&self) {
        self.told.send_modify(|told| {
            told.life += 1;
            told.running = Running::default();
        });
    }

    /// There are so many tasks of each part now.
    pub(super) fn has_topology(&self, topology: StreamsTopology) {
        self.told.send_if_modified(|told| {
            let changes = told.topology != topology;
            told.topology = topology;
            changes
        });
    }

    /// This runs here now.
    pub(super) fn runs(&self, running: Running) {
        self.told.send_if_modified(|told| {
            let before = std::mem::replace(&mut told.running, running);
            let now = &told.running;
            (&before.active, &before.copies) != (&now.active, &now.copies)
        });
    }

    /// So much is missing to the stores of these tasks, in records of their changelogs. Told with the next heartbeat.
    pub(super) fn lacks(&self, lags: impl IntoIterator<Item = (TaskId, u64)>) {
        self.told.send_if_modified(|told| {
            told.lags = named(lags);
            false
        });
    }

    /// Leaves the group, as far as that is possible now.
    pub(super) async fn leave(self) {
        let (done, left) = oneshot::channel();
        // Where it has ended it has nothing to leave.
        if self.leaves.send(done).is_ok() {
            let _ended = left.await;
        }
    }
}

/// What the group is told of a topology.
pub(super) fn topology_of(
    said: &Topology,
    (topology, counts): (&Topology, &PartitionCounts),
    settings: &StreamsSettings,
) -> StreamsTopology {
    let parts = topology.parts.iter().zip(0..).map(|(part, number)| StreamsPart {
        part: number,
        tasks: u32::try_from(counts.tasks(part)).unwrap_or(0),
        is_stateful: !part.stores.is_empty(),
        sources: part.sources.iter().map(|source| (**source).to_owned()).collect(),
    });
    let text = said.describe();
    StreamsTopology {
        epoch: settings.topology_epoch,
        fingerprint: crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, text.as_bytes()),
        parts: parts.filter(|part| part.tasks > 0).collect(),
        terms: StreamsTerms {
            standbys: settings.standbys,
            warm_up_max: settings.warm_up_max,
            acceptable_lag: settings.acceptable_lag_records,
        },
    }
}

fn task(id: TaskId) -> StreamsTask {
    let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    StreamsTask {
        part: number(i64::try_from(id.part).unwrap_or(i64::MAX)),
        partition: number(id.partition.into()),
    }
}

fn named(lags: impl IntoIterator<Item = (TaskId, u64)>) -> Vec<(StreamsTask, u64)> {
    lags.into_iter().map(|(id, lag)| (task(id), lag)).collect()
}

fn id(task: StreamsTask) -> Option<TaskId> {
    Some(TaskId { part: usize::try_from(task.part).ok()?, partition: i32::try_from(task.partition).ok()? })
}

fn ids(tasks: &BTreeSet<StreamsTask>) -> BTreeSet<TaskId> {
    tasks.iter().filter_map(|task| id(*task)).collect()
}

struct Membership {
    group: StreamsGroup,
    client: Client,
    identity: Arc<Identity>,
    host: ActorRef<HostMessage>,
    /// Which of the lives that were told is being lived, or has ended.
    life: u64,
    member: String,
    /// 0 while it is to join, and once it is out.
    epoch: i32,
    interval: Duration,
    /// The topology that the coordinator was told.
    said: Option<StreamsTopology>,
    /// What it was told to hold copies of, by their kinds: here they are all the same.
    copies: StreamsTasks,
    /// The active tasks of what was handed to the host, which it may not have looked at yet.
    handed: BTreeMap<u64, BTreeSet<TaskId>>,
    number: u64,
    /// What was handed over last in this life.
    wanted: Option<Wanted>,
    fencing: JoinSet<(String, Result<(), TransactionError>)>,
    being_fenced: BTreeSet<String>,
    /// Of those that the coordinator wants fenced, those that are.
    fenced: BTreeSet<String>,
}

impl Membership {
    async fn run(
        mut self,
        mut hears: watch::Receiver<Told>,
        mut leaves: oneshot::Receiver<oneshot::Sender<()>>,
    ) {
        loop {
            let told = hears.borrow_and_update().clone();
            if told.life > self.life {
                self.begin_life(told.life);
            }
            if !self.life_has_ended() && !self.heartbeat(&told).await {
                return;
            }
            let next = tokio::time::sleep(self.interval);
            tokio::pin!(next);
            loop {
                tokio::select! {
                    biased;
                    left = &mut leaves => {
                        if let Ok(done) = left {
                            self.leave().await;
                            // Who does not wait any more is gone.
                            let _ = done.send(());
                        }
                        return;
                    }
                    changed = hears.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    Some(fenced) = self.fencing.join_next() => if self.has_fenced(fenced) { break },
                    () = &mut next => break,
                }
            }
        }
    }

    fn begin_life(&mut self, life: u64) {
        self.life = life;
        self.member = self.client.world.random.uuid().to_string();
        (self.epoch, self.said, self.wanted) = (0, None, None);
        self.handed.clear();
    }

    fn life_has_ended(&self) -> bool {
        self.member.is_empty()
    }

    /// False where there is no use in going on.
    async fn heartbeat(&mut self, told: &Told) -> bool {
        let request = self.request(told);
        match self.group.heartbeat(request, WITHIN).await {
            Ok(answer) => {
                self.said = Some(told.topology.clone());
                // Before it can be said that their tasks run here, which ends that it is told to fence them. Until then this is
                // a member that has not heard the answer.
                if self.are_fenced(&answer.fence) {
                    self.answered(answer);
                }
            }
            Err(error) => match error.code() {
                Some(ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch) => {
                    self.identity.is_out();
                    self.member.clear();
                    let error = format!("it is no member of its group any more: {error}");
                    return self.host.cast(HostMessage::Lost { error }).is_ok();
                }
                Some(code)
                    if code == ErrorCode::FencedInstanceId || (self.epoch == 0 && !code.is_retriable()) =>
                {
                    let error = StreamsError::Client(error);
                    let _ended = self.host.cast(HostMessage::Refused(error));
                    return false;
                }
                _ if matches!(error, ClientError::Closed) => return false,
                _ => tracing::warn!(group = %self.identity.group, %error, "the group is not reached"),
            },
        }
        true
    }

    fn request(&mut self, told: &Told) -> StreamsHeartbeat {
        // Who has nothing to do says it again: those that have a higher one may be gone.
        let is_idle = self.wanted.as_ref().is_none_or(|wanted| wanted.active.is_empty());
        let is_new = self.epoch == 0 || is_idle || self.said.as_ref() != Some(&told.topology);
        let running = if self.epoch == 0 { StreamsTasks::default() } else { self.running(&told.running) };
        StreamsHeartbeat {
            group: (*self.identity.group).to_owned(),
            member: self.member.clone(),
            epoch: self.epoch,
            instance: self.identity.instance.clone(),
            client_id: self.client.settings.client_id.clone(),
            transactional_id: self.identity.transactional_id.clone(),
            rebalance_timeout_ms: 0,
            topology: is_new.then(|| told.topology.clone()),
            running: Some(running),
            lags: told.lags.clone(),
        }
    }

    /// Copies are stand-bys or warmed up, as the coordinator last said. A task that the host was told of and may begin at any
    /// moment is not free: it is said to run.
    fn running(&mut self, running: &Running) -> StreamsTasks {
        self.handed.retain(|number, _| *number > running.heard);
        let active: BTreeSet<_> =
            running.active.iter().chain(self.handed.values().flatten()).map(|id| task(*id)).collect();
        let copies = running.copies.iter().map(|id| task(*id)).filter(|task| !active.contains(task));
        let (warm_up, standby) = copies.partition(|task| self.copies.warm_up.contains(task));
        StreamsTasks { active, standby, warm_up }
    }

    fn answered(&mut self, answer: StreamsHeartbeatAnswer) {
        let StreamsHeartbeatAnswer { epoch, heartbeat_interval_ms, tasks, .. } = answer;
        self.epoch = epoch;
        self.identity.is(&self.member, epoch);
        self.interval = Duration::from_millis(u64::from(heartbeat_interval_ms.max(10)));
        let mut copies = ids(&tasks.standby);
        copies.extend(ids(&tasks.warm_up));
        let wanted = Wanted { active: ids(&tasks.active), copies };
        self.copies = tasks;
        if self.wanted.as_ref() == Some(&wanted) {
            return;
        }
        self.wanted = Some(wanted.clone());
        self.number += 1;
        self.handed.insert(self.number, wanted.active.clone());
        // A host that has ended ends this too.
        let _ended = self.host.cast(HostMessage::Assigned { number: self.number, wanted });
    }

    /// Whether the transactions of these processes, which are no more, are ended, so that nothing of them can be committed any
    /// more either; it is seen to.
    fn are_fenced(&mut self, transactional_ids: &[String]) -> bool {
        self.fenced.retain(|id| transactional_ids.contains(id));
        let own = self.identity.transactional_id.as_ref();
        let others = transactional_ids.iter().filter(|id| Some(*id) != own);
        let missing: Vec<String> = others.filter(|id| !self.fenced.contains(*id)).cloned().collect();
        let is_done = missing.is_empty();
        for id in missing {
            if self.being_fenced.insert(id.clone()) {
                tracing::info!(transactional_id = id, "what another process had not committed is aborted");
                self.fencing.spawn(fence(self.client.clone(), id));
            }
        }
        is_done
    }

    /// Whether somebody was fenced: what is to run can be heard now.
    fn has_fenced(&mut self, ended: Result<(String, Result<(), TransactionError>), JoinError>) -> bool {
        let Ok((id, result)) = ended else { return false };
        self.being_fenced.remove(&id);
        match result {
            Ok(()) => self.fenced.insert(id),
            Err(error) => {
                tracing::warn!(transactional_id = id, %error, "a process that is out is not fenced yet");
                false
            }
        }
    }

    async fn leave(&mut self) {
        if self.epoch == 0 {
            return;
        }
        let request = StreamsHeartbeat {
            group: (*self.identity.group).to_owned(),
            member: self.member.clone(),
            epoch: -1,
            instance: self.identity.instance.clone(),
            client_id: self.client.settings.client_id.clone(),
            transactional_id: None,
            rebalance_timeout_ms: 0,
            topology: None,
            running: None,
            lags: Vec::new(),
        };
        if let Err(error) = self.group.heartbeat(request, WITHIN).await {
            tracing::debug!(group = %self.identity.group, %error, "left without a goodbye");
        }
    }
}

async fn fence(client: Client, id: String) -> (String, Result<(), TransactionError>) {
    let producer = client.transactional_producer(ProducerSettings::transactional(&id)).await;
    let fenced = match producer {
        Ok(producer) => {
            producer.close(CLOSE_WITHIN).await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    (id, fenced)
}
