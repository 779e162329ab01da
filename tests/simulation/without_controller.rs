//! The quorum is gone: what needs none goes on (rule 8), and heals without hands.

use std::time::Duration;

use millstream::{Client, Consumer, ConsumerEvent, ConsumerSettings, NodeId, Offset, SeekTo, TopicPartition};
use millstream_tests::simulated::{
    GROUP, Load, LoadSettings, OFFSETS, Shape, SimulatedCluster, TOPIC, over_seeds,
};
use millstream_transport::world::simulation::Simulation;
use tokio::time::Instant;

use crate::{FAIL_OVER, run_without_gap};

/// Three voters, and three other nodes that hold everything the scenario writes.
const SHAPE: Shape = Shape { nodes: 6, voters: 3, offsets_partitions: 1 };

fn voters() -> [NodeId; 3] {
    [NodeId(1), NodeId(2), NodeId(3)]
}

/// The voters have topics of their own before the others come: new partitions then lie on the others.
async fn start(simulation: &Simulation) -> (SimulatedCluster, Load) {
    let mut cluster = SimulatedCluster::prepare(simulation, SHAPE);
    for node in voters() {
        cluster.restart(node).await;
    }
    cluster.until_ready().await;
    let client = cluster.client();
    cluster.make_topic(&client, "elsewhere", 4).await;
    cluster.restart_all().await;
    // Until the controller takes them for live.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let load = Load::start(&mut cluster, LoadSettings { partitions: 1, ..LoadSettings::default() }).await;
    load.flows().await;
    for name in [TOPIC, OFFSETS] {
        let topic = load.client().admin().describe_topic(name).await.expect("the topic is known");
        let replicas = topic.partitions.iter().flat_map(|partition| &partition.replicas);
        let elsewhere: Vec<_> = replicas.filter(|node| voters().contains(node)).collect();
        assert!(elsewhere.is_empty(), "{name} has replicas on voters: {elsewhere:?}");
    }
    (cluster, load)
}

/// What the group has committed of the topic's only partition.
async fn committed(load: &Load) -> Option<Offset> {
    let found = load.client().admin().committed(GROUP).await.expect("the coordinator answers");
    found.values().next().map(|committed| committed.offset)
}

/// Someone who never spoke with the cluster before reads a record.
async fn a_new_client_reads(client: &Client) {
    let mut consumer =
        Consumer::new(client, ConsumerSettings::default()).expect("a reader's settings are right");
    let all = [(TopicPartition::new(TOPIC, 0), SeekTo::Beginning)];
    consumer.assign(all).await.expect("a new client learns of the topic");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let event = tokio::time::timeout_at(deadline, consumer.next()).await;
        if let Ok(ConsumerEvent::Records(_)) = event.expect("a new client reads within seconds") {
            break;
        }
    }
    consumer.close().await;
}

#[test]
fn a_minute_without_any_controller_stops_no_producer_and_no_reader() {
    over_seeds("a_minute_without_any_controller", 0..1, |simulation| async move {
        let (mut cluster, load) = start(&simulation).await;
        let others = cluster.others(&voters());
        load.run(Duration::from_secs(6)).await;
        load.forget_gaps();
        cluster.cut_off_each(&voters());
        run_without_gap(&load, Duration::from_secs(10), FAIL_OVER).await;
        for node in &others {
            let health = cluster.node(*node).expect("it runs").health();
            assert!(!health.quorum && health.followed_quorum && health.recovered, "{node}: {health:?}");
        }
        let (before, read) = (committed(&load).await, load.read_by_group());
        run_without_gap(&load, Duration::from_secs(20), FAIL_OVER).await;
        let newcomer = cluster.client();
        cluster.cut_off_each(&voters());
        a_new_client_reads(&newcomer).await;
        run_without_gap(&load, Duration::from_secs(30), FAIL_OVER).await;
        let after = committed(&load).await;
        assert!(after > before, "the group commits: {before:?}, then {after:?}");
        assert!(load.read_by_group() > read, "the group reads");

        cluster.network().heal();
        load.run(Duration::from_secs(5)).await;
        for node in &others {
            let health = cluster.node(*node).expect("it runs").health();
            assert!(health.quorum, "{node}: {health:?}");
        }
        cluster.make_topic(&load.client().clone(), "afterwards", 1).await;
        cluster.finish(load).await;
    });
}
