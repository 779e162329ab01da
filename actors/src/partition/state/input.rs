//! What a replica's state is told.

use super::{ChangeOutcome, Failure, Joined, LogFacts};
use crate::ids::{LeaderEpoch, Member, Offset};
use crate::image::assignment::Assignment;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The image has something new for this partition.
    Assigned(Assignment),
    /// The log was changed by the actor: appended to, cut, begun anew, its start moved.
    LogChanged(LogFacts),
    /// So much counts as durable now.
    Durable(Offset),
    /// Leader: a follower's log is a beginning of this one.
    Joined(LeaderEpoch, Joined),
    /// Leader: a follower has so much on its disk.
    Reported(LeaderEpoch, Member, Offset),
    /// Leader: a follower has this log start on its disk.
    Begins(LeaderEpoch, Member, Offset),
    /// Leader: nothing before this offset is on any member's disk, and clients count on that.
    Promised(LeaderEpoch, Offset),
    /// Leader: a follower's session has ended.
    Detached(LeaderEpoch, Member),
    /// Leader: a damaged follower wants out of the set.
    Left(LeaderEpoch, Member),
    /// Leader: what became of a proposed change.
    Settled(LeaderEpoch, u64, ChangeOutcome),
    /// Follower: the leader says that the log, ending here, is a beginning of its own.
    Accepted(LeaderEpoch, Offset),
    /// Follower: the logs part here; everything from this offset on is to be cut.
    Diverged(LeaderEpoch, Offset),
    /// Follower: the leader has nothing so old any more; its log starts here.
    OutOfRange(LeaderEpoch, Offset),
    /// Follower: the session ended, the opening was refused, the data had a gap, or there was no space.
    Interrupted(LeaderEpoch),
    /// Follower: the leader's high watermark and log start.
    Heard(LeaderEpoch, Offset, Offset),
    /// Follower: no set that may be in force names this replica any more.
    LeftSet(LeaderEpoch),
    /// The log is damaged from this offset on.
    Damaged(Offset),
    /// The log directory failed or a promise was broken.
    Failed(Failure),
    /// Time passed.
    Tick,
}
