//! What members and tools ask of a group's coordinator. Kinds 300 to 349.
//!
//! A member's life is KIP-848's: it heartbeats with what it subscribes to and what it owns, and is answered with what
//! it should own. It gives partitions up before another gets them; who is not affected never stops.

pub mod streams;
pub mod transactional;

use std::collections::BTreeMap;

use millstream_transport::message::{Answer, Message};
use serde::{Deserialize, Serialize};

use crate::error::Refusal;
use crate::ids::{LeaderEpoch, NodeId, Offset, PartitionId};

/// Asks which node coordinates a group. Any node answers; makes `__consumer_offsets` where it does not exist.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FindCoordinator {
    /// The group.
    pub group: String,
}

impl Message for FindCoordinator {
    const KIND: u16 = 300;
    type Answer = Result<NodeId, Refusal>;
}

/// A member's heartbeat (ConsumerGroupHeartbeat, KIP-848).
///
/// A member that does not know whether its last heartbeat was heard says everything again, above all what it owns:
/// only then is the epoch before the present one taken. One that is told `UnknownMemberId` or `FencedMemberEpoch` gives
/// all partitions up and joins again with epoch 0; one that is told `FencedInstanceId` ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GroupHeartbeat {
    /// The group.
    pub group: String,
    /// Chosen by the member: a UUID.
    pub member: String,
    /// 0 to join, -1 to leave, -2 to leave and come back (static member), else the epoch last told.
    pub member_epoch: i32,
    /// `group.instance.id` of a static member.
    pub instance: Option<String>,
    /// `client.id`, for people.
    pub client_id: String,
    /// How long the member may take to give partitions up, in milliseconds; 0 if unchanged, or for the coordinator's
    /// choice.
    pub rebalance_timeout_ms: u32,
    /// Names subscribed to; `None` if unchanged.
    pub topics: Option<Vec<String>>,
    /// A regular expression subscribed to; `None` if unchanged, empty to end it.
    pub topic_pattern: Option<String>,
    /// `range`, `uniform` or `sticky`; `None` for the coordinator's choice.
    pub assignor: Option<String>,
    /// What the member owns now; `None` if unchanged.
    pub owned: Option<Vec<PartitionId>>,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupHeartbeatAnswer {
    /// The epoch to heartbeat with next.
    pub member_epoch: i32,
    /// When to heartbeat next, in milliseconds.
    pub heartbeat_interval_ms: u32,
    /// What to own; `None` if unchanged.
    pub assigned: Option<Vec<PartitionId>>,
}

impl Message for GroupHeartbeat {
    const KIND: u16 = 301;
    type Answer = Result<GroupHeartbeatAnswer, Refusal>;
}

impl Answer for GroupHeartbeatAnswer {}

/// An offset to resume at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the last record read.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The committer's own words, at most 4,096 bytes.
    pub metadata: String,
}

/// Commits offsets. With `member` empty and `member_epoch` -1 from outside the group, which must then be empty: so are
/// offsets reset.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OffsetCommit {
    /// The group.
    pub group: String,
    /// The member; empty from outside.
    pub member: String,
    /// Its epoch.
    pub member_epoch: i32,
    /// What to commit.
    pub offsets: Vec<(PartitionId, CommittedOffset)>,
}

impl Message for OffsetCommit {
    const KIND: u16 = 302;
    type Answer = Result<Vec<(PartitionId, Result<(), Refusal>)>, Refusal>;
}

/// Reads committed offsets: of these partitions, or of all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OffsetFetch {
    /// The group.
    pub group: String,
    /// The partitions; `None` for all.
    pub partitions: Option<Vec<PartitionId>>,
}

impl Message for OffsetFetch {
    const KIND: u16 = 303;
    /// Partitions with a committed offset; others are left out.
    type Answer = Result<Vec<(PartitionId, CommittedOffset)>, Refusal>;
}

/// Lists the groups that the receiver coordinates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListGroups {}

impl Message for ListGroups {
    const KIND: u16 = 304;
    /// Group and state.
    type Answer = Result<Vec<(String, GroupState)>, Refusal>;
}

/// The states of a group (KIP-848).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupState {
    /// No members; offsets may be there.
    Empty,
    /// A new assignment is to be computed.
    Assigning,
    /// Members are on their way to their assignment.
    Reconciling,
    /// Every member owns what it should.
    Stable,
    /// Of the classic protocol: members are to join again.
    PreparingRebalance,
    /// Of the classic protocol: all have joined, one assigns.
    CompletingRebalance,
}

/// Asks for everything about a group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DescribeGroup {
    /// The group.
    pub group: String,
}

/// A group, described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDescription {
    /// Its state.
    pub state: GroupState,
    /// Its epoch.
    pub epoch: i32,
    /// The assignor in use.
    pub assignor: String,
    /// Members by id.
    pub members: BTreeMap<String, MemberDescription>,
}

/// A member, described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberDescription {
    /// Its epoch.
    pub epoch: i32,
    /// `group.instance.id` of a static member.
    pub instance: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Names subscribed to.
    pub topics: Vec<String>,
    /// What it owns.
    pub assigned: Vec<PartitionId>,
    /// What it should own.
    pub target: Vec<PartitionId>,
}

impl Message for DescribeGroup {
    const KIND: u16 = 305;
    type Answer = Result<GroupDescription, Refusal>;
}

impl Answer for GroupDescription {}

/// Removes a group without members, and its offsets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeleteGroup {
    /// The group.
    pub group: String,
}

/// Deletes committed offsets of topics that no member of the group subscribes to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OffsetDelete {
    /// The group.
    pub group: String,
    /// The partitions.
    pub partitions: Vec<PartitionId>,
}

impl Message for OffsetDelete {
    const KIND: u16 = 307;
    type Answer = Result<Vec<(PartitionId, Result<(), Refusal>)>, Refusal>;
}

impl Message for DeleteGroup {
    const KIND: u16 = 306;
    type Answer = Result<(), Refusal>;
}
