//! Stores on disk: state larger than memory, found again after a restart.
//!
//! The stores of a task lie in one directory, in one `fjall` database (a log-structured merge tree) with a keyspace a store.
//! The changelog is the truth, so no commit waits for the disk: after `kill -9` all that was applied is there, after a power
//! cut what had reached the disk, which is everything up to some earlier commit. The checkpoint, the floor and the entries of
//! a store are in one keyspace for that: what is written into one keyspace reaches the disk in the order in which it was
//! written; of two either may be first, and a checkpoint that is ahead of its entries would leave a hole for ever.
//!
//! What cannot be read is set aside, and the stores begin empty: they are rebuilt from their changelogs.
//!
//! Reading and writing is done on the thread of the task, and blocks it: a read where a block is in no cache, and a commit
//! where the thread that writes files is behind, which bounds the memory that waits for it.

mod directory;
mod form;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Slice};

use self::directory::{Directory, Failure};
use self::form::{STATE_KEY, State, placed, unplaced};
use super::memory::is_empty;
use super::{ByteStore, Checkpoint, Entry, StoreError, StoreSize};

/// Entries below the floor that an apply takes out at least, if there are so many.
const MIN_PURGED: usize = 1_000;

/// Memtables that wait to be written, and files that wait to be merged, beyond which a commit waits: below the measures of the
/// database, which are 4 and 20.
const MAX_SEALED: usize = 3;
const MAX_FILES: usize = 16;

/// How long a commit waits for these, and in which steps.
const MAX_WAIT: Duration = Duration::from_mins(1);
const WAIT: Duration = Duration::from_millis(5);

/// How much memory the stores of a directory take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskBudget {
    /// Blocks that were read, of all the stores of the directory.
    pub cache_bytes: u64,
    /// Writes of each store that are in no file of its own yet. Up to five times that where the disk is behind: then a commit
    /// waits for it; and at a restart what is in the journals, which are 64 MiB and one such measure at most.
    pub memtable_bytes: u64,
}

impl Default for DiskBudget {
    fn default() -> Self {
        Self { cache_bytes: 32 << 20, memtable_bytes: 16 << 20 }
    }
}

/// The stores of a directory.
#[derive(Debug)]
pub struct Opened {
    /// In the order of the names that were asked for.
    pub stores: Vec<DiskStore>,
    /// Why what had been there was set aside, if it was: the stores are empty then.
    pub set_aside: Option<StoreError>,
}

/// A store on disk. Its directory can be opened by nobody else while a store of it lives. After an apply that failed all
/// stores of the directory are to be opened again.
pub struct DiskStore {
    // In the order in which they are dropped: the directory, last, unlocks.
    keys: Keyspace,
    database: Database,
    directory: Arc<Directory>,
    name: String,
    state: State,
    memtable_bytes: u64,
    /// Written since the last memtable was sealed.
    written_bytes: u64,
}

/// What an entry takes in a memtable beside its bytes, about.
const ENTRY_BYTES: usize = 128;

impl fmt::Debug for DiskStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checkpoint = self.state.checkpoint;
        formatter
            .debug_struct("DiskStore")
            .field("name", &self.name)
            .field("checkpoint", &checkpoint)
            .finish_non_exhaustive()
    }
}

impl DiskStore {
    /// Deletes a directory in which directories of stores lie, with all that is in it. An error where one of them is in use:
    /// then all of them stay.
    pub fn delete_all(path: &Path) -> Result<(), StoreError> {
        Directory::delete_all(path)
    }

    /// Opens the stores of these names in a directory, which is made where it is not there. Others that are in it are deleted.
    ///
    /// What is there and corrupt, or of another format, is set aside inside the directory (the last such copy is kept, to be
    /// looked at), and the stores begin empty. An error says nothing against what is there: the directory is in use, or the disk
    /// is full or fails.
    pub fn open_all(path: &Path, names: &[&str], budget: DiskBudget) -> Result<Opened, StoreError> {
        let directory = Arc::new(Directory::lock(path)?);
        match open_stores(&directory, names, budget) {
            Ok(stores) => Ok(Opened { stores, set_aside: None }),
            Err(Failure { is_corrupt: false, error }) => Err(error),
            Err(Failure { is_corrupt: true, error }) => {
                directory.set_aside()?;
                let stores = open_stores(&directory, names, budget).map_err(|failure| failure.error)?;
                Ok(Opened { stores, set_aside: Some(error) })
            }
        }
    }

    fn open(
        directory: &Arc<Directory>,
        database: &Database,
        name: &str,
        budget: DiskBudget,
    ) -> Result<Self, Failure> {
        let memtable_bytes = budget.memtable_bytes;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes.saturating_mul(2));
        let failed = |error| directory.failure(name, &error);
        let keys = database.keyspace(name, options).map_err(failed)?;
        let state = match keys.get(STATE_KEY).map_err(failed)? {
            Some(bytes) => State::decode(&bytes)
                .map_err(|reason| directory.corrupt(&format!("store {name:?}: {reason}")))?,
            None => State::default(),
        };
        let (database, directory) = (database.clone(), Arc::clone(directory));
        // What was read from the journals is sealed by the database, if it is much.
        let written_bytes = 0;
        Ok(Self { keys, database, directory, name: name.to_owned(), state, memtable_bytes, written_bytes })
    }

    /// An error of the database. What is corrupt is noted, so that it is set aside when the directory is opened again.
    fn failed(&self, error: &fjall::Error) -> StoreError {
        let failure = self.directory.failure(&self.name, error);
        if failure.is_corrupt {
            self.directory.suspect(&failure.error);
        }
        failure.error
    }

    /// Waits until the thread that writes and merges files has caught up. The database waits in a commit, too, but does not see
    /// there that this thread has failed, and would wait for ever: so it is kept from that.
    fn wait_for_files(&self) -> Result<(), StoreError> {
        let is_behind =
            || self.keys.sealed_memtable_count() >= MAX_SEALED || self.keys.l0_table_count() >= MAX_FILES;
        let mut waited = Duration::ZERO;
        while is_behind() {
            // Says so if that thread has failed.
            self.database.persist(PersistMode::Buffer).map_err(|error| self.failed(&error))?;
            if waited >= MAX_WAIT {
                let reason =
                    format!("files are not written for {} s; is the disk overloaded?", MAX_WAIT.as_secs());
                return Err(StoreError { store: self.name.clone(), reason });
            }
            #[allow(
                clippy::disallowed_methods,
                reason = "the task's thread has nothing to do before the disk has"
            )]
            std::thread::sleep(WAIT);
            waited = waited.saturating_add(WAIT);
        }
        Ok(())
    }

    /// Seals the memtable when it is full, so that it goes into a file. The database does so, too, but on the thread that merges
    /// files: as long as that is at it, the memtable would grow without a bound.
    fn seal(&mut self, bytes: usize) -> Result<(), StoreError> {
        self.written_bytes = self.written_bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.written_bytes >= self.memtable_bytes {
            self.keys.rotate_memtable().map_err(|error| self.failed(&error))?;
            self.written_bytes = 0;
        }
        Ok(())
    }

    fn too_long(&self, bytes: usize) -> StoreError {
        let most = form::MAX_KEY_BYTES;
        let reason = format!("a key has {bytes} bytes, and one on disk has {most} at most");
        StoreError { store: self.name.clone(), reason }
    }

    /// Takes out some of what is below the floor. Gives how far that is done.
    fn purge(&self, batch: &mut OwnedWriteBatch, floor: &Bytes, max: usize) -> Result<Bytes, StoreError> {
        let from = &self.state.purged;
        if from == floor {
            return Ok(floor.clone());
        }
        let range = placed(from)..placed(floor);
        let mut last = None;
        let mut count = 0_usize;
        for entry in self.keys.range(range).take(max) {
            let key = entry.key().map_err(|error| self.failed(&error))?;
            batch.remove(&self.keys, key.clone());
            count = count.saturating_add(1);
            last = Some(key);
        }
        Ok(last.filter(|_| count == max).map_or_else(|| floor.clone(), unplaced))
    }
}

fn open_stores(
    directory: &Arc<Directory>,
    names: &[&str],
    budget: DiskBudget,
) -> Result<Vec<DiskStore>, Failure> {
    let database = directory.open(budget)?;
    let failed = |error| directory.failure("", &error);
    for known in database.list_keyspace_names() {
        if !names.contains(&known.as_ref()) {
            let keyspace = database.keyspace(&known, KeyspaceCreateOptions::default).map_err(failed)?;
            database.delete_keyspace(keyspace).map_err(failed)?;
        }
    }
    names.iter().map(|name| DiskStore::open(directory, &database, name, budget)).collect()
}

impl ByteStore for DiskStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if key < self.state.floor.as_ref() || key.len() > form::MAX_KEY_BYTES {
            return Ok(None);
        }
        let found = self.keys.get(placed(key)).map_err(|error| self.failed(&error))?;
        Ok(found.map(Bytes::from))
    }

    fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, max: usize) -> Result<Vec<Entry>, StoreError> {
        let floor = self.state.floor.as_ref();
        let from = match from {
            Bound::Included(key) | Bound::Excluded(key) if key >= floor => from,
            _ => Bound::Included(floor),
        };
        if is_empty(from, to) {
            return Ok(Vec::new());
        }
        let entries = self.keys.range((from.map(placed), to.map(placed))).take(max);
        let each = entries.map(|entry| {
            let (key, value) = entry.into_inner().map_err(|error| self.failed(&error))?;
            Ok((unplaced(key), Bytes::from(value)))
        });
        each.collect()
    }

    fn apply(
        &mut self,
        changes: &mut dyn Iterator<Item = (&Bytes, Option<&Bytes>)>,
        floor: &[u8],
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        self.wait_for_files()?;
        let floor = match floor > self.state.floor.as_ref() {
            true => Bytes::copy_from_slice(floor),
            false => self.state.floor.clone(),
        };
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        let mut bytes = 0_usize;
        for (key, value) in changes.filter(|(key, _)| **key >= floor) {
            let value_bytes = value.map_or(0, Bytes::len);
            bytes = bytes.saturating_add(ENTRY_BYTES).saturating_add(key.len()).saturating_add(value_bytes);
            if key.len() > form::MAX_KEY_BYTES {
                return Err(self.too_long(key.len()));
            }
            // Copied: what a change is a slice of may be much larger, and would stay in memory for it.
            match value {
                Some(value) => batch.insert(&self.keys, Slice::from(placed(key).as_ref()), value.as_ref()),
                None => batch.remove(&self.keys, Slice::from(placed(key).as_ref())),
            }
        }
        // Twice as many as are put in, so that it comes to an end.
        let max = batch.len().saturating_mul(2).max(MIN_PURGED);
        let put = batch.len();
        let purged = self.purge(&mut batch, &floor, max)?;
        bytes = bytes.saturating_add(batch.len().saturating_sub(put).saturating_mul(ENTRY_BYTES));
        let state = State { checkpoint: Some(checkpoint), floor, purged };
        batch.insert(&self.keys, STATE_KEY, state.encode());
        batch.commit().map_err(|error| self.failed(&error))?;
        self.state = state;
        self.seal(bytes)
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        self.state.checkpoint
    }

    fn size(&self) -> StoreSize {
        let entries = u64::try_from(self.keys.approximate_len()).unwrap_or(u64::MAX);
        StoreSize { entries, bytes: self.keys.disk_space() }
    }

    fn floor(&self) -> Bytes {
        self.state.floor.clone()
    }
}
