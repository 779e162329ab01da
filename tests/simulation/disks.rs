//! Disks fail, fill up, grow slow, rot, and are replaced.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream::{
    Client, Consumer, ConsumerEvent, ConsumerSettings, CreateTopic, NodeId, SeekTo, TopicPartition,
};
use millstream_tests::simulated::{Load, LoadSettings, Role, SimulatedCluster, TOPIC, over_seeds};
use millstream_transport::world::simulation::Simulation;
use tokio::time::Instant;

use crate::{FAIL_OVER, comes_back, run_without_gap};

async fn start(simulation: &Simulation) -> (SimulatedCluster, Load) {
    let mut cluster = SimulatedCluster::start(simulation, 3).await;
    let load = Load::start(&mut cluster, LoadSettings::default()).await;
    load.flows().await;
    load.run(Duration::from_secs(1)).await;
    load.forget_gaps();
    (cluster, load)
}

/// A sync fails on the node in this role: it serves nobody any more, the others go on, and after a restart it has
/// everything again.
async fn a_sync_fails(simulation: Simulation, role: Role) {
    let (mut cluster, load) = start(&simulation).await;
    let node = cluster.in_role(&load.client().clone(), role).await;
    cluster.fail_syncs(node, 1);
    run_without_gap(&load, Duration::from_secs(3), FAIL_OVER).await;
    assert!(!cluster.lives(node), "a node whose log directory has failed says so");
    cluster.kill(node);
    comes_back(&mut cluster, &load, node).await;
    cluster.finish(load).await;
}

#[test]
fn a_sync_fails_on_a_leader() {
    over_seeds("a_sync_fails_on_a_leader", 0..1, |simulation| a_sync_fails(simulation, Role::Leader));
}

#[test]
fn a_sync_fails_on_a_follower() {
    over_seeds("a_sync_fails_on_a_follower", 0..1, |simulation| a_sync_fails(simulation, Role::Follower));
}

/// The disk of the node in this role has no space for a while; then it has, and nobody had to do anything.
async fn a_disk_is_full(simulation: Simulation, role: Role) {
    let (cluster, load) = start(&simulation).await;
    let node = cluster.in_role(&load.client().clone(), role).await;
    cluster.fill_disk(node, 16 << 10);
    load.run(Duration::from_secs(4)).await;
    assert!(cluster.lives(node), "a full disk is not a failed one");
    cluster.free_disk(node);
    load.flows().await;
    cluster.until_in_sync(load.client(), &[TOPIC]).await;
    cluster.finish(load).await;
}

#[test]
fn the_disk_of_a_leader_is_full_for_a_while() {
    over_seeds("the_disk_of_a_leader_is_full", 0..1, |simulation| a_disk_is_full(simulation, Role::Leader));
}

#[test]
fn the_disk_of_a_follower_is_full_for_a_while() {
    over_seeds("the_disk_of_a_follower_is_full", 0..1, |simulation| {
        a_disk_is_full(simulation, Role::Follower)
    });
}

/// A partition whose leader does not lead the quorum too, and that leader.
async fn led_by_no_controller(cluster: &SimulatedCluster, client: &Client) -> (i32, NodeId) {
    let controller = cluster.controller(client).await;
    for partition in 0..LoadSettings::default().partitions {
        let leader = cluster.leader(client, partition).await;
        if leader != controller {
            return (partition, leader);
        }
    }
    panic!("leaders are spread over the nodes");
}

#[test]
fn a_leader_with_a_slow_disk_hands_its_partitions_on() {
    over_seeds("a_leader_with_a_slow_disk", 0..1, |simulation| async move {
        let (cluster, load) = start(&simulation).await;
        let client = load.client().clone();
        let (partition, slow) = led_by_no_controller(&cluster, &client).await;
        cluster.disk(slow).slow(Duration::from_millis(900)..=Duration::from_millis(1500));
        load.run(Duration::from_secs(5)).await;
        let leader = cluster.leader(&client, partition).await;
        assert_ne!(leader, slow, "a leader far behind its followers resigns");
        cluster.disk(slow).slow(Duration::from_millis(1)..=Duration::from_millis(2));
        load.flows().await;
        cluster.finish(load).await;
    });
}

/// A controller whose disk takes about a second a call is not stuck, and yet everything that the quorum decides waits for it.
#[test]
fn a_controller_with_a_very_slow_disk_makes_way_and_is_not_back_soon() {
    over_seeds("a_controller_with_a_very_slow_disk", 0..1, |simulation| async move {
        let (cluster, load) = start(&simulation).await;
        let client = load.client().clone();
        let slow = cluster.controller(&client).await;
        cluster.disk(slow).slow(Duration::from_millis(900)..=Duration::from_millis(1000));
        let mut made = 0;
        while cluster.controller(&client).await == slow {
            assert!(made < 20, "node {slow} leads the quorum on a very slow disk");
            made += 1;
            let _made_or_not = client.admin().create_topic(small_topic(made)).await;
            load.run(Duration::from_millis(500)).await;
            client.metadata().refresh();
        }
        for _ in 0..10 {
            load.run(Duration::from_secs(1)).await;
            client.metadata().refresh();
            assert_ne!(cluster.controller(&client).await, slow);
        }
        cluster.disk(slow).slow(Duration::from_millis(1)..=Duration::from_millis(2));
        load.flows().await;
        cluster.finish(load).await;
    });
}

/// Something for the quorum to write.
fn small_topic(number: u32) -> CreateTopic {
    let name = format!("small-{number}");
    CreateTopic { name, partitions: Some(1), replication_factor: Some(1), config: BTreeMap::new() }
}

/// Reads partition 0 from its first record up to what was written when the reading began.
async fn read_from_the_start(cluster: &mut SimulatedCluster) {
    let client = cluster.client();
    let mut consumer =
        Consumer::new(&client, ConsumerSettings::default()).expect("a reader's settings are right");
    let partition = TopicPartition::new(TOPIC, 0);
    consumer.assign([(partition, SeekTo::Beginning)]).await.expect("the topic is known");
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut seen = 0;
    while seen < 100 {
        match tokio::time::timeout_at(deadline, consumer.next()).await {
            Ok(Ok(ConsumerEvent::Records(fetched))) => seen += fetched.records().count(),
            Ok(_) => {}
            Err(_) => panic!("only {seen} records of partition 0 came"),
        }
    }
    consumer.close().await;
}

fn has_found_damage(cluster: &SimulatedCluster, node: NodeId) -> bool {
    let series = cluster.node(node).expect("the node runs").metrics().render();
    let found = |line: &str| line.starts_with("millstream_log_corruptions_total") && !line.ends_with(" 0");
    series.lines().any(found)
}

/// A bit flips on a leader's disk while the node is down; the node finds that at its start or when it leads again, and
/// has the right bytes in the end.
async fn a_bit_flips(simulation: Simulation, clean: bool) {
    let (mut cluster, load) = start(&simulation).await;
    let client = load.client().clone();
    let damaged = cluster.leader(&client, 0).await;
    let topic = client.admin().describe_topic(TOPIC).await.expect("the topic is known");
    if clean {
        cluster.stop(damaged).await;
    } else {
        cluster.kill(damaged);
    }
    cluster.flip_a_bit(damaged, topic.partition(0).expect("the topic has partitions"));
    load.run(Duration::from_secs(1)).await;
    comes_back(&mut cluster, &load, damaged).await;
    // The preferred leader gets its place back. Whoever leads is read from the first record on, until it was that one.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !has_found_damage(&cluster, damaged) {
        assert!(Instant::now() < deadline, "the damage is not found");
        load.run(Duration::from_secs(1)).await;
        read_from_the_start(&mut cluster).await;
    }
    cluster.finish(load).await;
}

#[test]
fn a_flipped_bit_on_a_leader_is_found_when_it_is_read_and_never_served() {
    over_seeds("a_flipped_bit_on_a_leader_is_found_when_it_is_read", 0..1, |simulation| {
        a_bit_flips(simulation, true)
    });
}

#[test]
fn a_flipped_bit_on_a_killed_leader_is_found_and_never_served() {
    over_seeds("a_flipped_bit_on_a_killed_leader", 0..1, |simulation| a_bit_flips(simulation, false));
}

#[test]
fn a_node_with_an_emptied_log_directory_fetches_everything_again() {
    over_seeds("a_node_with_an_emptied_log_directory", 0..1, |simulation| async move {
        let (mut cluster, load) = start(&simulation).await;
        let client = load.client().clone();
        for role in [Role::Leader, Role::Follower, Role::Controller] {
            let node = cluster.in_role(&client, role).await;
            load.forget_gaps();
            cluster.kill(node);
            cluster.empty_log_directory(node);
            run_without_gap(&load, Duration::from_secs(2), FAIL_OVER).await;
            comes_back(&mut cluster, &load, node).await;
        }
        cluster.finish(load).await;
    });
}
