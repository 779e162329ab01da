//! How soon a node that was away is in sync again, under a load that never pauses.

use std::time::Duration;

use millstream_tests::simulated::{Load, LoadSettings, Role, SimulatedCluster, TOPIC, over_seeds};

use crate::comes_back;

/// Something is always on its way.
const BUSY: LoadSettings =
    LoadSettings { partitions: 3, producers: 2, burst: 6, pace: Duration::from_millis(4), members: 1 };

#[test]
fn a_killed_follower_is_in_sync_again_soon_under_a_load_that_never_pauses() {
    over_seeds("a_killed_follower_is_in_sync_again", 0..1, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let load = Load::start(&mut cluster, BUSY).await;
        load.flows().await;
        load.run(Duration::from_secs(1)).await;
        let node = cluster.in_role(&load.client().clone(), Role::Follower).await;
        cluster.kill(node);
        load.run(Duration::from_secs(2)).await;
        comes_back(&mut cluster, &load, node).await;
        cluster.finish(load).await;
    });
}

#[test]
fn a_follower_with_a_slower_disk_stays_in_sync_and_comes_back() {
    over_seeds("a_follower_with_a_slower_disk", 0..1, |simulation| async move {
        let mut cluster = SimulatedCluster::start(&simulation, 3).await;
        let load = Load::start(&mut cluster, BUSY).await;
        load.flows().await;
        let node = cluster.in_role(&load.client().clone(), Role::Follower).await;
        cluster.disk(node).slow(Duration::from_millis(20)..=Duration::from_millis(60));
        load.run(Duration::from_secs(12)).await;
        let topic = load.client().admin().describe_topic(TOPIC).await.expect("the topic is known");
        assert!(topic.partitions.iter().all(|partition| partition.in_sync.len() == 3), "{topic:#?}");
        cluster.kill(node);
        load.run(Duration::from_secs(1)).await;
        comes_back(&mut cluster, &load, node).await;
        cluster.finish(load).await;
    });
}
