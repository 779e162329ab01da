//! The supervisor as others see it.

use std::collections::VecDeque;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use millstream_transport::world::World;
use millstream_transport::world::watch;
use ractor::{Actor, ActorRef};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::append::ProducerLimits;
use super::super::controller_link::ControllerLink;
use super::super::directory::ReplicaDirectory;
use super::super::host::{CoreHost, LinkMaker};
use super::super::memory::Budget;
use super::super::replica::{ReplicaShared, Unpackings, UpkeepSettings};
use super::super::state::{InSyncChange, ResignReason, Settings};
use super::super::verify::VerifierDoor;
use super::super::warden::{Quarantine, Warden, Warnings};
use super::logs::RecoveredLogs;
use super::proposals::Proposals;
use super::resignations::Resignations;
use super::said::Said;
use super::{State, Supervisor, SupervisorMessage};
use crate::events::Events;
use crate::events::partition::PartitionSeries;
use crate::ids::{Incarnation, LeaderEpoch, NodeId, PartitionId};
use crate::image::Image;
use crate::kinds::REPLICA_SUPERVISOR;
use crate::log::LogDirectory;
use crate::supervision::roster::Entry;

/// Bytes that reads of the disk may hold at once, for all consumers of a node.
const COLD_READ_BYTES: usize = 128 << 20;

/// The same for looks for records by their time: of a thousand partitions at once.
const TIMED_LOOK_BYTES: usize = 64 << 20;

/// What a supervisor works with.
#[derive(Clone, Debug)]
pub struct SupervisorParts {
    /// This node.
    pub node: NodeId,
    /// The life of its process.
    pub incarnation: Incarnation,
    /// Its log directories that work.
    pub directories: Vec<Arc<LogDirectory>>,
    /// Where its replicas are found.
    pub replicas: ReplicaDirectory,
    /// How they reach their leaders.
    pub links: Arc<dyn LinkMaker>,
    /// How they reach the controller.
    pub controller: Arc<dyn ControllerLink>,
    /// Whom they ask about transactions.
    pub verifier: VerifierDoor,
    /// Requests that they refuse because replicas died of them.
    pub quarantine: Arc<Quarantine>,
    /// How the nodes of other replicas hear of such a death.
    pub warnings: Arc<dyn Warnings>,
    /// Where happenings are told.
    pub events: Events,
    /// Bounds of their patience.
    pub settings: Settings,
    /// When they look after their logs.
    pub upkeep: UpkeepSettings,
    /// How much they remember of producers.
    pub producers: ProducerLimits,
    /// Since when time is counted.
    pub origin: Instant,
}

/// Looks after the replicas of a node. Dropped, it leaves them as they are; [`ReplicaSupervisor::stop`] ends them.
#[derive(Debug)]
pub struct ReplicaSupervisor {
    actor: ActorRef<SupervisorMessage>,
    ended: JoinHandle<()>,
    watcher: JoinHandle<()>,
}

/// Why a supervisor could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the replicas cannot be looked after: {0}")]
pub struct CannotSupervise(String);

/// The supervisor as its replicas see it.
#[derive(Debug, Default)]
struct Speaker {
    supervisor: OnceLock<ActorRef<SupervisorMessage>>,
    said: Arc<Said>,
}

impl Speaker {
    fn tell(&self, message: SupervisorMessage) {
        if let Some(actor) = self.supervisor.get() {
            // A supervisor that is gone has ended the replicas before.
            let _ = actor.cast(message);
        }
    }
}

impl Warden for Speaker {
    fn propose(&self, partition: PartitionId, change: InSyncChange) {
        if self.said.propose(partition, change) {
            self.tell(SupervisorMessage::Said);
        }
    }

    fn resign(&self, partition: PartitionId, epoch: LeaderEpoch, reason: ResignReason) {
        if self.said.resign(partition, epoch, reason) {
            self.tell(SupervisorMessage::Said);
        }
    }

    fn down(&self, partition: PartitionId, life: u64, clean: bool) {
        // One for each life of a replica.
        self.tell(SupervisorMessage::Down { partition, life, clean });
    }
}

impl ReplicaSupervisor {
    /// Starts on the control thread, with the logs that were recovered before the node registered.
    pub async fn start(
        world: World,
        parts: SupervisorParts,
        recovered: RecoveredLogs,
        mut images: watch::Receiver<Arc<Image>>,
    ) -> Result<Self, CannotSupervise> {
        let speaker = Arc::new(Speaker::default());
        let warden: Arc<dyn Warden> = speaker.clone();
        let shared = Arc::new(ReplicaShared {
            series: PartitionSeries::of(&parts.events),
            events: parts.events.clone(),
            settings: parts.settings,
            upkeep: parts.upkeep,
            producers: parts.producers.clone(),
            quarantine: Arc::clone(&parts.quarantine),
            warden,
            verifier: parts.verifier.clone(),
            threads: world.threads.clone(),
            cold_reads: Budget::new(COLD_READ_BYTES),
            unpackings: Unpackings::default(),
            timed_looks: Budget::new(TIMED_LOOK_BYTES),
            timed_unpackings: Unpackings::default(),
        });
        let mut hosts = Vec::new();
        for core in world.threads.cores() {
            let (clock, links) = (world.clock.clone(), Arc::clone(&parts.links));
            let host = CoreHost::start(core, clock, links, &parts.events).await;
            hosts.push(host.ok_or_else(|| CannotSupervise(format!("core {} has stopped", core.index)))?);
        }
        let state = State {
            world,
            hosts,
            shared,
            images: images.clone(),
            seen: Arc::new(Image::default()),
            slots: BTreeMap::new(),
            recovered,
            to_open: VecDeque::new(),
            kept: BTreeSet::new(),
            opening: 0,
            lives: 0,
            said: Arc::clone(&speaker.said),
            proposals: Proposals::default(),
            resignations: Resignations::default(),
            stopping: None,
            seat: parts.events.seat(Entry::new(REPLICA_SUPERVISOR, "")),
            parts,
        };
        let spawned = Supervisor::spawn(None, Supervisor, state).await;
        let (actor, ended) = spawned.map_err(|error| CannotSupervise(error.to_string()))?;
        // It is set here for the first time.
        let _ = speaker.supervisor.set(actor.clone());
        images.mark_changed();
        let watcher = tokio::spawn(watch_images(actor.clone(), images));
        Ok(Self { actor, ended, watcher })
    }

    /// Ends all replicas cleanly and waits for it.
    pub async fn stop(self) {
        let (send, receive) = oneshot::channel();
        if self.actor.cast(SupervisorMessage::Stop(send)).is_ok() {
            // An error says that it is gone, which is what is wanted.
            let _ = receive.await;
        }
        self.watcher.abort();
        let _ = self.ended.await;
    }
}

/// Wakes the supervisor for every new image; those that come while it looks at one are looked at together.
async fn watch_images(actor: ActorRef<SupervisorMessage>, mut images: watch::Receiver<Arc<Image>>) {
    while images.changed().await.is_ok() {
        let (send, receive) = oneshot::channel();
        if actor.cast(SupervisorMessage::ImageChanged(send)).is_err() || receive.await.is_err() {
            return;
        }
    }
}
