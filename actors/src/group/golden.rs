//! The bytes of the messages of version 1.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::message::{
    CommittedOffset, DeleteGroup, DescribeGroup, FindCoordinator, GroupDescription, GroupHeartbeat,
    GroupHeartbeatAnswer, GroupState, ListGroups, MemberDescription, OffsetCommit, OffsetDelete, OffsetFetch,
};
use crate::ids::{LeaderEpoch, Offset, PartitionId, TopicId};

fn hex(value: &impl Serialize) -> String {
    postcard::to_stdvec(value).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn partition() -> PartitionId {
    PartitionId { topic: TopicId(Uuid::from_bytes([0xab; 16])), index: 2 }
}

/// A topic's id has its length before it; an index of 2 is a 4, because signs are in the lowest bit.
const PARTITION: &str = "10abababababababababababababababab04";

#[test]
fn questions() {
    let group = || "g".to_owned();
    assert_eq!(hex(&FindCoordinator { group: group() }), "0167");
    assert_eq!(hex(&ListGroups {}), "");
    assert_eq!(hex(&DescribeGroup { group: group() }), "0167");
    assert_eq!(hex(&DeleteGroup { group: group() }), "0167");
    assert_eq!(hex(&OffsetFetch { group: group(), partitions: None }), "016700");
    assert_eq!(
        hex(&OffsetFetch { group: group(), partitions: Some(vec![partition()]) }),
        format!("01670101{PARTITION}")
    );
    assert_eq!(
        hex(&OffsetDelete { group: group(), partitions: vec![partition()] }),
        format!("016701{PARTITION}")
    );
    let committed =
        CommittedOffset { offset: Offset(64), leader_epoch: Some(LeaderEpoch(3)), metadata: "x".to_owned() };
    let commit = OffsetCommit {
        group: group(),
        member: "m".to_owned(),
        member_epoch: -1,
        offsets: vec![(partition(), committed)],
    };
    assert_eq!(hex(&commit), format!("0167016d0101{PARTITION}800101060178"));
}

#[test]
fn a_heartbeat() {
    let full = GroupHeartbeat {
        group: "g".to_owned(),
        member: "m".to_owned(),
        member_epoch: 5,
        instance: Some("i".to_owned()),
        client_id: "c".to_owned(),
        rebalance_timeout_ms: 300,
        topics: Some(vec!["t".to_owned()]),
        topic_pattern: Some(String::new()),
        assignor: None,
        owned: Some(vec![partition()]),
    };
    assert_eq!(hex(&full), format!("0167016d0a0101690163ac020101017401000001{}{PARTITION}", "01"));
    let answer = GroupHeartbeatAnswer {
        member_epoch: 6,
        heartbeat_interval_ms: 500,
        assigned: Some(vec![partition()]),
    };
    assert_eq!(hex(&answer), format!("0cf4030101{PARTITION}"));
}

#[test]
fn a_description() {
    let member = MemberDescription {
        epoch: 6,
        instance: None,
        client_id: "c".to_owned(),
        topics: vec!["t".to_owned()],
        assigned: vec![],
        target: vec![partition()],
    };
    let description = GroupDescription {
        state: GroupState::Reconciling,
        epoch: 6,
        assignor: "range".to_owned(),
        members: BTreeMap::from([("m".to_owned(), member)]),
    };
    assert_eq!(hex(&description), format!("020c0572616e676501016d0c0001630101740001{PARTITION}"));
}
