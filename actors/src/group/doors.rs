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
use super::pending::{InTransactions, OfProducer};
use super::records::{LogRecord, decode};
use super::settings::GroupSettings;
use super::topics::TopicsView;
use crate::error::{ErrorCode, Refusal};
use crate::events::Events;
use crate::ids::{LeaderEpoch, NodeId, Offset, PartitionId, ProducerId};
use crate::record::EndMarker;

/// A state that is read back from a coordinator's log.
pub trait Replaying: Send + 'static {
    /// A record; with the producer of the transaction that it is part of, if it is.
    fn record(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        transaction: Option<OfProducer>,
    );

    /// A producer's transaction ended in this partition.
    fn ended(&mut self, marker: &EndMarker);
}

/// The transaction that records of a coordinator become part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartOfTransaction {
    /// The producer's `transactional.id`.
    pub id: Arc<str>,
    /// The producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The partition becomes part of the transaction where it is not yet (KIP-890 part 2).
    pub adds: bool,
    /// The producer knows that a transaction can be refused so that it only has to be aborted (KIP-890 part 1).
    pub knows_abortable: bool,
}

/// The partitions of a coordinators' topic (`__consumer_offsets`, `__transaction_state`) that this node leads.
///
/// Calls for one partition take effect in the order in which they are *made*, not in which their futures are polled:
/// what is appended later lies later in the log, and a load sees every append that was called before it.
pub trait CoordinatorLog<R = Replay>: fmt::Debug + Send + Sync {
    /// Appends records with the leader epoch of their coordinator; done when they are committed (`acks=all`).
    ///
    /// They may be split over several batches and are not atomic. A refusal does not tell that nothing was appended.
    fn append(
        &self,
        partition: i32,
        epoch: LeaderEpoch,
        records: Vec<LogRecord>,
    ) -> BoxFuture<'static, Result<(), Refusal>>;

    /// The same, as part of a producer's transaction, in one batch: refused where its coordinator does not say that it is
    /// open. What it says of transactions is said with codes that [`is_not_appended`] knows.
    fn append_in(
        &self,
        partition: i32,
        epoch: LeaderEpoch,
        transaction: PartOfTransaction,
        records: Vec<LogRecord>,
    ) -> BoxFuture<'static, Result<(), Refusal>>;

    /// Asks the coordinator of a producer's transaction whether the partition is part of it, which may take seconds. Until
    /// the transaction's marker, [`Self::append_in`] then does not ask again, and keeps its place among other appends.
    /// Refusals are as there.
    fn admit(
        &self,
        partition: i32,
        epoch: LeaderEpoch,
        transaction: PartOfTransaction,
    ) -> BoxFuture<'static, Result<(), Refusal>>;

    /// Shows every record up to the log's end (at a new leader: the end at which its epoch opened) to `replay`, after
    /// the high watermark has passed that end, and gives `replay` back. Not on the control thread.
    fn load(&self, partition: i32, epoch: LeaderEpoch, replay: R) -> BoxFuture<'static, Result<R, Refusal>>;
}

/// Whether this node still leads a partition (rule 8).
pub trait OwnershipLease: fmt::Debug + Send + Sync {
    /// Whether the lease runs: until it is out nobody else leads.
    fn holds(&self) -> bool;

    /// Asks every other in-sync member of the partition whether the epoch is still theirs.
    fn confirm(&self) -> BoxFuture<'static, Result<(), Refusal>>;
}

/// Who leads the partitions of a coordinators' topic.
pub trait Coordinators: fmt::Debug + Send + Sync {
    /// How many partitions it has; `None` if it does not exist.
    fn partitions(&self) -> Option<i32>;

    /// Who leads one.
    fn leader(&self, partition: i32) -> Option<NodeId>;

    /// Makes it; done when [`Self::partitions`] knows it.
    fn create(&self) -> BoxFuture<'static, Result<(), Refusal>>;
}

/// The node that coordinates `key`. Makes the topic where it is not there.
pub(crate) async fn find_coordinator(
    coordinators: &dyn Coordinators,
    key: &str,
    topic: &str,
) -> Result<NodeId, Refusal> {
    if coordinators.partitions().is_none() {
        coordinators.create().await?;
    }
    let unavailable = |text: String| Refusal::new(ErrorCode::CoordinatorNotAvailable, text);
    let partitions = coordinators
        .partitions()
        .ok_or_else(|| unavailable(format!("topic {topic} is being made; try again")))?;
    let partition = coordinator_partition(key, partitions);
    coordinators.leader(partition).ok_or_else(|| {
        unavailable(format!("partition {partition} of {topic}, which holds {key:?}, has no leader"))
    })
}

/// The partition of a coordinators' topic that holds a group or a transactional id, of so many: Java's hash of the name,
/// as Kafka has it.
#[must_use]
pub fn coordinator_partition(key: &str, partitions: i32) -> i32 {
    let hash =
        key.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % partitions.max(1)
}

/// Whether a refusal of [`CoordinatorLog::append_in`] tells that nothing was appended.
#[must_use]
pub const fn is_not_appended(code: ErrorCode) -> bool {
    is_of_transaction(code)
        || matches!(
            code,
            ErrorCode::NotEnoughReplicas
                | ErrorCode::ThrottlingQuotaExceeded
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::ConcurrentTransactions
        )
}

/// Whether a refusal is about the transaction itself, for its producer to hear.
pub(super) const fn is_of_transaction(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::InvalidTxnState
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::InvalidProducerIdMapping
            | ErrorCode::ProducerFenced
            | ErrorCode::TransactionAbortable
    )
}

/// What the log or the lease refused with, in the codes of coordinators: members know only these.
pub(crate) const fn coordinator_code(code: ErrorCode) -> ErrorCode {
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
    in_transactions: InTransactions,
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

    /// Takes in a record that is part of a producer's transaction.
    fn take_pending(&mut self, key: Option<&[u8]>, value: Option<&[u8]>, of: OfProducer) {
        self.records += 1;
        match key.map_or(Ok(None), |key| decode(key, value)) {
            Ok(Some((group, record))) => {
                if self.only.as_ref().is_none_or(|only| only.contains(&group)) {
                    self.in_transactions.put(Arc::clone(&group), of);
                    self.groups.entry(group).or_default().replay_pending(of, record);
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

impl Replaying for Replay {
    fn record(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        transaction: Option<OfProducer>,
    ) {
        match transaction {
            Some(of) => self.take_pending(key, value, of),
            None => self.take(timestamp_ms, key, value),
        }
    }

    fn ended(&mut self, marker: &EndMarker) {
        for id in self.in_transactions.ended(marker) {
            if let Some(group) = self.groups.get_mut(&id) {
                group.end_transaction(marker);
            }
        }
    }
}
