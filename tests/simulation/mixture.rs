//! Whatever may happen, one thing at a time, drawn from the seed.

use std::net::IpAddr;
use std::time::Duration;

use millstream::NodeId;
use millstream_tests::simulated::{Load, LoadSettings, OFFSETS, SimulatedCluster, TOPIC, over_seeds, tell};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Something that goes wrong with one node, or with the network.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    PowerCut,
    PowerCutInAWrite,
    CutOff,
    CutOffWithHalfOfTheClients,
    Muted,
    Deafened,
    BadNetwork,
    FailingSync,
    FullDisk,
    SlowDisk,
    EmptiedDirectory,
    CleanStop,
    AllLosePower,
    AllKilled,
}

const FAULTS: [Fault; 15] = [
    Fault::Kill,
    Fault::PowerCut,
    Fault::PowerCutInAWrite,
    Fault::CutOff,
    Fault::CutOffWithHalfOfTheClients,
    Fault::Muted,
    Fault::Deafened,
    Fault::BadNetwork,
    Fault::FailingSync,
    Fault::FullDisk,
    Fault::SlowDisk,
    Fault::EmptiedDirectory,
    Fault::CleanStop,
    Fault::AllLosePower,
    Fault::AllKilled,
];

async fn strike(cluster: &mut SimulatedCluster, fault: Fault, node: NodeId, rng: &mut SmallRng) {
    match fault {
        Fault::Kill => cluster.kill(node),
        Fault::PowerCut => cluster.cut_power(node),
        Fault::PowerCutInAWrite => {
            cluster.disk(node).cut_power_after(rng.random_range(0..40));
            tokio::time::sleep(Duration::from_millis(rng.random_range(1..200))).await;
            cluster.cut_power(node);
        }
        Fault::CutOff => cluster.cut_off(&[node]),
        Fault::CutOffWithHalfOfTheClients => {
            let half: Vec<IpAddr> = cluster.client_addresses().into_iter().step_by(2).collect();
            cluster.cut_off_with(&[node], &half);
        }
        Fault::Muted => cluster.mute(node),
        Fault::Deafened => cluster.deafen(node),
        Fault::BadNetwork => {
            let loss = rng.random_range(0.0..0.2);
            cluster.worsen_network(loss, Duration::from_millis(rng.random_range(1..60)));
        }
        Fault::FailingSync => cluster.fail_syncs(node, rng.random_range(1..4)),
        Fault::FullDisk => cluster.fill_disk(node, rng.random_range(0..64 << 10)),
        Fault::SlowDisk => {
            let longest = Duration::from_millis(rng.random_range(10..1500));
            cluster.disk(node).slow(longest / 4..=longest);
        }
        Fault::EmptiedDirectory => {
            cluster.kill(node);
            cluster.empty_log_directory(node);
        }
        Fault::CleanStop => cluster.stop(node).await,
        Fault::AllLosePower => cluster.cut_power_of_all(),
        Fault::AllKilled => cluster.kill_all(),
    }
}

#[test]
fn any_one_failure_at_a_time_heals_and_loses_nothing() {
    over_seeds("any_one_failure_at_a_time", 0..1, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let load = Load::start(&mut cluster, LoadSettings::default()).await;
        let client = load.client().clone();
        for _ in 0..4 {
            load.flows().await;
            load.run(Duration::from_millis(rng.random_range(10..1500))).await;
            let fault = *FAULTS.choose(&mut rng).expect("there are faults");
            let node = *cluster.nodes().choose(&mut rng).expect("there are nodes");
            let lasts = Duration::from_millis(rng.random_range(10..4000));
            tell(&format!("{fault:?} on node {node} for {lasts:?}"));
            strike(&mut cluster, fault, node, &mut rng).await;
            load.run(lasts).await;
            cluster.heal().await;
            load.flows().await;
            cluster.until_in_sync(&client, &[TOPIC, OFFSETS]).await;
        }
        cluster.finish(load).await;
    });
}
