//! The cluster as a client sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cluster::message::{MetadataAnswer, PartitionMetadata, TopicMetadata};
use crate::ids::{LeaderEpoch, NodeId, PartitionId, TopicId};

/// A topic's name and the index of one of its partitions: what people call a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's index.
    pub partition: i32,
}

impl TopicPartition {
    /// A partition by name and index.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}-{}", self.topic, self.partition)
    }
}

/// A topic as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicView {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: TopicId,
    /// Made by the system, not by a user.
    pub internal: bool,
    /// By index.
    pub partitions: Vec<PartitionMetadata>,
    /// Settings that differ from the defaults.
    pub config: BTreeMap<String, String>,
}

impl TopicView {
    fn new(topic: TopicMetadata) -> Self {
        Self {
            name: topic.name.into(),
            id: topic.id,
            internal: topic.internal,
            partitions: topic.partitions,
            config: topic.config,
        }
    }

    /// The id of a partition, if the topic has one of this index.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<PartitionId> {
        let known = usize::try_from(index).is_ok_and(|index| index < self.partitions.len());
        known.then_some(PartitionId { topic: self.id, index })
    }

    /// All its partitions.
    pub fn partition_ids(&self) -> impl Iterator<Item = PartitionId> + '_ {
        (0..).zip(&self.partitions).map(|(index, _)| PartitionId { topic: self.id, index })
    }
}

/// The cluster as a client sees it at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Version of the image it comes from; 0 before the first answer.
    pub version: u64,
    /// The cluster's id.
    pub cluster_id: String,
    /// Who leads the quorum, if known.
    pub controller: Option<NodeId>,
    /// Where live nodes are reached.
    pub nodes: BTreeMap<NodeId, String>,
    /// Topics by name, as far as they were asked for.
    pub topics: BTreeMap<Arc<str>, Arc<TopicView>>,
    by_id: BTreeMap<TopicId, Arc<TopicView>>,
    /// The names asked for; `None` for all.
    pub(super) asked: Option<BTreeSet<String>>,
}

impl View {
    pub(super) fn new(answer: MetadataAnswer, asked: Option<BTreeSet<String>>) -> Self {
        let topics: Vec<Arc<TopicView>> =
            answer.topics.into_iter().map(|topic| Arc::new(TopicView::new(topic))).collect();
        Self {
            version: answer.version,
            cluster_id: answer.cluster_id,
            controller: answer.controller,
            nodes: answer.nodes.into_iter().map(|node| (node.id, node.quic)).collect(),
            by_id: topics.iter().map(|topic| (topic.id, Arc::clone(topic))).collect(),
            topics: topics.into_iter().map(|topic| (Arc::clone(&topic.name), topic)).collect(),
            asked,
        }
    }

    /// Whether the view would show the topic if it existed.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.version > 0 && self.asked.as_ref().is_none_or(|asked| asked.contains(name))
    }

    /// Whether the view shows all topics.
    #[must_use]
    pub fn covers_all(&self) -> bool {
        self.version > 0 && self.asked.is_none()
    }

    /// A topic by its id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicView>> {
        self.by_id.get(&id)
    }

    /// What is known of a partition.
    #[must_use]
    pub fn partition(&self, partition: PartitionId) -> Option<&PartitionMetadata> {
        self.by_id.get(&partition.topic)?.partitions.get(usize::try_from(partition.index).ok()?)
    }

    /// Who leads a partition, in which epoch, if somebody who is alive does.
    #[must_use]
    pub fn leader(&self, partition: PartitionId) -> Option<(NodeId, LeaderEpoch)> {
        let known = self.partition(partition)?;
        let leader = known.leader.filter(|leader| self.nodes.contains_key(leader))?;
        Some((leader, known.leader_epoch))
    }

    /// What people call a partition.
    #[must_use]
    pub fn name(&self, partition: PartitionId) -> Option<TopicPartition> {
        let topic = self.by_id.get(&partition.topic)?;
        Some(TopicPartition { topic: Arc::clone(&topic.name), partition: partition.index })
    }

    /// The partition that people call so.
    #[must_use]
    pub fn id(&self, partition: &TopicPartition) -> Option<PartitionId> {
        self.topics.get(&partition.topic)?.partition(partition.partition)
    }
}
