//! A node that stands still and goes on later, and nodes that are asked to end.

use std::time::Duration;

use millstream_tests::load::{Load, LoadSettings};
use millstream_tests::process::ProcessCluster;
use tokio::time::{Instant, sleep_until};

use crate::{FLOW, PROGRAM, check_gap, disks_are_equal};

/// Long enough for others to be elected, and for every lease to run out.
const PAUSE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_paused_leader_comes_back_as_a_zombie_and_nothing_it_appends_counts() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let client = cluster.client().await?;
        let load = Load::start(&client, LoadSettings::default()).await?;
        load.in_sync().await?;
        let zombie = load.leader(0).await?;
        load.forget_gaps();
        load.acknowledges(FLOW).await?;
        cluster.pause(zombie)?;
        let until = Instant::now() + PAUSE;
        // Others lead what it led.
        load.acknowledges(FLOW).await?;
        sleep_until(until).await;
        cluster.resume(zombie)?;
        load.in_sync().await?;
        load.acknowledges(FLOW).await?;
        let report = load.finish().await?;
        disks_are_equal(cluster, &report).await?;
        check_gap("SIGSTOP of a leader", &report)
    })
    .await;
}

#[tokio::test]
async fn nodes_asked_to_end_hand_over_without_an_error_at_the_producer() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let client = cluster.client().await?;
        let load = Load::start(&client, LoadSettings::default()).await?;
        load.in_sync().await?;
        load.forget_gaps();
        for id in 1..=3 {
            let status = cluster.terminate(id).await?;
            if !status.success() {
                return Err(format!("node {id} did not end cleanly: {status}").into());
            }
            load.acknowledges(FLOW).await?;
            cluster.restart_node(id).await?;
            load.in_sync().await?;
        }
        let report = load.finish().await?;
        disks_are_equal(cluster, &report).await?;
        check_gap("SIGTERM of one node after the other", &report)
    })
    .await;
}
