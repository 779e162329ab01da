//! Replicas that do as little as a fetch session needs: a leader with a list of batches, a follower that notes what it is
//! told. And nodes around them.

mod leader;
mod replica;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millstream_transport::world::simulation::Simulation;
use millstream_transport::world::{Core, Random, SimulatedDisk, Threads, World};

pub(in crate::replication::tests) use self::leader::{FakePorts, Heard, Leader};
pub(in crate::replication::tests) use self::replica::{Noted, Replica, follow, follow_on};
use super::memory::MemoryNetwork;
use crate::events::Events;
use crate::ids::{DirectoryId, Incarnation, LeaderEpoch, Member, NodeId, PartitionId, TopicId};
use crate::replication::links::{Links, LinksSetup};
use crate::replication::message::OpenSession;
use crate::replication::ports::Ports;
use crate::replication::sessions::FeedSessions;
use crate::replication::settings::FetchSettings;

pub(in crate::replication::tests) const LEADER: NodeId = NodeId(1);
pub(in crate::replication::tests) const FOLLOWER: NodeId = NodeId(2);
pub(in crate::replication::tests) const EPOCH: LeaderEpoch = LeaderEpoch(5);
pub(in crate::replication::tests) const LIFE: Incarnation = Incarnation(77);

pub(in crate::replication::tests) fn partition(index: i32) -> PartitionId {
    PartitionId { topic: TopicId(uuid::Uuid::from_u128(9)), index }
}

pub(in crate::replication::tests) fn member() -> Member {
    Member { node: FOLLOWER, directory: DirectoryId(uuid::Uuid::from_u128(4)), incarnation: LIFE }
}

/// A batch of one record: its offset, then as many bytes as wanted.
pub(in crate::replication::tests) fn batch(partition: PartitionId, offset: i64, bytes: usize) -> Bytes {
    let mut batch = BytesMut::with_capacity(bytes.max(12));
    batch.extend_from_slice(&u32::try_from(bytes.max(12)).unwrap().to_le_bytes());
    batch.extend_from_slice(&offset.to_le_bytes());
    batch.resize(bytes.max(12), u8::try_from(partition.index % 251).unwrap());
    batch.freeze()
}

/// The offsets of batches that stand one behind the other.
pub(in crate::replication::tests) fn offsets(mut batches: &[u8]) -> Vec<i64> {
    let mut offsets = Vec::new();
    while !batches.is_empty() {
        let length = u32::from_le_bytes(batches[..4].try_into().unwrap()) as usize;
        offsets.push(i64::from_le_bytes(batches[4..12].try_into().unwrap()));
        batches = &batches[length..];
    }
    offsets
}

/// A leader's node and a follower's node.
#[derive(Debug)]
pub(in crate::replication::tests) struct Rig {
    pub(in crate::replication::tests) network: MemoryNetwork,
    pub(in crate::replication::tests) ports: FakePorts,
    pub(in crate::replication::tests) links: Links,
    pub(in crate::replication::tests) settings: FetchSettings,
}

/// A world whose cores are so many names for the one thread.
pub(in crate::replication::tests) fn world(simulation: &Simulation, cores: usize) -> World {
    let cores = (0..cores).map(|index| Core::new(index, actix_rt::Arbiter::current())).collect();
    World {
        threads: Threads::real(cores),
        ..World::simulated(simulation, &SimulatedDisk::new(simulation.seed_of("disk")))
    }
}

impl Rig {
    pub(in crate::replication::tests) fn new(simulation: &Simulation, settings: FetchSettings) -> Self {
        let (network, ports, world) = (MemoryNetwork::default(), FakePorts::default(), world(simulation, 2));
        let served: Arc<dyn Ports> = Arc::new(ports.clone());
        network.serve(LEADER, FeedSessions::new(served, settings, world.clone(), Events::uncounted()));
        let setup = setup(&network, settings, world.random);
        Self { network, ports, links: Links::new(0, setup), settings }
    }

    /// What links of the same follower's node, as if it were started again, need.
    pub(in crate::replication::tests) fn setup(&self, settings: FetchSettings) -> LinksSetup {
        setup(&self.network, settings, Random::seeded(1))
    }

    /// Starts a following replica.
    pub(in crate::replication::tests) fn follow(&self, index: i32) -> Replica {
        follow(&self.links, index)
    }

    /// Starts a leading and a following replica of the same partition, the latter subscribed.
    pub(in crate::replication::tests) async fn pair(&self, index: i32) -> (Leader, Replica) {
        let (leader, replica) = (self.ports.lead(index, 0), self.follow(index));
        replica.open(EPOCH).await;
        (leader, replica)
    }

    pub(in crate::replication::tests) fn opening(&self) -> OpenSession {
        OpenSession {
            follower: FOLLOWER,
            incarnation: LIFE,
            core: 0,
            leader_core: 0,
            window_bytes: self.settings.window_bytes,
            partition_window_bytes: self.settings.partition_window_bytes,
        }
    }
}

fn setup(network: &MemoryNetwork, settings: FetchSettings, random: Random) -> LinksSetup {
    let dial = Arc::new(network.clone());
    LinksSetup { node: FOLLOWER, incarnation: LIFE, dial, settings, random, events: Events::uncounted() }
}

/// Waits until something is so; the simulation's limit ends the test if it never is.
pub(in crate::replication::tests) async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Lets everything that is under way happen.
pub(in crate::replication::tests) async fn settle() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}
