//! A test kit: whole nodes in the test's own thread, in virtual time, from a seed.
//!
//! The nodes are real: quorum, leases, QUIC. Their clock, network and disks are simulated, so that a test that waits for a
//! minute takes no time, and fails the same way every time.
//! ```
//! use std::time::Duration;
//!
//! use millstream::testing::with_nodes;
//! use millstream::{ActorContext, ActorMessage, ActorSettings, Handled, NamedActor};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Add(u64);
//!
//! impl ActorMessage for Add {
//!     const NAME: &'static str = "add";
//!     type Answer = u64;
//! }
//!
//! #[derive(Default)]
//! struct Sum(u64);
//!
//! impl NamedActor for Sum {
//!     const KIND: &'static str = "sum";
//!     type Message = Add;
//!
//!     async fn handle(&mut self, add: Add, _: &ActorContext) -> Handled<Add> {
//!         self.0 += add.0;
//!         Ok(self.0)
//!     }
//! }
//!
//! with_nodes(7, 1, async |nodes| {
//!     nodes.actors(1).spawn("sum", ActorSettings::default(), Sum::default).await.unwrap();
//!     let sum = nodes.actors(1).ask("sum", &Add(3), Duration::from_secs(1)).await.unwrap();
//!     assert_eq!(sum, 3);
//! });
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use millstream_actors::client::Client;
use millstream_actors::custom::entity::{EntityCaller, EntityTypes};
use millstream_actors::custom::named::NodeActors;
use millstream_actors::flow::Flows;
use millstream_actors::ids::NodeId;
use millstream_transport::identity::ClusterAuthority;
use millstream_transport::wire::SimulatedNetwork;
use millstream_transport::world::simulation::{Simulation, run};
use millstream_transport::world::{SimulatedDisk, World};

use crate::config::Settings;
use crate::node::SimulatedNode;

/// The port of every node.
const PORT: u16 = 9092;

/// How long the nodes may take to become ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// The nodes of a test, numbered from 1.
#[derive(Debug)]
pub struct TestNodes {
    network: SimulatedNetwork,
    nodes: BTreeMap<u8, (SimulatedNode, SimulatedDisk)>,
}

/// Runs a test over a cluster of one or three nodes, once they are ready; they are let go of at its end.
///
/// # Panics
/// If the test does, if the nodes cannot be started, or if the test has not ended after an hour of virtual time.
pub fn with_nodes<T>(seed: u64, count: u8, test: impl AsyncFnOnce(&mut TestNodes) -> T) -> T {
    with_hosts(seed, count, &EntityTypes::new(), test)
}

/// The same with nodes that host these types of entities.
///
/// # Panics
/// As [`with_nodes`].
pub fn with_hosts<T>(
    seed: u64,
    count: u8,
    types: &EntityTypes,
    test: impl AsyncFnOnce(&mut TestNodes) -> T,
) -> T {
    run(seed, |simulation: Simulation| async move {
        let mut nodes = TestNodes::start(&simulation, count, types).await;
        let output = test(&mut nodes).await;
        for (id, (node, disk)) in std::mem::take(&mut nodes.nodes) {
            disk.kill();
            nodes.network.unbind_host(address(id));
            node.abandon().await;
        }
        output
    })
}

impl TestNodes {
    #[expect(clippy::expect_used, reason = "a test that cannot start its nodes fails")]
    async fn start(simulation: &Simulation, count: u8, types: &EntityTypes) -> Self {
        let network = SimulatedNetwork::new(simulation.seed_of("network"));
        let scratch = World::simulated(simulation, &SimulatedDisk::new(simulation.seed_of("authority")));
        let authority =
            ClusterAuthority::create(&scratch.clock, &scratch.random).expect("an authority can be made");
        let voters: Vec<_> = (1..=count).map(|id| format!("{id}@{}:{PORT}", address(id))).collect();
        let mut nodes = BTreeMap::new();
        for id in 1..=count {
            let disk = SimulatedDisk::new(simulation.seed_of(&format!("disk {id}")));
            let world = World::simulated(simulation, &disk);
            let credentials =
                authority.issue_node(NodeId(id.into()), &[]).expect("a certificate can be made");
            let settings = settings(id, &voters.join(",")).expect("the settings of the kit are right");
            let wire = network.wire(address(id));
            let started = SimulatedNode::start(world, wire, &settings, credentials, types.clone());
            nodes.insert(id, (started.await.expect("a simulated node starts"), disk));
        }
        let until = tokio::time::Instant::now() + PATIENCE;
        while !nodes.values().all(|(node, _)| node.health().is_ready()) {
            assert!(tokio::time::Instant::now() < until, "the nodes are not ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { network, nodes }
    }

    /// The actors of a node.
    ///
    /// # Panics
    /// If there is no such node, or it was killed.
    #[must_use]
    pub fn actors(&self, node: u8) -> &NodeActors {
        match self.nodes.get(&node) {
            Some((node, _)) => node.actors(),
            None => panic!("node {node} does not run"),
        }
    }

    /// Asks entities of the cluster from a node.
    ///
    /// # Panics
    /// As [`TestNodes::actors`].
    #[must_use]
    pub fn entities(&self, node: u8) -> &EntityCaller {
        match self.nodes.get(&node) {
            Some((node, _)) => node.entities(),
            None => panic!("node {node} does not run"),
        }
    }

    /// The client of the cluster that a node has: makes producers, consumers and topics.
    ///
    /// # Panics
    /// As [`TestNodes::actors`].
    #[must_use]
    pub fn client(&self, node: u8) -> Client {
        match self.nodes.get(&node) {
            Some((node, _)) => node.client(),
            None => panic!("node {node} does not run"),
        }
    }

    /// The sources and sinks of a node.
    ///
    /// # Panics
    /// As [`TestNodes::actors`].
    #[must_use]
    pub fn flows(&self, node: u8) -> &Flows {
        match self.nodes.get(&node) {
            Some((node, _)) => node.flows(),
            None => panic!("node {node} does not run"),
        }
    }

    /// A node's series, as its scrape tells them.
    ///
    /// # Panics
    /// As [`TestNodes::actors`].
    #[must_use]
    pub fn scrape(&self, node: u8) -> String {
        match self.nodes.get(&node) {
            Some((node, _)) => node.metrics().render(),
            None => panic!("node {node} does not run"),
        }
    }

    /// Ends a node as `kill -9` does.
    pub async fn kill(&mut self, node: u8) {
        if let Some((killed, disk)) = self.nodes.remove(&node) {
            disk.kill();
            self.network.unbind_host(address(node));
            killed.abandon().await;
        }
    }

    /// Cuts a node off from the others, in both directions, until [`TestNodes::heal`].
    pub fn cut_off(&self, node: u8) {
        let others: Vec<IpAddr> =
            self.nodes.keys().filter(|other| **other != node).map(|other| address(*other)).collect();
        self.network.partition(&[&[address(node)], &others]);
    }

    /// Whoever was cut off is not any more.
    pub fn heal(&self) {
        self.network.heal();
    }
}

fn address(node: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, node).into()
}

fn settings(id: u8, voters: &str) -> Result<Settings, crate::config::ConfigError> {
    Settings::default()
        .set("node.id", &id.to_string())?
        .set("data.dir", "/data")?
        .set("quic.listen", &format!("{}:{PORT}", address(id)))?
        .set("quorum.voters", voters)
}
