//! Without faults; and whether a run repeats.

use std::time::Duration;

use millstream_tests::simulated::{Load, LoadSettings, SimulatedCluster, over_seeds, run_seed};

#[test]
fn three_nodes_without_faults_keep_everything() {
    over_seeds("three_nodes_without_faults", 0..2, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let load = Load::start(&mut cluster, LoadSettings::default()).await;
        load.run(Duration::from_secs(3)).await;
        assert!(
            load.longest_gap() < Duration::from_secs(1),
            "nothing acknowledged for {:?}",
            load.longest_gap()
        );
        cluster.finish(load).await;
    });
}

#[test]
fn a_single_node_keeps_everything() {
    over_seeds("a_single_node", 0..1, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 1).await;
        let load = Load::start(&mut cluster, LoadSettings::default()).await;
        load.run(Duration::from_secs(2)).await;
        cluster.finish(load).await;
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        run_seed(seed, |simulation| async move {
            let mut cluster = SimulatedCluster::start(&simulation, 3).await;
            let network = cluster.network().clone();
            network.keep_trace(1_000_000);
            let load = Load::start(&mut cluster, LoadSettings::default()).await;
            load.run(Duration::from_secs(2)).await;
            let leader = cluster.leader(&load.client().clone(), 0).await;
            cluster.kill(leader);
            load.run(Duration::from_secs(2)).await;
            let history = cluster.finish(load).await;
            (history, network.trace(), network.trace_hash())
        })
    };
    let (first, second) = (run(11), run(11));
    if let Some(place) = first.1.iter().zip(&second.1).position(|(first, second)| first != second) {
        panic!("runs part at datagram {place}: {:?} and {:?}", first.1.get(place), second.1.get(place));
    }
    assert_eq!(first.2, second.2, "the network saw different datagrams");
    assert_eq!(format!("{:?}", first.0), format!("{:?}", second.0), "clients saw different things");
}
