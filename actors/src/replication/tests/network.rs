//! Fetch sessions over the simulated network: real QUIC, real certificates, virtual time.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use millstream_transport::identity::ClusterAuthority;
use millstream_transport::peer::{Endpoint, EndpointConfig, Handlers};
use millstream_transport::wire::SimulatedNetwork;
use millstream_transport::world::simulation::{Simulation, run};
use millstream_transport::world::{SimulatedDisk, World};
use tokio::time::Instant;

use super::fakes::*;
use crate::events::Events;
use crate::ids::{LeaderEpoch, NodeId};
use crate::partition::host::LinkMaker;
use crate::replication::channel::EndpointDial;
use crate::replication::links::LinksSetup;
use crate::replication::of_node::LinksOfCores;
use crate::replication::ports::Ports;
use crate::replication::sessions::FeedSessions;
use crate::replication::settings::FetchSettings;

fn host(node: NodeId) -> IpAddr {
    IpAddr::from([10, 0, 0, u8::try_from(node.0).unwrap()])
}

/// A leader's node and a follower's node.
struct Pair {
    network: SimulatedNetwork,
    ports: FakePorts,
    links: Arc<dyn LinkMaker>,
    leader: Endpoint,
    _follower: Endpoint,
}

impl Pair {
    fn new(simulation: &Simulation) -> Self {
        let network = SimulatedNetwork::new(simulation.seed_of("network"));
        let world = world(simulation, 2);
        let authority = ClusterAuthority::create(&world.clock, &world.random).unwrap();
        let settings = FetchSettings::default();
        let ports = FakePorts::default();
        let served: Arc<dyn Ports> = Arc::new(ports.clone());
        let sessions = FeedSessions::new(served, settings, world.clone(), Events::uncounted());
        let start = |node: NodeId, handlers: Handlers| {
            let credentials = authority.issue_node(node, &[]).unwrap();
            let config = EndpointConfig::new(SocketAddr::new(host(node), 9000), credentials, LIFE.0);
            let wire = network.wire(host(node));
            let own = World::simulated(simulation, &SimulatedDisk::new(1));
            let endpoint = Endpoint::start(config, own, wire, Arc::new(handlers)).unwrap();
            for node in [LEADER, FOLLOWER] {
                endpoint.directory().set(node, SocketAddr::new(host(node), 9000).to_string());
            }
            endpoint
        };
        let leader = start(LEADER, sessions.serve(Handlers::new()));
        let follower = start(FOLLOWER, Handlers::new());
        let setup = LinksSetup {
            node: FOLLOWER,
            incarnation: LIFE,
            dial: Arc::new(EndpointDial::new(follower.clone(), settings.open_timeout)),
            settings,
            random: world.random,
            events: Events::uncounted(),
        };
        let links = Arc::new(LinksOfCores::new(2, &setup));
        Self { network, ports, links, leader, _follower: follower }
    }
}

#[test]
fn batches_flow_over_a_network_that_loses_and_delays() {
    let history = |seed| {
        run(seed, |simulation| async move {
            let pair = Pair::new(&simulation);
            pair.network.loss(0.01);
            pair.network.delay(Duration::from_micros(100)..=Duration::from_millis(2));
            let mut replicas = Vec::new();
            for index in 0..12 {
                let leader = pair.ports.lead(index, usize::try_from(index % 2).unwrap());
                let replica = follow_on(&*pair.links, usize::try_from(index % 2).unwrap(), index);
                replica.open(EPOCH).await;
                replicas.push((leader, replica));
            }
            for round in 0..60_usize {
                for (index, (leader, _)) in replicas.iter().enumerate() {
                    leader.append(100 + (round * 991 + index * 3001) % 8_000);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            until(|| replicas.iter().all(|(_, replica)| replica.end() == 60)).await;
            for (leader, replica) in &replicas {
                assert_eq!(replica.log(), leader.log());
                assert_eq!(replica.noted().len(), 1);
            }
            pair.network.trace_hash()
        })
    };
    assert_eq!(history(3), history(3), "the same seed gives the same history");
}

#[test]
fn a_network_that_parts_interrupts_within_seconds_and_goes_on_when_healed() {
    run(5, |simulation| async move {
        let pair = Pair::new(&simulation);
        let leader = pair.ports.lead(0, 1);
        let replica = follow_on(&*pair.links, 0, 0);
        replica.open(EPOCH).await;
        leader.append(1000);
        until(|| replica.end() == 1).await;
        pair.network.partition(&[&[host(LEADER)], &[host(FOLLOWER)]]);
        let began = Instant::now();
        leader.append(1000);
        until(|| replica.noted().len() == 2).await;
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        until(|| !leader.is_fed()).await;
        pair.network.heal();
        while replica.end() < 2 {
            let asked = replica.noted().len();
            replica.open(EPOCH).await;
            until(|| replica.noted().len() > asked).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(replica.log(), leader.log());
    });
}

#[test]
fn a_leader_that_says_goodbye_interrupts_at_once() {
    run(6, |simulation| async move {
        let pair = Pair::new(&simulation);
        let leader = pair.ports.lead(0, 0);
        let replica = follow_on(&*pair.links, 0, 0);
        replica.open(EPOCH).await;
        leader.append(10);
        until(|| replica.end() == 1).await;
        let began = Instant::now();
        pair.leader.close().await;
        until(|| replica.noted().len() == 2).await;
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert!(!leader.is_fed());
    });
}

#[test]
fn megabytes_arrive_verbatim_while_other_partitions_change_their_epochs() {
    run(7, |simulation| async move {
        let pair = Pair::new(&simulation);
        let (bulk, bulk_replica) = (pair.ports.lead(0, 0), follow_on(&*pair.links, 0, 0));
        let (other, other_replica) = (pair.ports.lead(1, 0), follow_on(&*pair.links, 0, 1));
        bulk_replica.open(EPOCH).await;
        for epoch in 6..20 {
            other.lead(Some(LeaderEpoch(epoch)));
            other_replica.close().await;
            other_replica.open(LeaderEpoch(epoch)).await;
            (0..10).for_each(|_| bulk.append(40_000));
            other.append(10_000);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        until(|| bulk_replica.end() == 140 && other_replica.end() == 14).await;
        assert_eq!((bulk_replica.log(), other_replica.log()), (bulk.log(), other.log()));
        assert_eq!(bulk_replica.noted().len(), 1);
    });
}
