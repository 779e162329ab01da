//! Several quorums in one simulation, on simulated disks, over a wire in memory that delays, loses and is cut.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use millstream_transport::world::simulation::{self, Simulation};
use millstream_transport::world::{Random, SimulatedDisk, World};
use tokio::time::{Instant, sleep};

use crate::cluster::machine::Machine;
use crate::cluster::quorum::storage::lock;
use crate::cluster::quorum::*;
use crate::events::Events;
use crate::ids::NodeId;

pub(super) const DIRECTORY: &str = "/data/quorum";

/// What a node's machine has applied.
#[derive(Clone, Debug, Default)]
pub(super) struct Notebook(Arc<Mutex<Vec<Note>>>);

type Note = (u64, Vec<u8>);

impl Notebook {
    pub(super) fn entries(&self) -> Vec<Vec<u8>> {
        lock(&self.0).iter().map(|(_, entry)| entry.clone()).collect()
    }
}

impl Machine for Notebook {
    fn apply(&mut self, index: u64, entry: &[u8]) -> Vec<u8> {
        let mut entries = lock(&self.0);
        assert!(entries.last().is_none_or(|(last, _)| *last < index), "applied out of order");
        entries.push((index, entry.to_vec()));
        entries.len().to_string().into_bytes()
    }

    fn snapshot(&self) -> Vec<u8> {
        postcard::to_stdvec(&*lock(&self.0)).unwrap()
    }

    fn restore(&mut self, _index: u64, snapshot: &[u8]) -> Result<(), String> {
        *lock(&self.0) = postcard::from_bytes(snapshot).map_err(|error| error.to_string())?;
        Ok(())
    }
}

/// What all wires share.
#[derive(Debug)]
struct Hub {
    random: Random,
    begun: Instant,
    up: BTreeMap<NodeId, Quorum>,
    cut: BTreeSet<(NodeId, NodeId)>,
    loss: f64,
    hash: u64,
    snapshots: u64,
}

#[derive(Debug)]
struct HubWire {
    hub: Arc<Mutex<Hub>>,
    me: NodeId,
}

impl Hub {
    /// Notes a message in the trace; its delay, or `None` if it is lost.
    fn hop(&mut self, from: NodeId, to: NodeId, name: &str) -> Option<Duration> {
        let at = self.begun.elapsed().as_micros();
        for byte in format!("{at} {from}>{to} {name}").into_bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        self.snapshots += u64::from(name == "snapshot");
        let delay = Duration::from_millis(self.random.range(1, 6));
        let lost = self.random.chance(self.loss) || self.cut.contains(&(from, to));
        (!lost).then_some(delay)
    }
}

impl QuorumWire for HubWire {
    fn ask(
        &self,
        to: NodeId,
        question: Question,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Reply, Unanswered>> {
        let (hub, me) = (self.hub.clone(), self.me);
        Box::pin(async move {
            let lost = || Unanswered("lost".into());
            let there = lock(&hub).hop(me, to, question.request.name());
            let Some(there) = there else {
                sleep(deadline).await;
                return Err(lost());
            };
            sleep(there).await;
            let quorum = lock(&hub).up.get(&to).cloned();
            let Some(quorum) = quorum else { return Err(Unanswered("refused".into())) };
            let reply = tokio::spawn(async move { quorum.answer(me, question).await }).await;
            let reply = reply.map_err(|error| Unanswered(error.to_string()))?;
            let back = lock(&hub).hop(to, me, "reply");
            let Some(back) = back else {
                sleep(deadline).await;
                return Err(lost());
            };
            sleep(back).await;
            Ok(reply)
        })
    }

    fn learn(&self, _: NodeId, _: &str) {}
}

/// The nodes that are up, for tasks beside the one that starts and stops them.
#[derive(Clone)]
pub(super) struct Live(Arc<Mutex<Hub>>);

impl Live {
    /// Who has a lease; never more than one.
    pub(super) fn leased(&self) -> Option<Quorum> {
        let hub = lock(&self.0);
        let mut leased = hub.up.values().filter(|quorum| quorum.is_leader_with_lease()).cloned();
        let (first, second) = (leased.next(), leased.next());
        assert!(second.is_none(), "two nodes have a lease: {first:?} and {second:?}");
        first
    }
}

/// A cluster under test.
pub(super) struct Cluster {
    pub(super) simulation: Simulation,
    pub(super) disks: BTreeMap<u32, SimulatedDisk>,
    pub(super) quorums: BTreeMap<u32, Quorum>,
    pub(super) notebooks: BTreeMap<u32, Notebook>,
    pub(super) limits: Limits,
    pub(super) founders: Vec<u32>,
    hub: Arc<Mutex<Hub>>,
}

/// Runs a scenario with these founders, all started.
pub(super) fn with<F: Future>(seed: u64, founders: &[u32], scenario: impl FnOnce(Cluster) -> F) -> F::Output {
    simulation::run_within(seed, Duration::from_secs(120), |simulation| async move {
        let mut cluster = Cluster::new(simulation, founders);
        for node in founders {
            cluster.start(*node).await;
        }
        scenario(cluster).await
    })
}

impl Cluster {
    fn new(simulation: Simulation, founders: &[u32]) -> Self {
        let hub = Hub {
            random: Random::seeded(simulation.seed_of("wire")),
            begun: Instant::now(),
            up: BTreeMap::new(),
            cut: BTreeSet::new(),
            loss: 0.0,
            hash: 0xcbf2_9ce4_8422_2325,
            snapshots: 0,
        };
        let limits = Limits { reserve_bytes: 256 << 10, ..Limits::default() };
        Self {
            simulation,
            disks: BTreeMap::new(),
            quorums: BTreeMap::new(),
            notebooks: BTreeMap::new(),
            limits,
            founders: founders.to_vec(),
            hub: Arc::new(Mutex::new(hub)),
        }
    }

    pub(super) fn disk(&mut self, node: u32) -> SimulatedDisk {
        let seed = self.simulation.seed_of(&format!("disk {node}"));
        self.disks.entry(node).or_insert_with(|| SimulatedDisk::new(seed)).clone()
    }

    pub(super) async fn try_start(&mut self, node: u32) -> Result<(), StartError> {
        let disk = self.disk(node);
        let world = World::simulated(&self.simulation, &disk);
        let settings = QuorumSettings {
            directory: DIRECTORY.into(),
            me: NodeId(node),
            address: format!("host{node}:1"),
            voters: self.founders.iter().map(|node| (NodeId(*node), format!("host{node}:1"))).collect(),
            timings: Timings::default(),
            limits: self.limits.clone(),
        };
        let notebook = Notebook::default();
        let wire = Arc::new(HubWire { hub: self.hub.clone(), me: NodeId(node) });
        let quorum =
            Quorum::start(world, settings, wire, Box::new(notebook.clone()), Events::uncounted()).await?;
        lock(&self.hub).up.insert(NodeId(node), quorum.clone());
        self.quorums.insert(node, quorum);
        self.notebooks.insert(node, notebook);
        Ok(())
    }

    pub(super) async fn start(&mut self, node: u32) {
        self.try_start(node).await.unwrap();
    }

    /// Ends a node's life; what follows for its disk is the caller's.
    async fn end(&mut self, node: u32) {
        lock(&self.hub).up.remove(&NodeId(node));
        if let Some(quorum) = self.quorums.remove(&node) {
            quorum.shutdown().await;
        }
    }

    pub(super) async fn cut_power(&mut self, node: u32) {
        self.disk(node).cut_power();
        self.end(node).await;
    }

    pub(super) async fn kill(&mut self, node: u32) {
        self.disk(node).kill();
        self.end(node).await;
    }

    pub(super) async fn stop(&mut self, node: u32) {
        self.end(node).await;
        self.disk(node).kill();
    }

    /// Cuts a node off from all others, or connects it again.
    pub(super) fn isolate(&self, node: u32, cut: bool) {
        for other in 1..=9 {
            self.one_way(node, other, cut);
            self.one_way(other, node, cut);
        }
    }

    pub(super) fn one_way(&self, from: u32, to: u32, cut: bool) {
        let mut hub = lock(&self.hub);
        let way = (NodeId(from), NodeId(to));
        if cut {
            hub.cut.insert(way)
        } else {
            hub.cut.remove(&way)
        };
    }

    pub(super) fn lose(&self, loss: f64) {
        lock(&self.hub).loss = loss;
    }

    pub(super) fn live(&self) -> Live {
        Live(self.hub.clone())
    }

    pub(super) fn trace_hash(&self) -> u64 {
        lock(&self.hub).hash
    }

    pub(super) fn snapshots_sent(&self) -> u64 {
        lock(&self.hub).snapshots
    }

    pub(super) fn leads(&self, node: u32) -> bool {
        let Some(quorum) = self.quorums.get(&node) else { return false };
        *quorum.leader().borrow() == Some(NodeId(node))
    }

    /// Waits for a leader among these; checks that never two have a lease.
    pub(super) async fn leader_of(&self, nodes: &[u32]) -> u32 {
        loop {
            let leased: Vec<u32> = self
                .quorums
                .iter()
                .filter(|(_, quorum)| quorum.is_leader_with_lease())
                .map(|(node, _)| *node)
                .collect();
            assert!(leased.len() <= 1, "two nodes have a lease: {leased:?}");
            if let Some(leader) = nodes.iter().find(|node| self.leads(**node)) {
                return *leader;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Proposes until one of these takes it.
    pub(super) async fn write(&self, nodes: &[u32], entry: &str) -> u32 {
        loop {
            let leader = self.leader_of(nodes).await;
            if self.quorums[&leader].propose(entry.into()).await.is_ok() {
                return leader;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until all these have applied the same, and gives it.
    pub(super) async fn agreed(&self, nodes: &[u32]) -> Vec<String> {
        for _ in 0..20_000 {
            let all: Vec<_> = nodes.iter().map(|node| self.notebooks[node].entries()).collect();
            let indexes: BTreeSet<u64> = nodes.iter().map(|node| self.quorums[node].last_applied()).collect();
            if all.windows(2).all(|two| two[0] == two[1]) && indexes.len() == 1 {
                return all[0].iter().map(|entry| String::from_utf8(entry.clone()).unwrap()).collect();
            }
            sleep(Duration::from_millis(1)).await;
        }
        panic!("nodes {nodes:?} do not agree");
    }

    pub(super) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..20_000 {
            if is_so() {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
        panic!("not within 20 s: {what}");
    }

    pub(super) fn voters(&self, seen_by: u32) -> Vec<VoterId> {
        let members = self.quorums[&seen_by].members();
        members.into_iter().filter(|member| member.role == Role::Voter).map(|member| member.id).collect()
    }

    pub(super) fn path() -> &'static Path {
        Path::new(DIRECTORY)
    }
}
