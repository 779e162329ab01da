//! Reassignments, quotas, features and nodes.

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_transport::kafka::messages as m;
use millstream_transport::kafka::{ApiKey, open_response};

use super::code;

pub(super) async fn administration(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
    match api {
        ApiKey::AlterPartitionReassignments => {
            let request = m::alter_partition_reassignments::AlterPartitionReassignmentsRequest::default();
            type Answer<'a> =
                m::alter_partition_reassignments::response::AlterPartitionReassignmentsResponse<'a>;
            Ok(code!(connection, 1, request, Answer<'_>, |answer| Some(answer.error_code)))
        }
        ApiKey::ListPartitionReassignments => {
            let request = m::list_partition_reassignments::ListPartitionReassignmentsRequest::default();
            type Answer<'a> =
                m::list_partition_reassignments::response::ListPartitionReassignmentsResponse<'a>;
            Ok(code!(connection, 0, request, Answer<'_>, |answer| Some(answer.error_code)))
        }
        ApiKey::DescribeClientQuotas => {
            let request = m::describe_client_quotas::DescribeClientQuotasRequest::default();
            type Answer<'a> = m::describe_client_quotas::DescribeClientQuotasResponse<'a>;
            Ok(code!(connection, 1, request, Answer<'_>, |answer| Some(answer.error_code)))
        }
        ApiKey::AlterClientQuotas => alter_quotas(connection).await,
        ApiKey::UpdateFeatures => {
            let request = m::update_features::UpdateFeaturesRequest::default();
            type Answer<'a> = m::update_features::UpdateFeaturesResponse<'a>;
            Ok(code!(connection, 2, request, Answer<'_>, |answer| Some(answer.error_code)))
        }
        _ => {
            let request = m::unregister_broker::UnregisterBrokerRequest { broker_id: 99 };
            type Answer<'a> = m::unregister_broker::UnregisterBrokerResponse<'a>;
            Ok(code!(connection, 0, request, Answer<'_>, |answer| Some(answer.error_code)))
        }
    }
}

async fn alter_quotas(connection: &mut KafkaConnection) -> Outcome<i16> {
    use m::alter_client_quotas::request::{Entity, Entry, Op};
    let entity = Entity { entity_type: "user".into(), entity_name: Some("nobody".into()) };
    let op = Op { key: "producer_byte_rate".into(), value: 1.0, remove: false };
    let request = m::alter_client_quotas::AlterClientQuotasRequest {
        entries: vec![Entry { entity: vec![entity].into(), ops: vec![op].into() }].into(),
        validate_only: true,
    };
    type Answer<'a> = m::alter_client_quotas::AlterClientQuotasResponse<'a>;
    Ok(code!(connection, 1, request, Answer<'_>, |answer| {
        answer.entries.iter().next().map(|entry| entry.error_code)
    }))
}
