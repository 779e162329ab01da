//! The door to the file system.

use std::fmt::Debug;
use std::io;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// A new file, to read and write; an existing one is an error.
    CreateNew,
    /// A file to read and write, emptied if it exists.
    Truncate,
}

/// A file system. Paths of directories listed come back sorted.
pub trait Disk: Debug + Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a directory and its parents.
    fn create_directories(&self, path: &Path) -> io::Result<()>;
    /// The paths in a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Whether a file or directory of this name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Renames a file or directory over another; durable only after [`Disk::sync_directory`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all in it.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Takes the exclusive lock that says a process uses this directory (file `lock` in it); `WouldBlock` if another has it.
    fn lock_directory(&self, path: &Path) -> io::Result<DirectoryLock>;
    /// Bytes free for new data, and bytes in all.
    fn space(&self, path: &Path) -> io::Result<(u64, u64)>;
    /// What tells this boot of the machine from another.
    fn boot_id(&self) -> String;
}

/// Held while a process uses a directory; dropping it gives the directory free.
#[derive(Debug)]
pub struct DirectoryLock(#[allow(dead_code, reason = "kept for its drop")] pub(super) Box<dyn Held>);

/// What a [`DirectoryLock`] keeps alive.
pub(super) trait Held: Debug + Send + Sync {}

/// An open file. All calls take `&self`: who may write is for the owner to see to.
pub trait DiskFile: Debug + Send + Sync {
    /// Bytes in the file.
    fn length(&self) -> io::Result<u64>;
    /// Fills `buffer` from `position`; returns how much there was (less only at the end of the file).
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all slices at `position`; on an error a prefix may have been written.
    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()>;
    /// Starts writing dirty pages back, waits for nothing, promises nothing.
    fn start_writeback(&self) -> io::Result<()>;
    /// `fdatasync`: when it returns, data and length are durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Reserves space without a change of length (`FALLOC_FL_KEEP_SIZE`).
    fn preallocate(&self, position: u64, length: u64) -> io::Result<()>;
}
