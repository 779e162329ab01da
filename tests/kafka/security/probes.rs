//! A request of every API, and the one code in its answer that says whether it was denied. Where Kafka hides instead of
//! denying, the code that stands for it.

use millstream_tests::kafka::KafkaConnection;
use millstream_tests::{Outcome, until};
use millstream_transport::kafka::messages as m;
use millstream_transport::kafka::{ApiKey, ErrorCode, Uuid, open_response};

use super::lists::{ALLOW, ANY, LITERAL};

/// A topic that there is.
pub(super) const TOPIC: &str = "flights";
/// A group of the classic protocol that there is.
pub(super) const GROUP: &str = "readers";
/// A group of KIP-848 that there is, with a member that reads the topic.
pub(super) const MODERN: &str = "modern";
/// A transactional id that there is, with a transaction in the topic.
pub(super) const TRANSACTION: &str = "transfers";
/// Names of what there is not.
pub(super) const GONE: &str = "gone";
pub(super) const MADE: &str = "made";
pub(super) const FRESH: &str = "fresh";

macro_rules! code {
    ($connection:expr, $version:literal, $request:expr, $response:ty, |$answer:ident| $pick:expr) => {{
        let frame = $connection.ask($version, &$request).await?;
        let (_, $answer) = open_response::<$response>(&frame, $version)?;
        let picked: Option<i16> = $pick;
        picked.ok_or("nothing in the answer")?
    }};
}

fn hidden(is_shown: bool, code: ErrorCode) -> Option<i16> {
    Some(if is_shown { 0 } else { code.code() })
}

/// Makes the groups and the transaction that there are.
pub(super) async fn prepare(admin: &mut KafkaConnection) -> Outcome {
    for (api, way) in [(ApiKey::FindCoordinator, ""), (ApiKey::FindCoordinator, "of a transaction")] {
        found(admin, api, way).await?;
    }
    found(admin, ApiKey::OffsetCommit, "").await?;
    until("a group of KIP-848", async || {
        let code = modern_heartbeat(admin, MODERN).await?;
        Ok((code == 0).then_some(()))
    })
    .await?;
    until("a transaction", async || {
        let request = m::init_producer_id::InitProducerIdRequest {
            transactional_id: Some(TRANSACTION.into()),
            transaction_timeout_ms: 600_000,
            ..Default::default()
        };
        let frame = admin.ask(4, &request).await?;
        let (_, begun) = open_response::<m::init_producer_id::InitProducerIdResponse>(&frame, 4)?;
        if begun.error_code != 0 {
            return Ok(None);
        }
        let added = add_partitions(admin, (begun.producer_id, begun.producer_epoch)).await?;
        Ok((added == 0).then_some(()))
    })
    .await
}

async fn found(admin: &mut KafkaConnection, api: ApiKey, way: &str) -> Outcome {
    until("what is to be there", async || Ok((ask(admin, api, way, Uuid::ZERO).await? == 0).then_some(())))
        .await
}

async fn modern_heartbeat(connection: &mut KafkaConnection, group: &str) -> Outcome<i16> {
    let request = m::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: "member".into(),
        rebalance_timeout_ms: 600_000,
        subscribed_topic_names: Some(vec![TOPIC.into()].into()),
        topic_partitions: Some(Vec::new().into()),
        ..Default::default()
    };
    type Answer<'a> = m::consumer_group_heartbeat::ConsumerGroupHeartbeatResponse<'a>;
    Ok(code!(connection, 1, request, Answer<'_>, |answer| Some(answer.error_code)))
}

async fn add_partitions(connection: &mut KafkaConnection, (id, epoch): (i64, i16)) -> Outcome<i16> {
    let topic = m::add_partitions_to_txn::request::AddPartitionsToTxnTopic {
        name: TOPIC.into(),
        partitions: vec![0].into(),
    };
    let request = m::add_partitions_to_txn::AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: TRANSACTION.into(),
        v3_and_below_producer_id: id,
        v3_and_below_producer_epoch: epoch,
        v3_and_below_topics: vec![topic].into(),
        ..Default::default()
    };
    type Answer<'a> = m::add_partitions_to_txn::response::AddPartitionsToTxnResponse<'a>;
    Ok(code!(connection, 3, request, Answer<'_>, |answer| {
        let topic = answer.results_by_topic_v3_and_below.iter().next();
        topic.and_then(|topic| Some(topic.results_by_partition.iter().next()?.partition_error_code))
    }))
}

/// Asks in one way, and gives the code that counts.
pub(super) async fn ask(connection: &mut KafkaConnection, api: ApiKey, way: &str, id: Uuid) -> Outcome<i16> {
    match api {
        ApiKey::Produce | ApiKey::Fetch | ApiKey::ListOffsets | ApiKey::OffsetForLeaderEpoch => {
            records(connection, api, way).await
        }
        ApiKey::DeleteRecords | ApiKey::DescribeProducers | ApiKey::Metadata => {
            topics(connection, api, way).await
        }
        ApiKey::CreateTopics | ApiKey::DeleteTopics | ApiKey::CreatePartitions => {
            changes(connection, api, way, id).await
        }
        ApiKey::DescribeTopicPartitions | ApiKey::ElectLeaders | ApiKey::AlterReplicaLogDirs => {
            partitions(connection, api).await
        }
        ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Heartbeat | ApiKey::LeaveGroup => {
            members(connection, api).await
        }
        ApiKey::OffsetCommit | ApiKey::OffsetFetch | ApiKey::OffsetDelete | ApiKey::FindCoordinator => {
            offsets(connection, api, way).await
        }
        ApiKey::DescribeGroups | ApiKey::ListGroups | ApiKey::DeleteGroups => groups(connection, api).await,
        ApiKey::ConsumerGroupHeartbeat => modern_heartbeat(connection, GONE).await,
        ApiKey::ConsumerGroupDescribe => {
            let request = m::consumer_group_describe::ConsumerGroupDescribeRequest {
                group_ids: vec![MODERN.into()].into(),
                include_authorized_operations: true,
            };
            type Answer<'a> = m::consumer_group_describe::response::ConsumerGroupDescribeResponse<'a>;
            Ok(code!(connection, 1, request, Answer<'_>, |answer| {
                answer.groups.iter().next().map(|group| group.error_code)
            }))
        }
        ApiKey::InitProducerId | ApiKey::AddPartitionsToTxn | ApiKey::AddOffsetsToTxn | ApiKey::EndTxn => {
            transactions(connection, api, way).await
        }
        ApiKey::TxnOffsetCommit | ApiKey::WriteTxnMarkers => ends(connection, api).await,
        ApiKey::DescribeTransactions | ApiKey::ListTransactions => shown_transactions(connection, api).await,
        ApiKey::DescribeConfigs | ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs => {
            configs(connection, api, way).await
        }
        ApiKey::DescribeAcls | ApiKey::CreateAcls | ApiKey::DeleteAcls => lists(connection, api).await,
        ApiKey::DescribeUserScramCredentials | ApiKey::AlterUserScramCredentials => {
            users(connection, api).await
        }
        _ => cluster(connection, api).await,
    }
}

async fn records(connection: &mut KafkaConnection, api: ApiKey, way: &str) -> Outcome<i16> {
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

async fn topics(connection: &mut KafkaConnection, api: ApiKey, way: &str) -> Outcome<i16> {
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

async fn changes(connection: &mut KafkaConnection, api: ApiKey, way: &str, id: Uuid) -> Outcome<i16> {
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
            Ok(code!(connection, 6, request, m::delete_topics::DeleteTopicsResponse<'_>, |answer| {
                answer.responses.iter().next().map(|topic| topic.error_code)
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

async fn partitions(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
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

async fn members(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
    match api {
        ApiKey::JoinGroup => {
            let protocol =
                m::join_group::request::Protocol { name: "range".into(), metadata: b"x"[..].into() };
            let request = m::join_group::JoinGroupRequest {
                group_id: GROUP.into(),
                session_timeout_ms: 10_000,
                rebalance_timeout_ms: 10_000,
                protocol_type: "consumer".into(),
                protocols: vec![protocol].into(),
                ..Default::default()
            };
            Ok(code!(connection, 9, request, m::join_group::JoinGroupResponse<'_>, |answer| Some(
                answer.error_code
            )))
        }
        ApiKey::SyncGroup => {
            let request = m::sync_group::SyncGroupRequest {
                group_id: GROUP.into(),
                member_id: "m".into(),
                ..Default::default()
            };
            Ok(code!(connection, 3, request, m::sync_group::SyncGroupResponse<'_>, |answer| Some(
                answer.error_code
            )))
        }
        ApiKey::Heartbeat => {
            let request = m::heartbeat::HeartbeatRequest {
                group_id: GROUP.into(),
                member_id: "m".into(),
                ..Default::default()
            };
            Ok(code!(connection, 4, request, m::heartbeat::HeartbeatResponse, |answer| Some(
                answer.error_code
            )))
        }
        _ => {
            let request = m::leave_group::LeaveGroupRequest { group_id: GROUP.into(), ..Default::default() };
            Ok(code!(connection, 4, request, m::leave_group::LeaveGroupResponse<'_>, |answer| Some(
                answer.error_code
            )))
        }
    }
}

async fn offsets(connection: &mut KafkaConnection, api: ApiKey, way: &str) -> Outcome<i16> {
    match api {
        ApiKey::OffsetCommit => {
            let partition = m::offset_commit::request::Partition {
                committed_metadata: Some("".into()),
                ..Default::default()
            };
            let topic = m::offset_commit::request::Topic {
                name: TOPIC.into(),
                partitions: vec![partition].into(),
                ..Default::default()
            };
            let request = m::offset_commit::OffsetCommitRequest {
                group_id: GROUP.into(),
                topics: vec![topic].into(),
                ..Default::default()
            };
            Ok(code!(connection, 8, request, m::offset_commit::OffsetCommitResponse<'_>, |answer| {
                let topic = answer.topics.iter().next();
                topic.and_then(|topic| Some(topic.partitions.iter().next()?.error_code))
            }))
        }
        ApiKey::OffsetFetch => {
            let topic = m::offset_fetch::request::GroupTopic {
                name: TOPIC.into(),
                partition_indexes: vec![0].into(),
                ..Default::default()
            };
            let group = m::offset_fetch::request::Group {
                group_id: GROUP.into(),
                topics: Some(vec![topic].into()),
                ..Default::default()
            };
            let request =
                m::offset_fetch::OffsetFetchRequest { groups: vec![group].into(), ..Default::default() };
            Ok(code!(connection, 8, request, m::offset_fetch::OffsetFetchResponse<'_>, |answer| {
                let group = answer.groups.iter().next();
                group.and_then(|group| match group.error_code {
                    0 => Some(group.topics.iter().next()?.partitions.iter().next()?.error_code),
                    code => Some(code),
                })
            }))
        }
        ApiKey::OffsetDelete => {
            let partition = m::offset_delete::request::Partition::default();
            let topic =
                m::offset_delete::request::Topic { name: TOPIC.into(), partitions: vec![partition].into() };
            let request =
                m::offset_delete::OffsetDeleteRequest { group_id: GROUP.into(), topics: vec![topic].into() };
            Ok(code!(connection, 0, request, m::offset_delete::OffsetDeleteResponse<'_>, |answer| {
                match answer.error_code {
                    0 => answer
                        .topics
                        .iter()
                        .next()
                        .and_then(|topic| Some(topic.partitions.iter().next()?.error_code)),
                    code => Some(code),
                }
            }))
        }
        _ => {
            let of_transaction = way == "of a transaction";
            let key = if of_transaction { TRANSACTION } else { GROUP };
            let request = m::find_coordinator::FindCoordinatorRequest {
                key_type: i8::from(of_transaction),
                coordinator_keys: vec![key.into()].into(),
                ..Default::default()
            };
            type Answer<'a> = m::find_coordinator::response::FindCoordinatorResponse<'a>;
            Ok(code!(connection, 4, request, Answer<'_>, |answer| {
                answer.coordinators.iter().next().map(|told| told.error_code)
            }))
        }
    }
}

async fn groups(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
    match api {
        ApiKey::DescribeGroups => {
            let request = m::describe_groups::DescribeGroupsRequest {
                groups: vec![GROUP.into()].into(),
                include_authorized_operations: true,
            };
            Ok(code!(connection, 5, request, m::describe_groups::DescribeGroupsResponse<'_>, |answer| {
                answer.groups.iter().next().map(|group| group.error_code)
            }))
        }
        ApiKey::ListGroups => {
            let request = m::list_groups::ListGroupsRequest::default();
            Ok(code!(connection, 4, request, m::list_groups::ListGroupsResponse<'_>, |answer| {
                let is_shown = answer.groups.iter().any(|group| *group.group_id == *GROUP);
                hidden(is_shown, ErrorCode::GroupAuthorizationFailed)
            }))
        }
        _ => {
            let request = m::delete_groups::DeleteGroupsRequest { groups_names: vec![GONE.into()].into() };
            Ok(code!(connection, 2, request, m::delete_groups::DeleteGroupsResponse<'_>, |answer| {
                answer.results.iter().next().map(|group| group.error_code)
            }))
        }
    }
}

async fn transactions(connection: &mut KafkaConnection, api: ApiKey, way: &str) -> Outcome<i16> {
    // Of a producer that there is not: nothing comes of what is allowed.
    let (producer_id, producer_epoch) = (77, 0);
    match api {
        ApiKey::InitProducerId => {
            let request = m::init_producer_id::InitProducerIdRequest {
                transactional_id: way.is_empty().then(|| TRANSACTION.into()),
                transaction_timeout_ms: 60_000,
                // One that is not this id's: it goes on as it is.
                producer_id: if way.is_empty() { producer_id } else { -1 },
                producer_epoch: if way.is_empty() { producer_epoch } else { -1 },
            };
            type Answer = m::init_producer_id::InitProducerIdResponse;
            Ok(code!(connection, 4, request, Answer, |answer| Some(answer.error_code)))
        }
        ApiKey::AddPartitionsToTxn if way.is_empty() => {
            add_partitions(connection, (producer_id, producer_epoch)).await
        }
        ApiKey::AddPartitionsToTxn => {
            let request = m::add_partitions_to_txn::AddPartitionsToTxnRequest::default();
            type Answer<'a> = m::add_partitions_to_txn::response::AddPartitionsToTxnResponse<'a>;
            Ok(code!(connection, 4, request, Answer<'_>, |answer| Some(answer.error_code)))
        }
        ApiKey::AddOffsetsToTxn => {
            let request = m::add_offsets_to_txn::AddOffsetsToTxnRequest {
                transactional_id: TRANSACTION.into(),
                producer_id,
                producer_epoch,
                group_id: GROUP.into(),
            };
            type Answer = m::add_offsets_to_txn::response::AddOffsetsToTxnResponse;
            Ok(code!(connection, 3, request, Answer, |answer| Some(answer.error_code)))
        }
        _ => {
            let request = m::end_txn::EndTxnRequest {
                transactional_id: TRANSACTION.into(),
                producer_id,
                producer_epoch,
                committed: true,
            };
            Ok(code!(connection, 3, request, m::end_txn::EndTxnResponse, |answer| Some(answer.error_code)))
        }
    }
}

async fn ends(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
    if api == ApiKey::WriteTxnMarkers {
        let topic =
            m::write_txn_markers::request::Topic { name: GONE.into(), partition_indexes: vec![0].into() };
        let marker =
            m::write_txn_markers::request::Marker { topics: vec![topic].into(), ..Default::default() };
        let request = m::write_txn_markers::WriteTxnMarkersRequest { markers: vec![marker].into() };
        type Answer<'a> = m::write_txn_markers::response::WriteTxnMarkersResponse<'a>;
        return Ok(code!(connection, 1, request, Answer<'_>, |answer| {
            let marker = answer.markers.iter().next();
            let topic = marker.and_then(|marker| marker.topics.iter().next());
            topic.and_then(|topic| Some(topic.partitions.iter().next()?.error_code))
        }));
    }
    let partition = m::txn_offset_commit::request::Partition::default();
    let topic = m::txn_offset_commit::request::Topic {
        name: TOPIC.into(),
        partitions: vec![partition].into(),
        ..Default::default()
    };
    let request = m::txn_offset_commit::TxnOffsetCommitRequest {
        transactional_id: TRANSACTION.into(),
        group_id: GROUP.into(),
        producer_id: 77,
        topics: vec![topic].into(),
        ..Default::default()
    };
    type Answer<'a> = m::txn_offset_commit::response::TxnOffsetCommitResponse<'a>;
    Ok(code!(connection, 3, request, Answer<'_>, |answer| {
        let topic = answer.topics.iter().next();
        topic.and_then(|topic| Some(topic.partitions.iter().next()?.error_code))
    }))
}

async fn shown_transactions(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
    if api == ApiKey::DescribeTransactions {
        let request = m::describe_transactions::DescribeTransactionsRequest {
            transactional_ids: vec![TRANSACTION.into()].into(),
        };
        type Answer<'a> = m::describe_transactions::response::DescribeTransactionsResponse<'a>;
        return Ok(code!(connection, 0, request, Answer<'_>, |answer| {
            let state = answer.transaction_states.iter().next();
            state.and_then(|state| match state.error_code {
                0 => hidden(!state.topics.is_empty(), ErrorCode::TopicAuthorizationFailed),
                code => Some(code),
            })
        }));
    }
    let request = m::list_transactions::ListTransactionsRequest::default();
    type Answer<'a> = m::list_transactions::response::ListTransactionsResponse<'a>;
    Ok(code!(connection, 1, request, Answer<'_>, |answer| {
        let is_shown = answer.transaction_states.iter().any(|state| *state.transactional_id == *TRANSACTION);
        hidden(is_shown, ErrorCode::TransactionalIdAuthorizationFailed)
    }))
}

async fn configs(connection: &mut KafkaConnection, api: ApiKey, way: &str) -> Outcome<i16> {
    let (resource_type, resource_name) = if way.is_empty() { (2, TOPIC) } else { (4, "1") };
    match api {
        ApiKey::DescribeConfigs => {
            let resource = m::describe_configs::request::Resource {
                resource_type,
                resource_name: resource_name.into(),
                configuration_keys: None,
            };
            let request = m::describe_configs::DescribeConfigsRequest {
                resources: vec![resource].into(),
                ..Default::default()
            };
            Ok(code!(connection, 4, request, m::describe_configs::DescribeConfigsResponse<'_>, |answer| {
                answer.results.iter().next().map(|told| told.error_code)
            }))
        }
        ApiKey::AlterConfigs => {
            let resource = m::alter_configs::request::Resource {
                resource_type,
                resource_name: resource_name.into(),
                ..Default::default()
            };
            let request = m::alter_configs::AlterConfigsRequest {
                resources: vec![resource].into(),
                validate_only: true,
            };
            Ok(code!(
                connection,
                2,
                request,
                m::alter_configs::response::AlterConfigsResponse<'_>,
                |answer| { answer.responses.iter().next().map(|told| told.error_code) }
            ))
        }
        _ => {
            let resource = m::incremental_alter_configs::request::Resource {
                resource_type,
                resource_name: resource_name.into(),
                ..Default::default()
            };
            let request = m::incremental_alter_configs::IncrementalAlterConfigsRequest {
                resources: vec![resource].into(),
                validate_only: true,
            };
            type Answer<'a> = m::incremental_alter_configs::response::IncrementalAlterConfigsResponse<'a>;
            Ok(code!(connection, 1, request, Answer<'_>, |answer| {
                answer.responses.iter().next().map(|told| told.error_code)
            }))
        }
    }
}

async fn lists(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
    match api {
        ApiKey::DescribeAcls => {
            let request = m::describe_acls::DescribeAclsRequest {
                resource_type_filter: ANY,
                pattern_type_filter: ANY,
                operation: ANY,
                permission_type: ANY,
                ..Default::default()
            };
            Ok(code!(connection, 3, request, m::describe_acls::DescribeAclsResponse<'_>, |answer| Some(
                answer.error_code
            )))
        }
        ApiKey::CreateAcls => {
            let creation = m::create_acls::request::Creation {
                resource_type: 2,
                resource_name: GONE.into(),
                resource_pattern_type: LITERAL,
                principal: "User:nobody".into(),
                host: "*".into(),
                operation: 3,
                permission_type: ALLOW,
            };
            let request = m::create_acls::CreateAclsRequest { creations: vec![creation].into() };
            Ok(code!(connection, 3, request, m::create_acls::CreateAclsResponse<'_>, |answer| {
                answer.results.iter().next().map(|told| told.error_code)
            }))
        }
        _ => {
            let filter = m::delete_acls::request::Filter {
                resource_type_filter: ANY,
                resource_name_filter: Some("nothing".into()),
                pattern_type_filter: ANY,
                principal_filter: None,
                host_filter: None,
                operation: ANY,
                permission_type: ANY,
            };
            let request = m::delete_acls::DeleteAclsRequest { filters: vec![filter].into() };
            Ok(code!(connection, 3, request, m::delete_acls::DeleteAclsResponse<'_>, |answer| {
                answer.filter_results.iter().next().map(|told| told.error_code)
            }))
        }
    }
}

async fn users(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
    if api == ApiKey::DescribeUserScramCredentials {
        let request = m::describe_user_scram_credentials::DescribeUserScramCredentialsRequest { users: None };
        type Answer<'a> = m::describe_user_scram_credentials::DescribeUserScramCredentialsResponse<'a>;
        return Ok(code!(connection, 0, request, Answer<'_>, |answer| Some(answer.error_code)));
    }
    let deletion = m::alter_user_scram_credentials::request::Deletion { name: "nobody".into(), mechanism: 1 };
    let request = m::alter_user_scram_credentials::AlterUserScramCredentialsRequest {
        deletions: vec![deletion].into(),
        ..Default::default()
    };
    type Answer<'a> = m::alter_user_scram_credentials::AlterUserScramCredentialsResponse<'a>;
    Ok(code!(connection, 0, request, Answer<'_>, |answer| {
        answer.results.iter().next().map(|told| told.error_code)
    }))
}

async fn cluster(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
    match api {
        ApiKey::DescribeLogDirs => {
            let request = m::describe_log_dirs::DescribeLogDirsRequest { topics: None };
            Ok(code!(connection, 4, request, m::describe_log_dirs::DescribeLogDirsResponse<'_>, |answer| {
                Some(answer.error_code)
            }))
        }
        ApiKey::DescribeQuorum => {
            let request = m::describe_quorum::DescribeQuorumRequest::default();
            Ok(code!(connection, 2, request, m::describe_quorum::DescribeQuorumResponse<'_>, |answer| Some(
                answer.error_code
            )))
        }
        ApiKey::DescribeCluster => {
            let request = m::describe_cluster::DescribeClusterRequest {
                include_cluster_authorized_operations: true,
                endpoint_type: 1,
                ..Default::default()
            };
            Ok(code!(connection, 1, request, m::describe_cluster::DescribeClusterResponse<'_>, |answer| {
                let bits = answer.cluster_authorized_operations;
                hidden(bits != 0, ErrorCode::ClusterAuthorizationFailed)
            }))
        }
        ApiKey::ListConfigResources => {
            let request = m::list_config_resources::ListConfigResourcesRequest::default();
            type Answer<'a> = m::list_config_resources::ListConfigResourcesResponse<'a>;
            Ok(code!(connection, 1, request, Answer<'_>, |answer| Some(answer.error_code)))
        }
        other => Err(format!("{other:?} has no probe").into()),
    }
}
