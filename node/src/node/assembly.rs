//! How the parts of a node are put together, and in which order they start and end.
//!
//! Runs on the control thread. The order of the start: the log directory is opened and its logs are recovered; the
//! endpoint listens, and answers that it is starting; the quorum, the controller and the agent take their places;
//! replicas and coordinators follow the image; then the endpoint serves.

use std::sync::Arc;

use millstream_actors::client::NodeClient;
use millstream_actors::cluster::agent::{AgentHandle, AgentParts, NodeIdentity};
use millstream_actors::cluster::controller::ControllerHandle;
use millstream_actors::cluster::front::ClusterFront;
use millstream_actors::cluster::quorum::{Quorum, QuorumDoor};
use millstream_actors::custom::UserThreads;
use millstream_actors::custom::entity::front::EntityFront;
use millstream_actors::custom::entity::{EntityCaller, EntityTypes};
use millstream_actors::custom::named::NodeActors;
use millstream_actors::events::Events;
use millstream_actors::flow::{FlowParts, Flows};
use millstream_actors::group::front::GroupFront;
use millstream_actors::ids::Incarnation;
use millstream_actors::log::LogDirectory;
use millstream_actors::partition::directory::ReplicaDirectory;
use millstream_actors::partition::front::Front;
use millstream_actors::partition::memory::Budget;
use millstream_actors::partition::replica::UpkeepSettings;
use millstream_actors::partition::state::Settings as ReplicaSettings;
use millstream_actors::partition::supervisor::{ReplicaSupervisor, SupervisorParts};
use millstream_actors::partition::verify::VerifierDoor;
use millstream_actors::partition::warden::Quarantine;
use millstream_actors::transaction::front::TransactionFront;
use millstream_transport::identity::Credentials;
use millstream_transport::intake::{Intake, Shortage};
use millstream_transport::peer::{Endpoint, EndpointConfig, Mtu};
use millstream_transport::wire::Wire;
use millstream_transport::world::{World, watch};
use tokio::task::JoinHandle;

use super::controller_link::NodeControllerLink;
use super::coordination::{CoordinatorParts, start_desk, start_groups, start_transactions};
use super::council::{Council, timing};
use super::disk::{Disk, LOG_DIRECTORY, open_disk};
use super::entities::start_entities;
use super::error::StartError;
use super::groups::confirming;
use super::health::NodeState;
use super::listeners::{KafkaParts, start_kafka};
use super::named::{start_actors, user_threads};
use super::native::{self, LateService};
use super::native_transactions;
use super::publications;
use super::reach::ReachReport;
use super::replication::{links, sessions};
use super::transactions::{Marks, NodeVerifier, handlers as transaction_handlers};
use super::tree::{Fatal, Tree};
use super::vigil::{DirectoryVigil, superseded};
use super::vitals::NodeVitals;
use super::warnings::{PeerWarnings, warned};
use crate::config::NodeConfig;
use crate::kafka::listener::KafkaListeners;
use crate::security::tls::Tls;

/// Produce requests under way, those of this node's own coordinators included, hold at most so many times what requests of
/// clients may (`queued.max.request.bytes`). Clients wait for their place before; what is refused here is a flood from inside.
const PRODUCE_MEMORY_FACTOR: usize = 2;

/// What a node is put together from.
pub(super) struct Ingredients {
    pub(super) world: World,
    pub(super) wire: Arc<dyn Wire>,
    /// The sockets for Kafka's clients, of the listeners of the configuration in their order; none where they are not served.
    pub(super) kafka: Vec<std::net::TcpListener>,
    /// TLS of those.
    pub(super) tls: Option<Tls>,
    pub(super) config: NodeConfig,
    pub(super) credentials: Credentials,
    pub(super) events: Events,
    /// The types of users' entities.
    pub(super) entities: EntityTypes,
}

/// A node that runs. To be used on the control thread.
pub(super) struct Running {
    world: World,
    config: NodeConfig,
    incarnation: Incarnation,
    directory: Arc<LogDirectory>,
    pub(super) endpoint: Endpoint,
    door: QuorumDoor,
    quorum: Quorum,
    controller: ControllerHandle,
    agent: AgentHandle,
    front: ClusterFront<Endpoint>,
    replicas: ReplicaSupervisor,
    groups: GroupFront,
    transactions: TransactionFront,
    entities: EntityFront,
    /// Asks entities from here.
    pub(super) caller: EntityCaller,
    threads: UserThreads,
    pub(super) actors: NodeActors,
    /// The client of the cluster that users and their actors have on this node.
    pub(super) client: NodeClient,
    /// Sources and sinks on this node.
    pub(super) flows: Flows,
    kafka: Option<KafkaListeners>,
    tasks: Vec<JoinHandle<()>>,
    tree: Tree,
    /// Says why the node cannot go on, once it cannot.
    pub(super) fatal: Fatal,
    pub(super) state: Arc<NodeState>,
}

impl Running {
    #[expect(clippy::too_many_lines, reason = "the order of the start is the thing to read here")]
    pub(super) async fn start(mut ingredients: Ingredients) -> Result<Self, StartError> {
        let disk = open_disk(&ingredients.world, &ingredients.config, &ingredients.events).await?;
        let incarnation = disk.incarnation;
        let fatal = watch::Sender::new(None);
        let (clock, events) = (ingredients.world.clock.clone(), ingredients.events.clone());
        let tree = Tree::start(clock, events, fatal.clone()).await?;
        let service = Arc::new(LateService::default());
        let intake = Intake::new(ingredients.config.queued_request_max_bytes);
        let fetched = Budget::new(ingredients.config.queued_fetch_max_bytes);
        let memory = (intake.clone(), fetched.clone());
        let endpoint = start_endpoint(&ingredients, incarnation, memory, Arc::clone(&service))?;
        ingredients.config = ingredients.config.listening_at(endpoint.local_address().port());
        let mut tasks = Vec::new();
        let client = NodeClient::new(&ingredients.world, &endpoint, &ingredients.events);
        let council = Council::convene(&ingredients, &endpoint, &tree, &mut tasks).await?;
        let Ingredients { world, config, events, kafka, tls, entities: types, .. } = ingredients;
        let Council { door, quorum, controller, front, images, voters } = council;
        let identity = identity(&config, &disk, !kafka.is_empty(), &types);
        let found = ReplicaDirectory::default();
        let verifier = VerifierDoor::default();
        let quarantine = Arc::new(Quarantine::default());
        let parts = SupervisorParts {
            node: config.node_id,
            incarnation,
            directories: vec![Arc::clone(&disk.directory)],
            replicas: found.clone(),
            links: links(&world, (config.node_id, incarnation), &endpoint, &events),
            controller: Arc::new(NodeControllerLink::new(front.clone(), &config, incarnation)),
            verifier: verifier.clone(),
            quarantine: Arc::clone(&quarantine),
            warnings: Arc::new(PeerWarnings(endpoint.clone())),
            events: events.clone(),
            settings: replica_settings(&config),
            upkeep: upkeep(&config),
            producers: disk.producers,
            origin: world.clock.now(),
        };
        let replicas = ReplicaSupervisor::start(world.clone(), parts, disk.recovered, images.clone()).await?;
        // Registered only now: who is registered is given replicas.
        let parts = AgentParts {
            identity,
            timing: timing(&config),
            quorum_lost_after: config.dead_after * 3,
            clock: world.clock.clone(),
            images: images.clone(),
            voters,
            controller: controller.clone(),
            front: front.clone(),
            peers: endpoint.clone(),
            events: events.clone(),
        };
        let agent = AgentHandle::start(parts, Some(tree.cell())).await?;
        tasks.push(tokio::spawn(superseded(agent.clone(), fatal.clone())));
        let vigil = DirectoryVigil {
            node: config.node_id,
            incarnation,
            health: disk.directory.subscribe(),
            images: images.clone(),
            agent: agent.clone(),
            front: front.clone(),
        };
        tasks.push(tokio::spawn(vigil.run()));
        let reach = ReachReport {
            node: config.node_id,
            incarnation,
            directory: Arc::clone(&disk.directory),
            images: images.clone(),
            front: front.clone(),
        };
        tasks.push(tokio::spawn(reach.run()));
        let produce_memory_bytes = usize::try_from(config.queued_request_max_bytes)
            .unwrap_or(usize::MAX)
            .saturating_mul(PRODUCE_MEMORY_FACTOR);
        let partitions = Front::new(found.clone(), Budget::new(produce_memory_bytes), fetched);
        let parts = CoordinatorParts {
            world: &world,
            config: &config,
            incarnation,
            endpoint: &endpoint,
            front: &front,
            partitions: &partitions,
            images: &images,
            agent: &agent,
            events: &events,
            tree: &tree,
        };
        let groups = start_groups(&parts, &mut tasks).await?;
        let desk = start_desk(&parts);
        let marks = Marks { partitions: partitions.clone(), groups: groups.clone(), images: images.clone() };
        let transactions = start_transactions(&parts, &marks, &mut tasks).await?;
        let threads = user_threads(&world, &config, &events);
        let (entities, caller) =
            start_entities(&parts, types, (threads.clone(), &client), &mut tasks).await?;
        let actors = start_actors(&parts, &threads).await?;
        let flows = Flows::new(FlowParts {
            node: config.node_id,
            actors: actors.clone(),
            client: client.clone(),
            images: images.clone(),
            events: events.clone(),
        });
        verifier.open(Arc::new(NodeVerifier {
            me: config.node_id,
            transactions: transactions.clone(),
            images: images.clone(),
            endpoint: endpoint.clone(),
        }));
        let handlers = native::all(&front, &config, &images, &partitions, &groups)
            .and(transaction_handlers(&transactions, &marks))
            .and(native_transactions::handlers(&images, &partitions, &groups, &transactions))
            .and(entities.handlers())
            .and(publications::handlers(&partitions))
            .and(actors.handlers())
            .and(desk.handlers())
            .and(confirming(&images))
            .and(warned(&quarantine, &events))
            .and(sessions(&world, &found, &events))
            .and(door.handlers());
        service.open(handlers);
        let parts = KafkaParts {
            world: &world,
            config: &config,
            incarnation,
            intake,
            tls,
            partitions: &partitions,
            cluster: &front,
            groups: &groups,
            transactions: &transactions,
            marks: &marks,
            images: &images,
            events: &events,
            directory: &disk.directory,
            quorum: &quorum,
        };
        let kafka = if kafka.is_empty() { None } else { Some(start_kafka(kafka, parts)?) };
        let state = Arc::new(NodeState::new(images, agent.health(), disk.directory.subscribe()));
        let directory = disk.directory;
        Ok(Self {
            world,
            config,
            incarnation,
            directory,
            endpoint,
            door,
            quorum,
            controller,
            agent,
            front,
            replicas,
            groups,
            transactions,
            entities,
            caller,
            threads,
            actors,
            client,
            flows,
            kafka,
            tasks,
            tree,
            fatal,
            state,
        })
    }

    /// What is looked at when the metrics of this node are read.
    pub(super) fn vitals(&self, events: &Events) -> NodeVitals {
        let disk = (Arc::clone(&self.world.disk), self.config.data_dir.join(LOG_DIRECTORY));
        NodeVitals::new(events, self.endpoint.counters(), disk, Arc::clone(&self.state), self.actors.clone())
    }

    /// Ends the node cleanly: hands its leaderships over, syncs, leaves. What is not done in time is given up: the
    /// next start then recovers.
    pub(super) async fn stop(self) -> Result<(), String> {
        if let Some(kafka) = &self.kafka {
            kafka.close_door();
        }
        let within = self.config.shutdown_timeout;
        self.flows.stop(within / 4).await;
        // Before the node leaves, which gives their names to others.
        self.actors.stop(within / 4).await;
        self.client.end();
        let handing_over = self.front.hand_over(self.incarnation, within / 4);
        if let Err(refusal) = handing_over.await {
            tracing::warn!(node = %self.config.node_id, %refusal, "leaderships were not handed over");
        }
        // Nobody is led here any more: what clients asked before is answered by now, or refused.
        drop(self.kafka);
        self.tree.stop();
        self.entities.stop().await;
        self.threads.stop();
        self.transactions.stop().await;
        self.groups.stop().await;
        self.replicas.stop().await;
        let directory = Arc::clone(&self.directory);
        let closed = self.world.threads.run_blocking(move || directory.close_cleanly()).await;
        self.agent.actor().stop(None);
        self.controller.actor().stop(None);
        self.quorum.shutdown().await;
        self.door.close();
        for task in &self.tasks {
            task.abort();
        }
        self.endpoint.close().await;
        closed.map_err(|error| error.to_string())
    }

    /// Ends the node as a kill would: nobody is told, nothing is synced. What still runs ends soon after, and can do
    /// nothing that counts where disk and network were taken away before.
    pub(super) async fn abandon(self) {
        drop(self.kafka);
        self.endpoint.abandon();
        self.client.end();
        self.flows.abandon();
        self.actors.abandon();
        self.tree.stop();
        self.agent.actor().kill();
        self.controller.actor().kill();
        for task in &self.tasks {
            task.abort();
        }
        self.quorum.shutdown().await;
        self.door.close();
        self.entities.stop().await;
        self.threads.stop();
        self.transactions.stop().await;
        self.groups.stop().await;
        self.replicas.stop().await;
    }
}

fn identity(config: &NodeConfig, disk: &Disk, serves_kafka: bool, types: &EntityTypes) -> NodeIdentity {
    let listeners = config.kafka.listeners.iter().filter(|_| serves_kafka);
    NodeIdentity {
        node: config.node_id,
        incarnation: disk.incarnation,
        address: config.quic_advertised.clone(),
        directories: vec![disk.directory.id()],
        doubts: disk.recovered.doubts(),
        listeners: listeners.map(|listener| listener.advertised.clone()).collect(),
        rack: config.rack.clone(),
        entities: types.hosted(),
    }
}

fn upkeep(config: &NodeConfig) -> UpkeepSettings {
    UpkeepSettings { retention_check: config.retention_check_interval, ..UpkeepSettings::default() }
}

fn replica_settings(config: &NodeConfig) -> ReplicaSettings {
    ReplicaSettings {
        replica_lag_max: config.replica_lag_max,
        leader_sync_lag_max: config.leader_sync_lag_max,
        ..ReplicaSettings::default()
    }
}

fn start_endpoint(
    ingredients: &Ingredients,
    incarnation: Incarnation,
    (intake, fetched): (Intake, Budget),
    service: Arc<LateService>,
) -> Result<Endpoint, StartError> {
    let Ingredients { world, wire, config, credentials, .. } = ingredients;
    let mut endpoint = EndpointConfig::new(config.quic_listen, credentials.clone(), incarnation.0);
    endpoint.tuning.mtu = Mtu::UpTo(config.quic_mtu_bytes);
    let data = &mut endpoint.tuning.data;
    data.stream_window_bytes = config.quic_stream_window_bytes;
    data.link_window_bytes = config.quic_link_window_bytes;
    data.send_window_bytes = config.quic_send_window_bytes;
    endpoint.intake = intake;
    endpoint.shortage = Shortage::when(move || fetched.is_used_up());
    Ok(Endpoint::start(endpoint, world.clone(), Arc::clone(wire), service)?)
}
