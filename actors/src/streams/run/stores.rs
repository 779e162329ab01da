//! The stores of a task, with what its changelogs have.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;

use super::super::graph::{Changelog, StoreId};
use super::super::store::{ByteStore, Checkpoint, DiskStore, MemoryStore};
use super::super::task::TaskId;
use super::StreamsError;
use super::cancel::Cancelled;
use super::ground::Ground;
use super::host::Application;
use super::restore::{Source, Until, bounds, restore};
use super::topics::DELETE_RETENTION;
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

    /// What was left of them on disk when the process ended, with how many records of their changelogs it lacks, at
    /// most; `None` where there is nothing.
    pub(super) async fn find(&self) -> Result<Option<(Stores, u64)>, StreamsError> {
        let now_ms = self.application.client.world.clock.wall_ms();
        let is_there = move |directory: PathBuf| {
            forget_stale(&directory, now_ms);
            directory.is_dir()
        };
        let threads = &self.application.client.world.threads;
        let Some(directory) = self.directory() else { return Ok(None) };
        if !threads.run_blocking(move || is_there(directory)).await {
            return Ok(None);
        }
        let stores = self.open(None).await?;
        let graph = &self.ground.topology.graph;
        let mut read = BTreeMap::new();
        for (store, id) in stores.iter().zip(self.ids()) {
            let changelog = graph.stores.get(id.0).map(|spec| &spec.changelog);
            if let Some(Changelog::Topic(topic) | Changelog::Source(topic)) = changelog {
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
        let now_ms = self.application.client.world.clock.wall_ms();
        let budget = self.application.settings.disk_budget;
        let threads = &self.application.client.world.threads;
        let opened = threads.run_blocking(move || {
            let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
            forget_stale(&directory, now_ms);
            DiskStore::open_all(&directory, &names, budget)
        });
        let opened = opened.await.map_err(|error| StreamsError::Stream(error.into()))?;
        if let Some(error) = opened.set_aside {
            tracing::warn!(%error, "state stores were set aside and are rebuilt from their changelogs");
        }
        Ok(opened.stores.into_iter().map(|store| Box::new(store) as _).collect())
    }

    /// Brings them to where their changelogs are; one whose changelog is a topic that the task reads to where that is read. How
    /// many changes they lacked. Ends early, with what was restored so far, where it is cancelled.
    pub(super) async fn bring_up(&self, stores: &mut Stores, way: BringUp<'_>) -> Result<u64, StreamsError> {
        let (client, graph) = (&self.application.client, &self.ground.topology.graph);
        let application = self.ground.topology.application();
        let progress = &StreamsRestoreMetrics::of(&client.events, application, &self.id.to_string());
        let BringUp { positions, until, cancelled } = way;
        let mut count: u64 = 0;
        for (base, store) in stores.iter_mut().zip(self.ids()) {
            let of = |topic: &Arc<str>| TopicPartition::new(Arc::clone(topic), self.id.partition);
            match graph.stores.get(store.0).map(|spec| &spec.changelog) {
                None | Some(Changelog::None) => {}
                Some(Changelog::Topic(topic)) => {
                    let lies_in = &|key: &Bytes, value: Option<&Bytes>| Ok((key.clone(), value.cloned()));
                    let source = Source { client, of: &of(topic), until, lies_in, cancelled, progress };
                    count += restore(base.as_mut(), &source).await?;
                }
                Some(Changelog::Source(topic)) => {
                    let Some(end) = positions.get(topic) else { continue };
                    let lies_in = &|key: &Bytes, value: Option<&Bytes>| graph.lies_in(*store, key, value);
                    let until = Until::At(*end);
                    let source = Source { client, of: &of(topic), until, lies_in, cancelled, progress };
                    count += restore(base.as_mut(), &source).await?;
                }
            }
        }
        Ok(count)
    }
}

/// How stores are brought up.
#[derive(Clone, Copy)]
pub(super) struct BringUp<'a> {
    /// Up to where topics are read that the task reads.
    pub(super) positions: &'a BTreeMap<Arc<str>, Offset>,
    /// How far in changelogs.
    pub(super) until: Until,
    pub(super) cancelled: &'a Cancelled,
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

/// Removes what was left on disk so long ago that deletions since then may have gone from its changelog: it would have more than
/// there is. What cannot be removed is told, and is not used.
fn forget_stale(directory: &Path, now_ms: i64) {
    let Some(written_ms) = written_ms(directory) else { return };
    let most_ms = i64::try_from(DELETE_RETENTION.as_millis() / 2).unwrap_or(i64::MAX);
    if now_ms.saturating_sub(written_ms) <= most_ms {
        return;
    }
    tracing::info!(directory = %directory.display(), "state that nobody has written for long is removed, and built anew");
    if let Err(error) = fs::remove_dir_all(directory) {
        tracing::warn!(directory = %directory.display(), %error, "old state is not removed");
    }
}

/// When one of the files of a directory was last written, in milliseconds since 1970.
fn written_ms(directory: &Path) -> Option<i64> {
    let times = fs::read_dir(directory).ok()?.flatten().filter_map(|entry| {
        if entry.file_type().ok()?.is_dir() {
            return written_ms(&entry.path());
        }
        let at = entry.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(at.as_millis()).ok()
    });
    times.max()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn state_is_forgotten_once_its_changelog_may_have_forgotten_what_was_deleted_since() {
        let directory = tempfile::tempdir().expect("a directory");
        let of_task = directory.path().join("0_1");
        fs::create_dir_all(of_task.join("inner")).expect("it is made");
        fs::write(of_task.join("inner").join("segment"), "bytes").expect("it is written");
        let written_ms = written_ms(&of_task).expect("a file is there");
        let half_ms = |less: Duration| i64::try_from((DELETE_RETENTION / 2 - less).as_millis()).unwrap();
        forget_stale(&of_task, written_ms + half_ms(Duration::from_secs(1)));
        assert!(of_task.is_dir(), "it is still of use");
        forget_stale(&of_task, written_ms + half_ms(Duration::ZERO) + 1);
        assert!(!of_task.exists(), "it may have more than there is");
        forget_stale(&of_task, i64::MAX);
    }
}
