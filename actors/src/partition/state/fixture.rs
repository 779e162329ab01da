//! Members and assignments for tests.

use std::sync::Arc;

use uuid::Uuid;

use crate::ids::{DirectoryId, Incarnation, LeaderEpoch, Member, NodeId, PartitionId, TopicId};
use crate::image::assignment::Assignment;
use crate::topic_config::TopicConfig;

pub(crate) fn member(node: u32) -> Member {
    life(node, 1)
}

pub(crate) fn life(node: u32, incarnation: u64) -> Member {
    Member {
        node: NodeId(node),
        directory: DirectoryId(Uuid::from_u128(u128::from(node))),
        incarnation: Incarnation(incarnation),
    }
}

pub(crate) fn partition() -> PartitionId {
    PartitionId { topic: TopicId(Uuid::from_u128(7)), index: 0 }
}

/// Replicas on nodes 1 to 3.
pub(crate) fn assignment(
    epoch: i32,
    leader: Option<Member>,
    in_sync: &[Member],
    set_version: u32,
) -> Assignment {
    Assignment {
        partition: partition(),
        topic: Arc::from("flights"),
        config: Arc::new(TopicConfig::default()),
        epoch: LeaderEpoch(epoch),
        leader,
        replicas: vec![NodeId(1), NodeId(2), NodeId(3)],
        in_sync: in_sync.to_vec(),
        set_version,
        leaving: Vec::new(),
    }
}
