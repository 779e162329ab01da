//! The disk as one life of its node's process sees it.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{FileNode, SimulatedFile};
use super::names::Entry;
use super::{DiskCall, SimulatedDisk};
use crate::world::disk::{DirectoryLock, Disk, DiskFile, Held, LOCK_FILE, OpenMode};

#[derive(Debug)]
pub(super) struct LiveDisk {
    pub(super) disk: SimulatedDisk,
    pub(super) life: u64,
}

impl LiveDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<FileNode>> {
        let mut state = self.disk.acts(self.life)?;
        let node = Arc::new(FileNode::default());
        node.state().named = true;
        state.names.create_file(path, &node)?;
        Ok(node)
    }

    fn handle(&self, node: Arc<FileNode>, path: &Path, writable: bool) -> SimulatedFile {
        SimulatedFile { disk: self.disk.clone(), life: self.life, node, path: path.to_owned(), writable }
    }

    fn find_or_create(&self, path: &Path) -> io::Result<SimulatedFile> {
        let found = self.disk.alive(self.life)?.names.file(path);
        let node = match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(path)?,
            found => found?,
        };
        Ok(self.handle(node, path, true))
    }
}

impl Disk for LiveDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = match mode {
            OpenMode::Read | OpenMode::Write => {
                let node = self.disk.alive(self.life)?.names.file(path)?;
                self.handle(node, path, mode == OpenMode::Write)
            }
            OpenMode::CreateNew => self.handle(self.create(path)?, path, true),
            OpenMode::Truncate => {
                let file = self.find_or_create(path)?;
                file.set_length(0)?;
                file
            }
        };
        Ok(Arc::new(file))
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        self.disk.acts(self.life)?.names.create_directories(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let names = self.disk.alive(self.life)?.names.list(path)?;
        Ok(names.into_iter().map(|name| path.join(name)).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.disk.alive(self.life)?.names.find(path).is_ok())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.disk.acts(self.life)?;
        if let Some(replaced) = state.names.rename(from, to)? {
            state.forget(&replaced);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.disk.acts(self.life)?;
        let file = state.names.remove_file(path)?;
        state.forget(&file);
        Ok(())
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.disk.acts(self.life)?;
        for file in state.names.remove_directory(path)? {
            state.forget(&file);
        }
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.disk.acts(self.life)?;
        state.counts.syncs += 1;
        let directory = state.names.directory(path)?;
        if state.faults.strikes(DiskCall::Sync, path) {
            let text = format!("{} cannot be synced: input/output error (simulated)", path.display());
            return Err(io::Error::other(text));
        }
        state.names.sync(directory);
        Ok(())
    }

    fn lock_directory(&self, path: &Path) -> io::Result<DirectoryLock> {
        let file = self.find_or_create(&path.join(LOCK_FILE))?;
        let locked_by = file.node.state().locked_by;
        if locked_by == Some(self.life) {
            let text = format!("{} is in use by the process of life {}", path.display(), self.life);
            return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
        }
        file.node.state().locked_by = Some(self.life);
        // As on a real disk, the number only helps a reader.
        let _ = file.set_length(0).and_then(|()| {
            let number = format!("{}\n", self.life);
            file.write_at(&[IoSlice::new(number.as_bytes())], 0)
        });
        Ok(DirectoryLock(Box::new(SimulatedLock { node: file.node, life: self.life })))
    }

    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        let state = self.disk.alive(self.life)?;
        match state.names.find(path)? {
            Entry::File(_) | Entry::Directory(_) => Ok((state.free(), state.faults.capacity)),
        }
    }

    fn boot_id(&self) -> String {
        format!("simulated-boot-{}", self.disk.state().boot)
    }
}

#[derive(Debug)]
struct SimulatedLock {
    node: Arc<FileNode>,
    life: u64,
}

impl Held for SimulatedLock {}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        let mut state = self.node.state();
        if state.locked_by == Some(self.life) {
            state.locked_by = None;
        }
    }
}
