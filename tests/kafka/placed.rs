//! Topics and partitions whose replicas their maker places (kafka-topics --replica-assignment): as Kafka's controller takes
//! and refuses them.

use millstream_tests::kafka::KafkaConnection;
use millstream_tests::process::ProcessCluster;
use millstream_tests::{Outcome, until};
use millstream_transport::kafka::messages::create_partitions::{
    self, CreatePartitionsRequest, CreatePartitionsResponse,
};
use millstream_transport::kafka::messages::create_topics::{self, CreateTopicsRequest, CreateTopicsResponse};
use millstream_transport::kafka::messages::metadata::{self, MetadataRequest, MetadataResponse};
use millstream_transport::kafka::{ErrorCode, open_response};

use crate::{METADATA, PROGRAM, connect, expect};

/// Where replicas are to be, by partition.
type Placed<'p> = &'p [(i32, &'p [i32])];

/// Leaves the choice to who places them.
const LEFT_OUT: i32 = -1;

async fn create(
    connection: &mut KafkaConnection,
    name: &str,
    placed: Placed<'_>,
    (partitions, factor, validate_only): (i32, i16, bool),
) -> Outcome<i16> {
    let assignment = |(index, nodes): &(i32, &[i32])| create_topics::request::Assignment {
        partition_index: *index,
        broker_ids: nodes.to_vec().into(),
    };
    let topic = create_topics::request::Topic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: factor,
        assignments: placed.iter().map(assignment).collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic].into(), validate_only, ..Default::default() };
    let frame = connection.ask(7, &request).await?;
    let (_, response) = open_response::<CreateTopicsResponse<'_>>(&frame, 7)?;
    Ok(response.topics.iter().next().ok_or("no topic in the answer")?.error_code)
}

async fn grow(
    connection: &mut KafkaConnection,
    (name, count): (&str, i32),
    placed: &[&[i32]],
    validate_only: bool,
) -> Outcome<i16> {
    let assignment =
        |nodes: &&[i32]| create_partitions::request::Assignment { broker_ids: nodes.to_vec().into() };
    let assignments = Some(placed.iter().map(assignment).collect());
    let topic = create_partitions::request::Topic { name: name.into(), count, assignments };
    let request = CreatePartitionsRequest { topics: vec![topic].into(), validate_only, ..Default::default() };
    let frame = connection.ask(3, &request).await?;
    let (_, response) = open_response::<CreatePartitionsResponse<'_>>(&frame, 3)?;
    Ok(response.results.iter().next().ok_or("no topic in the answer")?.error_code)
}

/// The replicas of each partition of a topic.
async fn replicas(connection: &mut KafkaConnection, name: &str) -> Outcome<Vec<Vec<i32>>> {
    let topics = vec![metadata::request::Topic { name: Some(name.into()), ..Default::default() }];
    let request = MetadataRequest {
        topics: Some(topics.into()),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let frame = connection.ask(METADATA, &request).await?;
    let (_, response) = open_response::<MetadataResponse<'_>>(&frame, METADATA)?;
    let topic = response.topics.iter().next().ok_or("no topic in the answer")?;
    let mut all: Vec<(i32, Vec<i32>)> = topic
        .partitions
        .iter()
        .map(|partition| (partition.partition_index, partition.replica_nodes.iter().collect()))
        .collect();
    all.sort_unstable();
    Ok(all.into_iter().map(|(_, nodes)| nodes).collect())
}

#[tokio::test]
async fn partitions_have_the_replicas_that_are_asked_for_or_are_refused_as_by_kafka() {
    ProcessCluster::run(PROGRAM, 3, &[], async |cluster| {
        let mut connection = connect(cluster).await?;
        let left_out = (LEFT_OUT, -1, false);
        let wrong = ErrorCode::InvalidReplicaAssignment.code();
        let refused: [Placed<'_>; 7] = [
            &[(0, &[])],
            &[(0, &[1, 1])],
            &[(0, &[1, 9])],
            &[(0, &[-1])],
            &[(0, &[1]), (1, &[2, 3])],
            &[(0, &[1]), (0, &[2])],
            &[(1, &[1])],
        ];
        for placed in refused {
            expect(&format!("{placed:?}"), create(&mut connection, "t", placed, left_out).await?, wrong)?;
        }
        let placed: Placed<'_> = &[(0, &[3, 1]), (1, &[2, 3])];
        let both = ErrorCode::InvalidRequest.code();
        expect("with a count", create(&mut connection, "t", placed, (2, -1, false)).await?, both)?;
        expect("with a factor", create(&mut connection, "t", placed, (LEFT_OUT, 2, false)).await?, both)?;
        expect("not made", create(&mut connection, "t", placed, (LEFT_OUT, -1, true)).await?, 0)?;
        expect("nothing", replicas(&mut connection, "t").await?, vec![])?;
        expect("made", create(&mut connection, "t", placed, left_out).await?, 0)?;
        let is_there = async || Ok((replicas(&mut connection, "t").await? == [[3, 1], [2, 3]]).then_some(()));
        until("the topic as it was asked for", is_there).await?;
        let refused: [&[&[i32]]; 6] =
            [&[], &[&[1, 2], &[1, 2]], &[&[1]], &[&[2, 2]], &[&[2, 9]], &[&[2, -2]]];
        for placed in refused {
            expect(&format!("{placed:?}"), grow(&mut connection, ("t", 3), placed, false).await?, wrong)?;
        }
        let fewer = ErrorCode::InvalidPartitions.code();
        expect("as many", grow(&mut connection, ("t", 2), &[], false).await?, fewer)?;
        expect("not added", grow(&mut connection, ("t", 3), &[&[1, 3]], true).await?, 0)?;
        expect("the same", replicas(&mut connection, "t").await?.len(), 2)?;
        expect("added", grow(&mut connection, ("t", 3), &[&[1, 3]], false).await?, 0)?;
        let is_there =
            async || Ok((replicas(&mut connection, "t").await? == [[3, 1], [2, 3], [1, 3]]).then_some(()));
        until("the new partition as it was asked for", is_there).await
    })
    .await;
}
