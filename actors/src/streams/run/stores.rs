//! The stores of a task, with what its changelogs have.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::super::graph::{Changelog, StoreId};
use super::super::store::{ByteStore, Checkpoint, DiskStore, MemoryStore};
use super::super::task::TaskId;
use super::StreamsError;
use super::ground::Ground;
use super::host::Application;
use super::restore::{bounds, restore};
use crate::client::TopicPartition;
use crate::events::StreamsRestoreMetrics;
use crate::ids::Offset;
use crate::partition::message::OffsetSpec;

/// The stores of one task.
pub(super) type Stores = Vec<Box<dyn ByteStore>>;

/// The stores of tasks that have ended, with what was committed.
pub(super) type Kept = BTreeMap<TaskId, Stores>;

/// Whose stores, and where they are.
#[derive(Clone, Copy)]
pub(super) struct StoresOf<'a> {
    pub(super) application: &'a Application,
    pub(super) ground: &'a Ground,
    pub(super) id: TaskId,
}

impl StoresOf<'_> {
    fn ids(&self) -> &[StoreId] {
        self.ground.topology.parts.get(self.id.part).map_or(&[], |part| &part.stores)
    }

    /// What was left of them on disk when the process ended, with how many records of their changelogs it lacks; `None` where
    /// there is nothing.
    pub(super) async fn find(&self) -> Result<Option<(Stores, u64)>, StreamsError> {
        let is_there = |directory: PathBuf| directory.is_dir();
        let threads = &self.application.client.world.threads;
        let Some(directory) = self.directory() else { return Ok(None) };
        if !threads.run_blocking(move || is_there(directory)).await {
            return Ok(None);
        }
        let stores = self.open(None).await?;
        let graph = &self.ground.topology.graph;
        let mut read = BTreeMap::new();
        for (store, id) in stores.iter().zip(self.ids()) {
            if let Some(Changelog::Topic(topic)) = graph.stores.get(id.0).map(|spec| &spec.changelog) {
                let of = TopicPartition::new(Arc::clone(topic), self.id.partition);
                read.insert(of, store.checkpoint().map_or(0, |Checkpoint(at)| at));
            }
        }
        let ends = read.keys().cloned().collect();
        let ends = bounds(&self.application.client, ends, OffsetSpec::LastStable).await?;
        let lag = |(of, at): (&TopicPartition, &i64)| {
            let missing = ends.get(of).map_or(0, |end| end.0.saturating_sub(*at));
            u64::try_from(missing).unwrap_or(0)
        };
        Ok(Some((stores, read.iter().map(lag).sum())))
    }

    /// Where they lie, if on disk.
    fn directory(&self) -> Option<PathBuf> {
        let settings = &self.application.settings;
        let directory = settings.state_dir.as_ref().filter(|_| !self.ids().is_empty())?;
        let directory = directory.join(self.ground.topology.application());
        Some(directory.join(self.id.to_string()))
    }

    /// What was kept of them, or is on disk, or nothing.
    pub(super) async fn open(&self, kept: Option<Stores>) -> Result<Stores, StreamsError> {
        let stores = self.ids();
        if let Some(kept) = kept.filter(|kept| kept.len() == stores.len()) {
            return Ok(kept);
        }
        let Some(directory) = self.directory() else {
            return Ok(stores.iter().map(|_| Box::new(MemoryStore::default()) as _).collect());
        };
        let specs = stores.iter().filter_map(|store| self.ground.topology.graph.stores.get(store.0));
        let names: Vec<Arc<str>> = specs.map(|spec| Arc::clone(&spec.name)).collect();
        let budget = self.application.settings.disk_budget;
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

    /// Brings them to where their changelogs are; one whose changelog is a topic that the task reads to where that is read, as
    /// `positions` says of topics. How many changes they lacked.
    pub(super) async fn bring_up(
        &self,
        stores: &mut Stores,
        positions: &BTreeMap<Arc<str>, Offset>,
    ) -> Result<u64, StreamsError> {
        let (client, graph) = (&self.application.client, &self.ground.topology.graph);
        let application = self.ground.topology.application();
        let progress = StreamsRestoreMetrics::of(&client.events, application, &self.id.to_string());
        let mut count: u64 = 0;
        for (base, store) in stores.iter_mut().zip(self.ids()) {
            let of = |topic: &Arc<str>| TopicPartition::new(Arc::clone(topic), self.id.partition);
            match graph.stores.get(store.0).map(|spec| &spec.changelog) {
                None | Some(Changelog::None) => {}
                Some(Changelog::Topic(topic)) => {
                    let as_they_are = |key: &Bytes, value: Option<&Bytes>| Ok((key.clone(), value.cloned()));
                    count +=
                        restore(client, &of(topic), (base.as_mut(), &progress), None, &as_they_are).await?;
                }
                Some(Changelog::Source(topic)) => {
                    let Some(end) = positions.get(topic) else { continue };
                    let lies_in = |key: &Bytes, value: Option<&Bytes>| graph.lies_in(*store, key, value);
                    count +=
                        restore(client, &of(topic), (base.as_mut(), &progress), Some(*end), &lies_in).await?;
                }
            }
        }
        Ok(count)
    }
}

/// What was left on disk of the stores of an application's tasks, and what each task's lack. What cannot be opened is as if it were not
/// there: whoever begins the task says why.
pub(super) async fn find_all(application: &Application, ground: &Ground) -> (Kept, Vec<(TaskId, u64)>) {
    let (mut kept, mut lags) = (Kept::new(), Vec::new());
    for id in ground.tasks() {
        match (StoresOf { application, ground, id }).find().await {
            Ok(Some((stores, lag))) => {
                kept.insert(id, stores);
                lags.push((id, lag));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(task = %id, %error, "no state is found")
            }
        }
    }
    (kept, lags)
}
