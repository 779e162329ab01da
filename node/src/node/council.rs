//! The parts of a node that take part in the cluster's decisions.

use std::sync::Arc;
use std::time::Duration;

use millstream_actors::cluster::controller::{ControllerHandle, ControllerParts, ControllerSettings};
use millstream_actors::cluster::front::{ClusterFront, FrontParts, FrontSettings};
use millstream_actors::cluster::liveness::Timing;
use millstream_actors::cluster::machine::ImageMachine;
use millstream_actors::cluster::proposer::QuorumProposer;
use millstream_actors::cluster::quorum::{PeerWire, Quorum, QuorumDoor, QuorumSettings};
use millstream_actors::ids::NodeId;
use millstream_actors::image::Image;
use millstream_transport::peer::Endpoint;
use millstream_transport::world::watch;
use tokio::task::JoinHandle;

use super::assembly::Ingredients;
use super::error::StartError;
use super::tree::Tree;
use crate::config::NodeConfig;

/// Where in its data directory a node's quorum directory is.
pub(crate) const QUORUM_DIRECTORY: &str = "quorum";

/// How often the voters are looked at.
const VOTERS_INTERVAL: Duration = Duration::from_millis(500);

/// The parts that take part in the cluster's decisions.
pub(super) struct Council {
    pub(super) door: QuorumDoor,
    pub(super) quorum: Quorum,
    pub(super) controller: ControllerHandle,
    pub(super) front: ClusterFront<Endpoint>,
    pub(super) images: watch::Receiver<Arc<Image>>,
    pub(super) voters: watch::Receiver<Vec<NodeId>>,
}

impl Council {
    pub(super) async fn convene(
        ingredients: &Ingredients,
        endpoint: &Endpoint,
        tree: &Tree,
        tasks: &mut Vec<JoinHandle<()>>,
    ) -> Result<Self, StartError> {
        let Ingredients { world, config, credentials, events, .. } = ingredients;
        let cluster = credentials.identity().cluster.0;
        for voter in &config.voters {
            endpoint.directory().set(voter.node, &voter.address);
        }
        let (machine, images) = ImageMachine::new();
        let door = QuorumDoor::new();
        // Voters answer each other before anything else is served.
        let wire = Arc::new(PeerWire::new(endpoint.clone()));
        let machine = Box::new(machine);
        let quorum =
            Quorum::start(world.clone(), quorum_settings(config), wire, machine, events.clone()).await?;
        door.open(quorum.clone());
        let parts = ControllerParts {
            settings: controller_settings(config, cluster),
            clock: world.clock.clone(),
            proposer: Arc::new(QuorumProposer::new(quorum.clone(), world.clock.clone())),
            images: images.clone(),
            events: events.clone(),
        };
        let controller = ControllerHandle::start(parts, Some(tree.cell())).await?;
        tree.keep(&controller);
        let voters = watch_voters(&quorum, config, tasks);
        let front = ClusterFront::new(FrontParts {
            me: config.node_id,
            settings: FrontSettings::default(),
            clock: world.clock.clone(),
            random: world.random.clone(),
            images: images.clone(),
            leadership: quorum.leader(),
            controller: controller.clone(),
            voters: voters.clone(),
            peers: endpoint.clone(),
        });
        Ok(Self { door, quorum, controller, front, images, voters })
    }
}

fn quorum_settings(config: &NodeConfig) -> QuorumSettings {
    let voters = config.voters.iter().map(|voter| (voter.node, voter.address.clone())).collect();
    QuorumSettings::new(
        config.data_dir.join(QUORUM_DIRECTORY),
        config.node_id,
        config.quic_advertised.clone(),
        voters,
    )
}

pub(super) fn timing(config: &NodeConfig) -> Timing {
    Timing {
        heartbeat: config.heartbeat,
        lease: config.lease,
        dead_after: config.dead_after,
        ..Timing::default()
    }
}

fn controller_settings(config: &NodeConfig, cluster: uuid::Uuid) -> ControllerSettings {
    let mut settings = ControllerSettings::new(config.node_id, cluster);
    settings.timing = timing(config);
    settings.topics.partitions = config.default_partitions;
    settings.names_max = config.actors.names_max;
    if let Some(factor) = config.default_replication_factor {
        settings.topics.replication_factor = factor;
    }
    settings
}

fn watch_voters(
    quorum: &Quorum,
    config: &NodeConfig,
    tasks: &mut Vec<JoinHandle<()>>,
) -> watch::Receiver<Vec<NodeId>> {
    let (told, voters) = watch::channel(config.voters.iter().map(|voter| voter.node).collect());
    let quorum = quorum.clone();
    tasks.push(tokio::spawn(async move {
        loop {
            let now = quorum.health().voters;
            told.send_if_modified(|known| {
                !now.is_empty() && *known != now && {
                    *known = now;
                    true
                }
            });
            tokio::time::sleep(VOTERS_INTERVAL).await;
        }
    }));
    voters
}
