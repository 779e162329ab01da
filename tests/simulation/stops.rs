//! Nodes that are stopped in order.

use std::time::Duration;

use millstream_tests::simulated::{Load, LoadSettings, SimulatedCluster, over_seeds};
use tokio::time::Instant;

#[test]
fn a_whole_cluster_stops_at_once_in_well_under_a_second() {
    over_seeds("a_whole_cluster_stops", 0..3, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let load = Load::start(&mut cluster, LoadSettings::default()).await;
        load.run(Duration::from_secs(1)).await;
        let begun = Instant::now();
        cluster.stop_all().await;
        assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
        cluster.finish(load).await;
    });
}

#[test]
fn nodes_that_are_stopped_one_after_the_other_do_not_wait_for_those_that_are_gone() {
    over_seeds("nodes_stopped_in_turn", 0..3, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let load = Load::start(&mut cluster, LoadSettings::default()).await;
        load.run(Duration::from_secs(1)).await;
        for node in cluster.nodes() {
            let begun = Instant::now();
            cluster.stop(node).await;
            assert!(begun.elapsed() < Duration::from_millis(1_200), "node {node}: {:?}", begun.elapsed());
        }
        cluster.finish(load).await;
    });
}
