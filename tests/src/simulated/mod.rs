//! A cluster of real nodes on simulated machines: one thread, one seed, virtual time.
//!
//! A machine is an address on the simulated network and a simulated disk; both outlive the node that runs on it. The
//! harness panics where a node cannot do what every scenario takes for granted: that is the failure of the scenario.

mod disks;
mod faults;
mod finish;
mod load;
mod replicas;
mod seeds;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millstream::config::Settings;
use millstream::node::SimulatedNode;
use millstream::{Client, ClientSettings, CreateTopic, EntityTypes};
use millstream_actors::client::QuicLink;
use millstream_actors::group::front::coordinator_partition;
use millstream_actors::ids::{NodeId, TopicId};
use millstream_transport::identity::{ClusterAuthority, Credentials};
use millstream_transport::peer::{Endpoint, EndpointConfig, Handlers};
use millstream_transport::wire::SimulatedNetwork;
use millstream_transport::world::simulation::Simulation;
use millstream_transport::world::{SimulatedDisk, World};

pub use faults::Role;
pub use finish::compacted;
pub use load::{Load, LoadSettings};
pub use seeds::{over_seeds, run_seed, tell};

/// Where a node keeps its data, on its own disk.
const DATA: &str = "/data";

/// The port of every node.
const PORT: u16 = 9092;

/// How long the cluster may take for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The topic that scenarios write to.
pub const TOPIC: &str = "records";

/// The group that scenarios read in.
pub const GROUP: &str = "readers";

/// A machine and the node on it, if one runs.
#[derive(Debug)]
struct Machine {
    address: IpAddr,
    disk: SimulatedDisk,
    settings: Settings,
    credentials: Credentials,
    node: Option<SimulatedNode>,
}

/// A cluster on simulated machines.
#[derive(Debug)]
pub struct SimulatedCluster {
    simulation: Simulation,
    network: SimulatedNetwork,
    authority: ClusterAuthority,
    machines: BTreeMap<NodeId, Machine>,
    offsets_partitions: i32,
    entities: EntityTypes,
    clients: u8,
}

/// What a cluster is made of.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Its nodes, numbered from 1.
    pub nodes: u8,
    /// The first so many of them vote.
    pub voters: u8,
    /// Partitions of the topic of committed offsets: few, so that a scenario spends its time on others.
    pub offsets_partitions: i32,
}

impl Shape {
    /// So many nodes, all of them voters.
    #[must_use]
    pub const fn voters(nodes: u8) -> Self {
        Self { nodes, voters: nodes, offsets_partitions: 2 }
    }
}

impl SimulatedCluster {
    /// Starts nodes 1 to `nodes`, all of them voters, and waits until they are ready.
    pub async fn start(simulation: &Simulation, nodes: u8) -> Self {
        Self::start_with(simulation, nodes, &[]).await
    }

    /// The same with these settings on all nodes.
    pub async fn start_with(simulation: &Simulation, nodes: u8, given: &[(&str, &str)]) -> Self {
        Self::start_hosting(simulation, nodes, given, EntityTypes::new()).await
    }

    /// The same, and all nodes host these types of entities.
    pub async fn start_hosting(
        simulation: &Simulation,
        nodes: u8,
        given: &[(&str, &str)],
        entities: EntityTypes,
    ) -> Self {
        let mut cluster = Self::prepare_with(simulation, Shape::voters(nodes), given);
        cluster.entities = entities;
        for node in cluster.nodes() {
            cluster.restart(node).await;
        }
        cluster.until_ready().await;
        cluster
    }

    /// Nodes that are started from now on host these types of entities.
    pub fn host_from_now(&mut self, entities: EntityTypes) {
        self.entities = entities;
    }

    /// The machines of a cluster, of which none runs a node yet.
    #[must_use]
    pub fn prepare(simulation: &Simulation, shape: Shape) -> Self {
        Self::prepare_with(simulation, shape, &[])
    }

    fn prepare_with(simulation: &Simulation, shape: Shape, given: &[(&str, &str)]) -> Self {
        let network = SimulatedNetwork::new(simulation.seed_of("network"));
        let scratch = World::simulated(simulation, &SimulatedDisk::new(simulation.seed_of("authority")));
        let authority =
            ClusterAuthority::create(&scratch.clock, &scratch.random).expect("an authority can be made");
        let voters: Vec<_> = (1..=shape.voters).map(|id| format!("{id}@{}:{PORT}", address(0, id))).collect();
        let machines = (1..=shape.nodes)
            .map(|id| {
                let disk = SimulatedDisk::new(simulation.seed_of(&format!("disk {id}")));
                let node = NodeId(id.into());
                let credentials =
                    authority.issue_node(node, &[]).expect("a certificate can be made for a node");
                let settings = settings(id, &voters.join(","), shape.offsets_partitions, given);
                (node, Machine { address: address(0, id), disk, settings, credentials, node: None })
            })
            .collect();
        let offsets_partitions = shape.offsets_partitions;
        let (simulation, entities) = (simulation.clone(), EntityTypes::new());
        Self { simulation, network, authority, machines, offsets_partitions, entities, clients: 0 }
    }

    /// The nodes' numbers, whether they run or not.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.machines.keys().copied().collect()
    }

    /// The network between them and their clients.
    #[must_use]
    pub fn network(&self) -> &SimulatedNetwork {
        &self.network
    }

    fn machine(&self, node: NodeId) -> &Machine {
        self.machines.get(&node).expect("the cluster has this node")
    }

    fn machine_mut(&mut self, node: NodeId) -> &mut Machine {
        self.machines.get_mut(&node).expect("the cluster has this node")
    }

    /// A node's disk.
    #[must_use]
    pub fn disk(&self, node: NodeId) -> &SimulatedDisk {
        &self.machine(node).disk
    }

    /// A node's address.
    #[must_use]
    pub fn address(&self, node: NodeId) -> IpAddr {
        self.machine(node).address
    }

    /// Where a node keeps its logs, on its disk.
    #[must_use]
    pub fn log_directory(&self) -> PathBuf {
        PathBuf::from(DATA).join("log")
    }

    /// Where a node keeps everything, on its disk.
    #[must_use]
    pub fn data_directory(&self) -> PathBuf {
        PathBuf::from(DATA)
    }

    /// A node, if it runs.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&SimulatedNode> {
        self.machine(node).node.as_ref()
    }

    /// Whether a node runs and its log directory has not failed.
    #[must_use]
    pub fn lives(&self, node: NodeId) -> bool {
        self.node(node).is_some_and(|node| node.health().is_live())
    }

    /// Starts a node, for the first time or after its death, in a new life on its old disk.
    pub async fn restart(&mut self, node: NodeId) {
        let (simulation, network) = (self.simulation.clone(), self.network.clone());
        let entities = self.entities.clone();
        let machine = self.machine_mut(node);
        assert!(machine.node.is_none(), "node {node} runs already");
        let world = World::simulated(&simulation, &machine.disk);
        let wire = network.wire(machine.address);
        let credentials = machine.credentials.clone();
        let started = SimulatedNode::start(world, wire, &machine.settings, credentials, entities).await;
        machine.node = Some(started.unwrap_or_else(|error| panic!("node {node} does not start: {error}")));
    }

    /// Stops a node cleanly.
    pub async fn stop(&mut self, node: NodeId) {
        let stopping = self.machine_mut(node).node.take().expect("the node runs");
        stopping.stop().await.unwrap_or_else(|error| panic!("node {node} does not stop cleanly: {error}"));
        let address = self.address(node);
        self.network.unbind_host(address);
    }

    /// Stops all nodes that run cleanly, at the same time.
    pub async fn stop_all(&mut self) {
        let running = self.machines.iter_mut().filter_map(|(id, machine)| Some((*id, machine.node.take()?)));
        let stopping = running.map(|(id, node)| async move { (id, node.stop().await) });
        for (node, stopped) in futures::future::join_all(stopping).await {
            stopped.unwrap_or_else(|error| panic!("node {node} does not stop cleanly: {error}"));
            self.network.unbind_host(self.address(node));
        }
    }

    /// Waits until all nodes that run are ready.
    pub async fn until_ready(&self) {
        let ready =
            || self.machines.values().flat_map(|machine| &machine.node).all(|node| node.health().is_ready());
        until("all nodes are ready", ready).await;
    }

    /// A client on a machine of its own.
    pub fn client(&mut self) -> Client {
        self.clients += 1;
        let (ip, name) = (address(1, self.clients), format!("client-{}", self.clients));
        let disk = SimulatedDisk::new(self.simulation.seed_of(&name));
        let world = World::simulated(&self.simulation, &disk);
        let credentials = self.authority.issue_client(&name).expect("a certificate can be made for a client");
        let mut config = EndpointConfig::new(SocketAddr::new(ip, PORT), credentials, self.clients.into());
        config.watch_peers = false;
        let service = Arc::new(Handlers::new());
        let endpoint = Endpoint::start(config, world.clone(), self.network.wire(ip), service)
            .expect("a client's endpoint can be started");
        let nodes = self.machines.values().map(|machine| format!("{}:{PORT}", machine.address));
        let link = Arc::new(QuicLink::new(endpoint));
        Client::over(world, link, ClientSettings::new(nodes)).expect("the client's settings are right")
    }

    /// Makes a topic, with three replicas of each partition, or as many as there are nodes.
    pub async fn make_topic(&self, client: &Client, name: &str, partitions: i32) -> TopicId {
        let replicas = self.machines.len().min(3);
        let in_sync = replicas.min(2).to_string();
        let topic = CreateTopic {
            name: name.to_owned(),
            partitions: Some(partitions),
            replication_factor: Some(i16::try_from(replicas).unwrap_or(i16::MAX)),
            config: BTreeMap::from([("min.insync.replicas".to_owned(), in_sync)]),
        };
        client.admin().create_topic(topic).await.expect("the topic is made")
    }

    /// Who leads a partition of [`TOPIC`].
    pub async fn leader(&self, client: &Client, partition: i32) -> NodeId {
        leader_of(client, TOPIC, partition).await
    }

    /// A node that follows in a partition of [`TOPIC`] and leads neither it nor the quorum.
    pub async fn follower(&self, client: &Client, partition: i32) -> NodeId {
        let (leader, controller) = (self.leader(client, partition).await, self.controller(client).await);
        let others = self.nodes().into_iter().filter(|node| ![leader, controller].contains(node));
        others.min().expect("a cluster of three nodes has one")
    }

    /// Who leads the quorum, as the client knows.
    pub async fn controller(&self, client: &Client) -> NodeId {
        until("the controller is known", || client.metadata().view().controller.is_some()).await;
        client.metadata().view().controller.expect("it was known just now")
    }

    /// Who coordinates [`GROUP`].
    pub async fn coordinator(&self, client: &Client) -> NodeId {
        self.coordinator_of(client, GROUP).await
    }

    /// Who leads a partition of any topic.
    pub async fn leader_in(&self, client: &Client, topic: &str, partition: i32) -> NodeId {
        leader_of(client, topic, partition).await
    }

    /// The machine of the client made last ends: nothing that runs on it reaches anybody any more.
    pub fn unplug_last_client(&self) {
        self.network.unbind_host(address(1, self.clients));
    }

    /// Who coordinates a group.
    pub async fn coordinator_of(&self, client: &Client, group: &str) -> NodeId {
        leader_of(client, OFFSETS, coordinator_partition(group, self.offsets_partitions)).await
    }
}

/// The topic of committed offsets.
pub const OFFSETS: &str = "__consumer_offsets";

/// The topic of what is decided about transactions.
pub const TRANSACTIONS: &str = "__transaction_state";

async fn leader_of(client: &Client, topic: &str, partition: i32) -> NodeId {
    let index = usize::try_from(partition).expect("partitions are counted from 0");
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        client.metadata().refresh();
        if let Ok(topic) = client.admin().describe_topic(topic).await
            && let Some(leader) = topic.partitions.get(index).and_then(|partition| partition.leader)
        {
            return leader;
        }
        assert!(tokio::time::Instant::now() < until, "{topic}-{partition} has no leader");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn address(network: u8, host: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, network, host).into()
}

fn settings(id: u8, voters: &str, offsets_partitions: i32, given: &[(&str, &str)]) -> Settings {
    let wanted = [
        ("node.id", id.to_string()),
        ("data.dir", DATA.to_owned()),
        ("quic.listen", format!("{}:{PORT}", address(0, id))),
        ("quorum.voters", voters.to_owned()),
        ("offsets.topic.num.partitions", offsets_partitions.to_string()),
    ];
    let given = given.iter().map(|(name, value)| (*name, (*value).to_owned()));
    wanted.into_iter().chain(given).fold(Settings::default(), |settings, (name, value)| {
        settings.set(name, &value).unwrap_or_else(|error| panic!("{error}"))
    })
}
