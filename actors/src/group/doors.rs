//! What coordinators need of the rest of the node, as traits: the log of `__consumer_offsets`, who leads it, the
//! lease on that, and the ends of the logs that groups read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use millstream_transport::world::Clock;
use millstream_transport::world::watch;
use tokio::time::Instant;

use super::modern::{Group, Now};
use super::records::{LogRecord, decode};
use super::settings::GroupSettings;
use super::topics::TopicsView;
use crate::error::{ErrorCode, Refusal};
use crate::events::Events;
use crate::ids::{LeaderEpoch, NodeId, Offset, PartitionId};

/// The partitions of `__consumer_offsets` that this node leads.
///
/// Calls for one partition take effect in the order in which they are *made*, not in which their futures are polled:
/// what is appended later lies later in the log, and a load sees every append that was called before it.
pub trait CoordinatorLog: fmt::Debug + Send + Sync {
    /// Appends records with the leader epoch of their coordinator; done when they are committed (`acks=all`).
    ///
    /// They may be split over several batches and are not atomic. A refusal does not tell that nothing was appended.
    fn append(
        &self,
        partition: i32,
        epoch: LeaderEpoch,
        records: Vec<LogRecord>,
    ) -> BoxFuture<'static, Result<(), Refusal>>;

    /// Shows every record up to the log's end (at a new leader: the end at which its epoch opened) to `replay`, after
    /// the high watermark has passed that end, and gives `replay` back. Not on the control thread.
    fn load(
        &self,
        partition: i32,
        epoch: LeaderEpoch,
        replay: Replay,
    ) -> BoxFuture<'static, Result<Replay, Refusal>>;
}

/// Whether this node still leads a partition (rule 8).
pub trait OwnershipLease: fmt::Debug + Send + Sync {
    /// Whether the lease runs: until it is out nobody else leads.
    fn holds(&self) -> bool;

    /// Asks every other in-sync member of the partition whether the epoch is still theirs.
    fn confirm(&self) -> BoxFuture<'static, Result<(), Refusal>>;
}

/// Who leads the partitions of `__consumer_offsets`.
pub trait Coordinators: fmt::Debug + Send + Sync {
    /// How many partitions it has; `None` if it does not exist.
    fn partitions(&self) -> Option<i32>;

    /// Who leads one.
    fn leader(&self, partition: i32) -> Option<NodeId>;

    /// Makes it; done when [`Self::partitions`] knows it.
    fn create(&self) -> BoxFuture<'static, Result<(), Refusal>>;
}

/// What the log or the lease refused with, in the codes of coordinators: members know only these.
pub(super) const fn coordinator_code(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::NotLeaderOrFollower
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::UnknownLeaderEpoch
        | ErrorCode::KafkaStorageError
        | ErrorCode::NotCoordinator => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::InvalidRecord => ErrorCode::UnknownServerError,
        _ => ErrorCode::CoordinatorNotAvailable,
    }
}

/// The ends of partitions that groups read, wherever they are led.
pub trait LogEnds: fmt::Debug + Send + Sync {
    /// The ends of these partitions, and what waits at these offsets. Those that cannot be reached are left out.
    fn ends(&self, at: Vec<(PartitionId, Offset)>) -> BoxFuture<'static, BTreeMap<PartitionId, LogEnd>>;
}

/// Where a partition begins and ends, and what waits at an offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The first offset that can be read.
    pub start: Offset,
    /// The high watermark.
    pub end: Offset,
    /// The timestamp of the first record at or after the offset, in milliseconds since 1970.
    pub waiting_since_ms: Option<i64>,
}

/// The doors of a node's coordinators. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GroupDoors {
    /// The log.
    pub log: Arc<dyn CoordinatorLog>,
    /// Who leads it.
    pub coordinators: Arc<dyn Coordinators>,
    /// The ends of the logs that groups read.
    pub ends: Arc<dyn LogEnds>,
    /// The topics there are.
    pub topics: watch::Receiver<Arc<dyn TopicsView>>,
    /// How groups are coordinated; changes count from the next decision on.
    pub settings: watch::Receiver<Arc<GroupSettings>>,
    /// The time.
    pub clock: Clock,
    /// Where events go.
    pub events: Events,
}

/// The leadership of one partition of `__consumer_offsets`, for the groups that it holds.
#[derive(Clone, Debug)]
pub(super) struct Leadership {
    pub(super) partition: i32,
    pub(super) epoch: LeaderEpoch,
    pub(super) lease: Arc<dyn OwnershipLease>,
    pub(super) doors: GroupDoors,
    /// Where the monotonic milliseconds of deadlines are counted from.
    pub(super) origin: Instant,
}

impl Leadership {
    pub(super) fn now(&self) -> Now {
        let since = self.doors.clock.now().saturating_duration_since(self.origin);
        Now {
            monotonic_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            wall_ms: self.doors.clock.wall_ms(),
        }
    }

    pub(super) fn settings(&self) -> Arc<GroupSettings> {
        Arc::clone(&self.doors.settings.borrow())
    }

    pub(super) fn topics(&self) -> Arc<dyn TopicsView> {
        Arc::clone(&self.doors.topics.borrow())
    }
}

/// Groups being read back from the log.
#[derive(Debug, Default)]
pub struct Replay {
    only: Option<BTreeSet<Arc<str>>>,
    groups: BTreeMap<Arc<str>, Group>,
    records: u64,
    undecodable: u64,
}

impl Replay {
    /// For these groups only; without, for all.
    pub(super) fn of(only: Option<BTreeSet<Arc<str>>>) -> Self {
        Self { only, ..Self::default() }
    }

    /// Takes a record in. Records without a key, or of other kinds of groups, are left alone.
    pub fn take(&mut self, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.records += 1;
        match key.map_or(Ok(None), |key| decode(key, value)) {
            Ok(Some((group, record))) => {
                if self.only.as_ref().is_none_or(|only| only.contains(&group)) {
                    self.groups.entry(group).or_default().replay(timestamp_ms, record);
                }
            }
            Ok(None) => {}
            Err(_) => self.undecodable += 1,
        }
    }

    /// Records shown, and how many of them could not be understood.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.records, self.undecodable)
    }

    /// The groups of which something is left.
    pub(super) fn into_groups(mut self) -> BTreeMap<Arc<str>, Group> {
        self.groups.retain(|_, group| !group.is_nothing());
        self.groups
    }
}
