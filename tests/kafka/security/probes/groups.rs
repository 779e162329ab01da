//! Groups and their offsets.

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_transport::kafka::messages as m;
use millstream_transport::kafka::{ApiKey, ErrorCode, open_response};

use super::{GONE, GROUP, TOPIC, TRANSACTION, code, hidden};

pub(super) async fn members(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
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

pub(super) async fn offsets(connection: &mut KafkaConnection, api: ApiKey, way: &str) -> Outcome<i16> {
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
        _ => coordinator(connection, way).await,
    }
}

async fn coordinator(connection: &mut KafkaConnection, way: &str) -> Outcome<i16> {
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

pub(super) async fn groups(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
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
