//! The power goes: what was not synced is lost, or torn.

use std::time::Duration;

use millstream_tests::simulated::{Load, LoadSettings, SimulatedCluster, over_seeds};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::each_role_in_turn;

#[test]
fn all_nodes_lose_power_at_once_and_everything_acknowledged_is_there() {
    over_seeds("all_nodes_lose_power_at_once", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let load = Load::start(&mut cluster, LoadSettings::default()).await;
        load.flows().await;
        for _ in 0..2 {
            load.run(Duration::from_millis(rng.random_range(100..2500))).await;
            cluster.cut_power_of_all();
            load.run(Duration::from_millis(rng.random_range(10..1500))).await;
            cluster.restart_all().await;
            load.flows().await;
        }
        cluster.finish(load).await;
    });
}

#[test]
fn the_power_goes_in_the_middle_of_writes_on_all_nodes() {
    over_seeds("the_power_goes_in_the_middle_of_writes", 0..2, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let load = Load::start(&mut cluster, LoadSettings::default()).await;
        load.flows().await;
        load.run(Duration::from_millis(rng.random_range(100..1500))).await;
        for node in cluster.nodes() {
            cluster.disk(node).cut_power_after(rng.random_range(0..40));
        }
        load.run(Duration::from_millis(rng.random_range(1..100))).await;
        cluster.cut_power_of_all();
        load.run(Duration::from_millis(100)).await;
        cluster.restart_all().await;
        load.flows().await;
        cluster.finish(load).await;
    });
}

#[test]
fn the_node_in_each_role_loses_power_in_turn() {
    over_seeds("the_node_in_each_role_loses_power", 0..1, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let load = Load::start(&mut cluster, LoadSettings::default()).await;
        load.flows().await;
        each_role_in_turn(&mut cluster, &load, SimulatedCluster::cut_power).await;
        cluster.finish(load).await;
    });
}
