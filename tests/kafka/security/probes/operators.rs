//! Settings, lists, users and the cluster.

use millstream_tests::Outcome;
use millstream_tests::kafka::KafkaConnection;
use millstream_transport::kafka::messages as m;
use millstream_transport::kafka::{ApiKey, ErrorCode, open_response};

use super::super::lists::{ALLOW, ANY, LITERAL};
use super::{GONE, TOPIC, code, hidden};

pub(super) async fn configs(connection: &mut KafkaConnection, api: ApiKey, way: &str) -> Outcome<i16> {
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

pub(super) async fn lists(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
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

pub(super) async fn users(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
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

pub(super) async fn cluster(connection: &mut KafkaConnection, api: ApiKey) -> Outcome<i16> {
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
