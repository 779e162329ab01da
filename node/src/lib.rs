//! Millstream: a distributed streaming platform as an actor-based cluster runtime.
//!
//! A [`Node`] is a member of a cluster, on threads of its own; a [`Client`] makes producers, consumers and changes to
//! topics. Both work from any tokio program. Everything under them is an actor: see the packages `millstream-actors` and
//! `millstream-transport`.

pub mod certificates;
pub mod cli;
pub mod config;
pub mod http;
mod kafka;
pub mod node;
pub mod security;
pub mod telemetry;
pub mod testing;

pub use millstream_actors::client::{
    Admin, Client, ClientError, ClientSettings, GroupMetadata, TopicPartition,
};
pub use millstream_actors::cluster::message::CreateTopic;
pub use millstream_actors::consumer::{
    Consumer, ConsumerEvent, ConsumerSettings, Fetched, IsolationLevel, OffsetReset, SeekTo,
};
pub use millstream_actors::custom::entity::{
    ByEvents, Decided, Entity, EntityCaller, EntityKey, EntityRef, EntityTypes, EventSourced, Output,
    OutputRecord, PoisonPolicy, Refused, TopicInput, TopicRecord, Turn,
};
pub use millstream_actors::custom::named::{
    ActorCalls, ActorContext, ActorEnd, ActorHandle, ActorSettings, Handled, NameWatch, NamedActor,
    NodeActors, OwnerChange, StopReason,
};
pub use millstream_actors::custom::{
    ActorMessage, CallError, Counter, Gauge, Histogram, RequestId, UserMetrics, WrongSeries,
};
pub use millstream_actors::flow::{
    Each, FlowError, Flows, HandTo, Publishing, Sink, SinkRecord, SinkSettings, SourceHandle, SourceHandler,
    SourcePartitions, SourceRecord, SourceSettings, each, hand_to,
};
pub use millstream_actors::group::message::streams::{
    StreamsGroupDescription, StreamsMemberDescription, StreamsTask, StreamsTasks,
};
pub use millstream_actors::ids::{ActorId, NodeId, Offset, TopicId};
pub use millstream_actors::kinds::RestartBudget;
pub use millstream_actors::partition::message::{Acks, ListedOffset, OffsetSpec};
pub use millstream_actors::producer::{
    Delivery, ProduceError, Producer, ProducerRecord, ProducerSettings, RecordMetadata, Transaction,
    TransactionError, TransactionalProducer,
};
pub use millstream_actors::record::key_hash::partition_for_key;
pub use millstream_actors::record::{Compression, Header, Record};
pub use millstream_actors::streams;
pub use millstream_actors::supervision::listing::{ActorLine, ActorPage, KindLine, ListActors};
pub use millstream_transport::world::{Clock, Random};

pub use node::{Node, StartError, StopError};

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
