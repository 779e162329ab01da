//! A request on its way to a group's coordinator, and the place its answer goes to.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::classic::{ClassicDescription, Committer, Heartbeat, JoinGroup, LeaveGroup, SyncGroup};
use super::classic_part::{ClassicReply, JoinAnswer};
use super::doors::PartOfTransaction;
use super::message::streams::{
    DescribeStreamsGroup, StreamsGroupDescription, StreamsHeartbeat, StreamsHeartbeatAnswer,
};
use super::message::{
    CommittedOffset, DeleteGroup, DescribeGroup, GroupDescription, GroupHeartbeat, GroupHeartbeatAnswer,
    OffsetCommit, OffsetDelete, OffsetFetch,
};
use super::topics::TopicRights;
use crate::error::Refusal;
use crate::ids::PartitionId;

/// Where one answer goes. Dropped without, the asker is told to try again. It holds one place among the requests that
/// may wait.
pub(crate) struct Reply<A> {
    to: oneshot::Sender<A>,
    _place: OwnedSemaphorePermit,
}

impl<A> Reply<A> {
    pub(crate) fn new(to: oneshot::Sender<A>, place: OwnedSemaphorePermit) -> Self {
        Self { to, _place: place }
    }

    /// Answers. Nobody may wait any more, which is no matter.
    pub(crate) fn give(self, answer: A) {
        let _nobody_waits = self.to.send(answer);
    }
}

/// A group of KIP-848, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The group.
    pub group: GroupDescription,
    /// Those of its members that speak the classic protocol.
    pub classic: BTreeSet<String>,
}

/// The answer for each partition of a request.
pub(super) type PerPartition = Result<Vec<(PartitionId, Result<(), Refusal>)>, Refusal>;

/// What a group's coordinator can be asked.
pub(super) enum GroupRequest {
    Heartbeat {
        request: GroupHeartbeat,
        host: String,
        /// What the member may know of; everything without.
        rights: Option<Arc<dyn TopicRights>>,
        reply: Reply<Result<GroupHeartbeatAnswer, Refusal>>,
    },
    Commit {
        request: OffsetCommit,
        committer: Option<Committer>,
        reply: Reply<PerPartition>,
    },
    /// Offsets that become part of a producer's transaction.
    CommitInTransaction {
        request: OffsetCommit,
        committer: Committer,
        transaction: PartOfTransaction,
        reply: Reply<PerPartition>,
    },
    /// Which offsets are part of open transactions.
    Unstable {
        group: String,
        reply: Reply<Result<BTreeSet<PartitionId>, Refusal>>,
    },
    Fetch {
        request: OffsetFetch,
        /// The member that asks, with its epoch, if one says that it does (KIP-848).
        reader: Option<(String, i32)>,
        reply: Reply<Result<Vec<(PartitionId, CommittedOffset)>, Refusal>>,
    },
    Describe {
        request: DescribeGroup,
        reply: Reply<Result<Described, Refusal>>,
    },
    Delete {
        request: DeleteGroup,
        reply: Reply<Result<(), Refusal>>,
    },
    DeleteOffsets {
        request: OffsetDelete,
        reply: Reply<PerPartition>,
    },
    /// A heartbeat of a member of an application of streams.
    Streams {
        request: StreamsHeartbeat,
        host: String,
        reply: Reply<Result<StreamsHeartbeatAnswer, Refusal>>,
    },
    DescribeStreams {
        request: DescribeStreamsGroup,
        reply: Reply<Result<StreamsGroupDescription, Refusal>>,
    },
    /// The requests of the classic protocol.
    Classic {
        group: String,
        request: ClassicRequest,
    },
}

/// What members and tools of the classic protocol ask.
pub(super) enum ClassicRequest {
    Join { request: JoinGroup, reply: Reply<JoinAnswer> },
    Sync { request: SyncGroup, reply: Reply<Result<super::classic::Synced, Refusal>> },
    Heartbeat { request: Heartbeat, reply: Reply<Result<(), Refusal>> },
    Leave { request: LeaveGroup, reply: Reply<Result<super::classic::EachLeft, Refusal>> },
    Describe { reply: Reply<Result<ClassicDescription, Refusal>> },
}

impl ClassicRequest {
    /// Answers with a refusal.
    pub(super) fn refuse(self, refusal: Refusal) {
        match self {
            Self::Join { reply, .. } => ClassicReply::Join(reply).refuse(refusal),
            Self::Sync { reply, .. } => ClassicReply::Sync(reply).refuse(refusal),
            Self::Leave { reply, .. } => ClassicReply::Leave(reply).refuse(refusal),
            Self::Heartbeat { reply, .. } => reply.give(Err(refusal)),
            Self::Describe { reply } => reply.give(Err(refusal)),
        }
    }
}

impl GroupRequest {
    /// The group asked about.
    pub(super) fn group(&self) -> &str {
        match self {
            Self::Heartbeat { request, .. } => &request.group,
            Self::Commit { request, .. } | Self::CommitInTransaction { request, .. } => &request.group,
            Self::Unstable { group, .. } => group,
            Self::Fetch { request, .. } => &request.group,
            Self::Describe { request, .. } => &request.group,
            Self::Delete { request, .. } => &request.group,
            Self::DeleteOffsets { request, .. } => &request.group,
            Self::Streams { request, .. } => &request.group,
            Self::DescribeStreams { request, .. } => &request.group,
            Self::Classic { group, .. } => group,
        }
    }

    /// Answers with a refusal.
    pub(super) fn refuse(self, refusal: Refusal) {
        match self {
            Self::Heartbeat { reply, .. } => reply.give(Err(refusal)),
            Self::Commit { reply, .. }
            | Self::CommitInTransaction { reply, .. }
            | Self::DeleteOffsets { reply, .. } => reply.give(Err(refusal)),
            Self::Unstable { reply, .. } => reply.give(Err(refusal)),
            Self::Fetch { reply, .. } => reply.give(Err(refusal)),
            Self::Describe { reply, .. } => reply.give(Err(refusal)),
            Self::Delete { reply, .. } => reply.give(Err(refusal)),
            Self::Streams { reply, .. } => reply.give(Err(refusal)),
            Self::DescribeStreams { reply, .. } => reply.give(Err(refusal)),
            Self::Classic { request, .. } => request.refuse(refusal),
        }
    }
}

impl fmt::Debug for GroupRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "request of group {}", self.group())
    }
}
