//! A file of a simulated disk, and a handle to it that dies with its process.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::content::Content;
use super::{DiskCall, SimulatedDisk, full};
use crate::world::DiskFile;

/// What space is given out in.
const BLOCK: u64 = 4096;

/// A file, whatever its names are.
#[derive(Debug, Default)]
pub(super) struct FileNode(Mutex<FileState>);

#[derive(Debug, Default)]
pub(super) struct FileState {
    pub(super) content: Content,
    /// Bytes of space it takes, in whole blocks.
    pub(super) allocated: u64,
    /// Whether its space counts: it has a name.
    pub(super) named: bool,
    /// The life of the process that has it locked.
    pub(super) locked_by: Option<u64>,
}

impl FileNode {
    /// Taken after the disk's own lock where both are needed.
    pub(super) fn state(&self) -> MutexGuard<'_, FileState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileState {
    /// Space missing for a file of this length.
    pub(super) fn missing(&self, length: u64) -> u64 {
        length.next_multiple_of(BLOCK).saturating_sub(self.allocated)
    }
}

#[derive(Debug)]
pub(super) struct SimulatedFile {
    pub(super) disk: SimulatedDisk,
    pub(super) life: u64,
    pub(super) node: Arc<FileNode>,
    pub(super) path: PathBuf,
    pub(super) writable: bool,
}

pub(super) fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn index(position: u64) -> io::Result<usize> {
    usize::try_from(position).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl SimulatedFile {
    fn failed(&self, what: &str) -> io::Error {
        io::Error::other(format!("{} cannot be {what}: input/output error (simulated)", self.path.display()))
    }

    fn writable(&self) -> io::Result<()> {
        if self.writable {
            return Ok(());
        }
        let text = format!("{} was opened to read", self.path.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
    }
}

impl DiskFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        let _alive = self.disk.alive(self.life)?;
        Ok(bytes(self.node.state().content.length()))
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.disk.alive(self.life)?;
        state.counts.reads += 1;
        if state.faults.strikes(DiskCall::Read, &self.path) {
            return Err(self.failed("read"));
        }
        Ok(self.node.state().content.read(buffer, index(position)?))
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.writable()?;
        let mut state = self.disk.acts(self.life)?;
        state.counts.writes += 1;
        let mut data = Vec::new();
        slices.iter().for_each(|slice| data.extend_from_slice(slice));
        if data.is_empty() {
            return Ok(());
        }
        let fails = state.faults.strikes(DiskCall::Write, &self.path);
        if fails {
            data.truncate(state.draw_below(data.len()));
        }
        let start = index(position)?;
        let end = position.saturating_add(bytes(data.len()));
        if index(end)? > isize::MAX.unsigned_abs() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut file = self.node.state();
        state.allocate(&mut file, end).map_err(|()| full(&self.path))?;
        if !data.is_empty() {
            file.content.write(&data, start);
        }
        if fails { Err(self.failed("written")) } else { Ok(()) }
    }

    fn start_writeback(&self) -> io::Result<()> {
        self.disk.alive(self.life).map(drop)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.acts(self.life)?;
        state.counts.syncs += 1;
        if state.faults.strikes(DiskCall::Sync, &self.path) {
            self.node.state().content.fail_sync(&mut state.rng);
            return Err(self.failed("synced"));
        }
        self.node.state().content.sync();
        Ok(())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.writable()?;
        let mut state = self.disk.acts(self.life)?;
        let mut file = self.node.state();
        let shrinks = length <= bytes(file.content.length());
        file.content.set_length(index(length)?);
        if shrinks {
            state.release(&mut file, length.next_multiple_of(BLOCK));
        }
        Ok(())
    }

    fn preallocate(&self, position: u64, length: u64) -> io::Result<()> {
        self.writable()?;
        let mut state = self.disk.acts(self.life)?;
        let end = position.saturating_add(length);
        state.allocate(&mut self.node.state(), end).map_err(|()| full(&self.path))
    }
}
