//! Replicas move to other nodes under load, while nodes die.

use std::time::Duration;

use millstream::NodeId;
use millstream_actors::cluster::message::reassignment::ReassignPartition;
use millstream_tests::simulated::{
    GROUP, Load, LoadSettings, OFFSETS, Shape, SimulatedCluster, TOPIC, over_seeds, tell,
};
use millstream_transport::world::simulation::Simulation;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

/// Four nodes, three of which vote.
async fn four(simulation: &Simulation) -> SimulatedCluster {
    let shape = Shape { nodes: 4, voters: 3, offsets_partitions: 2 };
    let mut cluster = SimulatedCluster::prepare(simulation, shape);
    cluster.restart_all().await;
    cluster
}

/// Asks until it is taken: whoever is killed may have had the controller.
async fn reassign(load: &Load, partition: i32, replicas: Option<Vec<NodeId>>) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let wish = ReassignPartition { topic: TOPIC.to_owned(), partition, replicas: replicas.clone() };
        match load.client().admin().reassign_partition(wish).await {
            Ok(()) => return,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "not taken: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a partition has these replicas, all in sync, and no others.
async fn until_replicas(load: &Load, partition: i32, expected: &[NodeId]) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let index = usize::try_from(partition).expect("partitions are counted from 0");
    loop {
        load.client().metadata().refresh();
        let topic = load.client().admin().describe_topic(TOPIC).await.expect("the topic is known");
        let state = topic.partitions.get(index).expect("the partition is there");
        if state.replicas == expected && state.in_sync.len() == expected.len() {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{expected:?} are asked for: {state:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn replicas_move_under_load_while_nodes_are_killed_and_nothing_is_lost() {
    over_seeds("replicas_move_under_load", 0..1, |simulation| async move {
        let mut rng = SmallRng::seed_from_u64(simulation.seed_of("scenario"));
        let mut cluster = four(&simulation).await;
        let load = Load::start(&mut cluster, LoadSettings::default()).await;
        load.flows().await;
        let mut nodes = cluster.nodes();
        for round in 0..3 {
            let targets: Vec<Vec<NodeId>> = (0..3)
                .map(|_| {
                    nodes.shuffle(&mut rng);
                    nodes.iter().copied().take(3).collect()
                })
                .collect();
            tell(&format!("round {round}: {targets:?}"));
            for (partition, target) in (0..).zip(&targets) {
                reassign(&load, partition, Some(target.clone())).await;
            }
            load.run(Duration::from_millis(rng.random_range(0..400))).await;
            let node = *nodes.choose(&mut rng).expect("there are nodes");
            tell(&format!("node {node} is killed"));
            if rng.random() {
                cluster.kill(node);
            } else {
                cluster.cut_power(node);
            }
            load.run(Duration::from_millis(rng.random_range(0..3000))).await;
            cluster.heal().await;
            for (partition, target) in (0..).zip(&targets) {
                until_replicas(&load, partition, target).await;
            }
            load.flows().await;
        }
        cluster.finish(load).await;
    });
}

#[test]
fn a_reassignment_that_is_given_up_while_its_target_is_away_leaves_everything_as_it_was() {
    over_seeds("a_reassignment_that_is_given_up", 0..1, |simulation| async move {
        let mut cluster = four(&simulation).await;
        let load = Load::start(&mut cluster, LoadSettings::default()).await;
        load.flows().await;
        let topic = load.client().admin().describe_topic(TOPIC).await.expect("the topic is known");
        let before = topic.partitions.first().expect("the topic has partitions").replicas.clone();
        let other = cluster.nodes().into_iter().find(|node| !before.contains(node)).expect("there are four");
        let target = vec![other];
        cluster.kill(other);
        reassign(&load, 0, Some(target)).await;
        load.run(Duration::from_secs(2)).await;
        reassign(&load, 0, None).await;
        until_replicas(&load, 0, &before).await;
        load.flows().await;
        cluster.finish(load).await;
    });
}

#[test]
fn the_topic_of_offsets_gets_replicas_on_nodes_that_join() {
    over_seeds("the_topic_of_offsets_gets_replicas", 0..1, |simulation| async move {
        let shape = Shape { nodes: 3, voters: 1, offsets_partitions: 2 };
        let mut cluster = SimulatedCluster::prepare(&simulation, shape);
        cluster.restart(NodeId(1)).await;
        cluster.until_ready().await;
        let client = cluster.client();
        // Whoever asks for a group makes the topic.
        drop(client.admin().describe_group(GROUP).await);
        cluster.coordinator(&client).await;
        let replicas = async || {
            client.metadata().refresh();
            let topic = client.admin().describe_topic(OFFSETS).await.expect("the topic is there");
            topic
                .partitions
                .iter()
                .map(|state| (state.replicas.len(), state.in_sync.len()))
                .collect::<Vec<_>>()
        };
        assert_eq!(replicas().await, [(1, 1), (1, 1)]);
        for node in [2, 3] {
            cluster.restart(NodeId(node)).await;
        }
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while replicas().await != [(3, 3), (3, 3)] {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", replicas().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}
