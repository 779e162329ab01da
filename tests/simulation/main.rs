//! Does a cluster keep its promises whatever happens to it? In simulation: one thread, one seed, virtual time.

mod actors;
mod calm;
mod catching_up;
mod clients;
mod compaction;
mod disks;
mod entities;
mod entity_input;
mod flows;
mod kills;
mod mixture;
mod network;
mod power;
mod publications;
mod queries;
mod reassignment;
mod standbys;
mod stops;
mod streams;
mod streams_processes;
mod streams_read;
mod takeovers;
mod transactions;
mod without_controller;

use std::time::Duration;

use millstream::NodeId;
use millstream_tests::simulated::{Load, Role, SimulatedCluster, TOPIC, tell};

/// The longest that a partition may be without acknowledgements when one node dies.
const FAIL_OVER: Duration = Duration::from_secs(1);

/// The longest from the start of a node until its replicas are in sync again, with little to fetch.
const CAUGHT_UP: Duration = Duration::from_secs(5);

/// Runs for so long and holds the gaps in acknowledgements meanwhile against `most`.
async fn run_without_gap(load: &Load, time: Duration, most: Duration) {
    load.run(time).await;
    let gap = load.longest_gap();
    assert!(gap < most, "a partition had no acknowledgement for {gap:?}");
}

/// Ends the node in each role in turn and starts it again: the others go on at once, and it catches up soon.
async fn each_role_in_turn(
    cluster: &mut SimulatedCluster,
    load: &Load,
    end: fn(&mut SimulatedCluster, NodeId),
) {
    let client = load.client().clone();
    for role in Role::ALL {
        let node = cluster.in_role(&client, role).await;
        tell(&format!("the {role:?}, node {node}, ends"));
        load.forget_gaps();
        end(cluster, node);
        run_without_gap(load, Duration::from_secs(3), FAIL_OVER).await;
        comes_back(cluster, load, node).await;
    }
}

/// Starts a node: its replicas are soon in sync, under load.
async fn comes_back(cluster: &mut SimulatedCluster, load: &Load, node: NodeId) {
    let client = load.client().clone();
    let since = tokio::time::Instant::now();
    cluster.restart(node).await;
    cluster.until_in_sync(&client, &[TOPIC]).await;
    let took = since.elapsed();
    tell(&format!("node {node} was in sync again after {took:?}"));
    assert!(took < CAUGHT_UP, "node {node} was in sync again only after {took:?}");
}
