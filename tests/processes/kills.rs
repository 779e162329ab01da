//! kill -9 of all nodes.

use millstream_tests::Outcome;
use millstream_tests::disks::same_bytes;
use millstream_tests::load::{Load, LoadSettings, Report};
use millstream_tests::process::ProcessCluster;

use crate::PROGRAM;

/// Acknowledgements on every partition between two steps of a test, so that each step happens under load.
const FLOW: i64 = 50;

/// Stops the nodes, and compares what is on their disks.
async fn disks_are_equal(cluster: &mut ProcessCluster, report: &Report) -> Outcome {
    let directories: Vec<_> = cluster.running().into_iter().map(|id| cluster.log_dir(id)).collect();
    cluster.terminate_all().await?;
    same_bytes(&directories, report.history.finals.keys().copied())
}

#[tokio::test]
async fn all_nodes_killed_at_once_have_everything_acknowledged() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let client = cluster.client().await?;
        let load = Load::start(&client, LoadSettings::default()).await?;
        load.acknowledges(FLOW).await?;
        for id in 1..=3 {
            cluster.kill_9(id)?;
        }
        for id in 1..=3 {
            cluster.start_node(id)?;
        }
        for id in 1..=3 {
            cluster.wait_ready(id).await?;
        }
        load.in_sync().await?;
        load.acknowledges(FLOW).await?;
        let report = load.finish().await?;
        disks_are_equal(cluster, &report).await
    })
    .await;
}

#[tokio::test]
async fn a_single_killed_node_has_everything_acknowledged() {
    ProcessCluster::run(PROGRAM, 1, &[], async |cluster| {
        let client = cluster.client().await?;
        let settings = LoadSettings { replicas: 1, config: Default::default(), ..LoadSettings::default() };
        let load = Load::start(&client, settings).await?;
        for _ in 0..3 {
            load.acknowledges(FLOW).await?;
            cluster.kill_9(1)?;
            cluster.restart_node(1).await?;
        }
        load.acknowledges(FLOW).await?;
        load.finish().await?;
        Ok(())
    })
    .await;
}
