//! What clients ask of the cluster: metadata, topics, producer ids. Kinds 200 to 249.
//!
//! Any node answers metadata from its image; the others are passed on to the controller by the node asked.

pub mod access;
pub mod names;
pub mod nodes;
pub mod reassignment;
pub mod voters;

use std::collections::BTreeMap;

use millstream_transport::message::{Answer, Message};
use serde::{Deserialize, Serialize};

use crate::error::Refusal;
use crate::ids::{LeaderEpoch, NodeId, ProducerId, TopicId};

/// Asks for nodes and topics as the receiver knows them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Metadata {
    /// Topics wanted by name; `None` for all.
    pub topics: Option<Vec<String>>,
    /// Answer when the image is newer than this, or after `max_wait_ms`: how clients are told of changes.
    pub newer_than: Option<u64>,
    /// How long to wait for a newer image, in milliseconds.
    pub max_wait_ms: u32,
}

/// The cluster as one node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataAnswer {
    /// The cluster's id.
    pub cluster_id: String,
    /// Version of the image this comes from.
    pub version: u64,
    /// Who leads the quorum, if known.
    pub controller: Option<NodeId>,
    /// Live nodes.
    pub nodes: Vec<NodeAddress>,
    /// The topics asked for, by name; a name that does not exist is left out.
    pub topics: Vec<TopicMetadata>,
}

/// How a node is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// The node.
    pub id: NodeId,
    /// `host:port` of its QUIC endpoint, resolved at every dial.
    pub quic: String,
}

/// A topic and its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicMetadata {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: TopicId,
    /// Made by the system, not by a user.
    pub internal: bool,
    /// By index.
    pub partitions: Vec<PartitionMetadata>,
    /// Settings that differ from the defaults.
    pub config: BTreeMap<String, String>,
}

/// A partition's replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionMetadata {
    /// Who leads it; `None` while nobody does.
    pub leader: Option<NodeId>,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// Where it has replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Which of them are in sync.
    pub in_sync: Vec<NodeId>,
}

impl Message for Metadata {
    const KIND: u16 = 200;
    type Answer = MetadataAnswer;
}

impl Answer for MetadataAnswer {}

/// Makes a topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreateTopic {
    /// Its name: 1 to 249 of `a-z A-Z 0-9 . _ -`, not `.` or `..`.
    pub name: String,
    /// Number of partitions; `None` for the cluster's default.
    pub partitions: Option<i32>,
    /// Replicas of each; `None` for the cluster's default.
    pub replication_factor: Option<i16>,
    /// Settings, by Kafka's names.
    pub config: BTreeMap<String, String>,
}

impl Message for CreateTopic {
    const KIND: u16 = 201;
    type Answer = Result<TopicId, Refusal>;
}

/// Removes a topic and all that is in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeleteTopic {
    /// Its name.
    pub name: String,
}

impl Message for DeleteTopic {
    const KIND: u16 = 202;
    type Answer = Result<(), Refusal>;
}

/// Raises a topic's number of partitions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreatePartitions {
    /// The topic's name.
    pub name: String,
    /// The new number in all.
    pub total: i32,
}

impl Message for CreatePartitions {
    const KIND: u16 = 203;
    type Answer = Result<(), Refusal>;
}

/// Changes settings of a topic while it is in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AlterTopicConfig {
    /// The topic's name.
    pub name: String,
    /// New values; `None` goes back to the default.
    pub changes: BTreeMap<String, Option<String>>,
}

impl Message for AlterTopicConfig {
    const KIND: u16 = 204;
    type Answer = Result<(), Refusal>;
}

/// Asks for a producer id that nobody has had before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InitProducerId {}

impl Message for InitProducerId {
    const KIND: u16 = 205;
    /// The id, with epoch 0.
    type Answer = Result<ProducerId, Refusal>;
}

/// An operator's word that a replica leads a partition that has no leader, although it may lack acknowledged records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElectReplica {
    /// The topic's name.
    pub topic: String,
    /// Which partition of it.
    pub partition: i32,
    /// The node whose replica is to lead.
    pub node: NodeId,
    /// Unless it is, nothing is done, and the refusal says what is known of all replicas.
    pub is_confirmed: bool,
}

impl Message for ElectReplica {
    const KIND: u16 = 206;
    type Answer = Result<(), Refusal>;
}

/// What an election is to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElectionKind {
    /// The lead to the first of the replicas, if it is in sync.
    Preferred,
    /// A leader to a partition without one, if its topic allows that one lacks records.
    Unclean,
}

impl Answer for TopicId {}
impl Answer for ProducerId {}
