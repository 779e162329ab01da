//! Bytes of messages about groups.

use super::*;

#[test]
fn an_offset_commit_request_of_version_2_has_these_bytes() {
    use messages::offset_commit::request::*;

    let bytes = "000369643100000002000369643300000000000000040000000100056e616d65360000000100000008fffff700000000 \
        00000a6d657461646174613131";
    let message = OffsetCommitRequest {
        group_id: "id1".into(),
        generation_id_or_member_epoch: 2,
        member_id: "id3".into(),
        retention_time_ms: 4,
        topics: vec![Topic {
            name: "name6".into(),
            partitions: vec![Partition {
                partition_index: 8,
                committed_offset: -9_895_604_649_984,
                committed_metadata: Some("metadata11".into()),
                ..Default::default()
            }]
            .into(),
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    };
    is_written_as(&message, 2, bytes);
}

#[test]
fn an_offset_commit_request_of_version_10_has_these_bytes() {
    use messages::offset_commit::request::*;

    let bytes = "0469643100000002046964330469643502070707070707070707070707070707070300900000000000000000000a0000 \
        000b00000000000d000000000000000e00f000000b6d657461646174613137000000";
    let message = OffsetCommitRequest {
        group_id: "id1".into(),
        generation_id_or_member_epoch: 2,
        member_id: "id3".into(),
        group_instance_id: Some("id5".into()),
        topics: vec![Topic {
            topic_id: Uuid([7; 16]),
            partitions: vec![
                Partition {
                    partition_index: 9_437_184,
                    committed_offset: 10,
                    committed_leader_epoch: 11,
                    committed_metadata: None,
                },
                Partition {
                    partition_index: 13,
                    committed_offset: 14,
                    committed_leader_epoch: 15_728_640,
                    committed_metadata: Some("metadata17".into()),
                },
            ]
            .into(),
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    };
    is_written_as(&message, 10, bytes);
}

#[test]
fn an_offset_fetch_request_of_version_5_has_these_bytes() {
    use messages::offset_fetch::request::*;

    let bytes = "00036964310000000100056e616d65340000000100600000";
    let message = OffsetFetchRequest {
        group_id: "id1".into(),
        topics: Some(vec![Topic { name: "name4".into(), partition_indexes: vec![6_291_456].into() }].into()),
        ..Default::default()
    };
    is_written_as(&message, 5, bytes);
}

#[test]
fn an_offset_fetch_request_of_version_9_has_these_bytes() {
    use messages::offset_fetch::request::*;

    let bytes = "0204696432000000000402066e616d653703009000000000000a00000100";
    let message = OffsetFetchRequest {
        groups: vec![Group {
            group_id: "id2".into(),
            member_id: None,
            member_epoch: 4,
            topics: Some(
                vec![GroupTopic {
                    name: "name7".into(),
                    partition_indexes: vec![9_437_184, 10].into(),
                    ..Default::default()
                }]
                .into(),
            ),
        }]
        .into(),
        require_stable: true,
        ..Default::default()
    };
    is_written_as(&message, 9, bytes);
}

#[test]
fn an_offset_fetch_response_of_version_10_has_these_bytes() {
    use messages::offset_fetch::response::*;

    let bytes = "000000010204696433030505050505050505050505050505050502000000070000000000000008009000000b6d657461 \
        646174613131000c00000d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0200f000000000000000000010000000110000130000 \
        00140000";
    let message = OffsetFetchResponse {
        throttle_time_ms: 1,
        groups: vec![Group {
            group_id: "id3".into(),
            topics: vec![
                GroupTopic {
                    topic_id: Uuid([5; 16]),
                    partitions: vec![GroupTopicPartition {
                        partition_index: 7,
                        committed_offset: 8,
                        committed_leader_epoch: 9_437_184,
                        metadata: Some("metadata11".into()),
                        error_code: 12,
                    }]
                    .into(),
                    ..Default::default()
                },
                GroupTopic {
                    topic_id: Uuid([13; 16]),
                    partitions: vec![GroupTopicPartition {
                        partition_index: 15_728_640,
                        committed_offset: 16,
                        committed_leader_epoch: 17,
                        metadata: None,
                        error_code: 19,
                    }]
                    .into(),
                    ..Default::default()
                },
            ]
            .into(),
            error_code: 20,
        }]
        .into(),
        ..Default::default()
    };
    is_written_as(&message, 10, bytes);
}

#[test]
fn a_join_group_request_of_version_2_has_these_bytes() {
    use messages::join_group::request::*;

    let bytes = "000369643100000002003000000003696434000574797065350000000100056e616d6537000000030800ff";
    let message = JoinGroupRequest {
        group_id: "id1".into(),
        session_timeout_ms: 2,
        rebalance_timeout_ms: 3_145_728,
        member_id: "id4".into(),
        protocol_type: "type5".into(),
        protocols: vec![Protocol { name: "name7".into(), metadata: vec![8, 0, 255].into() }].into(),
        ..Default::default()
    };
    is_written_as(&message, 2, bytes);
}

#[test]
fn a_join_group_request_of_version_9_has_these_bytes() {
    use messages::join_group::request::*;

    let bytes = "046964310000000200300000046964340469643606747970653703066e616d6539040a00ff00076e616d653131040c00 \
        ff0009726561736f6e313400";
    let message = JoinGroupRequest {
        group_id: "id1".into(),
        session_timeout_ms: 2,
        rebalance_timeout_ms: 3_145_728,
        member_id: "id4".into(),
        group_instance_id: Some("id6".into()),
        protocol_type: "type7".into(),
        protocols: vec![
            Protocol { name: "name9".into(), metadata: vec![10, 0, 255].into() },
            Protocol { name: "name11".into(), metadata: vec![12, 0, 255].into() },
        ]
        .into(),
        reason: Some("reason14".into()),
    };
    is_written_as(&message, 9, bytes);
}

#[test]
fn a_join_group_response_of_version_9_has_these_bytes() {
    use messages::join_group::response::*;

    let bytes = "0000000100020030000006747970653500086c656164657237000469643902056964313100040d00ff0000";
    let message = JoinGroupResponse {
        throttle_time_ms: 1,
        error_code: 2,
        generation_id: 3_145_728,
        protocol_type: Some("type5".into()),
        protocol_name: None,
        leader: "leader7".into(),
        skip_assignment: false,
        member_id: "id9".into(),
        members: vec![Member {
            member_id: "id11".into(),
            group_instance_id: None,
            metadata: vec![13, 0, 255].into(),
        }]
        .into(),
    };
    is_written_as(&message, 9, bytes);
}

#[test]
fn a_sync_group_request_of_version_3_has_these_bytes() {
    use messages::sync_group::request::*;

    let bytes = "00036964310000000200036964330003696435000000010003696437000000030800ff";
    let message = SyncGroupRequest {
        group_id: "id1".into(),
        generation_id: 2,
        member_id: "id3".into(),
        group_instance_id: Some("id5".into()),
        assignments: vec![Assignment { member_id: "id7".into(), assignment: vec![8, 0, 255].into() }].into(),
        ..Default::default()
    };
    is_written_as(&message, 3, bytes);
}

#[test]
fn a_heartbeat_request_of_version_4_has_these_bytes() {
    use messages::heartbeat::request::*;

    let bytes = "0469643100000002046964330469643500";
    let message = HeartbeatRequest {
        group_id: "id1".into(),
        generation_id: 2,
        member_id: "id3".into(),
        group_instance_id: Some("id5".into()),
    };
    is_written_as(&message, 4, bytes);
}

#[test]
fn a_find_coordinator_request_of_version_2_has_these_bytes() {
    use messages::find_coordinator::request::*;

    let bytes = "00046b65793102";
    let message = FindCoordinatorRequest { key: "key1".into(), key_type: 2, ..Default::default() };
    is_written_as(&message, 2, bytes);
}

#[test]
fn a_find_coordinator_response_of_version_6_has_these_bytes() {
    use messages::find_coordinator::response::*;

    let bytes = "0000000102056b6579330000000406686f737435006000000007096d657373616765390000";
    let message = FindCoordinatorResponse {
        throttle_time_ms: 1,
        coordinators: vec![Coordinator {
            key: "key3".into(),
            node_id: 4,
            host: "host5".into(),
            port: 6_291_456,
            error_code: 7,
            error_message: Some("message9".into()),
        }]
        .into(),
        ..Default::default()
    };
    is_written_as(&message, 6, bytes);
}

#[test]
fn a_consumer_group_heartbeat_request_of_version_1_has_these_bytes() {
    use messages::consumer_group_heartbeat::request::*;

    let bytes = "04696431046964320030000004696435000000000702086e616d6573313008726567657831320b61737369676e6f7231 \
        340000";
    let message = ConsumerGroupHeartbeatRequest {
        group_id: "id1".into(),
        member_id: "id2".into(),
        member_epoch: 3_145_728,
        instance_id: Some("id5".into()),
        rack_id: None,
        rebalance_timeout_ms: 7,
        subscribed_topic_names: Some(vec!["names10".into()].into()),
        subscribed_topic_regex: Some("regex12".into()),
        server_assignor: Some("assignor14".into()),
        topic_partitions: None,
    };
    is_written_as(&message, 1, bytes);
}

#[test]
fn a_consumer_group_heartbeat_response_of_version_1_has_these_bytes() {
    use messages::consumer_group_heartbeat::response::*;

    let bytes = "0000000100020004696435006000000000000701020a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0200c00000000000";
    let message = ConsumerGroupHeartbeatResponse {
        throttle_time_ms: 1,
        error_code: 2,
        error_message: None,
        member_id: Some("id5".into()),
        member_epoch: 6_291_456,
        heartbeat_interval_ms: 7,
        assignment: Some(Assignment {
            topic_partitions: vec![TopicPartition {
                topic_id: Uuid([10; 16]),
                partitions: vec![12_582_912].into(),
            }]
            .into(),
        }),
    };
    is_written_as(&message, 1, bytes);
}

#[test]
fn a_consumer_group_describe_response_of_version_1_has_these_bytes() {
    use messages::consumer_group_describe::response::*;

    let bytes = "00000001020003096d6573736167653504696436077374617465370000000800900000076e616d653130020569643132 \
        05696431340000000010056964313707686f7374313802086e616d657332300002171717171717171717171717171717 \
        17076e616d653234020000001a0000021c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c076e616d653239020000001f00002000 \
        021000000000";
    let message = ConsumerGroupDescribeResponse {
        throttle_time_ms: 1,
        groups: vec![Group {
            error_code: 3,
            error_message: Some("message5".into()),
            group_id: "id6".into(),
            group_state: "state7".into(),
            group_epoch: 8,
            assignment_epoch: 9_437_184,
            assignor_name: "name10".into(),
            members: vec![Member {
                member_id: "id12".into(),
                instance_id: Some("id14".into()),
                rack_id: None,
                member_epoch: 16,
                client_id: "id17".into(),
                client_host: "host18".into(),
                subscribed_topic_names: vec!["names20".into()].into(),
                subscribed_topic_regex: None,
                assignment: Assignment {
                    topic_partitions: vec![TopicPartition {
                        topic_id: Uuid([23; 16]),
                        topic_name: "name24".into(),
                        partitions: vec![26].into(),
                    }]
                    .into(),
                },
                target_assignment: Assignment {
                    topic_partitions: vec![TopicPartition {
                        topic_id: Uuid([28; 16]),
                        topic_name: "name29".into(),
                        partitions: vec![31].into(),
                    }]
                    .into(),
                },
                member_type: 32,
            }]
            .into(),
            authorized_operations: 34_603_008,
        }]
        .into(),
    };
    is_written_as(&message, 1, bytes);
}

#[test]
fn a_consumer_protocol_subscription_of_version_3_has_these_bytes() {
    use messages::consumer_protocol::*;

    let bytes = "000000010007746f7069637332ffffffff000000020006746f7069633500000001000000070006746f70696338000000 \
        010000000a0000000bffff";
    let message = ConsumerProtocolSubscription {
        topics: vec!["topics2".into()].into(),
        user_data: None,
        owned_partitions: vec![
            OwnedPartition { topic: "topic5".into(), partitions: vec![7].into() },
            OwnedPartition { topic: "topic8".into(), partitions: vec![10].into() },
        ]
        .into(),
        generation_id: 11,
        rack_id: None,
    };
    is_written_as(&message, 3, bytes);
}

#[test]
fn a_consumer_protocol_assignment_of_version_0_has_these_bytes() {
    use messages::consumer_protocol::*;

    let bytes = "000000010006746f706963320000000100000004000000030600ff";
    let message = ConsumerProtocolAssignment {
        assigned_partitions: vec![AssignedPartition { topic: "topic2".into(), partitions: vec![4].into() }]
            .into(),
        user_data: Some(vec![6, 0, 255].into()),
    };
    is_written_as(&message, 0, bytes);
}
