//! What a replica's state wants done.

use std::fmt;
use std::time::Duration;

use super::LogFacts;
use crate::ids::{LeaderEpoch, Member, NodeId, Offset};
use crate::invariant::Broken;

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Leads now, in this epoch, from this offset on.
    Opened(LeaderEpoch, Offset),
    /// Leads no more: everybody who waits is refused, every feeder let go.
    SteppedDown(LeaderEpoch),
    /// The high watermark has moved or was confirmed: answers and readers may be waiting for it.
    HighWatermark(Offset),
    /// Everything appended is to be synced.
    Sync,
    /// Ask the quorum for another in-sync set.
    Propose(InSyncChange),
    /// A damaged follower asked to be let out: whether it is.
    AnswerLeave(Member, bool),
    /// Ask the leader where to go on.
    Open {
        /// Whom.
        leader: NodeId,
        /// In which epoch.
        epoch: LeaderEpoch,
        /// What the own log is like.
        log: LogFacts,
    },
    /// Ask the leader to be let out of the in-sync set.
    Leave {
        /// Whom.
        leader: NodeId,
        /// In which epoch.
        epoch: LeaderEpoch,
    },
    /// Stop reading from any leader.
    Close,
    /// Tell the leader how much is on disk.
    Report(LeaderEpoch, Offset),
    /// Cut the log.
    Truncate(Offset),
    /// Throw the log away and begin at this offset.
    Reset(Offset),
    /// Forget what is older.
    AdvanceStart(Offset),
    /// Ask the controller for another leader.
    Resign {
        /// The epoch given up.
        epoch: LeaderEpoch,
        /// Why.
        reason: ResignReason,
    },
    /// Serves nobody until the process starts again.
    Offline(Failure),
    /// A promise was found broken: to be told before anything else is done.
    Broken(Broken),
}

/// A change of the in-sync set for the quorum to take or refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InSyncChange {
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
    /// The version it is based on.
    pub set_version: u32,
    /// Comes back with the outcome.
    pub attempt: u64,
    /// The whole new set.
    pub members: Vec<Member>,
}

/// Why a leader gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResignReason {
    /// Was elected in an epoch that it may not lead in: the replica was begun anew since (rule 1).
    NotOpened,
    /// Its own disk is so far behind those of its followers (rule 7).
    SyncLag(Duration),
    /// Its log is damaged from this offset on.
    Damaged(Offset),
    /// It can serve nobody.
    Failed(Failure),
}

/// Why a replica is offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A write or sync failed in its log directory.
    Directory,
    /// Following the leader would cut away what was committed.
    WouldLoseCommitted,
    /// A promise was broken.
    Invariant,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Directory => {
                "its log directory failed; after the disk is repaired, start the node again: it refetches from the others"
            }
            Self::WouldLoseCommitted => {
                "the leader lacks records that were committed, and following it would cut them away here; bring back a \
                 replica that has them, or accept the loss with unclean.leader.election.enable=true for this topic"
            }
            Self::Invariant => "a promise was found broken; the log tells which; start the node again",
        })
    }
}
