//! What the tasks of a process stand on until something fails: the topics as they are, who reads for them, and who writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ractor::ActorRef;

use super::super::graph::{PartitionCounts, Topology};
use super::super::query::message::StoreShape;
use super::super::task::{TaskId, tasks_of};
use super::StreamsError;
use super::globals::Feeding;
use super::host::{Application, HostMessage, shapes};
use super::identity::Identity;
use super::reader::Reader;
use super::topics::{prepare, resolve};
use super::transactor::Transactor;
use crate::client::TopicPartition;

/// A task's partition of each topic that it reads, by the topic's place.
pub(super) type Partitions = BTreeMap<usize, TopicPartition>;

/// The ground of one generation.
pub(super) struct Ground {
    /// Over the topics that there were.
    pub(super) topology: Topology,
    pub(super) counts: PartitionCounts,
    /// Its stores that can be asked.
    pub(super) shapes: Vec<StoreShape>,
    pub(super) transactor: Transactor,
    pub(super) reader: Reader,
    pub(super) feeding: Arc<Feeding>,
    pub(super) generation: u64,
}

impl Ground {
    /// Finds the topics, makes those of the library, and fences whoever wrote for this instance before.
    pub(super) async fn lay(
        application: &Application,
        identity: &Arc<Identity>,
        feeding: Option<Arc<Feeding>>,
        host: &ActorRef<HostMessage>,
        generation: u64,
    ) -> Result<Self, StreamsError> {
        let Application { client, settings, .. } = application;
        let topology = resolve(client, &application.topology).await?;
        let transactor = Transactor::begin(client, identity, settings).await?;
        let counts = prepare(client, &topology, settings).await?;
        let feeding = match feeding {
            Some(feeding) => feeding,
            None => Arc::new(Feeding::begin(client, &topology, &counts, host.clone()).await?),
        };
        let reader = Reader::begin(client, host.clone(), generation)?;
        let shapes = shapes(&topology, &counts);
        Ok(Self { topology, counts, shapes, transactor, reader, feeding, generation })
    }

    /// A task's partition of each topic that it reads, where that has one.
    pub(super) fn partitions(&self, id: TaskId) -> Partitions {
        let Some(part) = self.topology.parts.get(id.part) else { return Partitions::new() };
        let named = part.sources.iter().enumerate().filter(|(_, name)| self.counts.of(name) > id.partition);
        named.map(|(topic, name)| (topic, TopicPartition::new(Arc::clone(name), id.partition))).collect()
    }

    /// Whether there is such a task.
    pub(super) fn has(&self, id: TaskId) -> bool {
        let part = self.topology.parts.get(id.part);
        part.is_some_and(|part| (0..self.counts.tasks(part)).contains(&id.partition))
    }

    /// The tasks that there are.
    pub(super) fn tasks(&self) -> BTreeSet<TaskId> {
        tasks_of(&self.topology, &self.counts).into_iter().collect()
    }
}
