//! Where a group's members resume: committed offsets, by topic and partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::records::{GroupRecord, OffsetValue};

/// The committed offsets of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets(BTreeMap<Arc<str>, BTreeMap<i32, OffsetValue>>);

impl Offsets {
    /// Takes a record in.
    pub fn replay(&mut self, topic: &Arc<str>, partition: i32, value: Option<OffsetValue>) {
        match value {
            Some(value) => {
                self.0.entry(Arc::clone(topic)).or_default().insert(partition, value);
            }
            None => {
                if let Some(partitions) = self.0.get_mut(topic) {
                    partitions.remove(&partition);
                    if partitions.is_empty() {
                        self.0.remove(topic);
                    }
                }
            }
        }
    }

    /// What was committed for a partition.
    #[must_use]
    pub fn get(&self, topic: &str, partition: i32) -> Option<&OffsetValue> {
        self.0.get(topic)?.get(&partition)
    }

    /// All of them: topic, partition, offset.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &OffsetValue)> {
        self.0.iter().flat_map(|(topic, of)| of.iter().map(move |(index, value)| (topic, *index, value)))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The records that end all of them.
    #[must_use]
    pub fn tombstones(&self) -> Vec<GroupRecord> {
        self.iter()
            .map(|(topic, partition, _)| GroupRecord::Offset {
                topic: Arc::clone(topic),
                partition,
                value: None,
            })
            .collect()
    }
}
