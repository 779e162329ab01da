//! Which readers live on a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::records::Source;
use super::super::types::EntityTypes;
use super::declared::Declared;
use crate::ids::{LeaderEpoch, PartitionId};
use crate::image::{Image, entity_topic};

/// What tells a reader from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::custom::entity) struct ReaderKey {
    /// The type that reads.
    pub(super) kind: Arc<str>,
    /// What it reads. A topic that is made anew under its name is another.
    pub(super) source: Source,
}

/// A reader's work, for as long as it stays the same.
#[derive(Clone, Debug)]
pub(in crate::custom::entity) struct Assignment {
    /// The partition of entities that it lives beside.
    pub(super) beside: PartitionId,
    /// In this epoch of its leader.
    pub(super) epoch: LeaderEpoch,
    /// How many partitions the type has.
    pub(super) receivers: u32,
    /// What the user makes of the records.
    pub(super) input: Arc<Declared>,
}

impl PartialEq for Assignment {
    fn eq(&self, other: &Self) -> bool {
        (self.beside, self.epoch, self.receivers) == (other.beside, other.epoch, other.receivers)
            && Arc::ptr_eq(&self.input, &other.input)
    }
}

impl Assignment {
    /// What the reader is called.
    pub(super) fn name(&self, key: &ReaderKey) -> String {
        format!("{}-{}", self.input.topic, key.source.partition)
    }
}

/// The readers that live here, beside the partitions of entities that are `led` here.
pub(in crate::custom::entity) fn readers_here(
    image: &Image,
    types: &EntityTypes,
    led: &BTreeMap<PartitionId, (Arc<str>, LeaderEpoch)>,
) -> BTreeMap<ReaderKey, Assignment> {
    let mut readers = BTreeMap::new();
    for (kind, input) in types.inputs() {
        let (Some(entities), Some(topic)) =
            (image.topics().named(&entity_topic(kind)), image.topics().named(&input.topic))
        else {
            continue;
        };
        let count = |partitions: usize| i32::try_from(partitions).unwrap_or(i32::MAX);
        let receivers = count(entities.partitions.len());
        if receivers == 0 || topic.internal {
            continue;
        }
        for index in 0..count(topic.partitions.len()) {
            let beside = PartitionId { topic: entities.id, index: index % receivers };
            let Some((_, epoch)) = led.get(&beside) else { continue };
            let key =
                ReaderKey { kind: Arc::clone(kind), source: Source { topic: topic.id, partition: index } };
            let (epoch, input) = (*epoch, Arc::clone(input));
            let receivers = receivers.unsigned_abs();
            readers.insert(key, Assignment { beside, epoch, receivers, input });
        }
    }
    readers
}
