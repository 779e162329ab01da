//! What the actors of replication say to a replica, and a replica to them.
//!
//! On the leader's side a feeder (one per follower node and core) opens, reads, reports and detaches; the replica wakes
//! it when there is more. On the other side the replica asks its leader through [`LeaderLinks`], and the follower actor
//! brings what the leader says as [`FromLeader`]. Everything carries the epoch it was based on.

use std::fmt::Debug;

use actix::Message;
use bytes::Bytes;

use crate::ids::{LeaderEpoch, Member, NodeId, Offset, PartitionId};

/// What a follower's log is like when it asks where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FollowerLog {
    /// Its end.
    pub end: Offset,
    /// Up to where it is durable.
    pub durable_end: Offset,
    /// The leader epoch of its last batch; `None` if it is empty.
    pub last_epoch: Option<LeaderEpoch>,
}

/// Feeder to leader: a follower wants to go on.
#[derive(Debug, Message)]
#[rtype(result = "Result<Opening, FeedRefusal>")]
pub struct OpenFeed {
    /// Who it is.
    pub member: Member,
    /// The epoch it follows.
    pub epoch: LeaderEpoch,
    /// What its log is like.
    pub log: FollowerLog,
    /// Woken when there is more for it.
    pub waker: Box<dyn FeedWaker>,
}

/// How a leader answers a follower that wants to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Opening {
    /// Its log is a beginning of the leader's.
    Accepted {
        /// The follower's end that was judged.
        end: Offset,
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's log start.
        log_start: Offset,
    },
    /// Its log differs: the leader's greatest epoch up to the follower's last, and where that ends.
    Diverged {
        /// The epoch; `None` if all of the leader's are later.
        epoch: Option<LeaderEpoch>,
        /// Its end.
        end: Offset,
    },
    /// Its log ends before the leader's begins.
    OutOfRange {
        /// Where the leader's begins.
        start: Offset,
    },
}

/// Why a leader does not feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FeedRefusal {
    /// This replica does not lead, or not in the epoch asked for, or is no longer here.
    NotLeading,
    /// The member was not opened, or its feed ended.
    NotOpen,
}

/// Told that a partition has something for a follower: bytes, a new high watermark or log start, or the epoch's end.
pub trait FeedWaker: Debug + Send {
    /// There is something to read.
    fn wake(&self, partition: PartitionId);
}

/// Feeder to leader: reads for a follower, from the tail cache or a segment, beyond the high watermark too.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Feed, FeedRefusal>")]
pub struct ReadFeed {
    /// The follower.
    pub member: Member,
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The next offset it lacks.
    pub from: Offset,
    /// Bytes at most; one batch is whole even if larger.
    pub max_bytes: usize,
}

/// What a leader has for a follower.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Whole batches from the offset asked for; empty if there are none.
    pub batches: Bytes,
    /// Offset after the last record of `batches`.
    pub next: Offset,
    /// The leader's end: there is more if it lies beyond `next`.
    pub end: Offset,
    /// The leader's high watermark.
    pub high_watermark: Offset,
    /// The leader's log start.
    pub log_start: Offset,
}

/// What a follower has on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FollowerEnds {
    /// Up to where its log is durable.
    pub durable_end: Offset,
    /// The log start that it would begin with.
    pub log_start: Offset,
}

/// Feeder to leader: a follower has so much on its disk.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct FollowerReported {
    /// The follower.
    pub member: Member,
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// How much.
    pub ends: FollowerEnds,
}

/// Feeder to leader: a follower's session has ended, or it follows in this epoch no longer.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct FollowerDetached {
    /// The follower.
    pub member: Member,
    /// The epoch.
    pub epoch: LeaderEpoch,
}

/// Feeder to leader: a damaged follower wants out of the in-sync set. Answered when it is known whether it is: true if
/// no set that may be in force names it.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<bool, FeedRefusal>")]
pub struct LeaveSet {
    /// The follower.
    pub member: Member,
    /// The epoch.
    pub epoch: LeaderEpoch,
}

/// How a replica reaches its leader. Calls never block and never fail: what cannot be done comes back as
/// [`Told::Interrupted`].
pub trait LeaderLinks: Debug + Send {
    /// Asks `leader` where to go on in `epoch`, in place of any earlier question for this partition.
    fn open(
        &self,
        leader: NodeId,
        partition: PartitionId,
        member: Member,
        epoch: LeaderEpoch,
        log: FollowerLog,
    );
    /// Asks `leader` to be let out of the in-sync set.
    fn leave(&self, leader: NodeId, partition: PartitionId, member: Member, epoch: LeaderEpoch);
    /// Stops reading this partition from any leader.
    fn close(&self, partition: PartitionId);
    /// Tells the leader how much is on disk; a later report replaces one that has not been sent.
    fn report(&self, partition: PartitionId, epoch: LeaderEpoch, ends: FollowerEnds);
}

/// Follower to replica: what the leader says. Answered when it has been taken in (batches: appended, not yet synced),
/// which is what gives the leader its credit back.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct FromLeader {
    /// The epoch it was asked in.
    pub epoch: LeaderEpoch,
    /// What it says.
    pub told: Told,
}

/// What a leader says to a follower's replica.
#[derive(Clone, Debug)]
pub enum Told {
    /// How it answers the question where to go on.
    Opened(Opening),
    /// Batches as the leader has them, with its high watermark and log start; no batches if only those are news.
    Fed {
        /// Whole batches, possibly none.
        batches: Bytes,
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's log start.
        log_start: Offset,
    },
    /// The replica is out of every in-sync set that may be in force.
    LeftSet,
    /// The session ended, or the leader refused: ask again later.
    Interrupted,
}
