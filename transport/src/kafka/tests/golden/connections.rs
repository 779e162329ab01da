//! Bytes of messages about connections.

use super::*;

#[test]
fn an_api_versions_request_of_version_3_has_these_bytes() {
    use messages::api_versions::request::*;

    let bytes = "066e616d65310976657273696f6e3200";
    let message = ApiVersionsRequest {
        client_software_name: "name1".into(),
        client_software_version: "version2".into(),
        ..Default::default()
    };
    is_written_as(&message, 3, bytes);
}

#[test]
fn an_api_versions_request_of_version_5_has_these_bytes() {
    use messages::api_versions::request::*;

    let bytes = "066e616d65310976657273696f6e32000000000400";
    let message = ApiVersionsRequest {
        client_software_name: "name1".into(),
        client_software_version: "version2".into(),
        cluster_id: None,
        node_id: 4,
    };
    is_written_as(&message, 5, bytes);
}

#[test]
fn an_api_versions_response_of_version_0_has_these_bytes() {
    use messages::api_versions::response::*;

    let bytes = "000100000001000300040005";
    let message = ApiVersionsResponse {
        error_code: 1,
        api_keys: vec![ApiKey { api_key: 3, min_version: 4, max_version: 5 }].into(),
        ..Default::default()
    };
    is_written_as(&message, 0, bytes);
}

#[test]
fn an_api_versions_response_of_version_4_has_these_bytes() {
    use messages::api_versions::response::*;

    let bytes = "000102000300040005000060000004000c02066e616d65380009000a000108000000000000000b021903076e616d6531 \
        33000e000f00076e616d6531360011001200030101";
    let message = ApiVersionsResponse {
        error_code: 1,
        api_keys: vec![ApiKey { api_key: 3, min_version: 4, max_version: 5 }].into(),
        throttle_time_ms: 6_291_456,
        supported_features: vec![SupportedFeature { name: "name8".into(), min_version: 9, max_version: 10 }]
            .into(),
        finalized_features_epoch: 11,
        finalized_features: vec![
            FinalizedFeature { name: "name13".into(), max_version_level: 14, min_version_level: 15 },
            FinalizedFeature { name: "name16".into(), max_version_level: 17, min_version_level: 18 },
        ]
        .into(),
        zk_migration_ready: true,
    };
    is_written_as(&message, 4, bytes);
}

#[test]
fn a_metadata_request_of_version_1_has_these_bytes() {
    use messages::metadata::request::*;

    let bytes = "0000000100056e616d6533";
    let message = MetadataRequest {
        topics: Some(vec![Topic { name: Some("name3".into()), ..Default::default() }].into()),
        ..Default::default()
    };
    is_written_as(&message, 1, bytes);
}

#[test]
fn a_metadata_request_of_version_12_has_these_bytes() {
    use messages::metadata::request::*;

    let bytes = "0203030303030303030303030303030303066e616d653500000100";
    let message = MetadataRequest {
        topics: Some(vec![Topic { topic_id: Uuid([3; 16]), name: Some("name5".into()) }].into()),
        allow_auto_topic_creation: false,
        include_topic_authorized_operations: true,
        ..Default::default()
    };
    is_written_as(&message, 12, bytes);
}

#[test]
fn a_metadata_response_of_version_5_has_these_bytes() {
    use messages::metadata::response::*;

    let bytes = "0000000100000001003000000005686f73743400000005ffff00036964380090000000000001000b00066e616d653132 \
        0100000001000f000000100000001100000001000000130000000201500000000000160000000101800000";
    let message = MetadataResponse {
        throttle_time_ms: 1,
        brokers: vec![Broker { node_id: 3_145_728, host: "host4".into(), port: 5, rack: None }].into(),
        cluster_id: Some("id8".into()),
        controller_id: 9_437_184,
        topics: vec![Topic {
            error_code: 11,
            name: Some("name12".into()),
            is_internal: true,
            partitions: vec![Partition {
                error_code: 15,
                partition_index: 16,
                leader_id: 17,
                replica_nodes: vec![19].into(),
                isr_nodes: vec![22_020_096, 22].into(),
                offline_replicas: vec![25_165_824].into(),
                ..Default::default()
            }]
            .into(),
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    };
    is_written_as(&message, 5, bytes);
}

#[test]
fn a_metadata_response_of_version_13_has_these_bytes() {
    use messages::metadata::response::*;

    let bytes = "00000001020030000006686f737434000000050000046964380090000002000b000d0d0d0d0d0d0d0d0d0d0d0d0d0d0d \
        0d000200100000001101200000000000130301500000000000160201800000020000001a0001b0000000001c00";
    let message = MetadataResponse {
        throttle_time_ms: 1,
        brokers: vec![Broker { node_id: 3_145_728, host: "host4".into(), port: 5, rack: None }].into(),
        cluster_id: Some("id8".into()),
        controller_id: 9_437_184,
        topics: vec![Topic {
            error_code: 11,
            name: None,
            topic_id: Uuid([13; 16]),
            is_internal: false,
            partitions: vec![Partition {
                error_code: 16,
                partition_index: 17,
                leader_id: 18_874_368,
                leader_epoch: 19,
                replica_nodes: vec![22_020_096, 22].into(),
                isr_nodes: vec![25_165_824].into(),
                offline_replicas: vec![26].into(),
            }]
            .into(),
            topic_authorized_operations: 28_311_552,
        }]
        .into(),
        error_code: 28,
        ..Default::default()
    };
    is_written_as(&message, 13, bytes);
}

#[test]
fn a_sasl_authenticate_request_of_version_2_has_these_bytes() {
    use messages::sasl_authenticate::request::*;

    let bytes = "040100ff00";
    let message = SaslAuthenticateRequest { auth_bytes: vec![1, 0, 255].into() };
    is_written_as(&message, 2, bytes);
}

#[test]
fn a_request_header_of_version_1_has_these_bytes() {
    use messages::header::*;

    let bytes = "00010002003000000003696435";
    let message = RequestHeader {
        request_api_key: 1,
        request_api_version: 2,
        correlation_id: 3_145_728,
        client_id: Some("id5".into()),
    };
    is_written_as(&message, 1, bytes);
}

#[test]
fn a_request_header_of_version_2_has_these_bytes() {
    use messages::header::*;

    let bytes = "0001000200300000000369643500";
    let message = RequestHeader {
        request_api_key: 1,
        request_api_version: 2,
        correlation_id: 3_145_728,
        client_id: Some("id5".into()),
    };
    is_written_as(&message, 2, bytes);
}

#[test]
fn a_response_header_of_version_0_has_these_bytes() {
    use messages::header::*;

    let bytes = "00000001";
    let message = ResponseHeader { correlation_id: 1 };
    is_written_as(&message, 0, bytes);
}

#[test]
fn a_response_header_of_version_1_has_these_bytes() {
    use messages::header::*;

    let bytes = "0000000100";
    let message = ResponseHeader { correlation_id: 1 };
    is_written_as(&message, 1, bytes);
}

#[test]
fn a_describe_cluster_response_of_version_2_has_these_bytes() {
    use messages::describe_cluster::response::*;

    let bytes = "00000001000200040469643500600000020000000806686f7374390000000a077261636b313201000000000e00";
    let message = DescribeClusterResponse {
        throttle_time_ms: 1,
        error_code: 2,
        error_message: None,
        endpoint_type: 4,
        cluster_id: "id5".into(),
        controller_id: 6_291_456,
        brokers: vec![Broker {
            broker_id: 8,
            host: "host9".into(),
            port: 10,
            rack: Some("rack12".into()),
            is_fenced: true,
        }]
        .into(),
        cluster_authorized_operations: 14,
    };
    is_written_as(&message, 2, bytes);
}

#[test]
fn a_describe_topic_partitions_request_of_version_0_has_these_bytes() {
    use messages::describe_topic_partitions::request::*;

    let bytes = "02066e616d6532000030000001066e616d6535006000000000";
    let message = DescribeTopicPartitionsRequest {
        topics: vec![Topic { name: "name2".into() }].into(),
        response_partition_limit: 3_145_728,
        cursor: Some(Cursor { topic_name: "name5".into(), partition_index: 6_291_456 }),
    };
    is_written_as(&message, 0, bytes);
}
