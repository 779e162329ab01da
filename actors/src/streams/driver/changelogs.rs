//! Changelogs of a test's topology, and stores that are built of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::super::graph::Changelog;
use super::super::scope::StreamError;
use super::super::store::{ByteStore, Checkpoint, MemoryStore};
use super::super::task::{Logged, TaskId};
use super::{Committed, DriverError, TopologyDriver};

/// What is committed of the changelog topics, compacted.
#[derive(Debug, Default)]
pub(super) struct Changelogs(BTreeMap<(Arc<str>, i32), BTreeMap<Bytes, Bytes>>);

impl Changelogs {
    /// Changes of a task were committed.
    pub(super) fn append(&mut self, task: TaskId, logged: Vec<Logged>) {
        for Logged { topic, key, value } in logged {
            let changelog = self.0.entry((topic, task.partition)).or_default();
            match value {
                Some(value) => changelog.insert(key, value),
                None => changelog.remove(&key),
            };
        }
    }
}

impl TopologyDriver {
    /// Begins all tasks again from the last commit, with stores that are built of their changelogs: as after processes were
    /// lost with their disks.
    pub fn lose_stores(&mut self) -> Result<(), DriverError> {
        for (id, running) in std::mem::take(&mut self.tasks) {
            let bases = self.restored(id, &running.committed)?;
            self.begin(id, bases, running.committed)?;
        }
        self.go_on()
    }

    fn restored(&self, id: TaskId, committed: &Committed) -> Result<Vec<Box<dyn ByteStore>>, StreamError> {
        let Some(part) = self.topology.parts.get(id.part) else { return Ok(Vec::new()) };
        let mut bases: Vec<Box<dyn ByteStore>> = Vec::new();
        for store in &part.stores {
            let changelog = self.topology.graph.stores.get(store.0).map(|store| &store.changelog);
            let mut base = MemoryStore::default();
            match changelog {
                Some(Changelog::Topic(topic)) => {
                    let of_task = self.changelogs.0.get(&(Arc::clone(topic), id.partition));
                    let mut changes = of_task.into_iter().flatten().map(|(key, value)| (key, Some(value)));
                    base.apply(&mut changes, &[], Checkpoint(0))?;
                }
                Some(Changelog::Source(topic)) => {
                    let partition = usize::try_from(id.partition).unwrap_or(usize::MAX);
                    let log = self.logs.get(topic).and_then(|partitions| partitions.get(partition));
                    let place = part.sources.iter().position(|source| source == topic);
                    let next = place.and_then(|place| committed.next.get(&place)).copied().unwrap_or(0);
                    let taken = log.into_iter().flatten().take(next);
                    let graph = &self.topology.graph;
                    let mut lying = Vec::new();
                    // An entry that is no record has no key.
                    for (key, value) in taken.filter_map(|it| Some((it.key.as_ref()?, it.value.as_ref()))) {
                        lying.push(graph.lies_in(*store, key, value)?);
                    }
                    let mut changes = lying.iter().map(|(key, value)| (key, value.as_ref()));
                    base.apply(&mut changes, &[], Checkpoint(0))?;
                }
                Some(Changelog::None) | None => {}
            }
            bases.push(Box::new(base));
        }
        Ok(bases)
    }
}
