//! Puts the tasks of a process together: their topics, where they had come, their stores, their actors.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ractor::{Actor, ActorCell, ActorRef};

use super::super::graph::{Changelog, PartitionCounts, StoreId, Topology};
use super::super::store::{ByteStore, DiskStore, MemoryStore};
use super::super::task::{Task, TaskId, inputs_of, tasks_of};
use super::super::time::{InputId, UNKNOWN_MS};
use super::StreamsError;
use super::globals::Feeding;
use super::host::{Application, HostMessage};
use super::inbox::Inbox;
use super::positions::{committed, reached};
use super::reader::{ReadFor, Reader};
use super::remedies::Remedies;
use super::restore::{bounds, restore};
use super::topics::{prepare, resolve};
use super::transactor::Transactor;
use super::worker::{Begins, Worker, WorkerMessage};
use crate::client::TopicPartition;
use crate::consumer::SeekTo;
use crate::ids::Offset;
use crate::partition::message::OffsetSpec;

/// The stores of tasks that have ended, with what was committed.
pub(super) type Kept = BTreeMap<TaskId, Vec<Box<dyn ByteStore>>>;

/// What the next tasks begin with.
pub(super) struct Handed {
    pub(super) kept: Kept,
    pub(super) remedies: Remedies,
    pub(super) feeding: Option<Arc<Feeding>>,
}

/// The actors of the tasks.
pub(super) type Workers = BTreeMap<TaskId, ActorRef<WorkerMessage>>;

/// What runs.
pub(super) struct Assembled {
    /// Over the topics that there were.
    pub(super) topology: Topology,
    pub(super) workers: Workers,
    pub(super) transactor: Transactor,
    pub(super) reader: Reader,
    pub(super) feeding: Arc<Feeding>,
}

/// A task's partition of each topic that it reads, by the topic's place.
type Partitions = BTreeMap<usize, TopicPartition>;

/// Puts all tasks together, over what is handed on. Whoever wrote for this instance before is fenced.
pub(super) async fn assemble(
    application: &Application,
    mut handed: Handed,
    host: ActorRef<HostMessage>,
    generation: u64,
) -> Result<Assembled, StreamsError> {
    let Application { client, settings, .. } = application;
    let topology = resolve(client, &application.topology).await?;
    let transactor = Transactor::begin(client, topology.application(), settings).await?;
    let counts = prepare(client, &topology, settings).await?;
    let feeding = match handed.feeding.take() {
        Some(feeding) => feeding,
        None => Arc::new(Feeding::begin(client, &topology, &counts, host.clone()).await?),
    };
    let assembling = Assembling { application, topology, counts, transactor, feeding, host, generation };
    let mut workers = Workers::new();
    let reader = match assembling.begin_all(&mut handed, &mut workers).await {
        Ok(reader) => reader,
        Err(error) => {
            end(&workers);
            return Err(error);
        }
    };
    let Assembling { topology, transactor, feeding, .. } = assembling;
    Ok(Assembled { topology, workers, transactor, reader, feeding })
}

/// Ends workers that are not to begin.
pub(super) fn end(workers: &Workers) {
    for worker in workers.values() {
        worker.stop(None);
    }
}

async fn begin(begins: Begins, host: ActorCell) -> Result<ActorRef<WorkerMessage>, StreamsError> {
    let spawned = Actor::spawn_linked(None, Worker, begins, host).await;
    spawned.map(|(worker, _)| worker).map_err(|error| StreamsError::Failed(error.to_string()))
}

/// What is known of partitions.
struct Known {
    committed: BTreeMap<TopicPartition, (Offset, String)>,
    /// Where those begin of which nothing is committed.
    begins: BTreeMap<TopicPartition, Offset>,
    ends: BTreeMap<TopicPartition, Offset>,
}

struct Assembling<'a> {
    application: &'a Application,
    topology: Topology,
    counts: PartitionCounts,
    transactor: Transactor,
    feeding: Arc<Feeding>,
    host: ActorRef<HostMessage>,
    generation: u64,
}

impl Assembling<'_> {
    /// Makes all workers, and reads for them.
    async fn begin_all(&self, handed: &mut Handed, workers: &mut Workers) -> Result<Reader, StreamsError> {
        let ids = tasks_of(&self.topology, &self.counts);
        let known = self.known(&ids).await?;
        let mut reads = BTreeMap::new();
        for id in ids {
            let (begins, of) = self.task(id, handed.kept.remove(&id), &known, &handed.remedies).await?;
            let (positions, inbox) = (begins.positions.clone(), Arc::clone(&begins.inbox));
            let worker = begin(begins, self.host.get_cell()).await?;
            for (topic, name) in of {
                let from = SeekTo::Offset(Offset(positions.get(&topic).copied().unwrap_or(0)));
                let target = ReadFor { topic, inbox: Arc::clone(&inbox), worker: worker.clone() };
                reads.insert(name, (from, target));
            }
            workers.insert(id, worker);
        }
        Ok(Reader::begin(&self.application.client, reads, self.host.clone(), self.generation).await?)
    }

    async fn known(&self, ids: &[TaskId]) -> Result<Known, StreamsError> {
        let of: Vec<_> = ids.iter().flat_map(|id| self.partitions(*id).into_values()).collect();
        let client = &self.application.client;
        let committed = committed(client, self.topology.application(), &of).await?;
        let new: Vec<_> = of.iter().filter(|of| !committed.contains_key(*of)).cloned().collect();
        let begins = bounds(client, new, OffsetSpec::Earliest).await?;
        let ends = bounds(client, of, OffsetSpec::LastStable).await?;
        Ok(Known { committed, begins, ends })
    }

    /// The task's partition of each topic that it reads, where that has one.
    fn partitions(&self, id: TaskId) -> Partitions {
        let Some(part) = self.topology.parts.get(id.part) else { return Partitions::new() };
        let named = part.sources.iter().enumerate().filter(|(_, name)| self.counts.of(name) > id.partition);
        named.map(|(topic, name)| (topic, TopicPartition::new(Arc::clone(name), id.partition))).collect()
    }

    async fn task(
        &self,
        id: TaskId,
        kept: Option<Vec<Box<dyn ByteStore>>>,
        known: &Known,
        remedies: &Remedies,
    ) -> Result<(Begins, Partitions), StreamsError> {
        let Application { client, settings, .. } = self.application;
        let of = self.partitions(id);
        // A task that begins says with its first commit where, so that it is not new any more.
        let next =
            |name| known.committed.get(name).map(|(next, _)| *next).or(known.begins.get(name).copied());
        let positions = of.iter().filter_map(|(topic, name)| Some((*topic, next(name)?.0))).collect();
        let ends = of.iter().filter_map(|(topic, name)| Some((*topic, known.ends.get(name)?.0))).collect();
        let bases = self.stores(id, kept, &of, &positions).await?;
        let clock_ms = client.world.clock.wall_ms();
        let idle_ms = settings.idle_max.map(|idle| i64::try_from(idle.as_millis()).unwrap_or(i64::MAX));
        let inputs = self.inputs(id, &of, known);
        let globals = &self.feeding.tables;
        let mut task = Task::new(&self.topology, id, bases, globals, &inputs, (clock_ms, idle_ms))?;
        remedies.tell(&mut task, &positions);
        let begins = Begins {
            topology: self.topology.clone(),
            counts: self.counts.clone(),
            task,
            positions,
            ends,
            inbox: Arc::new(Inbox::new(settings.input_max_bytes)),
            transactor: self.transactor.clone(),
            host: self.host.clone(),
            generation: self.generation,
            settings: settings.clone(),
            clock: client.world.clock.clone(),
        };
        Ok((begins, of))
    }

    /// How far each of its inputs had come. One that is new to a task that has worked before (a topic came that a pattern
    /// takes) is where stream time is, which it so holds until it says more.
    fn inputs(&self, id: TaskId, of: &Partitions, known: &Known) -> BTreeMap<InputId, i64> {
        let said = |name| known.committed.get(name).map(|(_, words)| words);
        let committed = of.iter().filter_map(|(topic, name)| Some(reached(*topic, said(name)?)));
        let had: BTreeMap<InputId, i64> = committed.flatten().collect();
        let now_ms = had.values().copied().min().unwrap_or(UNKNOWN_MS);
        let all = inputs_of(&self.topology, &self.counts, id).into_iter();
        all.map(|input| (input, had.get(&input).copied().unwrap_or(now_ms))).collect()
    }

    /// The stores of a task, as its changelogs have them.
    async fn stores(
        &self,
        id: TaskId,
        kept: Option<Vec<Box<dyn ByteStore>>>,
        of: &Partitions,
        positions: &BTreeMap<usize, i64>,
    ) -> Result<Vec<Box<dyn ByteStore>>, StreamsError> {
        let client = &self.application.client;
        let Some(part) = self.topology.parts.get(id.part) else { return Ok(Vec::new()) };
        let mut bases = match kept.filter(|kept| kept.len() == part.stores.len()) {
            Some(kept) => kept,
            None => self.open(id, &part.stores).await?,
        };
        for (base, store) in bases.iter_mut().zip(&part.stores) {
            let graph = &self.topology.graph;
            match graph.stores.get(store.0).map(|spec| &spec.changelog) {
                None | Some(Changelog::None) => {}
                Some(Changelog::Topic(topic)) => {
                    let from = TopicPartition::new(Arc::clone(topic), id.partition);
                    let as_they_are =
                        |key: &Bytes, value: Option<&Bytes>| Ok(Some((key.clone(), value.cloned())));
                    restore(client, &from, base.as_mut(), None, &as_they_are).await?;
                }
                Some(Changelog::Source(topic)) => {
                    let Some((place, from)) = of.iter().find(|(_, name)| name.topic == *topic) else {
                        continue;
                    };
                    let end = Offset(positions.get(place).copied().unwrap_or(0));
                    let lies_in = |key: &Bytes, value: Option<&Bytes>| graph.lies_in(*store, key, value);
                    restore(client, from, base.as_mut(), Some(end), &lies_in).await?;
                }
            }
        }
        Ok(bases)
    }

    /// Stores with what is on disk of them, or with nothing.
    async fn open(&self, id: TaskId, stores: &[StoreId]) -> Result<Vec<Box<dyn ByteStore>>, StreamsError> {
        let settings = &self.application.settings;
        let Some(directory) = settings.state_dir.as_ref().filter(|_| !stores.is_empty()) else {
            return Ok(stores.iter().map(|_| Box::new(MemoryStore::default()) as _).collect());
        };
        let directory = directory.join(self.topology.application());
        let directory = directory.join(format!("{}_{}", id.part, id.partition));
        let specs = stores.iter().filter_map(|store| self.topology.graph.stores.get(store.0));
        let names: Vec<Arc<str>> = specs.map(|spec| Arc::clone(&spec.name)).collect();
        let budget = settings.disk_budget;
        let threads = &self.application.client.world.threads;
        let opened = threads.run_blocking(move || {
            let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
            DiskStore::open_all(&directory, &names, budget)
        });
        let opened = opened.await.map_err(|error| StreamsError::Stream(error.into()))?;
        if let Some(error) = opened.set_aside {
            tracing::warn!(%error, "state stores were set aside and are rebuilt from their changelogs");
        }
        Ok(opened.stores.into_iter().map(|store| Box::new(store) as _).collect())
    }
}
