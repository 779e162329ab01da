//! The door to the file system.

mod real;
mod simulated;
mod writeback;

use std::fmt::Debug;
use std::io;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use real::RealDisk;
pub use simulated::{DiskCall, DiskCounts, SimulatedDisk};

/// Name of the file in a directory whose lock says that a process uses the directory.
const LOCK_FILE: &str = "lock";

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

/// A file system. Errors name the path and keep their kind: `StorageFull` is a full disk.
pub trait Disk: Debug + Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a directory and its parents; durable only after [`Disk::sync_directory`] of what each new one lies in.
    fn create_directories(&self, path: &Path) -> io::Result<()>;
    /// The paths in a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Whether a file or directory of this name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Renames a file or directory over another; durable only after [`Disk::sync_directory`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; durable only after [`Disk::sync_directory`], and what has it open keeps it.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all in it; durable only after [`Disk::sync_directory`] of what it lay in.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Takes the exclusive lock that says a process uses this directory (file `lock` in it); `WouldBlock` if another has
    /// it, with the holder's process in the text.
    fn lock_directory(&self, path: &Path) -> io::Result<DirectoryLock>;
    /// Bytes free for new data, and bytes in all.
    fn space(&self, path: &Path) -> io::Result<(u64, u64)>;
    /// What tells this boot of the machine from another.
    fn boot_id(&self) -> String;
}

/// Held while a process uses a directory; dropping it gives the directory free.
#[derive(Debug)]
pub struct DirectoryLock(#[allow(dead_code, reason = "kept for its drop")] Box<dyn Held>);

/// What a [`DirectoryLock`] keeps alive.
trait Held: Debug + Send + Sync {}

/// An open file. All calls take `&self`: who may write is for the owner to see to.
pub trait DiskFile: Debug + Send + Sync {
    /// Bytes in the file.
    fn length(&self) -> io::Result<u64>;
    /// Fills `buffer` from `position`; returns how much there was (less only at the end of the file).
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// The next `length` bytes from `position`, fewer only at the end of the file. For long reads: where the system allows
    /// it, their memory is not filled with zeroes first.
    fn read_long(&self, length: usize, position: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let read = self.read_at(&mut bytes, position)?;
        bytes.truncate(read);
        Ok(bytes)
    }
    /// Writes all slices at `position`. `StorageFull` means that no byte was written, and space may come back; after any
    /// other error a prefix may have been written (a disk that fills up in the middle is `WriteZero`).
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

#[cfg(test)]
mod conformance;
