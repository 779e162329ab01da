//! kill -9, of one node in each of its roles, and of all.

use millstream::Client;
use millstream_actors::group::front::coordinator_partition;
use millstream_tests::load::{self, Load, LoadSettings};
use millstream_tests::process::ProcessCluster;
use millstream_tests::{Outcome, until};

use crate::{FLOW, PROGRAM, check_gap, disks_are_equal};

/// Kills, under load, the node that `choose` names; it comes back, catches up, and all is as promised.
async fn kill_one(what: &str, partitions: i32, choose: impl AsyncFnOnce(&Client, &Load) -> Outcome<u32>) {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let client = cluster.client().await?;
        let load = Load::start(&client, LoadSettings { partitions, ..LoadSettings::default() }).await?;
        load.in_sync().await?;
        let killed = choose(&client, &load).await?;
        load.forget_gaps();
        load.acknowledges(FLOW).await?;
        cluster.kill_9(killed)?;
        load.acknowledges(FLOW).await?;
        cluster.restart_node(killed).await?;
        load.in_sync().await?;
        load.acknowledges(FLOW).await?;
        let report = load.finish().await?;
        disks_are_equal(cluster, &report).await?;
        check_gap(what, &report)
    })
    .await;
}

#[tokio::test]
async fn a_killed_leader_loses_nothing_and_comes_back() {
    kill_one("kill -9 of a leader", 6, async |_, load| load.leader(0).await).await;
}

#[tokio::test]
async fn a_killed_follower_loses_nothing_and_comes_back() {
    kill_one("kill -9 of a follower", 1, async |_, load| {
        let leader = load.leader(0).await?;
        Ok((1..=3).find(|id| *id != leader).ok_or("no follower")?)
    })
    .await;
}

#[tokio::test]
async fn a_killed_controller_loses_nothing_and_comes_back() {
    kill_one("kill -9 of the controller", 6, async |client, _| {
        until("a controller", async || Ok(client.metadata().view().controller.map(|controller| controller.0)))
            .await
    })
    .await;
}

#[tokio::test]
async fn a_killed_group_coordinator_loses_nothing_and_comes_back() {
    kill_one("kill -9 of the group's coordinator", 6, async |client, _| {
        let topic = "__consumer_offsets";
        let partitions = load::describe(client, topic).await?.partitions.len();
        load::leader(client, topic, coordinator_partition(Load::GROUP, i32::try_from(partitions)?)).await
    })
    .await;
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
