//! What `__consumer_offsets` holds: the records of a group, in Kafka's own schemas.
//!
//! A group's state is what its records say and nothing else; [`GroupRecord`] is one of them, decoded.

mod classic;
mod codec;
mod streams;
mod value;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use codec::{LogRecord, decode, encode};
pub use wire::RecordError;

use super::classic::{ClassicMetadata, Protocol};
use super::streams::record::StreamsRecord;
use super::topics::TopicShape;
use crate::ids::{LeaderEpoch, Offset, PartitionId, TopicId};

/// The longest record of a member or of a group of the classic protocol that is written, in bytes: it is appended as a whole,
/// to a log that takes batches of a MiB (`max.message.bytes`), and one that is refused ends the coordinator's work on the group.
pub(super) const MAX_RECORD_BYTES: usize = 768 << 10;

/// One record of a group; the group's id is beside it. `None` is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// OffsetCommit (key versions 0 and 1).
    Offset {
        /// The topic's name.
        topic: Arc<str>,
        /// The partition's index.
        partition: i32,
        /// What was committed.
        value: Option<OffsetValue>,
    },
    /// GroupMetadata (2): a group of the classic protocol.
    Classic(Option<ClassicMetadata>),
    /// ConsumerGroupMetadata (3): the group's epoch.
    Epoch(Option<i32>),
    /// ConsumerGroupPartitionMetadata (4): the topics subscribed to, as of the epoch.
    Topics(Option<BTreeMap<Arc<str>, TopicShape>>),
    /// ConsumerGroupMemberMetadata (5).
    Member {
        /// The member.
        member: Arc<str>,
        /// What it said of itself.
        value: Option<MemberMetadata>,
    },
    /// ConsumerGroupTargetAssignmentMetadata (6): the epoch the targets were computed for.
    TargetEpoch(Option<i32>),
    /// ConsumerGroupTargetAssignmentMember (7).
    Target {
        /// The member.
        member: Arc<str>,
        /// What it is to own.
        value: Option<BTreeSet<PartitionId>>,
    },
    /// ConsumerGroupCurrentMemberAssignment (8).
    Current {
        /// The member.
        member: Arc<str>,
        /// What it owns.
        value: Option<CurrentAssignment>,
    },
    /// Of a group of an application of streams (21000 and up).
    Streams(StreamsRecord),
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetValue {
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the last record read.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The committer's own words.
    pub metadata: String,
    /// When, in milliseconds since 1970.
    pub committed_ms: i64,
    /// When it ends, where an old committer said so itself.
    pub expires_ms: Option<i64>,
    /// The topic that had the name then.
    pub topic: Option<TopicId>,
}

/// What a member said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberMetadata {
    /// `group.instance.id`.
    pub instance: Option<Arc<str>>,
    /// `client.rack`.
    pub rack: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// Names subscribed to, in order, each once.
    pub topics: Vec<Arc<str>>,
    /// A regular expression subscribed to.
    pub pattern: Option<Arc<str>>,
    /// How long it may take to give partitions up; negative if it never said.
    pub rebalance_timeout_ms: i32,
    /// The assignor it would have.
    pub assignor: Option<String>,
    /// What it said in the classic protocol, if that is what it speaks.
    pub classic: Option<ClassicTerms>,
}

/// What a member of the classic protocol says of itself beside its subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicTerms {
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it can speak, the best first.
    pub protocols: Vec<Protocol>,
}

/// Where a member stands between what it owns and what it is to own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    /// It owns its target of its epoch.
    #[default]
    Stable,
    /// It has to give partitions up before it goes on.
    Unrevoked,
    /// It waits for partitions that others have to give up.
    Unreleased,
}

/// What a member owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentAssignment {
    /// The epoch it is expected to come with.
    pub epoch: i32,
    /// The one it may come with if it never heard the last answer.
    pub previous_epoch: i32,
    /// Where it stands.
    pub state: MemberState,
    /// What it owns or was told to.
    pub assigned: BTreeSet<PartitionId>,
    /// What it was told to give up and has not yet.
    pub revoking: BTreeSet<PartitionId>,
}

impl CurrentAssignment {
    /// Who has not joined owns nothing.
    pub const NOTHING: Self = Self {
        epoch: 0,
        previous_epoch: 0,
        state: MemberState::Stable,
        assigned: BTreeSet::new(),
        revoking: BTreeSet::new(),
    };
}
