//! The way from a client to the nodes: one message, one answer or one error.
//!
//! A trait per message, so that a client can be held against a cluster that is only a test's.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use millstream_transport::message::Message;

use crate::cluster::message::access::{AlterScram, DescribeUsers};
use crate::cluster::message::reassignment::ReassignPartition;
use crate::cluster::message::voters::{AddVoter, DescribeQuorum, RemoveVoter};
use crate::cluster::message::{
    AlterTopicConfig, CreatePartitions, CreateTopic, DeleteTopic, ElectReplica, InitProducerId, Metadata,
};
use crate::custom::entity::message::AskEntity;
use crate::custom::named::message::{AskActor, FindName, GroupMembers, TellActor, WatchActor, WatchName};
use crate::group::message::streams::{DescribeStreamsGroup, StreamsHeartbeat};
use crate::group::message::transactional::{CommitInTransaction, StableOffsetFetch};
use crate::group::message::{
    DeleteGroup, DescribeGroup, FindCoordinator, GroupHeartbeat, ListGroups, OffsetCommit, OffsetFetch,
};
use crate::ids::NodeId;
use crate::partition::message::transactional::{FetchStable, ProduceInTransaction};
use crate::partition::message::{DeleteRecords, Fetch, ListOffsets, Produce};
use crate::supervision::listing::ListActors;
use crate::transaction::message::{BeginTransactions, EndTransaction, FindTransactionCoordinator};

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A node whose address was told by [`Cluster::learn`].
    Node(NodeId),
    /// Whoever listens at `host:port`.
    Address(String),
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(formatter, "node {}", node.0),
            Self::Address(address) => formatter.write_str(address),
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nothing was sent.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The message may or may not have been carried out.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The other side will never carry it out: another version, or not allowed.
    #[error("{0}")]
    Refused(String),
}

/// An answer under way.
pub type Asking<A> = Pin<Box<dyn Future<Output = Result<A, LinkError>> + Send>>;

/// Links being ended.
pub type Closing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Carries messages of one kind. Messages to one target arrive in the order in which they were asked.
pub trait Asks<M: Message>: Send + Sync {
    /// Asks; an error at the latest after `deadline`.
    fn ask(&self, to: &Target, message: M, deadline: Duration) -> Asking<M::Answer>;
}

/// All that a client asks of a cluster.
pub trait Cluster:
    Asks<Metadata>
    + Asks<CreateTopic>
    + Asks<DeleteTopic>
    + Asks<CreatePartitions>
    + Asks<AlterTopicConfig>
    + Asks<ElectReplica>
    + Asks<ReassignPartition>
    + Asks<InitProducerId>
    + Asks<Produce>
    + Asks<Fetch>
    + Asks<ListOffsets>
    + Asks<DeleteRecords>
    + Asks<FindCoordinator>
    + Asks<GroupHeartbeat>
    + Asks<OffsetCommit>
    + Asks<OffsetFetch>
    + Asks<ListGroups>
    + Asks<DescribeGroup>
    + Asks<DeleteGroup>
    + Asks<StreamsHeartbeat>
    + Asks<DescribeStreamsGroup>
    + Asks<DescribeQuorum>
    + Asks<AddVoter>
    + Asks<RemoveVoter>
    + Asks<AlterScram>
    + Asks<DescribeUsers>
    + Asks<ProduceInTransaction>
    + Asks<FetchStable>
    + Asks<CommitInTransaction>
    + Asks<StableOffsetFetch>
    + Asks<FindTransactionCoordinator>
    + Asks<BeginTransactions>
    + Asks<EndTransaction>
    + Asks<AskEntity>
    + Asks<AskActor>
    + Asks<TellActor>
    + Asks<FindName>
    + Asks<WatchActor>
    + Asks<WatchName>
    + Asks<GroupMembers>
    + Asks<ListActors>
    + fmt::Debug
    + 'static
{
    /// From now on the node is reached at this `host:port`.
    fn learn(&self, node: NodeId, address: &str);

    /// Ends all links in order.
    fn close(&self) -> Closing {
        Box::pin(std::future::ready(()))
    }
}
