//! Bytes of messages about administration.

use super::*;

#[test]
fn a_create_topics_request_of_version_7_has_these_bytes() {
    use messages::create_topics::request::*;

    let bytes =
        "02066e616d6532003000000004020060000002000000080002076e616d6531300876616c7565313200000000000d0000";
    let message = CreateTopicsRequest {
        topics: vec![Topic {
            name: "name2".into(),
            num_partitions: 3_145_728,
            replication_factor: 4,
            assignments: vec![Assignment { partition_index: 6_291_456, broker_ids: vec![8].into() }].into(),
            configs: vec![Config { name: "name10".into(), value: Some("value12".into()) }].into(),
        }]
        .into(),
        timeout_ms: 13,
        validate_only: false,
    };
    is_written_as(&message, 7, bytes);
}

#[test]
fn a_create_topics_response_of_version_7_has_these_bytes() {
    use messages::create_topics::response::*;

    let bytes = "0000000102066e616d65330404040404040404040404040404040400050000000008000902076e616d6531320876616c \
        7565313401100100010002000700";
    let message = CreateTopicsResponse {
        throttle_time_ms: 1,
        topics: vec![Topic {
            name: "name3".into(),
            topic_id: Uuid([4; 16]),
            error_code: 5,
            error_message: None,
            topic_config_error_code: 7,
            num_partitions: 8,
            replication_factor: 9,
            configs: Some(
                vec![Config {
                    name: "name12".into(),
                    value: Some("value14".into()),
                    read_only: true,
                    config_source: 16,
                    is_sensitive: true,
                }]
                .into(),
            ),
        }]
        .into(),
    };
    is_written_as(&message, 7, bytes);
}

#[test]
fn a_describe_configs_response_of_version_4_has_these_bytes() {
    use messages::describe_configs::response::*;

    let bytes = "00000001020003096d6573736167653506066e616d653703066e616d65390876616c75653131000d0002076e616d6531 \
        360876616c756531381300140000076e616d6532320876616c75653234011a0103076e616d653239001f00076e616d65 \
        33320022002300000000";
    let message = DescribeConfigsResponse {
        throttle_time_ms: 1,
        results: vec![DescribeConfigsResult {
            error_code: 3,
            error_message: Some("message5".into()),
            resource_type: 6,
            resource_name: "name7".into(),
            configs: vec![
                Config {
                    name: "name9".into(),
                    value: Some("value11".into()),
                    read_only: false,
                    config_source: 13,
                    is_sensitive: false,
                    synonyms: vec![Synonym {
                        name: "name16".into(),
                        value: Some("value18".into()),
                        source: 19,
                    }]
                    .into(),
                    config_type: 20,
                    documentation: None,
                },
                Config {
                    name: "name22".into(),
                    value: Some("value24".into()),
                    read_only: true,
                    config_source: 26,
                    is_sensitive: true,
                    synonyms: vec![
                        Synonym { name: "name29".into(), value: None, source: 31 },
                        Synonym { name: "name32".into(), value: None, source: 34 },
                    ]
                    .into(),
                    config_type: 35,
                    documentation: None,
                },
            ]
            .into(),
        }]
        .into(),
    };
    is_written_as(&message, 4, bytes);
}

#[test]
fn a_delete_topics_request_of_version_6_has_these_bytes() {
    use messages::delete_topics::request::*;

    let bytes = "02066e616d653304040404040404040404040404040404000000000500";
    let message = DeleteTopicsRequest {
        topics: vec![Topic { name: Some("name3".into()), topic_id: Uuid([4; 16]) }].into(),
        timeout_ms: 5,
        ..Default::default()
    };
    is_written_as(&message, 6, bytes);
}

#[test]
fn a_describe_client_quotas_response_of_version_1_has_these_bytes() {
    use messages::describe_client_quotas::response::*;

    let bytes = "000000010002000202067479706537066e616d65390002066b657931314029000000000000000000";
    let message = DescribeClientQuotasResponse {
        throttle_time_ms: 1,
        error_code: 2,
        error_message: None,
        entries: Some(
            vec![Entry {
                entity: vec![Entity { entity_type: "type7".into(), entity_name: Some("name9".into()) }]
                    .into(),
                values: vec![Value { key: "key11".into(), value: 12.5 }].into(),
            }]
            .into(),
        ),
    };
    is_written_as(&message, 1, bytes);
}

#[test]
fn a_describe_quorum_response_of_version_2_has_these_bytes() {
    use messages::describe_quorum::response::*;

    let bytes = "0001096d6573736167653303066e616d653502000000070008000000000a0000000bfffff40000000000020000000e0f \
        0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f00000000000000100000000000000011ffffee0000000000000200000014151515 \
        1515151515151515151515151500000000000000160000000000000017ffffe80000000000000000076e616d65323502 \
        01b00000001c0a6d65737361676533300000001f00000020ffffdf000000000002000000232424242424242424242424 \
        242424242400000000000000250000000000000026ffffd900000000000003000000292a2a2a2a2a2a2a2a2a2a2a2a2a \
        2a2a2a000000000000002b000000000000002cffffd30000000000000000002e2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f \
        ffffd0000000000000000000000000310000000000000032000000020000003402076e616d65353407686f7374353500 \
        38000000";
    let message = DescribeQuorumResponse {
        error_code: 1,
        error_message: Some("message3".into()),
        topics: vec![
            Topic {
                topic_name: "name5".into(),
                partitions: vec![Partition {
                    partition_index: 7,
                    error_code: 8,
                    error_message: None,
                    leader_id: 10,
                    leader_epoch: 11,
                    high_watermark: -13_194_139_533_312,
                    current_voters: vec![ReplicaState {
                        replica_id: 14,
                        replica_directory_id: Uuid([15; 16]),
                        log_end_offset: 16,
                        last_fetch_timestamp: 17,
                        last_caught_up_timestamp: -19_791_209_299_968,
                    }]
                    .into(),
                    observers: vec![ReplicaState {
                        replica_id: 20,
                        replica_directory_id: Uuid([21; 16]),
                        log_end_offset: 22,
                        last_fetch_timestamp: 23,
                        last_caught_up_timestamp: -26_388_279_066_624,
                    }]
                    .into(),
                }]
                .into(),
            },
            Topic {
                topic_name: "name25".into(),
                partitions: vec![Partition {
                    partition_index: 28_311_552,
                    error_code: 28,
                    error_message: Some("message30".into()),
                    leader_id: 31,
                    leader_epoch: 32,
                    high_watermark: -36_283_883_716_608,
                    current_voters: vec![ReplicaState {
                        replica_id: 35,
                        replica_directory_id: Uuid([36; 16]),
                        log_end_offset: 37,
                        last_fetch_timestamp: 38,
                        last_caught_up_timestamp: -42_880_953_483_264,
                    }]
                    .into(),
                    observers: vec![
                        ReplicaState {
                            replica_id: 41,
                            replica_directory_id: Uuid([42; 16]),
                            log_end_offset: 43,
                            last_fetch_timestamp: 44,
                            last_caught_up_timestamp: -49_478_023_249_920,
                        },
                        ReplicaState {
                            replica_id: 46,
                            replica_directory_id: Uuid([47; 16]),
                            log_end_offset: -52_776_558_133_248,
                            last_fetch_timestamp: 49,
                            last_caught_up_timestamp: 50,
                        },
                    ]
                    .into(),
                }]
                .into(),
            },
        ]
        .into(),
        nodes: vec![Node {
            node_id: 52,
            listeners: vec![Listener { name: "name54".into(), host: "host55".into(), port: 56 }].into(),
        }]
        .into(),
    };
    is_written_as(&message, 2, bytes);
}

#[test]
fn a_describe_acls_response_of_version_3_has_these_bytes() {
    use messages::describe_acls::response::*;

    let bytes = "000000010002000305066e616d653607030b7072696e636970616c3907686f737431300b0c000c7072696e636970616c \
        313307686f737431340f10000011076e616d65313813030c7072696e636970616c323107686f737432321718000c7072 \
        696e636970616c323507686f737432361b1c000000";
    let message = DescribeAclsResponse {
        throttle_time_ms: 1,
        error_code: 2,
        error_message: None,
        resources: vec![
            Resource {
                resource_type: 5,
                resource_name: "name6".into(),
                pattern_type: 7,
                acls: vec![
                    Acl {
                        principal: "principal9".into(),
                        host: "host10".into(),
                        operation: 11,
                        permission_type: 12,
                    },
                    Acl {
                        principal: "principal13".into(),
                        host: "host14".into(),
                        operation: 15,
                        permission_type: 16,
                    },
                ]
                .into(),
            },
            Resource {
                resource_type: 17,
                resource_name: "name18".into(),
                pattern_type: 19,
                acls: vec![
                    Acl {
                        principal: "principal21".into(),
                        host: "host22".into(),
                        operation: 23,
                        permission_type: 24,
                    },
                    Acl {
                        principal: "principal25".into(),
                        host: "host26".into(),
                        operation: 27,
                        permission_type: 28,
                    },
                ]
                .into(),
            },
        ]
        .into(),
    };
    is_written_as(&message, 3, bytes);
}

#[test]
fn an_alter_user_scram_credentials_request_of_version_0_has_these_bytes() {
    use messages::alter_user_scram_credentials::request::*;

    let bytes = "02066e616d6532030003066e616d65350600000007040800ff040900ff00076e616d6531300b00c00000040d00ff040e \
        00ff0000";
    let message = AlterUserScramCredentialsRequest {
        deletions: vec![Deletion { name: "name2".into(), mechanism: 3 }].into(),
        upsertions: vec![
            Upsertion {
                name: "name5".into(),
                mechanism: 6,
                iterations: 7,
                salt: vec![8, 0, 255].into(),
                salted_password: vec![9, 0, 255].into(),
            },
            Upsertion {
                name: "name10".into(),
                mechanism: 11,
                iterations: 12_582_912,
                salt: vec![13, 0, 255].into(),
                salted_password: vec![14, 0, 255].into(),
            },
        ]
        .into(),
    };
    is_written_as(&message, 0, bytes);
}

#[test]
fn a_describe_log_dirs_response_of_version_5_has_these_bytes() {
    use messages::describe_log_dirs::response::*;

    let bytes = "000000010002020004056469723502066e616d65370300900000000000000000000a000000000000000b00000000000d \
        000000000000000efffff100000000000000000000000000000011ffffee0000000000010000";
    let message = DescribeLogDirsResponse {
        throttle_time_ms: 1,
        error_code: 2,
        results: vec![DescribeLogDirsResult {
            error_code: 4,
            log_dir: "dir5".into(),
            topics: vec![Topic {
                name: "name7".into(),
                partitions: vec![
                    Partition {
                        partition_index: 9_437_184,
                        partition_size: 10,
                        offset_lag: 11,
                        is_future_key: false,
                    },
                    Partition {
                        partition_index: 13,
                        partition_size: 14,
                        offset_lag: -16_492_674_416_640,
                        is_future_key: false,
                    },
                ]
                .into(),
            }]
            .into(),
            total_bytes: 17,
            usable_bytes: -19_791_209_299_968,
            is_cordoned: true,
        }]
        .into(),
    };
    is_written_as(&message, 5, bytes);
}
