//! Bytes of messages about records.

use super::*;

#[test]
fn a_produce_request_of_version_3_has_these_bytes() {
    use messages::produce::request::*;

    let bytes = "00036964320003000000040000000100056e616d65360000000100000008000000077265636f726473";
    let message = ProduceRequest {
        transactional_id: Some("id2".into()),
        acks: 3,
        timeout_ms: 4,
        topic_data: vec![TopicData {
            name: "name6".into(),
            partition_data: vec![PartitionData { index: 8, records: Some(Records::from(&b"records"[..])) }]
                .into(),
            ..Default::default()
        }]
        .into(),
    };
    is_written_as(&message, 3, bytes);
}

#[test]
fn a_produce_request_of_version_9_has_these_bytes() {
    use messages::produce::request::*;

    let bytes = "0469643200030000000402066e616d65360200000008087265636f726473000000";
    let message = ProduceRequest {
        transactional_id: Some("id2".into()),
        acks: 3,
        timeout_ms: 4,
        topic_data: vec![TopicData {
            name: "name6".into(),
            partition_data: vec![PartitionData { index: 8, records: Some(Records::from(&b"records"[..])) }]
                .into(),
            ..Default::default()
        }]
        .into(),
    };
    is_written_as(&message, 9, bytes);
}

#[test]
fn a_produce_request_of_version_13_has_these_bytes() {
    use messages::produce::request::*;

    let bytes = "0469643200030000000402060606060606060606060606060606060200000008087265636f726473000000";
    let message = ProduceRequest {
        transactional_id: Some("id2".into()),
        acks: 3,
        timeout_ms: 4,
        topic_data: vec![TopicData {
            topic_id: Uuid([6; 16]),
            partition_data: vec![PartitionData { index: 8, records: Some(Records::from(&b"records"[..])) }]
                .into(),
            ..Default::default()
        }]
        .into(),
    };
    is_written_as(&message, 13, bytes);
}

#[test]
fn a_produce_response_of_version_5_has_these_bytes() {
    use messages::produce::response::*;

    let bytes = "0000000100056e616d653200000001000000040005fffffa000000000000000000000000070000000000000008009000 \
        00";
    let message = ProduceResponse {
        responses: vec![TopicProduceResponse {
            name: "name2".into(),
            partition_responses: vec![PartitionResponse {
                index: 4,
                error_code: 5,
                base_offset: -6_597_069_766_656,
                log_append_time_ms: 7,
                log_start_offset: 8,
                ..Default::default()
            }]
            .into(),
            ..Default::default()
        }]
        .into(),
        throttle_time_ms: 9_437_184,
        ..Default::default()
    };
    is_written_as(&message, 5, bytes);
}

#[test]
fn a_produce_response_of_version_10_has_these_bytes() {
    use messages::produce::response::*;

    let bytes = "02066e616d653202000000040005fffffa000000000000000000000000070000000000000008020000000a0a6d657373 \
        6167653132000a6d657373616765313401000900f0000000000010000000000011010018020000001307686f73743230 \
        01500000077261636b323300";
    let message = ProduceResponse {
        responses: vec![TopicProduceResponse {
            name: "name2".into(),
            partition_responses: vec![PartitionResponse {
                index: 4,
                error_code: 5,
                base_offset: -6_597_069_766_656,
                log_append_time_ms: 7,
                log_start_offset: 8,
                record_errors: vec![RecordError {
                    batch_index: 10,
                    batch_index_error_message: Some("message12".into()),
                }]
                .into(),
                error_message: Some("message14".into()),
                current_leader: CurrentLeader { leader_id: 15_728_640, leader_epoch: 16 },
            }]
            .into(),
            ..Default::default()
        }]
        .into(),
        throttle_time_ms: 17,
        node_endpoints: vec![NodeEndpoint {
            node_id: 19,
            host: "host20".into(),
            port: 22_020_096,
            rack: Some("rack23".into()),
        }]
        .into(),
    };
    is_written_as(&message, 10, bytes);
}

#[test]
fn a_fetch_request_of_version_4_has_these_bytes() {
    use messages::fetch::request::*;

    let bytes = "0000000100000002003000000000000405000000010006746f706963370000000200900000000000000000000a000000 \
        0b00c00000000000000000000d0000000e";
    let message = FetchRequest {
        replica_id: 1,
        max_wait_ms: 2,
        min_bytes: 3_145_728,
        max_bytes: 4,
        isolation_level: 5,
        topics: vec![Topic {
            topic: "topic7".into(),
            partitions: vec![
                Partition {
                    partition: 9_437_184,
                    fetch_offset: 10,
                    partition_max_bytes: 11,
                    ..Default::default()
                },
                Partition {
                    partition: 12_582_912,
                    fetch_offset: 13,
                    partition_max_bytes: 14,
                    ..Default::default()
                },
            ]
            .into(),
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    };
    is_written_as(&message, 4, bytes);
}

#[test]
fn a_fetch_request_of_version_12_has_these_bytes() {
    use messages::fetch::request::*;

    let bytes = "003000000000000400000005006000000700000008009000000208746f7069633131030000000d0000000efffff10000 \
        00000000000010000000000000001101200000000000001300000014ffffeb0000000000000000160000000000000017 \
        0180000000000208746f7069633236020000001c00056964323901000404696432";
    let message = FetchRequest {
        cluster_id: Some("id2".into()),
        replica_id: 3_145_728,
        max_wait_ms: 4,
        min_bytes: 5,
        max_bytes: 6_291_456,
        isolation_level: 7,
        session_id: 8,
        session_epoch: 9_437_184,
        topics: vec![Topic {
            topic: "topic11".into(),
            partitions: vec![
                Partition {
                    partition: 13,
                    current_leader_epoch: 14,
                    fetch_offset: -16_492_674_416_640,
                    last_fetched_epoch: 16,
                    log_start_offset: 17,
                    partition_max_bytes: 18_874_368,
                    ..Default::default()
                },
                Partition {
                    partition: 19,
                    current_leader_epoch: 20,
                    fetch_offset: -23_089_744_183_296,
                    last_fetched_epoch: 22,
                    log_start_offset: 23,
                    partition_max_bytes: 25_165_824,
                    ..Default::default()
                },
            ]
            .into(),
            ..Default::default()
        }]
        .into(),
        forgotten_topics_data: vec![ForgottenTopicsData {
            topic: "topic26".into(),
            partitions: vec![28].into(),
            ..Default::default()
        }]
        .into(),
        rack_id: "id29".into(),
        ..Default::default()
    };
    is_written_as(&message, 12, bytes);
}

#[test]
fn a_fetch_request_of_version_17_has_these_bytes() {
    use messages::fetch::request::*;

    let bytes = "00000005006000000000000708009000000000000a020c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c020000000e00f0000000 \
        0000000000001000000011ffffee00000000000000001301001014141414141414141414141414141414000216161616 \
        161616161616161616161616020180000000056964323502000404696432010d00300000000000000000000400";
    let message = FetchRequest {
        cluster_id: Some("id2".into()),
        replica_state: ReplicaState { replica_id: 3_145_728, replica_epoch: 4 },
        max_wait_ms: 5,
        min_bytes: 6_291_456,
        max_bytes: 7,
        isolation_level: 8,
        session_id: 9_437_184,
        session_epoch: 10,
        topics: vec![Topic {
            topic_id: Uuid([12; 16]),
            partitions: vec![Partition {
                partition: 14,
                current_leader_epoch: 15_728_640,
                fetch_offset: 16,
                last_fetched_epoch: 17,
                log_start_offset: -19_791_209_299_968,
                partition_max_bytes: 19,
                replica_directory_id: Uuid([20; 16]),
                ..Default::default()
            }]
            .into(),
            ..Default::default()
        }]
        .into(),
        forgotten_topics_data: vec![ForgottenTopicsData {
            topic_id: Uuid([22; 16]),
            partitions: vec![25_165_824].into(),
            ..Default::default()
        }]
        .into(),
        rack_id: "id25".into(),
        ..Default::default()
    };
    is_written_as(&message, 17, bytes);
}

#[test]
fn a_fetch_response_of_version_11_has_these_bytes() {
    use messages::fetch::response::*;

    let bytes = "00000001000200300000000000020006746f7069633500000001000000070008fffff70000000000000000000000000a \
        000000000000000bffffffff0000000d000000077265636f7264730007746f7069633135000000020000001100120000 \
        0000000000130000000000000014ffffeb000000000000000001ffffe8000000000000000000000000190000001a0000 \
        00077265636f7264730000001c001dffffe20000000000000000000000001f0000000000000020ffffffff0000002200 \
        0000077265636f726473";
    let message = FetchResponse {
        throttle_time_ms: 1,
        error_code: 2,
        session_id: 3_145_728,
        responses: vec![
            FetchableTopicResponse {
                topic: "topic5".into(),
                partitions: vec![Partition {
                    partition_index: 7,
                    error_code: 8,
                    high_watermark: -9_895_604_649_984,
                    last_stable_offset: 10,
                    log_start_offset: 11,
                    aborted_transactions: None,
                    preferred_read_replica: 13,
                    records: Some(Records::from(&b"records"[..])),
                    ..Default::default()
                }]
                .into(),
                ..Default::default()
            },
            FetchableTopicResponse {
                topic: "topic15".into(),
                partitions: vec![
                    Partition {
                        partition_index: 17,
                        error_code: 18,
                        high_watermark: 19,
                        last_stable_offset: 20,
                        log_start_offset: -23_089_744_183_296,
                        aborted_transactions: Some(
                            vec![AbortedTransaction { producer_id: -26_388_279_066_624, first_offset: 25 }]
                                .into(),
                        ),
                        preferred_read_replica: 26,
                        records: Some(Records::from(&b"records"[..])),
                        ..Default::default()
                    },
                    Partition {
                        partition_index: 28,
                        error_code: 29,
                        high_watermark: -32_985_348_833_280,
                        last_stable_offset: 31,
                        log_start_offset: 32,
                        aborted_transactions: None,
                        preferred_read_replica: 34,
                        records: Some(Records::from(&b"records"[..])),
                        ..Default::default()
                    },
                ]
                .into(),
                ..Default::default()
            },
        ]
        .into(),
        ..Default::default()
    };
    is_written_as(&message, 11, bytes);
}

#[test]
fn a_fetch_response_of_version_17_has_these_bytes() {
    use messages::fetch::response::*;

    let bytes = "00000001000200300000030505050505050505050505050505050502000000070008fffff70000000000000000000000 \
        000a000000000000000b0000000013087265636f72647303000d00c00000000000000000000d0001090000000e00f000 \
        0000020d0000000000000010000000110000151515151515151515151515151515150200000017001800000000000000 \
        19000000000000001affffe5000000000002ffffdc000000000000000000000000250000000026087265636f72647303 \
        000d0000001c000000000000001d00010901e000000000001f00020d000000000000002002100000000001002f030000 \
        002907686f737434320000002b077261636b3435000000002e07686f7374343703000000077261636b353000";
    let message = FetchResponse {
        throttle_time_ms: 1,
        error_code: 2,
        session_id: 3_145_728,
        responses: vec![
            FetchableTopicResponse {
                topic_id: Uuid([5; 16]),
                partitions: vec![Partition {
                    partition_index: 7,
                    error_code: 8,
                    high_watermark: -9_895_604_649_984,
                    last_stable_offset: 10,
                    log_start_offset: 11,
                    diverging_epoch: DivergingEpoch { epoch: 12_582_912, end_offset: 13 },
                    current_leader: CurrentLeader { leader_id: 14, leader_epoch: 15_728_640 },
                    snapshot_id: SnapshotId { end_offset: 16, epoch: 17 },
                    aborted_transactions: None,
                    preferred_read_replica: 19,
                    records: Some(Records::from(&b"records"[..])),
                }]
                .into(),
                ..Default::default()
            },
            FetchableTopicResponse {
                topic_id: Uuid([21; 16]),
                partitions: vec![Partition {
                    partition_index: 23,
                    error_code: 24,
                    high_watermark: 25,
                    last_stable_offset: 26,
                    log_start_offset: -29_686_813_949_952,
                    diverging_epoch: DivergingEpoch { epoch: 28, end_offset: 29 },
                    current_leader: CurrentLeader { leader_id: 31_457_280, leader_epoch: 31 },
                    snapshot_id: SnapshotId { end_offset: 32, epoch: 34_603_008 },
                    aborted_transactions: Some(
                        vec![AbortedTransaction { producer_id: -39_582_418_599_936, first_offset: 37 }]
                            .into(),
                    ),
                    preferred_read_replica: 38,
                    records: Some(Records::from(&b"records"[..])),
                }]
                .into(),
                ..Default::default()
            },
        ]
        .into(),
        node_endpoints: vec![
            NodeEndpoint { node_id: 41, host: "host42".into(), port: 43, rack: Some("rack45".into()) },
            NodeEndpoint {
                node_id: 46,
                host: "host47".into(),
                port: 50_331_648,
                rack: Some("rack50".into()),
            },
        ]
        .into(),
    };
    is_written_as(&message, 17, bytes);
}

#[test]
fn a_list_offsets_request_of_version_11_has_these_bytes() {
    use messages::list_offsets::request::*;

    let bytes = "000000010202066e616d6534020060000000000007000000000000000800000090000000";
    let message = ListOffsetsRequest {
        replica_id: 1,
        isolation_level: 2,
        topics: vec![Topic {
            name: "name4".into(),
            partitions: vec![Partition { partition_index: 6_291_456, current_leader_epoch: 7, timestamp: 8 }]
                .into(),
        }]
        .into(),
        timeout_ms: 9_437_184,
    };
    is_written_as(&message, 11, bytes);
}

#[test]
fn a_list_offsets_response_of_version_1_has_these_bytes() {
    use messages::list_offsets::response::*;

    let bytes = "0000000100056e616d653200000001000000040005fffffa00000000000000000000000007";
    let message = ListOffsetsResponse {
        topics: vec![Topic {
            name: "name2".into(),
            partitions: vec![Partition {
                partition_index: 4,
                error_code: 5,
                timestamp: -6_597_069_766_656,
                offset: 7,
                ..Default::default()
            }]
            .into(),
        }]
        .into(),
        ..Default::default()
    };
    is_written_as(&message, 1, bytes);
}

#[test]
fn an_offset_for_leader_epoch_request_of_version_4_has_these_bytes() {
    use messages::offset_for_leader_epoch::request::*;

    let bytes = "000000010207746f70696333030000000500600000000000070000000008009000000000000a000000";
    let message = OffsetForLeaderEpochRequest {
        replica_id: 1,
        topics: vec![Topic {
            topic: "topic3".into(),
            partitions: vec![
                Partition { partition: 5, current_leader_epoch: 6_291_456, leader_epoch: 7 },
                Partition { partition: 8, current_leader_epoch: 9_437_184, leader_epoch: 10 },
            ]
            .into(),
        }]
        .into(),
    };
    is_written_as(&message, 4, bytes);
}
