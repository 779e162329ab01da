//! What the logs of a directory and its sync threads share.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream_transport::world::{Clock, Disk, World};
use tokio::time::Instant;

use super::super::batches::remove_if_there;
use super::super::compact::Cleaner;
use super::super::error::LogError;
use super::super::segment::{IndexCache, Name, SegmentFile};
use super::ends::{Arrival, ReplicaEnds};
use super::health::Health;
use super::open_files::OpenFiles;
use super::table::{Entry, Table, TableFile};
use super::{directory_name, removed_name};
use crate::events::{Events, LogMetrics};
use crate::ids::{DirectoryId, PartitionId};

/// A table that has something new to tell is written after this time,
pub(in crate::log) const TABLE_EVERY: Duration = Duration::from_secs(1);

/// or when so many bytes were synced: a bound of what a start has to scan. A table costs about a millisecond.
const TABLE_BYTES: u64 = 64 << 20;

/// File ids are taken from the table in blocks of this many; those not used are lost with the process.
const FILE_IDS_BLOCK: u64 = 1 << 20;

/// The parts of a directory that its logs and sync threads use.
pub(in crate::log) struct Shared {
    pub(in crate::log) disk: Arc<dyn Disk>,
    pub(in crate::log) clock: Clock,
    pub(in crate::log) path: PathBuf,
    pub(in crate::log) id: DirectoryId,
    pub(in crate::log) health: Health,
    pub(in crate::log) files: OpenFiles,
    pub(in crate::log) indexes: IndexCache,
    pub(in crate::log) cleaner: Cleaner,
    pub(in crate::log) metrics: LogMetrics,
    pub(in crate::log) events: Events,
    replicas: Mutex<BTreeMap<PartitionId, Arc<ReplicaEnds>>>,
    /// Removed since the last table was written: it may still tell of them.
    removed: Mutex<BTreeSet<PartitionId>>,
    writer: Mutex<Writer>,
    table_wanted: AtomicBool,
    /// Who waits for a table to be on disk.
    table_waiting: Mutex<Vec<TableDone>>,
    synced_since_table: AtomicU64,
    table_written: Mutex<Instant>,
    next_file_id: AtomicU64,
    granted_file_ids: AtomicU64,
    root_changes: AtomicU64,
    root_synced: Mutex<u64>,
    /// Segments that the next table no longer needs, and those that somebody still reads.
    retired: Mutex<Vec<Arc<SegmentFile>>>,
}

/// Hears that a table is on disk. It must not block.
pub(in crate::log) type TableDone = Box<dyn FnOnce(Result<(), LogError>) + Send>;

struct Writer {
    file: TableFile,
    /// Without entries: those are with the replicas.
    table: Table,
}

impl Shared {
    pub(super) fn new(
        world: &World,
        path: PathBuf,
        id: DirectoryId,
        health: Health,
        files: OpenFiles,
        events: Events,
    ) -> Self {
        let file = TableFile::new(Arc::clone(&world.disk), path.clone());
        Self {
            disk: Arc::clone(&world.disk),
            clock: world.clock.clone(),
            path,
            id,
            health,
            files,
            indexes: IndexCache::default(),
            cleaner: Cleaner::new(world.random.clone()),
            metrics: LogMetrics::new(&events),
            events,
            replicas: Mutex::default(),
            removed: Mutex::default(),
            writer: Mutex::new(Writer { file, table: Table::default() }),
            table_wanted: AtomicBool::new(false),
            table_waiting: Mutex::default(),
            synced_since_table: AtomicU64::new(0),
            table_written: Mutex::new(world.clock.now()),
            next_file_id: AtomicU64::new(0),
            granted_file_ids: AtomicU64::new(0),
            root_changes: AtomicU64::new(0),
            root_synced: Mutex::new(0),
            retired: Mutex::default(),
        }
    }

    /// Goes on where the former life of the directory ended.
    pub(super) fn take_over(
        &self,
        file: TableFile,
        mut table: Table,
        entries: BTreeMap<PartitionId, Entry>,
        arrival: Arrival,
    ) {
        self.next_file_id.store(table.file_ids_from, Ordering::SeqCst);
        table.file_ids_from = table.file_ids_from.saturating_add(FILE_IDS_BLOCK);
        self.granted_file_ids.store(table.file_ids_from, Ordering::SeqCst);
        let replicas = entries.into_iter().map(|(partition, entry)| {
            let path = self.path.join(directory_name(partition));
            let ends = ReplicaEnds::new(partition, path, entry);
            ends.set_arrival(arrival);
            (partition, Arc::new(ends))
        });
        lock(&self.replicas).extend(replicas);
        *lock(&self.writer) = Writer { file, table };
    }

    /// The partitions with a replica here.
    pub(super) fn partitions(&self) -> Vec<PartitionId> {
        lock(&self.replicas).keys().copied().collect()
    }

    /// The replicas here.
    pub(super) fn replicas(&self) -> Vec<Arc<ReplicaEnds>> {
        lock(&self.replicas).values().cloned().collect()
    }

    /// The replica of a partition; a new one where there is none.
    pub(super) fn replica(&self, partition: PartitionId) -> Result<Arc<ReplicaEnds>, LogError> {
        if let Some(ends) = lock(&self.replicas).get(&partition) {
            return Ok(Arc::clone(ends));
        }
        let was_removed = lock(&self.removed).contains(&partition);
        if was_removed {
            // The table still tells the durable end of the log that was here before.
            self.write_table()?;
        }
        let count = lock(&self.replicas).len() + 1;
        self.reserve_table(count)?;
        let path = self.path.join(directory_name(partition));
        let ends = Arc::new(ReplicaEnds::new(partition, path, Entry::default()));
        Ok(Arc::clone(lock(&self.replicas).entry(partition).or_insert(ends)))
    }

    /// Removes a replica and its files.
    pub(super) fn delete(&self, partition: PartitionId) -> Result<(), LogError> {
        let Some(ends) = lock(&self.replicas).get(&partition).cloned() else { return Ok(()) };
        if !ends.take() {
            return Err(LogError::AlreadyOpen { partition });
        }
        // Before its names go, so that a sync under way knows why they are gone.
        ends.remove();
        let path = ends.path();
        let failed = |error| self.fail("remove the log", path, &error);
        // While it is still known here, and taken: who opens the partition's log anew meanwhile is refused, and never has
        // the files that go.
        let renamed = self.rename_removed(path).map_err(failed)?;
        {
            let mut replicas = lock(&self.replicas);
            replicas.remove(&partition);
            // Before one that comes anew could miss it.
            lock(&self.removed).insert(partition);
        }
        self.want_table();
        match renamed {
            Some(renamed) => self.disk.remove_directory(&renamed).map_err(failed),
            None => Ok(()),
        }
    }

    /// Gives a log that goes the name of one that is removed; `None` where there is none.
    fn rename_removed(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        if !self.disk.exists(path)? {
            return Ok(None);
        }
        for file in self.disk.list(path)? {
            if let Some(name) = Name::of(&file) {
                self.files.forget(name.file_id);
                self.indexes.forget(name.file_id);
            }
        }
        // Under another name first: half a log must not be taken for one.
        let removed = removed_name(path, self.next_file_id.fetch_add(1, Ordering::SeqCst));
        self.disk.rename(path, &removed)?;
        Ok(Some(removed))
    }

    /// An id for a new file, never used before.
    pub(in crate::log) fn next_file_id(&self) -> Result<u64, LogError> {
        let id = self.next_file_id.fetch_add(1, Ordering::SeqCst);
        while id >= self.granted_file_ids.load(Ordering::SeqCst) {
            let grant = {
                let mut writer = lock(&self.writer);
                writer.table.file_ids_from = writer.table.file_ids_from.saturating_add(FILE_IDS_BLOCK);
                writer.table.file_ids_from
            };
            self.write_table()?;
            self.granted_file_ids.fetch_max(grant, Ordering::SeqCst);
        }
        Ok(id)
    }

    /// Latches a failure, and tries to leave a note of it for the next start: what lies behind the durable ends must
    /// not be believed then, though the page cache may still show it.
    pub(in crate::log) fn fail(&self, doing: &'static str, path: &Path, error: &io::Error) -> LogError {
        let first = !self.health.has_failed();
        let told = self.health.fail(doing, path, error);
        if first {
            let mut writer = lock(&self.writer);
            writer.table.failed = true;
            // If the note cannot be written there is nothing more to do: the failure is latched.
            let _ = self.write_as(&mut writer);
        }
        let waiting = std::mem::take(&mut *lock(&self.table_waiting));
        tell(waiting, &Err(told.clone()));
        told
    }

    /// Writes the table. Blocks. A failure is latched.
    pub(in crate::log) fn write_table(&self) -> Result<(), LogError> {
        if self.health.has_failed() {
            return self.refuse_waiting();
        }
        let mut writer = lock(&self.writer);
        // Those that come later may be needed by a start that finds this table.
        let retired = std::mem::take(&mut *lock(&self.retired));
        // The table is wanted again by who waits from now on.
        self.table_wanted.store(false, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *lock(&self.table_waiting));
        let written = self.write_as(&mut writer);
        drop(writer);
        let written = written
            .map_err(|error| self.health.fail("write the table of durable ends in", &self.path, &error));
        tell(waiting, &written);
        written?;
        self.bury(retired)
    }

    /// Somebody waits for a table that is written from now on; it is wanted.
    pub(in crate::log) fn await_table(&self, done: TableDone) {
        lock(&self.table_waiting).push(done);
        // One latched since the caller has looked has told those that waited before.
        if self.health.has_failed() {
            // They are told.
            let _ = self.refuse_waiting();
            return;
        }
        self.want_table();
    }

    /// The directory has failed: no table will be written any more. The failure.
    fn refuse_waiting(&self) -> Result<(), LogError> {
        let failed = self.health.check();
        let waiting = std::mem::take(&mut *lock(&self.table_waiting));
        tell(waiting, &failed);
        failed
    }

    /// Whether somebody waits for a table.
    pub(in crate::log) fn is_table_awaited(&self) -> bool {
        !lock(&self.table_waiting).is_empty()
    }

    /// Writes the last table of this life.
    pub(super) fn write_clean_table(&self) -> Result<(), LogError> {
        lock(&self.writer).table.clean = true;
        self.write_table()
    }

    fn write_as(&self, writer: &mut Writer) -> io::Result<()> {
        self.synced_since_table.store(0, Ordering::SeqCst);
        *lock(&self.table_written) = self.clock.now();
        let removed = std::mem::take(&mut *lock(&self.removed));
        writer.table.sequence += 1;
        let entries = self.replicas().iter().map(|ends| (ends.partition, ends.tell())).collect();
        let table = Table { entries, ..writer.table.clone() };
        let written = writer.file.write(&table);
        if written.is_err() {
            lock(&self.removed).extend(removed);
        }
        written
    }

    /// Notes that the table has something to tell. True if it had not before.
    pub(in crate::log) fn want_table(&self) -> bool {
        !self.table_wanted.swap(true, Ordering::SeqCst)
    }

    pub(in crate::log) fn note_synced(&self, bytes: u64) {
        self.synced_since_table.fetch_add(bytes, Ordering::Relaxed);
        self.table_wanted.store(true, Ordering::SeqCst);
    }

    /// How long until the table is to be written; `None` if it has nothing new to tell.
    pub(in crate::log) fn table_due_in(&self) -> Option<Duration> {
        if !self.table_wanted.load(Ordering::SeqCst) || self.health.check().is_err() {
            return None;
        }
        if self.synced_since_table.load(Ordering::Relaxed) >= TABLE_BYTES {
            return Some(Duration::ZERO);
        }
        let since = self.clock.now().duration_since(*lock(&self.table_written));
        Some(TABLE_EVERY.saturating_sub(since))
    }

    /// Writes the table if it is due. A failure is latched, which is how it is told.
    pub(in crate::log) fn write_table_if_due(&self) {
        if self.table_due_in() == Some(Duration::ZERO) {
            // Latched and told by the call itself.
            let _ = self.write_table();
        }
    }

    /// Space in the table for so many replicas.
    fn reserve_table(&self, replicas: usize) -> Result<(), LogError> {
        let reserved = lock(&self.writer).file.reserve(replicas);
        reserved.map_err(|error| {
            if super::super::error::is_no_space(&error) {
                return LogError::NoSpace { path: self.path.clone(), needed: 0 };
            }
            self.health.fail("reserve space for the table of durable ends in", &self.path, &error)
        })
    }

    /// These segments go when a table is on disk that tells of a later log start.
    pub(in crate::log) fn retire(&self, files: impl IntoIterator<Item = Arc<SegmentFile>>) {
        lock(&self.retired).extend(files);
    }

    /// Removes segments that are not part of their log any more. One that is being read goes with a later table: who
    /// opened it late would take it for lost.
    pub(in crate::log) fn bury(&self, gone: Vec<Arc<SegmentFile>>) -> Result<(), LogError> {
        for file in gone {
            // New readers come by the log only, which does not have it any more: a count of one stays one.
            if Arc::strong_count(&file) > 1 {
                self.retire([file]);
                self.want_table();
                continue;
            }
            // A late reader may have opened it again.
            self.files.forget(file.file_id);
            self.indexes.forget(file.file_id);
            for path in [&file.index_path(), &file.path] {
                remove_if_there(&*self.disk, path)
                    .map_err(|error| self.health.fail("remove", path, &error))?;
            }
        }
        Ok(())
    }

    /// The root directory has a new name, which is durable when [`sync_root_names`](Self::sync_root_names) has
    /// returned for the number that this gives.
    pub(in crate::log) fn note_root_change(&self) -> u64 {
        self.root_changes.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Syncs the names in a replica's directory.
    pub(in crate::log) fn sync_names(&self, ends: &ReplicaEnds) -> Result<(), LogError> {
        match self.disk.sync_directory(ends.path()) {
            // A deleted replica has no names to lose.
            Err(_) if ends.is_removed() => Err(LogError::Closed { directory: ends.path().to_path_buf() }),
            synced => synced.map_err(|error| self.fail("sync the names in", ends.path(), &error)),
        }
    }

    /// Syncs the root directory, unless another thread did so since that change.
    pub(in crate::log) fn sync_root_names(&self, change: u64) -> Result<(), LogError> {
        if change == 0 {
            return Ok(());
        }
        let mut synced = lock(&self.root_synced);
        if *synced < change {
            let now = self.root_changes.load(Ordering::SeqCst);
            let result = self.disk.sync_directory(&self.path);
            result.map_err(|error| self.fail("sync the names in", &self.path, &error))?;
            *synced = now;
        }
        Ok(())
    }
}

fn tell(waiting: Vec<TableDone>, written: &Result<(), LogError>) {
    for done in waiting {
        let result = written.clone();
        // A panic of the one who hears of it must not take the sync thread from all others.
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || done(result)));
        drop(told);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Shared")
            .field("path", &self.path)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
