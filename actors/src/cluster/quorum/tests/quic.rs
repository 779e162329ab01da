//! Three quorums over real peer links, on the simulated network.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use millstream_transport::identity::ClusterAuthority;
use millstream_transport::peer::{Endpoint, EndpointConfig};
use millstream_transport::wire::SimulatedNetwork;
use millstream_transport::world::simulation;
use millstream_transport::world::{SimulatedDisk, World};
use tokio::time::{Instant, sleep};

use super::harness::{DIRECTORY, Notebook};
use super::{ALL, others};
use crate::cluster::quorum::{Limits, PeerWire, Quorum, QuorumDoor, QuorumSettings, Timings};
use crate::events::Events;
use crate::ids::NodeId;

fn host(node: u32) -> IpAddr {
    IpAddr::from([10, 0, 0, u8::try_from(node).unwrap()])
}

async fn leader_of(quorums: &[Quorum], among: &[u32]) -> u32 {
    loop {
        for quorum in quorums.iter().filter(|quorum| among.contains(&quorum.me().node.0)) {
            if *quorum.leader().borrow() == Some(quorum.me().node) {
                return quorum.me().node.0;
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
}

fn fail_over(seed: u64) -> (Duration, u64) {
    simulation::run_within(seed, Duration::from_secs(120), |run| async move {
        let network = SimulatedNetwork::new(run.seed_of("network"));
        let world = World::simulated(&run, &SimulatedDisk::new(0));
        let authority = ClusterAuthority::create(&world.clock, &world.random).unwrap();
        let mut quorums = Vec::new();
        let mut endpoints = Vec::new();
        for node in ALL {
            let world = World::simulated(&run, &SimulatedDisk::new(run.seed_of(&node.to_string())));
            let door = QuorumDoor::new();
            let address = SocketAddr::new(host(node), 9000);
            let config = EndpointConfig::new(address, authority.issue_node(NodeId(node), &[]).unwrap(), 1);
            let handlers = Arc::new(door.handlers());
            let endpoint =
                Endpoint::start(config, world.clone(), network.wire(host(node)), handlers).unwrap();
            let settings = QuorumSettings {
                directory: DIRECTORY.into(),
                me: NodeId(node),
                address: address.to_string(),
                voters: ALL
                    .map(|node| (NodeId(node), SocketAddr::new(host(node), 9000).to_string()))
                    .to_vec(),
                timings: Timings::default(),
                limits: Limits::default(),
            };
            let wire = Arc::new(PeerWire::new(endpoint.clone()));
            let machine = Box::new(Notebook::default());
            let quorum = Quorum::start(world, settings, wire, machine, Events::uncounted()).await.unwrap();
            door.open(quorum.clone());
            quorums.push(quorum);
            endpoints.push(endpoint);
        }
        let begun = Instant::now();
        let leader = leader_of(&quorums, &ALL).await;
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
        let propose = |node: u32, bytes: usize| quorums[node as usize - 1].propose(vec![7; bytes]);
        for _ in 0..20 {
            propose(leader, 1000).await.unwrap();
        }
        // Larger than what followers are sent at once.
        propose(leader, 900 << 10).await.unwrap();
        sleep(Duration::from_millis(500)).await;
        let old = [host(leader)];
        let rest: Vec<IpAddr> = others(leader).into_iter().map(host).collect();
        network.partition(&[&old, &rest]);
        let begun = Instant::now();
        let new = leader_of(&quorums, &others(leader)).await;
        propose(new, 10).await.unwrap();
        let took = begun.elapsed();
        network.heal();
        sleep(Duration::from_secs(5)).await;
        let applied: Vec<u64> = quorums.iter().map(Quorum::last_applied).collect();
        assert!(applied.iter().all(|index| *index == applied[0]), "{applied:?}");
        assert_eq!(
            *quorums[new as usize - 1].leader().borrow(),
            Some(NodeId(new)),
            "deposed by the one that came back"
        );
        (took, network.trace_hash())
    })
}

#[test]
fn over_quic_a_lost_leader_is_replaced_within_the_budget() {
    let mut times: Vec<Duration> = (0..3).map(|seed| fail_over(seed).0).collect();
    times.sort_unstable();
    assert!(times[times.len() - 1] <= Duration::from_millis(900), "{times:?}");
}

#[test]
fn over_quic_the_same_seed_gives_the_same_datagrams() {
    assert_eq!(fail_over(1).1, fail_over(1).1);
}
