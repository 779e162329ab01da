//! Records, topics and their partitions.

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_transport::kafka::messages as m;
use millstream_transport::kafka::{ApiKey, ErrorCode, Uuid, open_response};

use super::{FRESH, GONE, MADE, TOPIC, TRANSACTION, code, hidden};

pub(super) async fn records(connection: &mut KafkaConnection, api: ApiKey, way: &str) -> Outcome<i16> {
    match api {
        ApiKey::Produce => {
            let partition = m::produce::request::PartitionData { index: 0, records: None };
            let topic = m::produce::request::TopicData {
                name: TOPIC.into(),
                partition_data: vec![partition].into(),
                ..Default::default()
            };
            let request = m::produce::ProduceRequest {
                transactional_id: (!way.is_empty()).then(|| TRANSACTION.into()),
                acks: -1,
                timeout_ms: 1000,
                topic_data: vec![topic].into(),
            };
            Ok(code!(connection, 9, request, m::produce::ProduceResponse<'_>, |answer| {
                let topic = answer.responses.iter().next();
                topic.and_then(|topic| Some(topic.partition_responses.iter().next()?.error_code))
            }))
        }
        ApiKey::Fetch => {
            let partition = m::fetch::request::Partition { partition_max_bytes: 100, ..Default::default() };
            let topic = m::fetch::request::Topic {
                topic: TOPIC.into(),
                partitions: vec![partition].into(),
                ..Default::default()
            };
            let request = m::fetch::FetchRequest {
                max_bytes: 1000,
                session_epoch: -1,
                topics: vec![topic].into(),
                ..Default::default()
            };
            Ok(code!(connection, 12, request, m::fetch::FetchResponse<'_>, |answer| {
                let topic = answer.responses.iter().next();
                topic.and_then(|topic| Some(topic.partitions.iter().next()?.error_code))
            }))
        }
        ApiKey::ListOffsets => {
            let partition = m::list_offsets::request::Partition { timestamp: -1, ..Default::default() };
            let topic =
                m::list_offsets::request::Topic { name: TOPIC.into(), partitions: vec![partition].into() };
            let request =
                m::list_offsets::ListOffsetsRequest { topics: vec![topic].into(), ..Default::default() };
            Ok(code!(connection, 7, request, m::list_offsets::ListOffsetsResponse<'_>, |answer| {
                let topic = answer.topics.iter().next();
                topic.and_then(|topic| Some(topic.partitions.iter().next()?.error_code))
            }))
        }
        _ => {
            let partition = m::offset_for_leader_epoch::request::Partition::default();
            let topic = m::offset_for_leader_epoch::request::Topic {
                topic: TOPIC.into(),
                partitions: vec![partition].into(),
            };
            let request = m::offset_for_leader_epoch::OffsetForLeaderEpochRequest {
                topics: vec![topic].into(),
                ..Default::default()
            };
            type Answer<'a> = m::offset_for_leader_epoch::response::OffsetForLeaderEpochResponse<'a>;
            Ok(code!(connection, 4, request, Answer<'_>, |answer| {
                let topic = answer.topics.iter().next();
                topic.and_then(|topic| Some(topic.partitions.iter().next()?.error_code))
            }))
        }
    }
}

pub(super) async fn topics(connection: &mut KafkaConnection, api: ApiKey, way: &str) -> Outcome<i16> {
    match api {
        ApiKey::DeleteRecords => {
            let partition = m::delete_records::request::Partition::default();
            let topic =
                m::delete_records::request::Topic { name: TOPIC.into(), partitions: vec![partition].into() };
            let request =
                m::delete_records::DeleteRecordsRequest { topics: vec![topic].into(), timeout_ms: 5000 };
            type Answer<'a> = m::delete_records::response::DeleteRecordsResponse<'a>;
            Ok(code!(connection, 2, request, Answer<'_>, |answer| {
                let topic = answer.topics.iter().next();
                topic.and_then(|topic| Some(topic.partitions.iter().next()?.error_code))
            }))
        }
        ApiKey::DescribeProducers => {
            let topic = m::describe_producers::request::Topic {
                name: TOPIC.into(),
                partition_indexes: vec![0].into(),
            };
            let request = m::describe_producers::DescribeProducersRequest { topics: vec![topic].into() };
            type Answer<'a> = m::describe_producers::response::DescribeProducersResponse<'a>;
            Ok(code!(connection, 0, request, Answer<'_>, |answer| {
                let topic = answer.topics.iter().next();
                topic.and_then(|topic| Some(topic.partitions.iter().next()?.error_code))
            }))
        }
        _ => {
            let name = match way {
                "of one to be made" => GONE,
                "of one to be made in the cluster" => MADE,
                _ => TOPIC,
            };
            let topic = m::metadata::request::Topic { name: Some(name.into()), ..Default::default() };
            let of_cluster = way == "with operations";
            let request = m::metadata::MetadataRequest {
                topics: Some(vec![topic].into()),
                allow_auto_topic_creation: true,
                include_cluster_authorized_operations: of_cluster,
                ..Default::default()
            };
            Ok(code!(connection, 9, request, m::metadata::MetadataResponse<'_>, |answer| {
                if of_cluster {
                    let bits = answer.cluster_authorized_operations;
                    hidden(bits != 0, ErrorCode::ClusterAuthorizationFailed)
                } else {
                    answer.topics.iter().next().map(|topic| topic.error_code)
                }
            }))
        }
    }
}

pub(super) async fn changes(
    connection: &mut KafkaConnection,
    api: ApiKey,
    way: &str,
    id: Uuid,
) -> Outcome<i16> {
    match api {
        ApiKey::CreateTopics => {
            let topic = m::create_topics::request::Topic {
                name: if way == "with settings" { FRESH } else { MADE }.into(),
                num_partitions: 1,
                replication_factor: 1,
                ..Default::default()
            };
            let request = m::create_topics::CreateTopicsRequest {
                topics: vec![topic].into(),
                validate_only: true,
                ..Default::default()
            };
            let with_settings = way == "with settings";
            Ok(code!(connection, 7, request, m::create_topics::CreateTopicsResponse<'_>, |answer| {
                answer.topics.iter().next().map(|topic| match topic.error_code {
                    0 if with_settings => topic.topic_config_error_code,
                    code => code,
                })
            }))
        }
        ApiKey::DeleteTopics if way.is_empty() => {
            let request = m::delete_topics::DeleteTopicsRequest {
                topic_names: vec![MADE.into()].into(),
                ..Default::default()
            };
            Ok(code!(connection, 5, request, m::delete_topics::DeleteTopicsResponse<'_>, |answer| {
                answer.responses.iter().next().map(|topic| topic.error_code)
            }))
        }
        ApiKey::DeleteTopics => {
            let topic = m::delete_topics::request::Topic { name: None, topic_id: id };
            let request =
                m::delete_topics::DeleteTopicsRequest { topics: vec![topic].into(), ..Default::default() };
            // Denied in any case, so that the topic stays: the name is told to who may describe it.
            Ok(code!(connection, 6, request, m::delete_topics::DeleteTopicsResponse<'_>, |answer| {
                let topic = answer.responses.iter().next();
                topic.and_then(|topic| match topic.name {
                    Some(_) => hidden(true, ErrorCode::None),
                    None => Some(topic.error_code),
                })
            }))
        }
        _ => {
            let topic =
                m::create_partitions::request::Topic { name: TOPIC.into(), count: 7, assignments: None };
            let request = m::create_partitions::CreatePartitionsRequest {
                topics: vec![topic].into(),
                validate_only: true,
                ..Default::default()
            };
            type Answer<'a> = m::create_partitions::response::CreatePartitionsResponse<'a>;
            Ok(code!(connection, 3, request, Answer<'_>, |answer| {
                answer.results.iter().next().map(|topic| topic.error_code)
            }))
        }
    }
}

pub(super) async fn partitions(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
    match api {
        ApiKey::DescribeTopicPartitions => {
            let topic = m::describe_topic_partitions::request::Topic { name: TOPIC.into() };
            let request = m::describe_topic_partitions::DescribeTopicPartitionsRequest {
                topics: vec![topic].into(),
                response_partition_limit: 10,
                cursor: None,
            };
            type Answer<'a> = m::describe_topic_partitions::response::DescribeTopicPartitionsResponse<'a>;
            Ok(code!(connection, 0, request, Answer<'_>, |answer| {
                answer.topics.iter().next().map(|topic| topic.error_code)
            }))
        }
        ApiKey::ElectLeaders => {
            let topic =
                m::elect_leaders::request::TopicPartition { topic: TOPIC.into(), partitions: vec![0].into() };
            let request = m::elect_leaders::ElectLeadersRequest {
                topic_partitions: Some(vec![topic].into()),
                ..Default::default()
            };
            Ok(code!(connection, 2, request, m::elect_leaders::ElectLeadersResponse<'_>, |answer| Some(
                answer.error_code
            )))
        }
        _ => {
            let topic =
                m::alter_replica_log_dirs::request::Topic { name: TOPIC.into(), partitions: vec![0].into() };
            let dir = m::alter_replica_log_dirs::request::Dir {
                path: "/nowhere".into(),
                topics: vec![topic].into(),
            };
            let request = m::alter_replica_log_dirs::AlterReplicaLogDirsRequest { dirs: vec![dir].into() };
            type Answer<'a> = m::alter_replica_log_dirs::response::AlterReplicaLogDirsResponse<'a>;
            Ok(code!(connection, 2, request, Answer<'_>, |answer| {
                let topic = answer.results.iter().next();
                topic.and_then(|topic| Some(topic.partitions.iter().next()?.error_code))
            }))
        }
    }
}
