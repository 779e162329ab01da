//! What entities need of the rest of the node, as traits.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use millstream_transport::world::{Clock, watch};

use super::message::DeliverToEntities;
use super::settings::EntitySettings;
use super::table::Table;
use crate::custom::{CallError, UserThreads};
use crate::error::Refusal;
use crate::events::Events;
use crate::group::records::LogRecord;
use crate::ids::{LeaderEpoch, Offset, PartitionId};

/// The partitions of `__entity_TYPE` topics that this node leads.
///
/// Calls for one partition take effect in the order in which they are made: a replay sees every append that was called
/// before it.
pub trait EntityLog: fmt::Debug + Send + Sync {
    /// Appends records as one batch in the leader's epoch: all of them or none. Done when they are committed, with the offset
    /// of the first. A refusal does not tell that nothing was appended.
    fn append(
        &self,
        partition: PartitionId,
        epoch: LeaderEpoch,
        records: Vec<LogRecord>,
    ) -> BoxFuture<'static, Result<Offset, Refusal>>;

    /// The values of the records at these offsets, in their order.
    fn read(
        &self,
        partition: PartitionId,
        epoch: LeaderEpoch,
        offsets: Vec<Offset>,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, Refusal>>;

    /// Shows a table every record from its end to that of the log (at a new leader: the end at which its epoch opened),
    /// after the high watermark has passed that. The table comes back also where that fails, with what it was shown.
    ///
    /// `after` is the epoch of the last record in a table that was filled before this leadership, where there is one: if the
    /// log has another history by now, as only an unclean election makes it, the table begins anew.
    fn replay(
        &self,
        partition: PartitionId,
        epoch: LeaderEpoch,
        table: Table,
        after: Option<LeaderEpoch>,
    ) -> BoxFuture<'static, (Table, Result<(), Refusal>)>;

    /// Reads committed records of a partition that this node follows, or leads, from its own replica. `answer` is called
    /// once, on any thread, and must not block.
    fn read_replica(&self, read: ReplicaRead, answer: ReplicaAnswer);
}

/// Where the answer to a read of a replica goes.
pub type ReplicaAnswer = Box<dyn FnOnce(Result<ReplicaRecords, Refusal>) + Send>;

/// What to read of a replica on this node, whoever leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaRead {
    /// The partition.
    pub partition: PartitionId,
    /// The first offset wanted.
    pub from: Offset,
    /// The epoch of the record before that, if one is known.
    pub after: Option<LeaderEpoch>,
    /// Bytes wanted; the first batch comes whole.
    pub max_bytes: u32,
    /// Where there is nothing yet: whether to wait, some minutes at most.
    pub waits: bool,
}

/// What was read of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaRecords {
    /// Whole batches of committed records; none where there is nothing new.
    pub batches: Bytes,
    /// Where the log begins.
    pub start: Offset,
    /// Where what is committed ends, as the replica knows.
    pub end: Offset,
    /// The log has another history than the reader: what that has read before is not in it.
    pub has_parted: bool,
}

/// The way to entities of any partition, on any node.
pub trait EntityLanes: fmt::Debug + Send + Sync {
    /// How many partitions a type has; `None` where that is not known.
    fn partitions(&self, kind: &str) -> Option<u32>;

    /// Tries once, in bounded time, to deliver.
    fn deliver(&self, delivery: DeliverToEntities) -> BoxFuture<'static, Result<(), CallError>>;
}

/// The doors of a node's entities. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EntityDoors {
    /// The log.
    pub log: Arc<dyn EntityLog>,
    /// The way to others.
    pub lanes: Arc<dyn EntityLanes>,
    /// Where users' code runs.
    pub threads: UserThreads,
    /// How entities are kept, of partitions led from now on.
    pub settings: watch::Receiver<Arc<EntitySettings>>,
    /// The time.
    pub clock: Clock,
    /// Where events go.
    pub events: Events,
}
