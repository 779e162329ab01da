//! The metadata quorum: openraft on our own disk and wire, with a pre-vote of our own.
//!
//! `storage` keeps log, vote and snapshot in a directory of its own; `network` carries openraft's questions over a
//! [`QuorumWire`]; `prevote` decides when to stand for election, `pace` when a slow disk is reason not to lead, `leadership`
//! does both and says who leads; `membership`
//! bears the cluster, takes in learners and puts a member with a new directory into its old place; `recovery` makes one
//! survivor's directory the whole quorum, when an operator says that the other voters are lost.

mod answer;
#[cfg(test)]
mod golden;
mod leadership;
mod membership;
mod network;
mod pace;
mod peers;
mod prevote;
mod recovery;
mod settings;
mod storage;
#[cfg(test)]
mod tests;
mod types;
mod voters;
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream_transport::world::World;
use millstream_transport::world::watch;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;

use self::answer::Promises;
use self::membership::Newcomer;
use self::network::Network;
use self::pace::Pace;
use self::prevote::Prevote;
use self::storage::{Latch, LogStore, Storage, lock};
use self::types::{Metrics, Raft};
use crate::cluster::machine::Machine;
use crate::events::{Events, QuorumMetrics};
use crate::ids::NodeId;
use crate::kinds::QUORUM;
use crate::supervision::roster::{self, Entry};

pub use membership::{ChangeError, Role, Seated};
pub use peers::{PeerWire, QuorumDoor, QuorumQuestion, QuorumReply};
pub use prevote::Timings;
pub use recovery::{EntryId, RecoveryError, Survivor, finish_recovery};
pub use settings::{Limits, QuorumSettings};
pub use storage::OpenError;
pub use types::{Seat, VoterId};
pub use wire::{Question, QuorumWire, Reply, Request, Unanswered};

/// This node's part in the quorum. Cheap to clone; any thread may use it.
#[derive(Clone)]
pub struct Quorum {
    shared: Arc<Shared>,
}

struct Shared {
    me: VoterId,
    settings: QuorumSettings,
    world: World,
    wire: Arc<dyn QuorumWire>,
    raft: Raft,
    /// openraft's own; one task waits for its changes.
    metrics: tokio::sync::watch::Receiver<Metrics>,
    network: Network,
    log: LogStore,
    pace: Arc<Mutex<Pace>>,
    latch: Latch,
    /// The directory was new when this life began.
    new: bool,
    prevote: Mutex<Prevote>,
    promises: Mutex<Promises>,
    wake: Notify,
    leader: watch::Sender<Option<NodeId>>,
    newcomers: mpsc::Sender<Newcomer>,
    proposals: Semaphore,
    stopped: AtomicBool,
    stop: watch::Sender<bool>,
    measures: QuorumMetrics,
    events: Events,
    /// Among the live actors of the node.
    _seat: roster::Seat,
}

/// Why the quorum could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A setting makes no sense.
    #[error("quorum: {0}")]
    Settings(String),
    /// openraft refused.
    #[error("quorum: cannot start: {0}")]
    Raft(String),
}

/// Why an entry was not taken, or what is not known of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads, or nobody does; nothing was written.
    #[error("this node does not lead the quorum; {}", .0.map_or("nobody does".into(), |node| format!("node {node} does")))]
    NotLeader(Option<NodeId>),
    /// The entry is larger than the limit; nothing was written.
    #[error("an entry of {bytes} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many proposals are under way; nothing was written; try again.
    #[error("too many proposals are under way; try again")]
    Busy,
    /// Leadership was lost meanwhile, or time ran out: the entry may or may not be applied.
    #[error("the outcome is not known: the entry may or may not be applied")]
    Uncertain,
    /// The quorum's directory has failed, or the quorum was shut down.
    #[error("the quorum of this node has stopped: {0}")]
    Stopped(String),
}

/// How the quorum is, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumHealth {
    /// Who leads, if somebody was heard of lately.
    pub leader: Option<NodeId>,
    /// The present term.
    pub term: u64,
    /// Where the log ends.
    pub last_log_index: u64,
    /// What of it is applied.
    pub last_applied: u64,
    /// The nodes that vote.
    pub voters: Vec<NodeId>,
    /// Why this node takes no part any more: the failure of its directory, or the end of openraft's task.
    pub failed: Option<String>,
}

/// What the quorum's part on this node is worth a look for.
fn summary(metrics: &Metrics) -> String {
    let applied = metrics.last_applied.as_ref().map_or(0, |entry| entry.index);
    format!("{:?}, term {}, entry {applied}", metrics.state, metrics.current_term).to_lowercase()
}

impl Quorum {
    /// Starts this node's part: opens its directory, loads the machine, and takes its place among the others. To be called
    /// on the control thread, inside its tokio runtime; entries are applied to the machine there.
    pub async fn start(
        world: World,
        settings: QuorumSettings,
        wire: Arc<dyn QuorumWire>,
        machine: Box<dyn Machine>,
        events: Events,
    ) -> Result<Self, StartError> {
        let config = settings.raft().map_err(StartError::Settings)?;
        let storage = Storage::open(&world, settings.me, &settings.place(), machine).await?;
        for (node, address) in settings.voters.iter().filter(|(node, _)| *node != settings.me) {
            wire.learn(*node, address);
        }
        let me = storage.me;
        let network = Network::new(me, wire.clone(), storage.log.pace());
        let raft =
            Raft::new(me, Arc::new(config), network.clone(), storage.log.clone(), storage.machine).await;
        let raft = raft.map_err(|error| StartError::Raft(error.to_string()))?;
        let prevote =
            Prevote::new(me, settings.timings.clone(), world.random.clone(), world.clock.now(), storage.free);
        let (newcomers, introduced) = mpsc::channel(membership::NEWCOMERS);
        let metrics = raft.metrics();
        let seen = metrics.clone();
        let entry = Entry::new(QUORUM, "").about(move || summary(&seen.borrow()));
        let shared = Arc::new(Shared {
            _seat: events.seat(entry),
            me,
            metrics,
            raft,
            network,
            wire,
            pace: storage.log.pace(),
            log: storage.log,
            latch: storage.latch,
            new: storage.unborn,
            prevote: Mutex::new(prevote),
            promises: Mutex::default(),
            wake: Notify::new(),
            leader: watch::Sender::new(None),
            newcomers,
            proposals: Semaphore::new(settings.limits.proposals),
            stopped: AtomicBool::new(false),
            stop: watch::Sender::new(false),
            measures: QuorumMetrics::new(&events),
            settings,
            world,
            events,
        });
        tokio::spawn(leadership::lead(shared.clone()));
        tokio::spawn(leadership::stay(shared.clone()));
        tokio::spawn(leadership::keep(shared.clone()));
        tokio::spawn(membership::introduce(shared.clone()));
        tokio::spawn(membership::tend(shared.clone(), introduced));
        Ok(Self { shared })
    }

    /// Who this node is in the quorum.
    #[must_use]
    pub fn me(&self) -> VoterId {
        self.shared.me
    }

    /// Answers what another node asks; `from` is who it is for certain.
    pub async fn answer(&self, from: NodeId, question: Question) -> Reply {
        answer::answer(&self.shared, from, question).await
    }

    /// Writes an entry; its outcome when it is committed and applied here. Only the leader takes one.
    pub async fn propose(&self, entry: Vec<u8>) -> Result<Vec<u8>, ProposeError> {
        let shared = &self.shared;
        shared.check_running().map_err(ProposeError::Stopped)?;
        let limit = shared.settings.limits.entry_bytes;
        if entry.len() > limit {
            return Err(ProposeError::TooLarge { bytes: entry.len(), limit });
        }
        let leader = *shared.leader.borrow();
        if leader != Some(shared.me.node) {
            return Err(ProposeError::NotLeader(leader));
        }
        let _place = shared.proposals.try_acquire().map_err(|_| ProposeError::Busy)?;
        let begun = shared.world.clock.now();
        let limit = Duration::from_millis(shared.settings.limits.propose_ms);
        let written = tokio::time::timeout(limit, shared.raft.client_write(entry)).await;
        match written {
            Ok(Ok(done)) => {
                shared.measures.committed(shared.world.clock.now().duration_since(begun));
                Ok(done.data)
            }
            // Also where openraft names another leader: the entry may have been cut off here and live on elsewhere.
            Ok(Err(_)) | Err(_) => Err(ProposeError::Uncertain),
        }
    }

    /// Who leads. This node itself only while a majority has confirmed it within the lease, and after it has applied
    /// everything from before its leadership; another only while it is heard.
    #[must_use]
    pub fn leader(&self) -> watch::Receiver<Option<NodeId>> {
        self.shared.leader.subscribe()
    }

    /// Until when no other node can be elected, as far as is known now; `None` if this node does not lead. To be
    /// shortened by a margin for clocks that drift.
    #[must_use]
    pub fn lease_until(&self) -> Option<Instant> {
        self.shared.lease_until(self.shared.world.clock.now())
    }

    /// Whether this node leads and no other can have been elected.
    #[must_use]
    pub fn is_leader_with_lease(&self) -> bool {
        let now = self.shared.world.clock.now();
        self.shared.lease_until(now).is_some_and(|until| now < until)
    }

    /// The index of the last entry applied here; 0 before the first.
    #[must_use]
    pub fn last_applied(&self) -> u64 {
        self.shared.metrics.borrow().last_applied.map_or(0, |id| id.index)
    }

    /// How the quorum is, as this node sees it.
    #[must_use]
    pub fn health(&self) -> QuorumHealth {
        let metrics = self.shared.metrics.borrow();
        let mut voters: Vec<NodeId> =
            metrics.membership_config.membership().voter_ids().map(|id| id.node).collect();
        voters.sort_unstable();
        voters.dedup();
        let ended = metrics.running_state.as_ref().err().map(ToString::to_string);
        QuorumHealth {
            leader: *self.shared.leader.borrow(),
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            last_applied: metrics.last_applied.map_or(0, |id| id.index),
            voters,
            failed: self.shared.latch.failed().or(ended),
        }
    }

    /// Told of the failure of the quorum's directory, once. It takes part again only in another process.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.shared.latch.subscribe()
    }

    /// Waits until openraft's task has ended: after a shutdown, a failure of the directory, or a panic. Only the last is
    /// reason to start the quorum again in this process; the text says which it was.
    pub async fn ended(&self) -> String {
        let mut metrics = self.shared.metrics.clone();
        match metrics.wait_for(|metrics| metrics.running_state.is_err()).await {
            Ok(metrics) => metrics.running_state.as_ref().err().map(ToString::to_string).unwrap_or_default(),
            Err(_) => "the task is gone".into(),
        }
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> Vec<Seated> {
        membership::members(&self.shared.metrics.borrow())
    }

    /// Makes a learner a voter, once it has nearly caught up. Only the leader does it.
    pub async fn add_voter(&self, node: NodeId) -> Result<(), ChangeError> {
        membership::add_voter(&self.shared, node).await
    }

    /// Makes a voter a learner. Only the leader does it; it may remove itself.
    pub async fn remove_voter(&self, node: NodeId) -> Result<(), ChangeError> {
        membership::remove_voter(&self.shared, node).await
    }

    /// Forgets a learner that is gone for good; one that still runs introduces itself again. Only the leader does it.
    pub async fn forget(&self, node: NodeId) -> Result<(), ChangeError> {
        membership::forget(&self.shared, node).await
    }

    /// Takes in a node as a learner. Nodes introduce themselves, so nobody needs to call this; it makes it sooner.
    pub fn add_learner(&self, id: VoterId, address: &str) {
        self.shared.newcomer(id, address);
    }

    /// Takes part no more. What is committed is written down, so that the next start knows it at once.
    pub async fn shutdown(&self) {
        self.shared.halt();
        if let Err(error) = self.shared.log.mark_committed().await {
            tracing::warn!(?error, "the quorum's log was not marked at shutdown");
        }
        let _ended = self.shared.raft.shutdown().await;
    }
}

impl Shared {
    /// Why no part is taken any more, if so.
    fn check_running(&self) -> Result<(), String> {
        if let Some(text) = self.latch.failed() {
            return Err(text);
        }
        if self.stopped.load(Ordering::Acquire) { Err("it was shut down".into()) } else { Ok(()) }
    }

    fn halt(&self) {
        self.stopped.store(true, Ordering::Release);
        self.stop.send_replace(true);
        self.leader.send_if_modified(|leader| leader.take().is_some());
    }

    /// Runs `step` on the pre-vote, and has the effect carried out.
    fn prevote<T>(&self, step: impl FnOnce(&mut Prevote) -> T) -> T {
        step(&mut lock(&self.prevote))
    }
}

/// Waits until the value is so, or its sender is gone.
async fn came<T>(watched: &mut watch::Receiver<T>, is_so: impl FnMut(&T) -> bool) {
    let _gone = watched.wait_for(is_so).await.is_err();
}

impl std::fmt::Debug for Quorum {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Quorum").field("me", &self.shared.me).finish_non_exhaustive()
    }
}
