//! Replicas that move to other nodes (KIP-455): what tools ask for and are told meanwhile, and what is left behind.

use millstream_tests::kafka::KafkaConnection;
use millstream_tests::process::ProcessCluster;
use millstream_tests::{Outcome, until};
use millstream_transport::kafka::messages::alter_partition_reassignments::request::{Partition, Topic};
use millstream_transport::kafka::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};
use millstream_transport::kafka::messages::create_topics::request::Config;
use millstream_transport::kafka::messages::create_topics::{self, CreateTopicsRequest, CreateTopicsResponse};
use millstream_transport::kafka::messages::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResponse,
};
use millstream_transport::kafka::messages::incremental_alter_configs::{
    self, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use millstream_transport::kafka::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use millstream_transport::kafka::messages::metadata::{self, MetadataRequest, MetadataResponse};
use millstream_transport::kafka::{ErrorCode, Uuid, open_response};

use crate::records::{batch, fetch, produce};
use crate::{METADATA, PROGRAM, expect, make_topic};

async fn connect(cluster: &ProcessCluster, node: i32) -> Outcome<KafkaConnection> {
    KafkaConnection::open(cluster.kafka(u32::try_from(node)?)).await
}

/// Makes a topic with one partition and one replica.
async fn create(connection: &mut KafkaConnection, name: &str) -> Outcome<Uuid> {
    let topic = create_topics::request::Topic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        // What the tests write is from long ago.
        configs: vec![Config { name: "retention.ms".into(), value: Some("-1".into()) }].into(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic].into(), ..Default::default() };
    let frame = connection.ask(7, &request).await?;
    let (_, response) = open_response::<CreateTopicsResponse<'_>>(&frame, 7)?;
    Ok(response.topics.iter().next().ok_or("no topic in the answer")?.topic_id)
}

/// The leader of a topic's first partition, and its replicas.
async fn replicas(connection: &mut KafkaConnection, name: &str) -> Outcome<(i32, Vec<i32>)> {
    let topics = vec![metadata::request::Topic { name: Some(name.into()), ..Default::default() }];
    let request = MetadataRequest { topics: Some(topics.into()), ..Default::default() };
    let frame = connection.ask(METADATA, &request).await?;
    let (_, response) = open_response::<MetadataResponse<'_>>(&frame, METADATA)?;
    let topic = response.topics.iter().next().ok_or("no topic in the answer")?;
    let partition = topic.partitions.iter().next().ok_or("no partition in the answer")?;
    Ok((partition.leader_id, partition.replica_nodes.iter().collect()))
}

async fn reassign(
    connection: &mut KafkaConnection,
    name: &str,
    replicas: Option<&[i32]>,
    may_change_factor: bool,
) -> Outcome<i16> {
    let partition = Partition { partition_index: 0, replicas: replicas.map(|nodes| nodes.to_vec().into()) };
    let topic = Topic { name: name.into(), partitions: vec![partition].into() };
    let request = AlterPartitionReassignmentsRequest {
        timeout_ms: 30_000,
        allow_replication_factor_change: may_change_factor,
        topics: vec![topic].into(),
    };
    let frame = connection.ask(1, &request).await?;
    let (_, response) = open_response::<AlterPartitionReassignmentsResponse<'_>>(&frame, 1)?;
    expect("the whole", response.error_code, 0)?;
    let topic = response.responses.iter().next().ok_or("no topic in the answer")?;
    Ok(topic.partitions.iter().next().ok_or("no partition in the answer")?.error_code)
}

/// Of each partition on its way its topic, replicas, and those that come and go.
type UnderWay = Vec<(String, Vec<i32>, Vec<i32>, Vec<i32>)>;

async fn under_way(connection: &mut KafkaConnection) -> Outcome<UnderWay> {
    let request = ListPartitionReassignmentsRequest { timeout_ms: 30_000, topics: None };
    let frame = connection.ask(0, &request).await?;
    let (_, response) = open_response::<ListPartitionReassignmentsResponse<'_>>(&frame, 0)?;
    let mut found = UnderWay::new();
    for topic in &response.topics {
        found.extend(topic.partitions.iter().map(|partition| {
            let nodes = [&partition.replicas, &partition.adding_replicas, &partition.removing_replicas];
            let [replicas, adding, removing] = nodes.map(|nodes| nodes.iter().collect());
            (topic.name.to_string(), replicas, adding, removing)
        }));
    }
    Ok(found)
}

async fn has_log(connection: &mut KafkaConnection, name: &str) -> Outcome<bool> {
    let frame = connection.ask(4, &DescribeLogDirsRequest { topics: None }).await?;
    let (_, response) = open_response::<DescribeLogDirsResponse<'_>>(&frame, 4)?;
    let mut found = false;
    for dir in &response.results {
        found |= dir.topics.iter().any(|topic| &*topic.name == name);
    }
    Ok(found)
}

#[tokio::test]
async fn a_partition_moves_to_other_nodes_with_its_records() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let mut any = connect(cluster, 1).await?;
        let id = create(&mut any, "flights").await?;
        let (old, _) = until("a leader", async || {
            Ok(Some(replicas(&mut any, "flights").await?).filter(|(leader, _)| *leader > 0))
        })
        .await?;
        let mut source = connect(cluster, old).await?;
        let records = batch(&["a", "b", "c"], 1_000)?;
        produce(&mut source, 9, ("flights", id), -1, records).await?;
        let target: Vec<i32> = [3, 2, 1].into_iter().filter(|node| *node != old).collect();
        expect("begun", reassign(&mut any, "flights", Some(&target), true).await?, 0)?;
        until("the end of the reassignment", async || {
            Ok(under_way(&mut any).await?.is_empty().then_some(()))
        })
        .await?;
        let (leader, found) = until("the new replicas", async || {
            Ok(Some(replicas(&mut any, "flights").await?).filter(|(_, found)| *found == target))
        })
        .await?;
        expect("who leads", Some(leader), target.first().copied())?;
        expect("where it lies", &found, &target)?;
        let mut new = connect(cluster, leader).await?;
        let (_, bytes) = until("the records at their new leader", async || {
            let read = fetch(&mut new, 12, ("flights", id), 0).await?;
            Ok(Some(read).filter(|(error, bytes)| *error == 0 && !bytes.is_empty()))
        })
        .await?;
        let count: i32 = millstream_actors::record::batches(&bytes).map(|found| found.map_or(0, |_| 1)).sum();
        expect("batches", count, 1)?;
        until("the log is gone where it was", async || {
            Ok((!has_log(&mut source, "flights").await?).then_some(()))
        })
        .await
    })
    .await;
}

#[tokio::test]
async fn a_reassignment_to_a_dead_node_waits_is_told_of_and_can_be_given_up() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let mut any = connect(cluster, 1).await?;
        create(&mut any, "flights").await?;
        let (old, _) = until("a leader", async || {
            Ok(Some(replicas(&mut any, "flights").await?).filter(|(leader, _)| *leader > 0))
        })
        .await?;
        let dead = if old == 3 { 2 } else { 3 };
        cluster.kill_9(u32::try_from(dead)?)?;
        // While the quorum finds another leader, the request waits for it.
        expect("begun", reassign(&mut any, "flights", Some(&[dead]), true).await?, 0)?;
        let told = until("what is under way", async || {
            Ok(Some(under_way(&mut any).await?).filter(|found| !found.is_empty()))
        })
        .await?;
        let expected = vec![("flights".to_owned(), vec![dead, old], vec![dead], vec![old])];
        expect("what is under way", told, expected)?;
        let (leader, all) = replicas(&mut any, "flights").await?;
        expect("metadata meanwhile", (leader, all), (old, vec![dead, old]))?;
        expect("given up", reassign(&mut any, "flights", None, true).await?, 0)?;
        until("nothing is under way", async || Ok(under_way(&mut any).await?.is_empty().then_some(())))
            .await?;
        expect("metadata after", replicas(&mut any, "flights").await?, (old, vec![old]))
    })
    .await;
}

#[tokio::test]
async fn a_reassignment_that_cannot_be_is_refused_as_kafka_refuses_it() {
    ProcessCluster::run(PROGRAM, 1, &[], async |cluster| {
        let mut connection = connect(cluster, 1).await?;
        make_topic(&mut connection, "flights").await?;
        let mut told = Vec::new();
        let asked: [(&str, Option<&[i32]>, bool); 7] = [
            ("flights", None, true),
            ("flights", Some(&[]), true),
            ("flights", Some(&[9]), true),
            ("flights", Some(&[-1]), true),
            ("flights", Some(&[1, 1]), true),
            ("nowhere", Some(&[1]), true),
            ("flights", Some(&[1]), false),
        ];
        for (name, replicas, may_change_factor) in asked {
            told.push(reassign(&mut connection, name, replicas, may_change_factor).await?);
        }
        let expected = [
            ErrorCode::NoReassignmentInProgress,
            ErrorCode::InvalidReplicaAssignment,
            ErrorCode::InvalidReplicaAssignment,
            ErrorCode::InvalidReplicaAssignment,
            ErrorCode::InvalidReplicaAssignment,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::None,
        ];
        expect("refusals", told, expected.map(ErrorCode::code).to_vec())
    })
    .await;
}

/// Changes one setting; the error.
async fn change(
    connection: &mut KafkaConnection,
    (resource_type, resource_name): (i8, &str),
    (name, config_operation, value): (&str, i8, Option<&str>),
) -> Outcome<i16> {
    let config = incremental_alter_configs::request::Config {
        name: name.into(),
        config_operation,
        value: value.map(Into::into),
    };
    let resource = incremental_alter_configs::request::Resource {
        resource_type,
        resource_name: resource_name.into(),
        configs: vec![config].into(),
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource].into(), ..Default::default() };
    let frame = connection.ask(1, &request).await?;
    let (_, response) = open_response::<IncrementalAlterConfigsResponse<'_>>(&frame, 1)?;
    Ok(response.responses.iter().next().ok_or("no resource in the answer")?.error_code)
}

#[tokio::test]
async fn throttles_are_taken_back_and_those_of_nodes_are_not_set() {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    const APPEND: i8 = 2;
    ProcessCluster::run(PROGRAM, 1, &[], async |cluster| {
        let mut connection = connect(cluster, 1).await?;
        make_topic(&mut connection, "flights").await?;
        let (topic, node) = ((2, "flights"), (4, "1"));
        let (replicas, rate) = ("leader.replication.throttled.replicas", "leader.replication.throttled.rate");
        let invalid = ErrorCode::InvalidConfig.code();
        let asked = [
            (topic, (replicas, SET, Some("0:1")), 0),
            (topic, (replicas, APPEND, Some("1:1")), 0),
            (topic, (replicas, APPEND, Some("all")), invalid),
            (topic, (replicas, DELETE, None), 0),
            (node, (rate, SET, Some("1000000")), invalid),
            (node, (rate, DELETE, None), 0),
            (node, ("num.partitions", DELETE, None), ErrorCode::InvalidRequest.code()),
        ];
        for (resource, wish, expected) in asked {
            let told = change(&mut connection, resource, wish).await?;
            expect(&format!("{resource:?} {wish:?}"), told, expected)?;
        }
        Ok(())
    })
    .await;
}
