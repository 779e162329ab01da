//! One supervisor on one simulated node, whose replica the image takes away.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use millstream_transport::world::simulation::{self, Simulation};
use millstream_transport::world::{SimulatedDisk, World, watch};

use super::super::append::ProducerLimits;
use super::super::controller_link::{Altered, ControllerLink, GivenUp};
use super::super::directory::ReplicaDirectory;
use super::super::following::{FollowerEnds, FollowerLog, FromLeader, LeaderLinks};
use super::super::host::LinkMaker;
use super::super::replica::UpkeepSettings;
use super::super::state::Settings;
use super::super::verify::VerifierDoor;
use super::super::warden::{Quarantine, ReplicaKilled, Warnings};
use super::{RecoveredLogs, ReplicaSupervisor, SupervisorParts};
use crate::events::Events;
use crate::ids::{Incarnation, LeaderEpoch, Member, NodeId, PartitionId};
use crate::image::fixture::{
    alter, create, done, election, fence, lead, live_nodes, member, partition, registration, state, unfence,
};
use crate::image::{Alteration, Choice, Command, Image, InSyncChange, ReassignmentStep, ReportedDoubt};
use crate::log::{DirectorySettings, LogDirectory};

/// Nobody is reached.
#[derive(Debug)]
struct Nowhere;

impl LeaderLinks for Nowhere {
    fn open(&self, _: NodeId, _: PartitionId, _: Member, _: LeaderEpoch, _: FollowerLog) {}
    fn leave(&self, _: NodeId, _: PartitionId, _: Member, _: LeaderEpoch) {}
    fn close(&self, _: PartitionId) {}
    fn report(&self, _: PartitionId, _: LeaderEpoch, _: FollowerEnds) {}
}

impl LinkMaker for Nowhere {
    fn links(&self, _: usize, _: Recipient<FromLeader>) -> Box<dyn LeaderLinks> {
        Box::new(Self)
    }
}

impl ControllerLink for Nowhere {
    fn alter_in_sync(&self, _: Vec<InSyncChange>, _: Box<dyn FnOnce(Altered) + Send>) {}
    fn resign(&self, _: Vec<GivenUp>) {}
    fn report_doubts(&self, _: Vec<ReportedDoubt>) {}
}

impl Warnings for Nowhere {
    fn warn(&self, _: NodeId, _: ReplicaKilled) {}
}

const ME: NodeId = NodeId(2);

fn id() -> PartitionId {
    partition(1, 0)
}

/// The supervisor of node 2, its directory, and the images it follows.
struct Node {
    supervisor: ReplicaSupervisor,
    directory: Arc<LogDirectory>,
    images: watch::Sender<Arc<Image>>,
    replicas: ReplicaDirectory,
}

impl Node {
    async fn start(simulation: &Simulation, disk: &SimulatedDisk, image: &Image) -> Self {
        let world = World::simulated(simulation, disk);
        let events = Events::uncounted();
        let settings = DirectorySettings::default();
        let directory = LogDirectory::open(&world, Path::new("/data"), settings, events.clone()).unwrap();
        let (images, following) = watch::channel(Arc::new(image.clone()));
        let replicas = ReplicaDirectory::default();
        let parts = SupervisorParts {
            node: ME,
            incarnation: Incarnation(1),
            directories: vec![Arc::clone(&directory)],
            replicas: replicas.clone(),
            links: Arc::new(Nowhere),
            controller: Arc::new(Nowhere),
            verifier: VerifierDoor::default(),
            quarantine: Arc::new(Quarantine::default()),
            warnings: Arc::new(Nowhere),
            events,
            settings: Settings::default(),
            upkeep: UpkeepSettings::default(),
            producers: ProducerLimits::default(),
            origin: world.clock.now(),
        };
        let recovered = RecoveredLogs::default();
        let supervisor = ReplicaSupervisor::start(world, parts, recovered, following).await.unwrap();
        Self { supervisor, directory, images, replicas }
    }

    /// It hears of an image, and has the time to do what it asks for.
    async fn hears(&self, image: &Image) {
        self.images.send_replace(Arc::new(image.clone()));
        tokio::time::sleep(Duration::from_secs(5)).await;
    }

    fn has_log(&self) -> bool {
        self.directory.logs().contains(&id())
    }

    fn has_replica(&self) -> bool {
        self.replicas.get(id()).is_some()
    }
}

fn simulate<F: Future<Output = ()>>(scenario: impl FnOnce(Simulation, SimulatedDisk) -> F) {
    simulation::run(17, |simulation| scenario(simulation, SimulatedDisk::new(3)));
}

fn step(image: &mut Image, step: ReassignmentStep) {
    let now = state(image, id());
    let alteration =
        Alteration { partition: id(), epoch: now.leader_epoch, set_version: now.set_version, step };
    done(image, Command::AlterReassignments { alterations: vec![alteration] });
}

/// A partition on nodes 1 and 2, led by node 1.
fn both() -> Image {
    let mut image = live_nodes(&[1, 2]);
    done(&mut image, create(1, &[&[1, 2]]));
    image
}

/// Node 2 has no replica any more, and node 1 has died since.
fn unled(mut image: Image) -> Image {
    step(&mut image, ReassignmentStep::Begin { target: vec![NodeId(1)] });
    step(&mut image, ReassignmentStep::Complete { leader: None });
    done(&mut image, fence(1, 1));
    let nobody = election(&image, id(), Choice::Nobody);
    done(&mut image, nobody);
    image
}

#[test]
fn a_log_that_is_not_needed_any_more_goes_only_while_the_partition_is_led() {
    simulate(|simulation, disk| async move {
        let image = both();
        let node = Node::start(&simulation, &disk, &image).await;
        node.hears(&image).await;
        assert!(node.has_log() && node.has_replica());
        let mut image = unled(image);
        node.hears(&image).await;
        assert!(!node.has_replica() && node.has_log(), "it may be all that there is");
        done(&mut image, Command::RegisterNode(registration(1, 2)));
        done(&mut image, unfence(1, 2));
        node.hears(&image).await;
        assert!(node.has_log(), "nobody leads yet");
        let led = election(&image, id(), lead(1, &[1]));
        done(&mut image, led);
        node.hears(&image).await;
        assert!(!node.has_log());
        node.supervisor.stop().await;
    });
}

#[test]
fn a_log_that_was_kept_is_gone_on_with_where_the_image_has_its_replica_again() {
    simulate(|simulation, disk| async move {
        let image = both();
        let node = Node::start(&simulation, &disk, &image).await;
        node.hears(&image).await;
        let mut image = unled(image);
        node.hears(&image).await;
        step(&mut image, ReassignmentStep::Begin { target: vec![NodeId(1), NodeId(2)] });
        node.hears(&image).await;
        assert!(node.has_log() && node.has_replica());
        done(&mut image, Command::RegisterNode(registration(1, 2)));
        done(&mut image, unfence(1, 2));
        let led = election(&image, id(), lead(1, &[1]));
        done(&mut image, led);
        let joined = alter(&image, id(), &[member(1, 2), member(2, 1)]);
        done(&mut image, joined);
        node.hears(&image).await;
        assert!(node.has_log() && node.has_replica());
        node.supervisor.stop().await;
    });
}
