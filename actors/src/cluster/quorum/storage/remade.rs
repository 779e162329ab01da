//! A directory that no process uses: looked at without a change, and put in another's place for an operator's recovery.
//!
//! The new directory is made whole beside the old one, under [`WAITING`], and takes its name when it is synced; the old
//! one is kept under a name of its own. What is cut short before is made anew, what is cut short between the two renames
//! is finished by the next recovery; until then the node does not start. A start with the old one discards what waits.

use std::io;
use std::path::{Path, PathBuf};

use millstream_transport::world::Disk;

use super::failure::{Latch, OpenError, WriteError};
use super::log_file::{Found, LogFile};
use super::snapshot_file::{SnapshotFile, Whole};
use super::vote_file::VoteFile;
use super::{IDENTITY_NAME, Identity, make_directory, read_identity, write_identity};
use crate::cluster::quorum::types::{LogId, SnapshotMeta, Vote, VoterId};

/// What is added to the directory's name while the new one waits to take it.
const WAITING: &str = "recovered";

/// What a directory holds.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) me: VoterId,
    pub(crate) vote: Option<Vote>,
    pub(crate) log: Found,
    pub(crate) snapshot: Option<Whole>,
}

impl Kept {
    /// Reads the directory; `None` where there is none.
    pub(crate) fn look(disk: &dyn Disk, directory: &Path) -> Result<Option<Self>, OpenError> {
        let identity = directory.join(IDENTITY_NAME);
        if !disk.exists(&identity).map_err(OpenError::io(&identity))? {
            return Ok(None);
        }
        let latch = Latch::new();
        let Identity { node, directory: uuid } = read_identity(disk, directory)?;
        Ok(Some(Self {
            me: VoterId { node, directory: uuid },
            vote: VoteFile::look(disk, directory, &latch)?,
            log: LogFile::look(disk, directory, &latch)?,
            snapshot: SnapshotFile::look(disk, directory, &latch)?,
        }))
    }
}

/// What a directory is to hold.
#[derive(Debug)]
pub(crate) struct Remade {
    pub(crate) me: VoterId,
    pub(crate) vote: Vote,
    pub(crate) last: LogId,
    pub(crate) snapshot: Whole,
    /// Space for each of the two log files and each of the two snapshot files.
    pub(crate) reserve_bytes: u64,
}

impl Remade {
    /// Puts it in the place of `directory`, which is kept under the name given back.
    pub(crate) fn replace(
        &self,
        disk: &dyn Disk,
        directory: &Path,
        aside: &str,
    ) -> Result<PathBuf, OpenError> {
        discard(disk, directory)?;
        let waiting = beside(directory, WAITING);
        self.make(disk, &waiting)?;
        let aside = beside(directory, aside);
        disk.rename(directory, &aside).map_err(OpenError::io(directory))?;
        sync_name(disk, directory)?;
        finish(disk, directory)?;
        Ok(aside)
    }

    fn make(&self, disk: &dyn Disk, directory: &Path) -> Result<(), OpenError> {
        make_directory(disk, directory)?;
        let latch = Latch::new();
        let reserve = self.reserve_bytes;
        let failed = |error: WriteError| OpenError::Io {
            path: directory.into(),
            source: match error {
                WriteError::NoSpace => io::ErrorKind::StorageFull.into(),
                WriteError::Failed(text) => io::Error::other(text),
            },
        };
        let (meta, state): (&SnapshotMeta, &[u8]) = (&self.snapshot.0, &self.snapshot.1);
        LogFile::create(disk, directory, reserve, &latch)?.rewrite(Some(self.last), &[]).map_err(failed)?;
        VoteFile::create(disk, directory, &latch)?.write(Some(self.vote)).map_err(failed)?;
        SnapshotFile::create(disk, directory, reserve, &latch)?.write(meta, state).map_err(failed)?;
        disk.sync_directory(directory).map_err(OpenError::io(directory))?;
        let VoterId { node, directory: uuid } = self.me;
        write_identity(disk, directory, &Identity { node, directory: uuid })
    }
}

/// Removes what waits to take the directory's name.
pub(super) fn discard(disk: &dyn Disk, directory: &Path) -> Result<(), OpenError> {
    let waiting = beside(directory, WAITING);
    if disk.exists(&waiting).map_err(OpenError::io(&waiting))? {
        disk.remove_directory(&waiting).map_err(OpenError::io(&waiting))?;
        sync_name(disk, directory)?;
    }
    Ok(())
}

/// Gives a directory that waits its name; false where none does.
pub(crate) fn finish(disk: &dyn Disk, directory: &Path) -> Result<bool, OpenError> {
    let waiting = beside(directory, WAITING);
    let identity = waiting.join(IDENTITY_NAME);
    let is_free = !disk.exists(directory).map_err(OpenError::io(directory))?;
    if !is_free || !disk.exists(&identity).map_err(OpenError::io(&identity))? {
        return Ok(false);
    }
    disk.rename(&waiting, directory).map_err(OpenError::io(&waiting))?;
    sync_name(disk, directory)?;
    Ok(true)
}

fn sync_name(disk: &dyn Disk, directory: &Path) -> Result<(), OpenError> {
    let parent = directory.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    disk.sync_directory(parent).map_err(OpenError::io(parent))
}

/// An error where a directory waits to take this name: it is not to be made anew, as if it had been emptied.
pub(super) fn check_none_waits(disk: &dyn Disk, directory: &Path) -> Result<(), OpenError> {
    let waiting = beside(directory, WAITING);
    if disk.exists(&waiting.join(IDENTITY_NAME)).map_err(OpenError::io(&waiting))? {
        let text = "a recovery of the quorum was cut short; finish it with millstream quorum recover";
        return Err(OpenError::Io { path: waiting, source: io::Error::other(text) });
    }
    Ok(())
}

fn beside(directory: &Path, what: &str) -> PathBuf {
    let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    directory.with_file_name(format!("{name}.{what}"))
}
