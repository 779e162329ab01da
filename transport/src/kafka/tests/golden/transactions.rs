//! Bytes of messages about transactions.

use super::*;

#[test]
fn an_init_producer_id_request_of_version_5_has_these_bytes() {
    use messages::init_producer_id::request::*;

    let bytes = "04696432003000000000000000000004000500";
    let message = InitProducerIdRequest {
        transactional_id: Some("id2".into()),
        transaction_timeout_ms: 3_145_728,
        producer_id: 4,
        producer_epoch: 5,
    };
    is_written_as(&message, 5, bytes);
}

#[test]
fn an_add_partitions_to_txn_request_of_version_0_has_these_bytes() {
    use messages::add_partitions_to_txn::request::*;

    let bytes = "0003696431000000000000000200030000000200056e616d6535000000010000000700056e616d653800000001000000 \
        0a";
    let message = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "id1".into(),
        v3_and_below_producer_id: 2,
        v3_and_below_producer_epoch: 3,
        v3_and_below_topics: vec![
            AddPartitionsToTxnTopic { name: "name5".into(), partitions: vec![7].into() },
            AddPartitionsToTxnTopic { name: "name8".into(), partitions: vec![10].into() },
        ]
        .into(),
        ..Default::default()
    };
    is_written_as(&message, 0, bytes);
}

#[test]
fn an_add_partitions_to_txn_request_of_version_5_has_these_bytes() {
    use messages::add_partitions_to_txn::request::*;

    let bytes = "0204696432fffffd000000000000040102066e616d653703009000000000000a000000";
    let message = AddPartitionsToTxnRequest {
        transactions: vec![Transaction {
            transactional_id: "id2".into(),
            producer_id: -3_298_534_883_328,
            producer_epoch: 4,
            verify_only: true,
            topics: vec![AddPartitionsToTxnTopic {
                name: "name7".into(),
                partitions: vec![9_437_184, 10].into(),
            }]
            .into(),
        }]
        .into(),
        ..Default::default()
    };
    is_written_as(&message, 5, bytes);
}

#[test]
fn an_add_partitions_to_txn_response_of_version_5_has_these_bytes() {
    use messages::add_partitions_to_txn::response::*;

    let bytes = "000000010002020469643402066e616d65360200000008000900000000";
    let message = AddPartitionsToTxnResponse {
        throttle_time_ms: 1,
        error_code: 2,
        results_by_transaction: vec![ResultsByTransaction {
            transactional_id: "id4".into(),
            topic_results: vec![AddPartitionsToTxnTopicResult {
                name: "name6".into(),
                results_by_partition: vec![ResultsByPartition {
                    partition_index: 8,
                    partition_error_code: 9,
                }]
                .into(),
            }]
            .into(),
        }]
        .into(),
        ..Default::default()
    };
    is_written_as(&message, 5, bytes);
}

#[test]
fn a_txn_offset_commit_request_of_version_6_has_these_bytes() {
    use messages::txn_offset_commit::request::*;

    let bytes = "0469643104696432fffffd00000000000004000000050469643604696438020a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a02 \
        00c00000000000000000000d0000000e00000000";
    let message = TxnOffsetCommitRequest {
        transactional_id: "id1".into(),
        group_id: "id2".into(),
        producer_id: -3_298_534_883_328,
        producer_epoch: 4,
        generation_id_or_member_epoch: 5,
        member_id: "id6".into(),
        group_instance_id: Some("id8".into()),
        topics: vec![Topic {
            topic_id: Uuid([10; 16]),
            partitions: vec![Partition {
                partition_index: 12_582_912,
                committed_offset: 13,
                committed_leader_epoch: 14,
                committed_metadata: None,
            }]
            .into(),
            ..Default::default()
        }]
        .into(),
    };
    is_written_as(&message, 6, bytes);
}

#[test]
fn an_end_txn_response_of_version_5_has_these_bytes() {
    use messages::end_txn::response::*;

    let bytes = "000000010002fffffd0000000000000400";
    let message = EndTxnResponse {
        throttle_time_ms: 1,
        error_code: 2,
        producer_id: -3_298_534_883_328,
        producer_epoch: 4,
    };
    is_written_as(&message, 5, bytes);
}

#[test]
fn a_write_txn_markers_request_of_version_2_has_these_bytes() {
    use messages::write_txn_markers::request::*;

    let bytes = "02000000000000000200030002066e616d6536020000000800009000000a0000";
    let message = WriteTxnMarkersRequest {
        markers: vec![Marker {
            producer_id: 2,
            producer_epoch: 3,
            transaction_result: false,
            topics: vec![Topic { name: "name6".into(), partition_indexes: vec![8].into() }].into(),
            coordinator_epoch: 9_437_184,
            transaction_version: 10,
        }]
        .into(),
    };
    is_written_as(&message, 2, bytes);
}

#[test]
fn a_transaction_log_key_of_version_0_has_these_bytes() {
    use messages::transaction_log::*;

    let bytes = "0003696431";
    let message = TransactionLogKey { transactional_id: "id1".into() };
    is_written_as(&message, 0, bytes);
}

#[test]
fn a_transaction_log_value_of_version_0_has_these_bytes() {
    use messages::transaction_log::*;

    let bytes = "000000000000000100020030000004000000010006746f7069633700000002009000000000000a000000000000000bff \
        fff40000000000";
    let message = TransactionLogValue {
        producer_id: 1,
        producer_epoch: 2,
        transaction_timeout_ms: 3_145_728,
        transaction_status: 4,
        transaction_partitions: Some(
            vec![TransactionPartition { topic: "topic7".into(), partition_ids: vec![9_437_184, 10].into() }]
                .into(),
        ),
        transaction_last_update_timestamp_ms: 11,
        transaction_start_timestamp_ms: -13_194_139_533_312,
        ..Default::default()
    };
    is_written_as(&message, 0, bytes);
}

#[test]
fn a_transaction_log_value_of_version_1_has_these_bytes() {
    use messages::transaction_log::*;

    let bytes = "0000000000000001000400600000070208746f70696331300200c0000000000000000000000d000000000000000e0400 \
        0800000000000000020108fffffd00000000000202000f03020005";
    let message = TransactionLogValue {
        producer_id: 1,
        previous_producer_id: 2,
        next_producer_id: -3_298_534_883_328,
        producer_epoch: 4,
        next_producer_epoch: 5,
        transaction_timeout_ms: 6_291_456,
        transaction_status: 7,
        transaction_partitions: Some(
            vec![TransactionPartition { topic: "topic10".into(), partition_ids: vec![12_582_912].into() }]
                .into(),
        ),
        transaction_last_update_timestamp_ms: 13,
        transaction_start_timestamp_ms: 14,
        client_transaction_version: 15,
    };
    is_written_as(&message, 1, bytes);
}

#[test]
fn an_end_txn_marker_of_version_0_has_these_bytes() {
    use messages::control_record::*;

    let bytes = "00000001";
    let message = EndTxnMarker { coordinator_epoch: 1 };
    is_written_as(&message, 0, bytes);
}

#[test]
fn a_leader_change_message_of_version_1_has_these_bytes() {
    use messages::control_record::*;

    let bytes = "000100000002020000000405050505050505050505050505050505000200000007080808080808080808080808080808 \
        080000";
    let message = LeaderChangeMessage {
        version: 1,
        leader_id: 2,
        voters: vec![Voter { voter_id: 4, voter_directory_id: Uuid([5; 16]) }].into(),
        granting_voters: vec![Voter { voter_id: 7, voter_directory_id: Uuid([8; 16]) }].into(),
    };
    is_written_as(&message, 1, bytes);
}
