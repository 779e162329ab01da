//! One node: its disk for good, everything else for one life.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use millstream_transport::peer::AskError;
use millstream_transport::world::simulation::Simulation;
use millstream_transport::world::{SimulatedDisk, World};

use super::super::memory::MemoryNetwork;
use super::controller::{TestController, TestLink};
use crate::events::Events;
use crate::ids::{Incarnation, NodeId};
use crate::image::Command;
use crate::log::{DirectorySettings, LogDirectory};
use crate::partition::append::ProducerLimits;
use crate::partition::directory::ReplicaDirectory;
use crate::partition::front::Front;
use crate::partition::memory::Budget;
use crate::partition::replica::UpkeepSettings;
use crate::partition::state::Settings;
use crate::partition::supervisor::{ReplicaSupervisor, SupervisorParts, recover};
use crate::partition::verify::VerifierDoor;
use crate::partition::warden::{Quarantine, ReplicaKilled, Warnings};
use crate::replication::LinksOfCores;
use crate::replication::channel::{Dial, FollowerChannel, Pending, SessionError};
use crate::replication::links::LinksSetup;
use crate::replication::message::{OpenSession, SessionOpened};
use crate::replication::sessions::FeedSessions;
use crate::replication::settings::FetchSettings;
use crate::topic_config::TopicConfig;

/// What the nodes of a cluster tell each other of deaths.
#[derive(Clone, Debug, Default)]
pub(super) struct TestWarnings(Arc<Mutex<BTreeMap<NodeId, Arc<Quarantine>>>>);

impl Warnings for TestWarnings {
    fn warn(&self, node: NodeId, of: ReplicaKilled) {
        if let Some(quarantine) = self.0.lock().unwrap().get(&node) {
            quarantine.killed(of);
        }
    }
}

pub(super) struct TestNode {
    pub(super) id: NodeId,
    pub(super) disk: SimulatedDisk,
    warnings: TestWarnings,
    incarnation: u64,
    pub(super) life: Option<Life>,
}

pub(super) struct Life {
    pub(super) supervisor: ReplicaSupervisor,
    pub(super) replicas: ReplicaDirectory,
    pub(super) front: Front,
    pub(super) directory: Arc<LogDirectory>,
    is_cut: Arc<AtomicBool>,
}

/// Dials as long as the node lives.
#[derive(Debug)]
struct MortalDial {
    network: MemoryNetwork,
    is_cut: Arc<AtomicBool>,
}

impl Dial for MortalDial {
    fn dial(
        &self,
        leader: NodeId,
        opening: OpenSession,
    ) -> Pending<'static, Result<(SessionOpened, FollowerChannel), SessionError>> {
        if self.is_cut.load(Ordering::Relaxed) {
            let (peer, reason) = (format!("node {leader}"), "this node is dead".to_owned());
            return Box::pin(async move { Err(AskError::Unreachable { peer, reason }.into()) });
        }
        self.network.dial(leader, opening)
    }
}

impl TestNode {
    pub(super) fn new(id: u32, warnings: TestWarnings) -> Self {
        let disk = SimulatedDisk::new(u64::from(id) * 31);
        Self { id: NodeId(id), disk, warnings, incarnation: 0, life: None }
    }

    pub(super) async fn start(
        &mut self,
        simulation: &Simulation,
        network: &MemoryNetwork,
        controller: &TestController,
    ) {
        if self.life.is_some() {
            return;
        }
        self.incarnation += 1;
        let (node, incarnation) = (self.id, Incarnation(self.incarnation));
        let world = World::simulated(simulation, &self.disk);
        let events = Events::uncounted();
        let settings = DirectorySettings::default();
        let directory = LogDirectory::open(&world, Path::new("/data"), settings, events.clone()).unwrap();
        let directories = vec![Arc::clone(&directory)];
        let config = |_| Arc::new(TopicConfig::default());
        let recovered = recover(&world, &directories, config, ProducerLimits::default()).await.unwrap();
        let images = controller.register(node, incarnation, directory.id(), recovered.doubts());

        let is_cut = Arc::new(AtomicBool::new(false));
        let dial = MortalDial { network: network.clone(), is_cut: Arc::clone(&is_cut) };
        let setup = LinksSetup {
            node,
            incarnation,
            dial: Arc::new(dial),
            settings: FetchSettings::default(),
            random: world.random.clone(),
            events: events.clone(),
        };
        let replicas = ReplicaDirectory::default();
        let link =
            TestLink { controller: controller.clone(), node, incarnation, is_cut: Arc::clone(&is_cut) };
        let quarantine = Arc::new(Quarantine::default());
        self.warnings.0.lock().unwrap().insert(node, Arc::clone(&quarantine));
        let parts = SupervisorParts {
            node,
            incarnation,
            directories,
            replicas: replicas.clone(),
            links: Arc::new(LinksOfCores::new(1, &setup)),
            controller: Arc::new(link),
            verifier: VerifierDoor::default(),
            quarantine: Arc::clone(&quarantine),
            warnings: Arc::new(self.warnings.clone()),
            events: events.clone(),
            settings: Settings::default(),
            upkeep: UpkeepSettings::default(),
            producers: ProducerLimits::default(),
            origin: world.clock.now(),
        };
        let sessions =
            FeedSessions::new(Arc::new(replicas.clone()), FetchSettings::default(), world.clone(), events);
        network.serve(node, sessions);
        let supervisor = ReplicaSupervisor::start(world, parts, recovered, images).await.unwrap();
        let front = Front::new(replicas.clone(), Budget::new(64 << 20), Budget::new(64 << 20));
        self.life = Some(Life { supervisor, replicas, front, directory, is_cut });
    }

    /// The process is gone at once; the controller hears of it when it has noticed.
    pub(super) fn die(&mut self, network: &MemoryNetwork, controller: &TestController, with_power: bool) {
        let Some(life) = self.life.take() else { return };
        life.is_cut.store(true, Ordering::Relaxed);
        if with_power {
            self.disk.cut_power();
        } else {
            self.disk.kill();
        }
        controller.forget(self.id);
        network.forget(self.id);
        network.cut();
    }

    /// The controller has noticed that the node is gone.
    pub(super) fn noticed(&self, controller: &TestController) {
        if self.life.is_none() {
            let incarnation = Incarnation(self.incarnation);
            controller.apply(Command::FenceNode { node: self.id, incarnation });
        }
    }

    pub(super) async fn stop(&mut self, network: &MemoryNetwork, controller: &TestController) {
        let Some(life) = self.life.take() else { return };
        let incarnation = Incarnation(self.incarnation);
        controller.apply(Command::HandOver { node: self.id, incarnation });
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        life.supervisor.stop().await;
        life.directory.close_cleanly().unwrap();
        life.is_cut.store(true, Ordering::Relaxed);
        drop((life.replicas, life.front, life.directory));
        self.disk.kill();
        controller.forget(self.id);
        network.forget(self.id);
        network.cut();
        controller.apply(Command::FenceNode { node: self.id, incarnation });
    }
}
