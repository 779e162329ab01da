//! The network loses, delays, and falls apart.

use std::net::IpAddr;
use std::time::Duration;

use millstream::NodeId;
use millstream_tests::simulated::{Load, LoadSettings, Role, SimulatedCluster, over_seeds, tell};
use millstream_transport::world::simulation::Simulation;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// The longest that a partition may be without acknowledgements when the network falls apart: those who are cut off
/// find out by silence, and so do their clients.
const CUT_OVER: Duration = Duration::from_secs(2);

async fn start(simulation: &Simulation) -> (SimulatedCluster, Load) {
    let mut cluster = SimulatedCluster::start(simulation, 3).await;
    let load = Load::start(&mut cluster, LoadSettings::default()).await;
    load.flows().await;
    load.run(Duration::from_secs(1)).await;
    load.forget_gaps();
    (cluster, load)
}

/// For five seconds something is wrong with the node in this role, then it ends by itself.
async fn for_a_while(
    cluster: &SimulatedCluster,
    load: &Load,
    role: Role,
    wrong: impl Fn(&SimulatedCluster, NodeId),
) {
    let node = cluster.in_role(&load.client().clone(), role).await;
    tell(&format!("the {role:?}, node {node}"));
    load.forget_gaps();
    wrong(cluster, node);
    load.run(Duration::from_secs(5)).await;
    let gap = load.longest_gap();
    assert!(gap < CUT_OVER, "with the {role:?} cut off a partition had no acknowledgement for {gap:?}");
    cluster.network().heal();
    load.flows().await;
    load.run(Duration::from_secs(2)).await;
}

#[test]
fn datagrams_are_lost_and_late() {
    over_seeds("datagrams_are_lost_and_late", 0..1, |simulation| async move {
        let (cluster, load) = start(&simulation).await;
        cluster.worsen_network(0.05, Duration::from_millis(40));
        load.run(Duration::from_secs(6)).await;
        load.flows().await;
        cluster.finish(load).await;
    });
}

#[test]
fn a_leader_is_cut_off_from_the_other_nodes_but_not_from_clients() {
    over_seeds("a_leader_is_cut_off_from_the_other_nodes", 0..1, |simulation| async move {
        let (cluster, load) = start(&simulation).await;
        for role in [Role::Leader, Role::Controller] {
            for_a_while(&cluster, &load, role, |cluster, node| cluster.cut_off(&[node])).await;
        }
        cluster.finish(load).await;
    });
}

#[test]
fn a_leader_is_cut_off_together_with_half_of_the_clients() {
    over_seeds("a_leader_is_cut_off_together_with_half", 0..1, |simulation| async move {
        let (cluster, load) = start(&simulation).await;
        let half: Vec<IpAddr> = cluster.client_addresses().into_iter().step_by(2).collect();
        for_a_while(&cluster, &load, Role::Leader, |cluster, node| cluster.cut_off_with(&[node], &half))
            .await;
        cluster.finish(load).await;
    });
}

#[test]
fn a_leader_is_no_longer_heard() {
    over_seeds("a_leader_is_no_longer_heard", 0..1, |simulation| async move {
        let (cluster, load) = start(&simulation).await;
        for role in [Role::Leader, Role::Controller] {
            for_a_while(&cluster, &load, role, SimulatedCluster::mute).await;
        }
        cluster.finish(load).await;
    });
}

#[test]
fn a_leader_no_longer_hears() {
    over_seeds("a_leader_no_longer_hears", 0..1, |simulation| async move {
        let (cluster, load) = start(&simulation).await;
        for role in [Role::Leader, Role::Controller] {
            for_a_while(&cluster, &load, role, SimulatedCluster::deafen).await;
        }
        cluster.finish(load).await;
    });
}

#[test]
fn a_node_comes_and_goes() {
    over_seeds("a_node_comes_and_goes", 0..1, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let (cluster, load) = start(&simulation).await;
        let node = cluster.nodes()[rng.random_range(0..3)];
        for _ in 0..10 {
            cluster.cut_off(&[node]);
            load.run(Duration::from_millis(rng.random_range(50..900))).await;
            cluster.network().heal();
            load.run(Duration::from_millis(rng.random_range(50..900))).await;
        }
        load.flows().await;
        cluster.finish(load).await;
    });
}
