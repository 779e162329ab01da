//! Quorum, controller, agents and fronts of three nodes together, in simulation.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_transport::world::simulation::{self, Simulation};
use millstream_transport::world::watch;
use millstream_transport::world::{Random, SimulatedDisk, World};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::agent::{AgentHandle, AgentParts, NodeIdentity};
use super::controller::{ControllerHandle, ControllerParts, ControllerSettings};
use super::fixture::MemoryPeers;
use super::front::{ClusterFront, FrontParts, FrontSettings};
use super::liveness::Timing;
use super::machine::ImageMachine;
use super::message::CreateTopic;
use super::proposer::QuorumProposer;
use super::quorum::{Limits, Question, Quorum, QuorumSettings, QuorumWire, Reply, Timings, Unanswered};
use crate::events::Events;
use crate::ids::{Incarnation, LeaderEpoch, NodeId};
use crate::image::fixture::registration;
use crate::image::{Image, Partition};

const ALL: [u32; 3] = [1, 2, 3];

/// Voters by a call, over the same cuts as the other messages.
#[derive(Debug)]
struct MemoryWire {
    me: NodeId,
    peers: MemoryPeers,
    quorums: Arc<Mutex<Quorums>>,
    random: Random,
}

#[derive(Default)]
struct Quorums(BTreeMap<NodeId, Quorum>);

impl std::fmt::Debug for Quorums {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.keys().fmt(formatter)
    }
}

impl QuorumWire for MemoryWire {
    fn ask(
        &self,
        node: NodeId,
        question: Question,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Reply, Unanswered>> {
        let quorum = self.quorums.lock().unwrap().0.get(&node).cloned();
        let cut = self.peers.is_cut(node) || self.peers.is_cut(self.me);
        let (me, hop) = (self.me, Duration::from_micros(self.random.range(300, 2_000)));
        async move {
            let Some(quorum) = quorum.filter(|_| !cut) else {
                sleep(deadline).await;
                return Err(Unanswered("lost".to_owned()));
            };
            sleep(hop).await;
            let reply = quorum.answer(me, question).await;
            sleep(hop).await;
            Ok(reply)
        }
        .boxed()
    }

    fn learn(&self, _: NodeId, _: &str) {}
}

struct WholeNode {
    quorum: Quorum,
    images: watch::Receiver<Arc<Image>>,
    controller: ControllerHandle,
    front: ClusterFront<MemoryPeers>,
    agent: AgentHandle,
}

struct Whole {
    simulation: Simulation,
    disks: BTreeMap<u32, SimulatedDisk>,
    peers: MemoryPeers,
    quorums: Arc<Mutex<Quorums>>,
    nodes: BTreeMap<u32, WholeNode>,
}

fn with<F: Future>(seed: u64, scenario: impl FnOnce(Whole) -> F) -> F::Output {
    simulation::run_within(seed, Duration::from_secs(300), |simulation| async move {
        let mut whole = Whole {
            simulation,
            disks: BTreeMap::new(),
            peers: MemoryPeers::default(),
            quorums: Arc::default(),
            nodes: BTreeMap::new(),
        };
        for node in ALL {
            whole.start(node, 1).await;
        }
        sleep(Duration::from_millis(1_000)).await;
        scenario(whole).await
    })
}

impl Whole {
    fn world(&mut self, node: u32) -> World {
        let seed = self.simulation.seed_of(&format!("disk {node}"));
        let disk = self.disks.entry(node).or_insert_with(|| SimulatedDisk::new(seed)).clone();
        World::simulated(&self.simulation, &disk)
    }

    async fn start(&mut self, node: u32, life: u64) {
        let (world, me, peers) = (self.world(node), NodeId(node), self.peers.as_seen_by(node));
        let (machine, images) = ImageMachine::new();
        let settings = QuorumSettings {
            directory: "/data/quorum".into(),
            me,
            address: format!("host{node}:1"),
            voters: ALL.iter().map(|node| (NodeId(*node), format!("host{node}:1"))).collect(),
            timings: Timings::default(),
            limits: Limits { reserve_bytes: 256 << 10, ..Limits::default() },
        };
        let random = world.random.clone();
        let wire =
            MemoryWire { me, peers: peers.clone(), quorums: self.quorums.clone(), random: random.clone() };
        let quorum =
            Quorum::start(world.clone(), settings, Arc::new(wire), Box::new(machine), Events::uncounted());
        let quorum = quorum.await.unwrap();
        self.quorums.lock().unwrap().0.insert(me, quorum.clone());
        let (clock, events) = (world.clock.clone(), Events::uncounted());
        let parts = ControllerParts {
            settings: ControllerSettings::new(me, Uuid::from_u128(0xc1)),
            clock: clock.clone(),
            proposer: Arc::new(QuorumProposer::new(quorum.clone(), clock.clone())),
            images: images.clone(),
            events: events.clone(),
        };
        let controller = ControllerHandle::start(parts, None).await.unwrap();
        self.peers.put(node, controller.clone());
        let front = ClusterFront::new(FrontParts {
            me,
            settings: FrontSettings::default(),
            clock: clock.clone(),
            random,
            images: images.clone(),
            leadership: quorum.leader(),
            controller: controller.clone(),
            voters: watch::channel(ALL.map(NodeId).to_vec()).1,
            peers: peers.clone(),
        });
        let registration = registration(node, life);
        let identity = NodeIdentity {
            node: me,
            incarnation: registration.incarnation,
            address: registration.address,
            directories: registration.directories,
            doubts: vec![],
            listeners: vec![],
            rack: None,
            entities: Vec::new(),
        };
        let agent = AgentParts {
            identity,
            timing: Timing::default(),
            quorum_lost_after: Duration::from_secs(1),
            clock,
            images: images.clone(),
            voters: watch::channel(ALL.map(NodeId).to_vec()).1,
            controller: controller.clone(),
            front: front.clone(),
            peers,
            events,
        };
        let agent = AgentHandle::start(agent, None).await.unwrap();
        self.nodes.insert(node, WholeNode { quorum, images, controller, front, agent });
    }

    /// A node's power fails.
    async fn cut_power(&mut self, node: u32) {
        if let Some(disk) = self.disks.get(&node) {
            disk.cut_power();
        }
        self.quorums.lock().unwrap().0.remove(&NodeId(node));
        self.peers.remove(node);
        if let Some(whole) = self.nodes.remove(&node) {
            whole.agent.actor().kill();
            whole.controller.actor().kill();
            whole.quorum.shutdown().await;
        }
    }

    fn image(&self, node: u32) -> Arc<Image> {
        Arc::clone(&self.nodes[&node].images.borrow())
    }

    fn leader(&self) -> u32 {
        let leads = |node: &&u32| self.nodes[node].quorum.is_leader_with_lease();
        *ALL.iter().find(leads).unwrap()
    }

    async fn flights(&self) {
        let request = CreateTopic {
            name: "flights".to_owned(),
            partitions: Some(12),
            replication_factor: Some(3),
            config: BTreeMap::new(),
        };
        self.nodes[&1].front.create_topic(request).await.unwrap();
    }

    /// How long until `node` knows leaders that are not `dead` for all partitions.
    async fn led_without(&self, node: u32, dead: u32) -> Duration {
        let begun = Instant::now();
        let led = |state: &Arc<Partition>| {
            state.leader.is_some_and(|leader| {
                leader.node != NodeId(dead) && state.in_sync.contains(&leader) && state.in_sync.len() == 2
            })
        };
        loop {
            if self.image(node).topics().iter().all(|topic| topic.partitions.iter().all(led)) {
                return begun.elapsed();
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
}

#[test]
fn three_nodes_start_and_are_live_with_leases() {
    with(1, |whole| async move {
        whole.flights().await;
        for node in ALL {
            assert_eq!(whole.image(node).nodes().live().count(), 3, "as node {node} sees it");
            assert!(whole.nodes[&node].agent.lease().holds(Instant::now()));
        }
        sleep(Duration::from_millis(200)).await;
        let versions = ALL.map(|node| whole.image(node).encode());
        sleep(Duration::from_secs(5)).await;
        assert_eq!(ALL.map(|node| whole.image(node).encode()), versions, "an idle cluster writes nothing");
    });
}

#[test]
fn all_partitions_are_led_again_within_the_budget_whoever_dies() {
    let mut took: Vec<(Duration, u64, bool)> = (0..30)
        .map(|seed| {
            with(seed, |whole| async move {
                whole.flights().await;
                sleep(Duration::from_millis(500 + 37 * seed)).await;
                let controller = whole.leader();
                // In turn the controller and another.
                let dead = if seed % 2 == 0 { controller } else { controller % 3 + 1 };
                let witness = dead % 3 + 1;
                whole.peers.cut(dead);
                let took = whole.led_without(witness, dead).await;
                (took, seed, dead == controller)
            })
        })
        .collect();
    took.sort_unstable();
    let longest = |of_controllers| took.iter().rfind(|(.., c)| *c == of_controllers).unwrap().0;
    assert!(longest(false) <= Duration::from_millis(500), "{took:?}");
    assert!(longest(true) <= Duration::from_millis(900), "{took:?}");
}

#[test]
fn a_cut_off_controller_decides_nothing_and_comes_back_as_a_follower() {
    with(3, |whole| async move {
        whole.flights().await;
        let old = whole.leader();
        whole.peers.cut(old);
        sleep(Duration::from_millis(400)).await;
        assert!(!whole.nodes[&old].agent.lease().holds(Instant::now()));
        sleep(Duration::from_secs(3)).await;
        let version = whole.image(old).version();
        assert_eq!(whole.image(old).nodes().live().count(), 3, "alone it can declare nobody dead");
        whole.peers.heal();
        sleep(Duration::from_secs(2)).await;
        assert!(whole.image(old).version() > version);
        for node in ALL {
            assert_eq!(whole.image(node).nodes().live().count(), 3);
        }
        let encoded = ALL.map(|node| whole.image(node).encode());
        assert!(encoded.iter().all(|image| *image == encoded[0]));
    });
}

#[test]
fn all_nodes_lose_power_at_once_and_everything_is_led_again_in_new_lives() {
    for seed in 0..10 {
        with(seed, |mut whole| async move {
            whole.flights().await;
            sleep(Duration::from_millis(200)).await;
            for node in ALL {
                whole.cut_power(node).await;
            }
            sleep(Duration::from_secs(5)).await;
            for node in ALL {
                whole.start(node, 2).await;
            }
            sleep(Duration::from_secs(3)).await;
            for node in ALL {
                let image = whole.image(node);
                assert_eq!(image.nodes().live().count(), 3);
                let flights = image.topics().named("flights").unwrap();
                for state in &flights.partitions {
                    let leader = state.leader.unwrap();
                    assert_eq!(leader.incarnation, Incarnation(2), "seed {seed}, node {node}");
                    assert!(state.in_sync.contains(&leader) && state.leader_epoch > LeaderEpoch(0));
                }
            }
        });
    }
}

#[test]
fn a_node_that_restarts_while_the_others_stay_leads_again_only_after_an_election() {
    with(4, |mut whole| async move {
        whole.flights().await;
        let node = whole.leader() % 3 + 1;
        whole.cut_power(node).await;
        whole.start(node, 2).await;
        sleep(Duration::from_millis(600)).await;
        let image = whole.image(node);
        let flights = image.topics().named("flights").unwrap();
        for state in &flights.partitions {
            let known = image.nodes().get(state.leader.unwrap().node).unwrap();
            assert_eq!(known.incarnation, state.leader.unwrap().incarnation);
            assert_eq!(state.in_sync.len(), 3, "quick enough to stay a member");
        }
    });
}

#[test]
fn the_same_seed_gives_the_same_image() {
    let run = |seed| {
        with(seed, |whole| async move {
            whole.flights().await;
            let dead = whole.leader();
            whole.peers.cut(dead);
            sleep(Duration::from_secs(2)).await;
            whole.peers.heal();
            sleep(Duration::from_secs(2)).await;
            whole.image(dead).encode()
        })
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}
