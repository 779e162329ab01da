//! How a directory is opened or formatted.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_transport::world::{DirectoryLock, Disk, World};

use super::super::error::{LogError, is_no_space};
use super::ends::Arrival;
use super::health::Health;
use super::meta::Meta;
use super::open_files::OpenFiles;
use super::shared::Shared;
use super::table::{Entry, Found, Table, TableFile, flags};
use super::{DirectorySettings, REMOVED, partition_of};
use crate::events::Events;
use crate::ids::{DirectoryId, Offset, PartitionId};

/// How far file ids jump when it is not known which were used.
const UNKNOWN_FILE_IDS: u64 = 1 << 32;

/// An open directory.
pub(super) struct Opened {
    pub(super) shared: Shared,
    pub(super) lock: DirectoryLock,
    pub(super) is_new: bool,
}

pub(super) fn open(
    world: &World,
    path: &Path,
    settings: &DirectorySettings,
    events: Events,
) -> Result<Opened, LogError> {
    let disk = &world.disk;
    let missing = make(&**disk, path)?;
    let lock = lock(&**disk, path)?;
    let found = Contents::of(&**disk, path)?;
    let meta = Meta::load(&**disk, path)?;
    let is_new = meta.is_none();
    let mut table_file = TableFile::new(Arc::clone(disk), path.to_path_buf());
    let meta = match meta {
        Some(meta) => meta,
        None => {
            sync_names_above(&**disk, path, &missing)?;
            format(world, path, &found, &mut table_file)?
        }
    };
    let loaded = table_file.load()?;
    if let Err(error) = table_file.reserve(loaded.table.entries.len().max(found.logs.len())) {
        // What was reserved before is still there.
        if !is_no_space(&error) {
            return Err(LogError::io("reserve space for the table of durable ends in", path)(error));
        }
    }
    for leftover in &found.removed {
        disk.remove_directory(leftover).map_err(LogError::io("remove", leftover))?;
    }
    let arrival = match &loaded.table {
        table if table.clean => Arrival::Clean,
        table if table.boot_id == disk.boot_id() => Arrival::SameBoot,
        _ => Arrival::FreshBoot,
    };
    let (table, entries) = take_over(loaded, is_new, &found.logs, disk.boot_id());
    let health = Health::new(path.to_path_buf(), events.clone());
    let shared = Shared::new(
        world,
        path.to_path_buf(),
        meta.id,
        health,
        OpenFiles::new(Arc::clone(disk), settings.open_files),
        events,
    );
    shared.take_over(table_file, table, entries, arrival);
    // Removes the clean-shutdown marker and takes the next file ids before anything else may happen.
    shared.write_table()?;
    Ok(Opened { shared, lock, is_new })
}

/// Makes the directory. Gives what was not there before, of it and those above it.
fn make(disk: &dyn Disk, path: &Path) -> Result<Vec<PathBuf>, LogError> {
    let mut missing = Vec::new();
    for directory in path.ancestors().filter(|directory| !directory.as_os_str().is_empty()) {
        if disk.exists(directory).map_err(LogError::io("look for", directory))? {
            break;
        }
        missing.push(directory.to_path_buf());
    }
    disk.create_directories(path).map_err(LogError::io("make", path))?;
    Ok(missing)
}

/// Makes the directory's own name durable, and those on the way to it: an earlier try may have made them.
fn sync_names_above(disk: &dyn Disk, path: &Path, missing: &[PathBuf]) -> Result<(), LogError> {
    for directory in path.ancestors() {
        let Some(parent) = directory.parent() else { break };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match disk.sync_directory(parent) {
            // Those that were there long before may not even be readable.
            Err(error) if directory == path || missing.iter().any(|new| new == directory) => {
                return Err(LogError::io("sync the names in", parent)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn lock(disk: &dyn Disk, path: &Path) -> Result<DirectoryLock, LogError> {
    disk.lock_directory(path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            LogError::InUse { directory: path.to_path_buf(), holder: Arc::from(error.to_string()) }
        }
        _ => LogError::io("lock", path)(error),
    })
}

/// Gives an empty directory its name.
fn format(
    world: &World,
    path: &Path,
    found: &Contents,
    table_file: &mut TableFile,
) -> Result<Meta, LogError> {
    if let Some(log) = found.logs.values().next() {
        let found = format!("it is missing, though there is a log in {}", log.display());
        return Err(LogError::Damaged { file: path.join(super::meta::FILE), found: found.into() });
    }
    table_file.reserve(0).map_err(LogError::io("reserve space for the table of durable ends in", path))?;
    let meta = Meta { id: DirectoryId(world.random.uuid()) };
    meta.save(&*world.disk, path).map_err(LogError::io("write the file meta in", path))?;
    Ok(meta)
}

/// What lies in a directory.
struct Contents {
    logs: BTreeMap<PartitionId, PathBuf>,
    removed: Vec<PathBuf>,
}

impl Contents {
    fn of(disk: &dyn Disk, path: &Path) -> Result<Self, LogError> {
        let mut contents = Self { logs: BTreeMap::new(), removed: Vec::new() };
        for path in disk.list(path).map_err(LogError::io("list", path))? {
            if let Some(partition) = partition_of(&path) {
                contents.logs.insert(partition, path);
            } else if path.to_string_lossy().ends_with(REMOVED) {
                contents.removed.push(path);
            }
        }
        Ok(contents)
    }
}

/// The new life's table, and what is to be thought of each replica.
fn take_over(
    found: Found,
    is_new: bool,
    logs: &BTreeMap<PartitionId, PathBuf>,
    boot_id: String,
) -> (Table, BTreeMap<PartitionId, Entry>) {
    let Found { mut table, trusted } = found;
    let mut entries = std::mem::take(&mut table.entries);
    for partition in logs.keys() {
        // Made after the last table was written: nothing of it is known to be durable.
        entries.entry(*partition).or_default();
    }
    if !trusted && !is_new {
        // Some durable end may be too high, so none is believed; all is scanned, and all is in doubt.
        for entry in entries.values_mut() {
            entry.durable_end = Offset::ZERO;
            entry.flags |= flags::DOUBT_LOST;
        }
        table.file_ids_from = table.file_ids_from.saturating_add(UNKNOWN_FILE_IDS);
    }
    let other_boot = !table.clean && table.boot_id != boot_id;
    for entry in entries.values_mut() {
        entry.flags |= if table.failed { flags::CUT_BACK } else { 0 };
        entry.flags |= if other_boot { flags::OTHER_BOOT } else { 0 };
    }
    (table.clean, table.failed, table.boot_id) = (false, false, boot_id);
    (table, entries)
}
