//! Nodes are killed: what they wrote stays, what they knew is gone.

use std::time::Duration;

use millstream_tests::simulated::{Load, LoadSettings, SimulatedCluster, over_seeds};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::each_role_in_turn;

#[test]
fn the_node_in_each_role_is_killed_in_turn() {
    over_seeds("the_node_in_each_role_is_killed", 0..1, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let load = Load::start(&mut cluster, LoadSettings::default()).await;
        load.flows().await;
        each_role_in_turn(&mut cluster, &load, SimulatedCluster::kill).await;
        cluster.finish(load).await;
    });
}

#[test]
fn all_nodes_are_killed_at_once_and_everything_acknowledged_is_there() {
    over_seeds("all_nodes_are_killed_at_once", 0..1, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let load = Load::start(&mut cluster, LoadSettings::default()).await;
        load.flows().await;
        load.run(Duration::from_millis(rng.random_range(100..2500))).await;
        cluster.kill_all();
        cluster.restart_all().await;
        load.flows().await;
        cluster.finish(load).await;
    });
}

#[test]
fn a_single_node_is_killed_again_and_again() {
    over_seeds("a_single_node_is_killed", 0..1, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 1).await;
        let load = Load::start(&mut cluster, LoadSettings::default()).await;
        for _ in 0..4 {
            load.flows().await;
            load.run(Duration::from_millis(rng.random_range(10..1000))).await;
            if rng.random() {
                cluster.kill_all();
            } else {
                cluster.cut_power_of_all();
            }
            cluster.restart_all().await;
        }
        cluster.finish(load).await;
    });
}
