//! What operators' tools ask for: partitions page by page, log directories, elections, resources, features.

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_transport::kafka::messages::alter_replica_log_dirs::{
    self, AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse,
};
use millstream_transport::kafka::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_transport::kafka::messages::describe_cluster::{
    DescribeClusterRequest, DescribeClusterResponse,
};
use millstream_transport::kafka::messages::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResponse,
};
use millstream_transport::kafka::messages::describe_quorum::{
    self, DescribeQuorumRequest, DescribeQuorumResponse,
};
use millstream_transport::kafka::messages::describe_topic_partitions::{
    self, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};
use millstream_transport::kafka::messages::elect_leaders::{self, ElectLeadersRequest, ElectLeadersResponse};
use millstream_transport::kafka::messages::list_config_resources::{
    ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use millstream_transport::kafka::{ErrorCode, open_response};

use crate::records::{batch, produce};
use crate::{connect, expect, make_topic, with_node};

/// Topics with the numbers of their partitions, and where the next page begins.
type Page = (Vec<(String, i16, Vec<i32>)>, Option<(String, i32)>);

async fn page(
    connection: &mut KafkaConnection,
    names: &[&str],
    limit: i32,
    from: Option<&(String, i32)>,
) -> Outcome<Page> {
    let named = |name: &&str| describe_topic_partitions::request::Topic { name: (*name).to_owned().into() };
    let request = DescribeTopicPartitionsRequest {
        topics: names.iter().map(named).collect(),
        response_partition_limit: limit,
        cursor: from.map(|(topic, index)| describe_topic_partitions::request::Cursor {
            topic_name: topic.clone().into(),
            partition_index: *index,
        }),
    };
    let frame = connection.ask(0, &request).await?;
    let (_, response) = open_response::<DescribeTopicPartitionsResponse<'_>>(&frame, 0)?;
    let mut topics = Vec::new();
    for topic in &response.topics {
        let partitions = topic.partitions.iter().map(|partition| partition.partition_index).collect();
        topics.push((topic.name.unwrap_or_default().to_string(), topic.error_code, partitions));
    }
    let next = response.next_cursor.map(|next| (next.topic_name.to_string(), next.partition_index));
    Ok((topics, next))
}

#[tokio::test]
async fn topics_are_described_page_by_page() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        for name in ["a", "b", "c"] {
            make_topic(&mut connection, name).await?;
        }
        let whole = |name: &str, partitions: std::ops::Range<i32>| (name.to_owned(), 0, partitions.collect());
        let all = vec![whole("a", 0..6), whole("b", 0..6), whole("c", 0..6)];
        expect("all", page(&mut connection, &[], 100, None).await?, (all, None))?;
        let first = page(&mut connection, &[], 8, None).await?;
        let next = Some(("b".to_owned(), 2));
        expect("the first page", &first, &(vec![whole("a", 0..6), whole("b", 0..2)], next))?;
        let second = page(&mut connection, &[], 4, first.1.as_ref()).await?;
        let next = Some(("c".to_owned(), 0));
        expect("the second page", &second, &(vec![whole("b", 2..6)], next))?;
        let last = page(&mut connection, &[], 9, second.1.as_ref()).await?;
        expect("the last page", last, (vec![whole("c", 0..6)], None))?;
        let unknown = ("nowhere".to_owned(), ErrorCode::UnknownTopicOrPartition.code(), vec![]);
        let named = page(&mut connection, &["nowhere", "c"], 9, None).await?;
        expect("by name", named, (vec![whole("c", 0..6), unknown], None))?;
        let (refused, _) = page(&mut connection, &["c"], 9, Some(&("c".to_owned(), -1))).await?;
        let invalid = ("c".to_owned(), ErrorCode::InvalidRequest.code(), vec![]);
        expect("a cursor nobody gave", refused, vec![invalid])
    })
    .await;
}

async fn move_to(connection: &mut KafkaConnection, path: &str, topic: &str) -> Outcome<i16> {
    let topic =
        alter_replica_log_dirs::request::Topic { name: topic.to_owned().into(), partitions: vec![0].into() };
    let dir =
        alter_replica_log_dirs::request::Dir { path: path.to_owned().into(), topics: vec![topic].into() };
    let request = AlterReplicaLogDirsRequest { dirs: vec![dir].into() };
    let frame = connection.ask(2, &request).await?;
    let (_, response) = open_response::<AlterReplicaLogDirsResponse<'_>>(&frame, 2)?;
    let topic = response.results.iter().next().ok_or("no topic in the answer")?;
    Ok(topic.partitions.iter().next().ok_or("no partition in the answer")?.error_code)
}

#[tokio::test]
async fn the_log_directory_is_told_with_what_lies_in_it() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        let id = make_topic(&mut connection, "flights").await?;
        let records = batch(&["a", "b"], 1_000)?;
        produce(&mut connection, 9, ("flights", id), -1, records.clone()).await?;
        let mut path = String::new();
        for version in 1..=5 {
            let frame = connection.ask(version, &DescribeLogDirsRequest { topics: None }).await?;
            let (_, response) = open_response::<DescribeLogDirsResponse<'_>>(&frame, version)?;
            let dir = response.results.iter().next().ok_or("no directory in the answer")?;
            let topic = dir.topics.iter().next().ok_or("no topic in the answer")?;
            let partition = topic.partitions.iter().next().ok_or("no partition in the answer")?;
            let told = (&*topic.name, partition.partition_size, partition.offset_lag);
            expect("the log", told, ("flights", i64::try_from(records.len())?, 0))?;
            let knows_space = dir.total_bytes > 0 && (0..=dir.total_bytes).contains(&dir.usable_bytes);
            expect("its space", knows_space, version >= 4)?;
            path = dir.log_dir.to_string();
        }
        let moved = [
            move_to(&mut connection, &path, "flights").await?,
            move_to(&mut connection, "/elsewhere", "flights").await?,
            move_to(&mut connection, &path, "nowhere").await?,
        ];
        let expected = [ErrorCode::None, ErrorCode::LogDirNotFound, ErrorCode::UnknownTopicOrPartition];
        expect("moving", moved, expected.map(ErrorCode::code))
    })
    .await;
}

#[tokio::test]
async fn the_quorum_is_told_as_kafka_tells_its_own() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        for version in 0..=2 {
            let partitions =
                [0, 1].map(|partition_index| describe_quorum::request::Partition { partition_index });
            let topic = describe_quorum::request::Topic {
                topic_name: "__cluster_metadata".into(),
                partitions: partitions.to_vec().into(),
            };
            let request = DescribeQuorumRequest { topics: vec![topic].into() };
            let frame = connection.ask(version, &request).await?;
            let (_, response) = open_response::<DescribeQuorumResponse<'_>>(&frame, version)?;
            let topic = response.topics.iter().next().ok_or("no topic in the answer")?;
            let mut told = Vec::new();
            for partition in &topic.partitions {
                let voters =
                    partition.current_voters.iter().map(|voter| (voter.replica_id, voter.log_end_offset > 0));
                told.push((partition.error_code, partition.leader_id, voters.collect::<Vec<_>>()));
            }
            let unknown = (ErrorCode::UnknownTopicOrPartition.code(), 0, vec![]);
            expect("the quorum", told, vec![(0, 1, vec![(1, true)]), unknown])?;
            let listens: Vec<i32> = response.nodes.iter().map(|node| node.node_id).collect();
            expect("its nodes", listens, if version >= 2 { vec![1] } else { vec![] })?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn leaders_are_elected_where_it_is_needed_and_the_controller_and_features_are_told() {
    with_node(async |cluster| {
        let mut connection = connect(cluster).await?;
        make_topic(&mut connection, "flights").await?;
        for (version, election_type) in [(0, 0), (1, 0), (2, 0), (2, 1)] {
            let topics = ["flights", "nowhere"].map(|name| elect_leaders::request::TopicPartition {
                topic: name.into(),
                partitions: vec![0].into(),
            });
            let request = ElectLeadersRequest {
                election_type,
                topic_partitions: Some(topics.to_vec().into()),
                timeout_ms: 1_000,
            };
            let frame = connection.ask(version, &request).await?;
            let (_, response) = open_response::<ElectLeadersResponse<'_>>(&frame, version)?;
            let mut told = vec![response.error_code];
            for topic in &response.replica_election_results {
                told.extend(topic.partition_result.iter().map(|partition| partition.error_code));
            }
            let expected =
                [ErrorCode::None, ErrorCode::ElectionNotNeeded, ErrorCode::UnknownTopicOrPartition];
            expect("elections", told, expected.map(ErrorCode::code).to_vec())?;
        }
        let frame =
            connection.ask(2, &DescribeClusterRequest { endpoint_type: 1, ..Default::default() }).await?;
        let (_, response) = open_response::<DescribeClusterResponse<'_>>(&frame, 2)?;
        expect("the controller", response.controller_id, 1)?;
        let frame = connection.ask(1, &ListConfigResourcesRequest::default()).await?;
        let (_, response) = open_response::<ListConfigResourcesResponse<'_>>(&frame, 1)?;
        let found: Vec<_> = response
            .config_resources
            .iter()
            .map(|resource| (resource.resource_name.to_string(), resource.resource_type))
            .collect();
        expect("resources", found, vec![("flights".to_owned(), 2), ("1".to_owned(), 4)])?;
        for (version, zeros) in [(3, 0), (4, 3)] {
            let request = ApiVersionsRequest {
                client_software_name: "tests".into(),
                client_software_version: "1".into(),
                ..Default::default()
            };
            let frame = connection.ask(version, &request).await?;
            let (_, response) = open_response::<ApiVersionsResponse<'_>>(&frame, version)?;
            let from_zero = response.supported_features.iter().filter(|it| it.min_version == 0).count();
            let group = response.finalized_features.iter().find(|it| &*it.name == "group.version");
            let level = group.map(|group| group.max_version_level);
            expect(
                "features",
                (from_zero, level, response.finalized_features_epoch >= 0),
                (zeros, Some(1), true),
            )?;
        }
        Ok(())
    })
    .await;
}
