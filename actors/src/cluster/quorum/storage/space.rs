//! A file in space reserved for it.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_transport::world::{Disk, DiskFile, OpenMode};

use super::failure::{Latch, OpenError, WriteError};
use super::frame::PAGE_BYTES;

const GROW_BYTES: u64 = 1 << 20;

/// A file whose blocks are allocated ahead of what is written to it. Never cut and never removed, so that a disk full of
/// other data does not hit it.
#[derive(Debug)]
pub(crate) struct Space {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    allocated: u64,
    latch: Latch,
}

impl Space {
    /// Makes the file and reserves its space; the caller syncs the directory.
    pub(crate) fn create(
        disk: &dyn Disk,
        path: &Path,
        reserve_bytes: u64,
        latch: &Latch,
    ) -> Result<Self, OpenError> {
        let file = disk.open(path, OpenMode::Truncate).map_err(OpenError::io(path))?;
        let mut space = Self { path: path.into(), file, allocated: 0, latch: latch.clone() };
        space.preallocate(reserve_bytes).map_err(OpenError::io(path))?;
        Ok(space)
    }

    /// Opens the file and reserves again what it should have: a copy of the directory may have lost it.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: &Path,
        reserve_bytes: u64,
        latch: &Latch,
    ) -> Result<Self, OpenError> {
        let file = disk.open(path, OpenMode::Write).map_err(OpenError::io(path))?;
        let mut space = Self { path: path.into(), file, allocated: 0, latch: latch.clone() };
        match space.preallocate(reserve_bytes) {
            Err(error) if is_full(&error) => {}
            other => other.map_err(OpenError::io(path))?,
        }
        Ok(space)
    }

    /// Opens the file to look at it only.
    pub(crate) fn look(disk: &dyn Disk, path: &Path, latch: &Latch) -> Result<Self, OpenError> {
        let file = disk.open(path, OpenMode::Read).map_err(OpenError::io(path))?;
        Ok(Self { path: path.into(), file, allocated: 0, latch: latch.clone() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure that everything up to `end` can be written.
    pub(crate) fn reserve(&mut self, end: u64) -> Result<(), WriteError> {
        self.latch.check()?;
        if end <= self.allocated {
            return Ok(());
        }
        let wanted = end.div_ceil(GROW_BYTES).saturating_mul(GROW_BYTES);
        match self.preallocate(wanted) {
            Err(error) if is_full(&error) => Err(WriteError::NoSpace),
            other => {
                self.latch.clone().watch(&format!("cannot reserve space for {}", self.path.display()), other)
            }
        }
    }

    fn preallocate(&mut self, end: u64) -> io::Result<()> {
        if end > self.allocated {
            match self.file.preallocate(self.allocated, end - self.allocated) {
                // A file system without reservation: what it writes may find no space, and then fails the directory.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                other => other?,
            }
            self.allocated = end;
        }
        Ok(())
    }

    /// Writes at `position`; a failure is latched.
    pub(crate) fn write(&self, bytes: &[u8], position: u64) -> Result<(), WriteError> {
        self.latch.check()?;
        let written = self.file.write_at(&[IoSlice::new(bytes)], position);
        self.latch.watch(&format!("cannot write {}", self.path.display()), written)
    }

    /// Makes durable what was written; a failure is latched.
    pub(crate) fn sync(&self) -> Result<(), WriteError> {
        self.latch.check()?;
        self.latch.watch(&format!("cannot sync {}", self.path.display()), self.file.sync_data())
    }

    /// What the page at `position` holds; as much of it as there is.
    pub(crate) fn read_page(&self, position: u64) -> Result<Vec<u8>, OpenError> {
        self.read(position, usize::try_from(PAGE_BYTES).unwrap_or_default())
    }

    /// Up to `length` bytes from `position`.
    pub(crate) fn read(&self, position: u64, length: usize) -> Result<Vec<u8>, OpenError> {
        let there = self.length()?.saturating_sub(position);
        let length = length.min(usize::try_from(there).unwrap_or(usize::MAX));
        let mut bytes = vec![0; length];
        let read = self.file.read_at(&mut bytes, position).map_err(OpenError::io(&self.path))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Bytes in the file.
    pub(crate) fn length(&self) -> Result<u64, OpenError> {
        self.file.length().map_err(OpenError::io(&self.path))
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
