//! Open files in a bound: the least recently used one that nobody holds is closed for the next.
//!
//! A file with unsynced bytes has one descriptor, the one that wrote them, and it stays open until they are synced
//! (rule 3): errors of a write-back are told to the descriptors that were open. Whoever has unsynced bytes to answer
//! for holds the `Arc` that it got here, and a file that someone holds is never closed, whatever the bound.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_transport::world::{Disk, DiskFile, OpenMode};

/// Where the system runs out of descriptors before our bound, the bound is halved down to this.
const BOUND_MIN: usize = 16;

/// How many held files one look passes over before it gives up.
const HELD_MAX: usize = 16;

/// The open files of a directory, by file id.
pub(in crate::log) struct OpenFiles {
    disk: Arc<dyn Disk>,
    files: Mutex<Files>,
}

#[derive(Debug)]
struct Files {
    bound: usize,
    tick: u64,
    by_id: BTreeMap<u64, OpenFile>,
    /// Tick of the last use → file id.
    by_use: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct OpenFile {
    file: Arc<dyn DiskFile>,
    writable: bool,
    tick: u64,
}

impl OpenFiles {
    pub(in crate::log) fn new(disk: Arc<dyn Disk>, bound: usize) -> Self {
        let files = Files { bound: bound.max(1), tick: 0, by_id: BTreeMap::new(), by_use: BTreeMap::new() };
        Self { disk, files: Mutex::new(files) }
    }

    /// A descriptor to read with; the writing one where there is one.
    pub(in crate::log) fn to_read(&self, id: u64, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.get(id, path, OpenMode::Read)
    }

    /// The descriptor to write with. Only the owner of the log asks for it.
    pub(in crate::log) fn to_write(&self, id: u64, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.get(id, path, OpenMode::Write)
    }

    /// A new file, open to write.
    pub(in crate::log) fn create(&self, id: u64, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.get(id, path, OpenMode::CreateNew)
    }

    /// The file is gone.
    pub(in crate::log) fn forget(&self, id: u64) {
        let gone = self.lock().remove(id);
        drop(gone);
    }

    /// Closes what is beyond the bound and held no longer.
    pub(in crate::log) fn trim(&self) {
        let mut files = self.lock();
        let mut closed = Vec::new();
        while files.by_id.len() > files.bound && files.close_beyond(&mut closed) {}
        drop(files);
        drop(closed);
    }

    /// How many are open.
    #[cfg(test)]
    pub(in crate::log) fn count(&self) -> usize {
        self.lock().by_id.len()
    }

    fn get(&self, id: u64, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let writable = mode != OpenMode::Read;
        if let Some(file) = self.lock().find(id, writable) {
            return Ok(file);
        }
        // Opened without the lock: a cold look-up of a name must not hold up other logs.
        let file = match self.disk.open(path, mode) {
            Err(error) if is_out_of_descriptors(&error) => {
                let closed = self.lock().shrink();
                drop(closed);
                self.disk.open(path, mode)?
            }
            opened => opened?,
        };
        let mut files = self.lock();
        if let Some(raced) = files.find(id, writable) {
            return Ok(raced);
        }
        let closed = files.insert(id, OpenFile { file: Arc::clone(&file), writable, tick: 0 });
        drop(files);
        drop(closed);
        Ok(file)
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn find(&mut self, id: u64, writable: bool) -> Option<Arc<dyn DiskFile>> {
        let open = self.by_id.get_mut(&id)?;
        if writable && !open.writable {
            return None;
        }
        self.tick += 1;
        self.by_use.remove(&open.tick);
        self.by_use.insert(self.tick, id);
        open.tick = self.tick;
        Some(Arc::clone(&open.file))
    }

    /// Takes the file in and hands out those to close.
    fn insert(&mut self, id: u64, mut file: OpenFile) -> Vec<OpenFile> {
        let mut closed: Vec<OpenFile> = self.remove(id).into_iter().collect();
        self.tick += 1;
        file.tick = self.tick;
        self.by_use.insert(self.tick, id);
        self.by_id.insert(id, file);
        self.close_beyond(&mut closed);
        closed
    }

    fn remove(&mut self, id: u64) -> Option<OpenFile> {
        let open = self.by_id.remove(&id)?;
        self.by_use.remove(&open.tick);
        Some(open)
    }

    fn shrink(&mut self) -> Vec<OpenFile> {
        self.bound = (self.by_id.len() / 2).clamp(BOUND_MIN.min(self.bound), self.bound);
        let mut closed = Vec::new();
        self.close_beyond(&mut closed);
        closed
    }

    /// True if it closed any.
    fn close_beyond(&mut self, closed: &mut Vec<OpenFile>) -> bool {
        let (before, mut held) = (closed.len(), 0);
        while self.by_id.len() > self.bound && held < HELD_MAX {
            let Some((tick, id)) = self.by_use.pop_first() else { break };
            let Some(open) = self.by_id.get_mut(&id) else { continue };
            debug_assert_eq!(open.tick, tick, "the two maps agree");
            // New holders come through this lock only, so a count of one stays one.
            if Arc::strong_count(&open.file) > 1 {
                held += 1;
                self.tick += 1;
                open.tick = self.tick;
                self.by_use.insert(self.tick, id);
            } else if let Some(open) = self.by_id.remove(&id) {
                closed.push(open);
            }
        }
        closed.len() > before
    }
}

/// EMFILE and ENFILE.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    // The disk adds the path to its errors, which then have no number of their own.
    let text = error.to_string();
    text.contains("(os error 24)") || text.contains("(os error 23)")
}

impl fmt::Debug for OpenFiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.lock();
        formatter.debug_struct("OpenFiles").field("open", &files.by_id.len()).finish_non_exhaustive()
    }
}
