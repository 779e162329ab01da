//! What entities need of the rest of the node, as traits.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use millstream_transport::world::{Clock, watch};

use super::message::{Applied, DeliverToEntities, FeedEntities, PositionOfSource};
use super::publication::Written;
use super::publisher::LastSequence;
use super::settings::EntitySettings;
use super::table::Table;
use super::topics::KnownTopics;
use crate::custom::{CallError, UserThreads};
use crate::error::Refusal;
use crate::events::Events;
use crate::group::records::LogRecord;
use crate::ids::{LeaderEpoch, Offset, PartitionId, ProducerId};
use crate::partition::message::Fetched;

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

    /// Tries once, in bounded time, to deliver records of a topic.
    fn feed(&self, feed: FeedEntities) -> BoxFuture<'static, Result<(), CallError>>;

    /// Tries once, in bounded time, to learn how far a source is applied.
    fn position(&self, asked: PositionOfSource) -> BoxFuture<'static, Result<Applied, CallError>>;
}

/// Topics as they are read for entities: what is committed, wherever it is led. What is refused may be asked again.
pub trait TopicLog: fmt::Debug + Send + Sync {
    /// Whole batches from this offset on, none of which is part of a transaction that is open; about so many bytes, but one
    /// batch at least. Answered in bounded time, without any where there is nothing new.
    fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        max_bytes: u32,
    ) -> BoxFuture<'static, Result<Fetched, Refusal>>;

    /// The first offset that is still there.
    fn start(&self, partition: PartitionId) -> BoxFuture<'static, Result<Offset, Refusal>>;
}

/// The way to topics of users, on any node. Each call tries once, in bounded time.
pub trait EntityTopics: KnownTopics {
    /// A producer id that nobody had.
    fn producer_id(&self) -> BoxFuture<'static, Result<ProducerId, Refusal>>;

    /// What a partition has of a producer, once all of that is committed; nothing where it does not know the producer.
    fn last_sequence(
        &self,
        target: PartitionId,
        producer: ProducerId,
    ) -> BoxFuture<'static, Result<Option<LastSequence>, Refusal>>;

    /// Appends a batch; done when it is committed. A refusal does not tell that it was not appended.
    fn append(&self, target: PartitionId, batch: Bytes) -> BoxFuture<'static, Result<(), Refusal>>;
}

/// A transactional producer of a partition of entities, once it has begun, and how far it has committed: the number of the
/// first publication that no transaction of it holds.
pub type Begun = (Arc<dyn EntityTransactions>, u64);

/// The transactional producer of a partition of entities.
pub trait EntityTransactions: fmt::Debug + Send + Sync {
    /// Appends records and commits `next` as how far they go, in one transaction, in bounded time. An error tells nothing of
    /// what became of it, unless it says that a record is not valid: then it is aborted. After an error another is begun.
    fn commit(
        self: Arc<Self>,
        records: Vec<(PartitionId, Written)>,
        next: u64,
    ) -> BoxFuture<'static, Result<(), Refusal>>;
}

/// Begins as the transactional producer of a partition of entities.
pub trait EntityProducers: fmt::Debug + Send + Sync {
    /// Whoever was it before is fenced, and what it had begun has ended when this is done. Tries in bounded time.
    fn begin(&self, kind: &str, partition: PartitionId) -> BoxFuture<'static, Result<Begun, Refusal>>;
}

/// The doors of a node's entities. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EntityDoors {
    /// The log.
    pub log: Arc<dyn EntityLog>,
    /// The way to others.
    pub lanes: Arc<dyn EntityLanes>,
    /// The topics that entities read.
    pub sources: Arc<dyn TopicLog>,
    /// The way to topics.
    pub topics: Arc<dyn EntityTopics>,
    /// The way to several of them at once.
    pub producers: Arc<dyn EntityProducers>,
    /// Where users' code runs.
    pub threads: UserThreads,
    /// How entities are kept, of partitions led from now on.
    pub settings: watch::Receiver<Arc<EntitySettings>>,
    /// The time.
    pub clock: Clock,
    /// Where events go.
    pub events: Events,
}
