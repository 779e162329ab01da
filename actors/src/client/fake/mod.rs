//! A cluster in memory for tests: what is appended goes through the same checks as at a real leader.
//!
//! A request is carried out when it is asked and answered half a virtual millisecond or more later, so that requests
//! keep their order; faults are given one by one.

mod actors;
mod entities;
mod groups;
mod handlers;
mod quorum;
mod streams;
mod transactions;
mod users;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use millstream_transport::world::simulation::Simulation;
use millstream_transport::world::watch;
use millstream_transport::world::{Core, Random, SimulatedDisk, Threads, World};
use uuid::Uuid;

use super::{Client, ClientSettings, Cluster};
use crate::error::ErrorCode;
use crate::ids::{LeaderEpoch, NodeId, Offset, PartitionId, TopicId};
use crate::partition::append::ProducerTable;
use crate::record::{Batch, MAX_UNPACKED_BYTES, Record, records};
use crate::topic_config::TopicConfig;

pub(crate) use groups::FakeGroup;
pub(crate) use transactions::FakeTransactions;

/// A cluster in memory.
#[derive(Clone, Debug)]
pub(crate) struct FakeCluster {
    state: Arc<Mutex<State>>,
    /// Counts changes of any kind: long polls look again.
    changed: watch::Sender<u64>,
    /// The address of its only node, where it is told to clients; else `node-N:9092`.
    pub(crate) address: Arc<OnceLock<String>>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) version: u64,
    pub(crate) nodes: BTreeMap<NodeId, bool>,
    pub(crate) topics: BTreeMap<String, FakeTopic>,
    pub(crate) partitions: BTreeMap<PartitionId, FakePartition>,
    pub(crate) next_producer: i64,
    pub(crate) latency: Duration,
    /// What the next parts of produce requests are refused with, one each, and not appended.
    pub(crate) refusals: VecDeque<ErrorCode>,
    /// So many of the next produce requests are carried out and not answered.
    pub(crate) lost_answers: u32,
    /// So many of the next produce requests are neither carried out nor answered.
    pub(crate) lost_requests: u32,
    /// Produce requests so far, and how many parts each had.
    pub(crate) produced: Vec<usize>,
    /// Fetch requests so far.
    pub(crate) fetches: u64,
    pub(crate) group: FakeGroup,
    pub(crate) transactions: FakeTransactions,
    /// Nodes that vote in the quorum.
    pub(crate) voters: BTreeSet<NodeId>,
}

#[derive(Debug)]
pub(crate) struct FakeTopic {
    pub(crate) id: TopicId,
    pub(crate) partitions: i32,
    pub(crate) config: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
pub(crate) struct FakePartition {
    pub(crate) leader: Option<NodeId>,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) batches: Vec<Bytes>,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) producers: ProducerTable,
    pub(crate) config: TopicConfig,
}

impl FakeCluster {
    pub(crate) fn new(nodes: u32) -> Self {
        let state = State {
            version: 1,
            nodes: (1..=nodes).map(|node| (NodeId(node), true)).collect(),
            topics: BTreeMap::new(),
            partitions: BTreeMap::new(),
            next_producer: 1000,
            latency: Duration::from_millis(1),
            refusals: VecDeque::new(),
            lost_answers: 0,
            lost_requests: 0,
            produced: Vec::new(),
            fetches: 0,
            group: FakeGroup::default(),
            transactions: FakeTransactions::default(),
            voters: BTreeSet::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), changed: watch::Sender::new(0), address: Arc::default() }
    }

    /// A client of this cluster.
    pub(crate) fn client(&self, simulation: &Simulation) -> Client {
        let link: Arc<dyn Cluster> = Arc::new(self.clone());
        let nodes = self.lock().nodes.keys().map(|node| format!("node-{}:9092", node.0)).collect::<Vec<_>>();
        Client::over(world(simulation), link, ClientSettings::new(nodes)).unwrap()
    }

    /// Changes the state; whoever waits looks again.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.send_modify(|count| *count += 1);
        changed
    }

    /// Changes the state as the quorum would: clients are told.
    pub(crate) fn decide<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.change(|state| {
            state.version += 1;
            change(state)
        })
    }

    /// Makes a topic whose leaders are spread over the nodes.
    pub(crate) fn topic(&self, name: &str, partitions: i32) -> TopicId {
        self.decide(|state| state.make_topic(name, partitions, BTreeMap::new()))
    }

    pub(crate) fn move_leader(&self, partition: PartitionId, to: Option<u32>) {
        self.decide(|state| {
            let moved = state.partitions.get_mut(&partition).unwrap();
            moved.leader = to.map(NodeId);
            moved.epoch.0 += 1;
        });
    }

    /// All records of a partition.
    pub(crate) fn records(&self, partition: PartitionId) -> Vec<Record> {
        let state = self.lock();
        let batches = state.partitions[&partition].batches.clone();
        drop(state);
        let read = |bytes| records(&Batch::parse(bytes).unwrap(), MAX_UNPACKED_BYTES).unwrap();
        batches.into_iter().flat_map(read).collect::<Result<_, _>>().unwrap()
    }

    /// The values of a partition's records, as text.
    pub(crate) fn values(&self, partition: PartitionId) -> Vec<String> {
        let text = |record: Record| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        self.records(partition).into_iter().map(text).collect()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn make_topic(
        &mut self,
        name: &str,
        partitions: i32,
        config: BTreeMap<String, String>,
    ) -> TopicId {
        let id = TopicId(Uuid::from_u128(self.topics.len() as u128 + 1));
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        for (index, leader) in (0..partitions).zip(nodes.iter().cycle()) {
            let partition = FakePartition {
                leader: Some(*leader),
                epoch: LeaderEpoch(1),
                config: TopicConfig::parse(&config).unwrap(),
                ..FakePartition::default()
            };
            self.partitions.insert(PartitionId { topic: id, index }, partition);
        }
        self.topics.insert(name.to_owned(), FakeTopic { id, partitions, config });
        id
    }
}

/// A partition of a topic.
pub(crate) fn at(topic: TopicId, index: i32) -> PartitionId {
    PartitionId { topic, index }
}

/// The doors of a simulated client.
pub(crate) fn world(simulation: &Simulation) -> World {
    World {
        clock: simulation.clock().clone(),
        disk: SimulatedDisk::new(simulation.seed_of("client's disk")).disk(),
        random: Random::seeded(simulation.seed_of("client")),
        threads: Threads::simulated(
            Core::new(0, actix_rt::Arbiter::current()),
            Arc::new(|| Duration::from_millis(1)),
        ),
    }
}
