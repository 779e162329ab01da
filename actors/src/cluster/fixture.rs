//! A quorum of one in memory, for tests.

mod nodes;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_transport::world::Clock;
use millstream_transport::world::watch;
use uuid::Uuid;

pub(super) use nodes::{Cluster, MemoryPeers};

use super::controller::{ControllerHandle, ControllerParts, ControllerSettings};
use super::machine::{ImageMachine, Machine};
use super::message::nodes::{NodeHeartbeat, RegisterNode};
use super::proposer::{ProposeError, Proposer};
use crate::events::Events;
use crate::ids::{Incarnation, NodeId};
use crate::image::fixture::registration;
use crate::image::{Command, Image, Outcome, decode_outcomes, encode_entry};

/// Decides every entry after a delay, unless told otherwise.
#[derive(Debug)]
pub(super) struct MemoryQuorum {
    machine: Mutex<ImageMachine>,
    leader: watch::Sender<Option<NodeId>>,
    entries: Mutex<Vec<Vec<Command>>>,
    index: AtomicU64,
    pub(super) lease_ms: AtomicU64,
    /// How long a decision takes.
    pub(super) takes_ms: AtomicU64,
    /// How many of the next proposals come to nothing.
    pub(super) failures: AtomicU64,
}

impl MemoryQuorum {
    pub(super) fn new(leader: Option<u32>) -> (Arc<Self>, watch::Receiver<Arc<Image>>) {
        let (machine, images) = ImageMachine::new();
        let quorum = Self {
            machine: Mutex::new(machine),
            leader: watch::Sender::new(leader.map(NodeId)),
            entries: Mutex::default(),
            index: AtomicU64::new(0),
            lease_ms: AtomicU64::new(300),
            takes_ms: AtomicU64::new(3),
            failures: AtomicU64::new(0),
        };
        (Arc::new(quorum), images)
    }

    pub(super) fn lead(&self, leader: Option<u32>) {
        self.leader.send_replace(leader.map(NodeId));
    }

    /// The entries decided so far.
    pub(super) fn entries(&self) -> Vec<Vec<Command>> {
        self.entries.lock().unwrap().clone()
    }

    /// Decides an entry at once, as an earlier controller did.
    pub(super) fn decide(&self, commands: Vec<Command>) -> Vec<Outcome> {
        let index = self.index.fetch_add(1, Ordering::Relaxed) + 1;
        let outcomes = self.machine.lock().unwrap().apply(index, &encode_entry(&commands));
        self.entries.lock().unwrap().push(commands);
        decode_outcomes(&outcomes).unwrap()
    }
}

#[derive(Clone, Debug)]
pub(super) struct MemoryProposer(pub(super) Arc<MemoryQuorum>);

impl Proposer for MemoryProposer {
    fn propose(&self, commands: Vec<Command>) -> BoxFuture<'static, Result<Vec<Outcome>, ProposeError>> {
        let quorum = Arc::clone(&self.0);
        async move {
            tokio::time::sleep(Duration::from_millis(quorum.takes_ms.load(Ordering::Relaxed))).await;
            let fails = |left: u64| left.checked_sub(1);
            if quorum.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails).is_ok() {
                return Err(ProposeError::NotLeader(None));
            }
            Ok(quorum.decide(commands))
        }
        .boxed()
    }

    fn leadership(&self) -> watch::Receiver<Option<NodeId>> {
        self.0.leader.subscribe()
    }

    fn lease_left(&self) -> Duration {
        Duration::from_millis(self.0.lease_ms.load(Ordering::Relaxed))
    }
}

/// A controller on node 1, and its quorum.
pub(super) struct Rig {
    pub(super) quorum: Arc<MemoryQuorum>,
    pub(super) images: watch::Receiver<Arc<Image>>,
    pub(super) controller: ControllerHandle,
}

impl Rig {
    pub(super) async fn new(leader: Option<u32>) -> Self {
        let (quorum, images) = MemoryQuorum::new(leader);
        let parts = ControllerParts {
            settings: ControllerSettings::new(NodeId(1), Uuid::from_u128(0xc1)),
            clock: Clock::simulated(1_700_000_000_000),
            proposer: Arc::new(MemoryProposer(Arc::clone(&quorum))),
            images: images.clone(),
            events: Events::uncounted(),
        };
        let controller = ControllerHandle::start(parts, None).await.unwrap();
        Self { quorum, images, controller }
    }

    /// A controller at work, and these nodes live in life 1.
    pub(super) async fn with_nodes(nodes: &[u32]) -> Self {
        let rig = Self::new(Some(1)).await;
        for node in nodes {
            rig.controller.call(register(*node, 1)).await.unwrap();
            rig.beat(*node, 1).await;
        }
        rig.pass(20).await;
        rig
    }

    pub(super) fn image(&self) -> Arc<Image> {
        Arc::clone(&self.images.borrow())
    }

    pub(super) async fn beat(&self, node: u32, life: u64) -> super::message::nodes::HeartbeatAnswer {
        self.controller.call(heartbeat(node, life, self.image().version())).await.unwrap()
    }

    /// Lets virtual time pass.
    pub(super) async fn pass(&self, milliseconds: u64) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }

    /// Lets time pass while these nodes send heartbeats.
    pub(super) async fn beat_for(&self, nodes: &[u32], milliseconds: u64) {
        for _ in 0..milliseconds / 100 {
            for node in nodes {
                self.beat(*node, 1).await;
            }
            self.pass(100).await;
        }
    }
}

pub(super) fn register(node: u32, life: u64) -> RegisterNode {
    let registration = registration(node, life);
    RegisterNode {
        node: registration.node,
        incarnation: registration.incarnation,
        address: registration.address,
        directories: registration.directories,
        doubts: registration.doubts,
        feature_level: 1,
    }
}

pub(super) fn heartbeat(node: u32, life: u64, image_version: u64) -> NodeHeartbeat {
    NodeHeartbeat { node: NodeId(node), incarnation: Incarnation(life), image_version }
}
