//! A log directory: a disk (or part of one) with a name of its own, its table of durable ends, and its logs.
//!
//! ```text
//! lock                      held while a process uses the directory
//! meta                      format, UUID (a disk has a name: rule 4)
//! durable-ends[.next]       the table (rule 5), and reserved space for its successor
//! <topic uuid>-<partition>/ a log
//! ```

pub(super) mod ends;
mod health;
mod meta;
mod open;
pub(super) mod open_files;
mod shared;
pub(super) mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_transport::world::watch;
use millstream_transport::world::{DirectoryLock, World};

pub use self::health::DirectoryHealth;
pub(super) use self::meta::read_small;
pub(super) use self::shared::{Shared, TABLE_EVERY, TableDone};
use super::compact::{CleanerSettings, CleaningTurn};
use super::error::LogError;
use super::partition_log::Log;
use super::recover::{self, Recovery};
use super::sync::Syncer;
use super::tail::TailBudget;
use crate::events::Events;
use crate::ids::{DirectoryId, LeaderEpoch, Offset, PartitionId, TopicId};
use crate::topic_config::TopicConfig;

/// How a directory is used.
#[derive(Clone, Debug)]
pub struct DirectorySettings {
    /// Descriptors kept open. Files with unsynced bytes stay open beyond it.
    pub open_files: usize,
    /// Threads that sync at once, the one that leads the rounds included.
    pub sync_threads: usize,
    /// Memory for what was appended last; shared by all logs that have a clone of it.
    pub tail: TailBudget,
    /// A log with so many unsynced bytes is synced though nobody asked, so that recovery has no more to scan.
    pub unsynced_bytes_max: u64,
    /// How compacted topics are cleaned.
    pub cleaner: CleanerSettings,
}

impl Default for DirectorySettings {
    fn default() -> Self {
        Self {
            open_files: 2000,
            sync_threads: 16,
            tail: TailBudget::new(64 << 20),
            unsynced_bytes_max: 512 << 20,
            cleaner: CleanerSettings::default(),
        }
    }
}

/// A log directory in use by this process. Shared by all its logs; the lock on it ends with the last of them.
#[derive(Debug)]
pub struct LogDirectory {
    syncer: Syncer,
    shared: Arc<Shared>,
    settings: DirectorySettings,
    is_new: bool,
    _lock: DirectoryLock,
}

impl LogDirectory {
    /// Opens the directory, and formats it if it is empty. Logs are recovered one by one, when they are opened.
    ///
    /// Fails where another process uses it, where a newer program formatted it, and where it has logs and no `meta`.
    pub fn open(
        world: &World,
        path: &Path,
        settings: DirectorySettings,
        events: Events,
    ) -> Result<Arc<Self>, LogError> {
        let opened = open::open(world, path, &settings, events)?;
        let shared = Arc::new(opened.shared);
        let syncer = Syncer::new(Arc::clone(&shared), world.threads.clone(), settings.sync_threads);
        Ok(Arc::new(Self { syncer, shared, settings, is_new: opened.is_new, _lock: opened.lock }))
    }

    /// The directory's name for its whole life.
    #[must_use]
    pub fn id(&self) -> DirectoryId {
        self.shared.id
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Whether it was formatted by this process: whatever the in-sync sets say of this node's former directory, it is
    /// not in this one (rule 4).
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whether it takes writes now.
    #[must_use]
    pub fn health(&self) -> DirectoryHealth {
        self.shared.health.subscribe().borrow().clone()
    }

    /// Its health, and changes of it.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<DirectoryHealth> {
        self.shared.health.subscribe()
    }

    /// The partitions that have a log here, in order.
    #[must_use]
    pub fn logs(&self) -> Vec<PartitionId> {
        self.shared.partitions()
    }

    /// How far each of them reaches that is open: the leader epoch of its last batch, -1 without one, and where it ends.
    #[must_use]
    pub fn reaches(&self) -> BTreeMap<PartitionId, (LeaderEpoch, Offset)> {
        let replicas = self.shared.replicas();
        let open = replicas.iter().filter(|ends| ends.is_taken());
        open.map(|ends| (ends.partition, ends.reach())).collect()
    }

    /// Bytes free on the disk, and bytes in all.
    pub fn space(&self) -> Result<(u64, u64), LogError> {
        self.shared
            .disk
            .space(&self.shared.path)
            .map_err(LogError::io("ask for the free space of", self.path()))
    }

    /// Who makes appends durable.
    #[must_use]
    pub fn syncer(&self) -> &Syncer {
        &self.syncer
    }

    /// Waits until no other log of the directory is being cleaned; first come, first served.
    pub fn cleaning_turn(&self) -> impl Future<Output = CleaningTurn> + Send + use<> {
        self.shared.cleaner.turn()
    }

    /// How compacted topics are cleaned here.
    #[must_use]
    pub fn cleaner_settings(&self) -> CleanerSettings {
        self.settings.cleaner
    }

    /// Opens the partition's log, a new one where there is none, after recovery of what was not synced. Blocks.
    pub fn open_log(
        self: &Arc<Self>,
        partition: PartitionId,
        config: &TopicConfig,
    ) -> Result<(Log, Recovery), LogError> {
        self.shared.health.check()?;
        let ends = self.shared.replica(partition)?;
        if !ends.take() {
            return Err(LogError::AlreadyOpen { partition });
        }
        // What a former owner in this process left unsynced still has its descriptors, and is synced with them.
        let recovered =
            self.syncer.sync_now(&ends).and_then(|_| recover::recover(self, Arc::clone(&ends), config));
        if recovered.is_err() {
            ends.give_back();
        }
        recovered
    }

    /// Removes the partition's log and all its files. It must not be open.
    pub fn delete_log(&self, partition: PartitionId) -> Result<(), LogError> {
        self.shared.health.check()?;
        self.shared.delete(partition)
    }

    /// Syncs all logs, writes the table with the clean-shutdown marker, and takes nothing more. Blocks.
    ///
    /// Logs that are still open may be dropped later; what is to be kept of their producers must have been saved.
    pub fn close_cleanly(&self) -> Result<(), LogError> {
        self.shared.health.check()?;
        self.shared.health.close();
        for ends in self.shared.replicas() {
            self.syncer.sync_now(&ends)?;
        }
        self.syncer.stop();
        self.shared.write_clean_table()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn settings(&self) -> &DirectorySettings {
        &self.settings
    }
}

/// The name of a partition's directory.
fn directory_name(partition: PartitionId) -> String {
    format!("{}-{}", partition.topic.0, partition.index)
}

/// The partition of which a directory of this name holds the log.
fn partition_of(path: &Path) -> Option<PartitionId> {
    let (topic, index) = path.file_name()?.to_str()?.rsplit_once('-')?;
    let partition = PartitionId { topic: TopicId(topic.parse().ok()?), index: index.parse().ok()? };
    // Only the one spelling: `+1`, `01` or an upper-case UUID is not ours.
    (path.file_name()?.to_str()? == directory_name(partition)).then_some(partition)
}

/// The end of the name of a log's directory that is being removed.
const REMOVED: &str = ".removed";

fn removed_name(path: &Path, file_id: u64) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!("{name}.{file_id:x}{REMOVED}"))
}
