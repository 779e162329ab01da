//! The topics: by id for the cluster, by name for people.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Nodes, Partition, type_of_topic};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{NodeId, PartitionId, TopicId};
use crate::topic_config::TopicConfig;

/// The most partitions of one topic.
pub const PARTITIONS_MAX: usize = 10_000;

/// The longest name of a topic (Kafka's): a directory's name has room for it and a partition's number.
const NAME_BYTES_MAX: usize = 249;

/// Topics that the system makes for itself.
const INTERNAL: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// A topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its id, for ever.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// Settings that differ from the defaults, as given.
    pub overrides: BTreeMap<String, String>,
    /// The settings in force.
    pub config: Arc<TopicConfig>,
    /// Made by the system, not by a user.
    pub internal: bool,
    /// By index.
    pub partitions: Vec<Arc<Partition>>,
}

impl Topic {
    /// A topic of these parts; a setting that this program does not know is kept and has no effect.
    pub(super) fn of(
        id: TopicId,
        name: &str,
        overrides: BTreeMap<String, String>,
        internal: bool,
        partitions: Vec<Arc<Partition>>,
    ) -> Self {
        let config = Arc::new(in_force(&overrides));
        Self { id, name: name.into(), overrides, config, internal, partitions }
    }

    pub(super) fn create(
        id: TopicId,
        name: &str,
        overrides: &BTreeMap<String, String>,
        internal: bool,
        replicas: &[Vec<NodeId>],
        nodes: &Nodes,
    ) -> Result<Self, Refusal> {
        check_name(name)?;
        let partitions = create_partitions(id, 0, replicas, nodes)?;
        if partitions.is_empty() || partitions.len() > PARTITIONS_MAX {
            return Err(too_many(name, partitions.len()));
        }
        Ok(Self::of(id, name, overrides.clone(), internal, partitions))
    }

    /// Whether the system makes topics of this name for itself.
    #[must_use]
    pub fn is_internal_name(name: &str) -> bool {
        INTERNAL.contains(&name) || type_of_topic(name).is_some()
    }

    /// One partition.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// The partitions with their ids.
    pub fn ids(&self) -> impl Iterator<Item = (PartitionId, &Arc<Partition>)> {
        (0..)
            .zip(&self.partitions)
            .map(|(index, partition)| (PartitionId { topic: self.id, index }, partition))
    }
}

/// All topics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topics {
    by_id: BTreeMap<TopicId, Arc<Topic>>,
    by_name: BTreeMap<Arc<str>, TopicId>,
}

impl Topics {
    /// One topic.
    #[must_use]
    pub fn get(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// The topic of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_id.get(self.by_name.get(name)?)
    }

    /// All of them by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_id.values()
    }

    /// All of them by name.
    pub fn by_name(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values().filter_map(|id| self.by_id.get(id))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// One partition.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.get(id.topic)?.partition(id.index).map(AsRef::as_ref)
    }

    pub(super) fn add(&mut self, topic: Topic) -> Result<(), Refusal> {
        if self.by_name.contains_key(&topic.name) || self.by_id.contains_key(&topic.id) {
            let text = format!("a topic named {} exists", topic.name);
            return Err(Refusal::new(ErrorCode::TopicAlreadyExists, text));
        }
        self.by_name.insert(Arc::clone(&topic.name), topic.id);
        self.by_id.insert(topic.id, Arc::new(topic));
        Ok(())
    }

    pub(super) fn remove(&mut self, id: TopicId) -> Result<(), Refusal> {
        let topic = self.by_id.remove(&id).ok_or_else(|| unknown(id))?;
        self.by_name.remove(&topic.name);
        Ok(())
    }

    pub(super) fn grow(
        &mut self,
        id: TopicId,
        from: usize,
        replicas: &[Vec<NodeId>],
        nodes: &Nodes,
    ) -> Result<(), Refusal> {
        let topic = self.by_id.get_mut(&id).ok_or_else(|| unknown(id))?;
        let present = topic.partitions.len();
        if present != from
            || replicas.is_empty()
            || replicas.len() > PARTITIONS_MAX - present.min(PARTITIONS_MAX)
        {
            return Err(Refusal::new(
                ErrorCode::InvalidPartitions,
                format!(
                    "topic {} has {present} partitions; it cannot go from {from} to {}",
                    topic.name,
                    from.saturating_add(replicas.len())
                ),
            ));
        }
        let added = create_partitions(id, from, replicas, nodes)?;
        Arc::make_mut(topic).partitions.extend(added);
        Ok(())
    }

    pub(super) fn alter(
        &mut self,
        id: TopicId,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), Refusal> {
        let topic = Arc::make_mut(self.by_id.get_mut(&id).ok_or_else(|| unknown(id))?);
        for (name, value) in changes {
            match value {
                Some(value) => topic.overrides.insert(name.clone(), value.clone()),
                None => topic.overrides.remove(name),
            };
        }
        topic.config = Arc::new(in_force(&topic.overrides));
        Ok(())
    }

    /// Puts a partition's next state in its place, where `next` gives one; its set version.
    pub(super) fn change(
        &mut self,
        id: PartitionId,
        next: impl FnOnce(&Partition, &TopicConfig) -> Result<Partition, Refusal>,
    ) -> Result<u32, Refusal> {
        let absent =
            || Refusal::new(ErrorCode::UnknownTopicOrPartition, format!("there is no partition {id}"));
        let topic = self.by_id.get_mut(&id.topic).ok_or_else(absent)?;
        let index = usize::try_from(id.index).map_err(|_| absent())?;
        let partition = topic.partitions.get(index).ok_or_else(absent)?;
        let next = next(partition, &topic.config)?;
        let version = next.set_version;
        if let Some(place) = Arc::make_mut(topic).partitions.get_mut(index) {
            *place = Arc::new(next);
        }
        Ok(version)
    }

    /// These topics with every partition for which `next` gives a new state in it; `None` if there is no such.
    pub(super) fn changed(
        &self,
        next: impl Fn(&Partition, PartitionId) -> Option<Partition>,
    ) -> Option<Self> {
        let mut topics: Option<Self> = None;
        for topic in self.iter() {
            for (id, partition) in topic.ids() {
                let Some(partition) = next(partition, id) else { continue };
                let changed = topics.get_or_insert_with(|| self.clone());
                // It was found in this very map.
                let _ = changed.change(id, |_, _| Ok(partition));
            }
        }
        topics
    }
}

fn create_partitions(
    topic: TopicId,
    from: usize,
    replicas: &[Vec<NodeId>],
    nodes: &Nodes,
) -> Result<Vec<Arc<Partition>>, Refusal> {
    let first = i32::try_from(from).unwrap_or(i32::MAX);
    (first..)
        .zip(replicas)
        .map(|(index, replicas)| {
            Partition::create(PartitionId { topic, index }, replicas, nodes).map(Arc::new)
        })
        .collect()
}

/// The settings in force: an override that does not parse has no effect, so that a node with other settings than the
/// one that checked it keeps the same image.
fn in_force(overrides: &BTreeMap<String, String>) -> TopicConfig {
    if let Ok(config) = TopicConfig::parse(overrides) {
        return config;
    }
    let one = |name: &String, value: &String| BTreeMap::from([(name.clone(), value.clone())]);
    let known = overrides.iter().filter(|(name, value)| TopicConfig::parse(&one(name, value)).is_ok());
    let known = known.map(|(name, value)| (name.clone(), value.clone())).collect();
    TopicConfig::parse(&known).unwrap_or_default()
}

/// A refusal unless a topic can have this name (Kafka's rule).
pub fn check_name(name: &str) -> Result<(), Refusal> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let reason = if name.is_empty() {
        "it is empty"
    } else if name == "." || name == ".." {
        "it is a directory's name"
    } else if name.len() > NAME_BYTES_MAX {
        "it is longer than 249 characters"
    } else if !name.bytes().all(legal) {
        "it has other characters than a-z A-Z 0-9 . _ -"
    } else {
        return Ok(());
    };
    let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
    Err(Refusal::new(ErrorCode::InvalidTopic, format!("no topic can be named {shown:?}: {reason}")))
}

fn unknown(id: TopicId) -> Refusal {
    Refusal::new(ErrorCode::UnknownTopicId, format!("there is no topic with the id {id}"))
}

fn too_many(name: &str, count: usize) -> Refusal {
    let text = format!("topic {name} cannot have {count} partitions; it can have from 1 to {PARTITIONS_MAX}");
    Refusal::new(ErrorCode::InvalidPartitions, text)
}
