//! What can go wrong with a log, told so that an operator knows what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ids::{Offset, PartitionId};

/// Why a log or its directory refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// A write or a sync failed; the directory takes nothing more until the process starts again (rule 3).
    #[error(
        "log directory {directory} has failed and takes no more writes until this node is restarted: {cause}"
    )]
    DirectoryFailed {
        /// The directory.
        directory: PathBuf,
        /// What failed first.
        cause: Arc<str>,
    },
    /// There was no space before the first byte was written. Heals when space is freed: try again.
    #[error("no space left in {path} for {needed} bytes; free some or wait for retention, then try again")]
    NoSpace {
        /// Where.
        path: PathBuf,
        /// How much was wanted.
        needed: u64,
    },
    /// What lies on the disk is not what was written. It is not served and not cut: what to do with it is the
    /// replica's decision ([`truncate_to`](super::Log::truncate_to) this offset and fetch it again).
    #[error("{segment} is corrupt at byte {position} (offset {offset}): {found}")]
    Corrupt {
        /// The file.
        segment: PathBuf,
        /// Where in it.
        position: u64,
        /// The first offset that cannot be read; all before it can.
        offset: Offset,
        /// What is wrong.
        found: Arc<str>,
    },
    /// The offset is not in the log.
    #[error("offset {asked} is not in the log, which has {start} up to and without {end}")]
    OutOfRange {
        /// What was asked for.
        asked: Offset,
        /// The first offset there is.
        start: Offset,
        /// The next offset to be written.
        end: Offset,
    },
    /// The batches to append are not whole, or do not continue the log. The caller's mistake; nothing was written.
    #[error("batches do not continue the log of {partition} at offset {end}: {found}")]
    NotNext {
        /// The partition.
        partition: PartitionId,
        /// Where the log ends.
        end: Offset,
        /// What is wrong with them.
        found: Arc<str>,
    },
    /// Another process uses the directory.
    #[error(
        "log directory {directory} is in use by another process ({holder}); stop it, or use another directory"
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// What the lock says.
        holder: Arc<str>,
    },
    /// A later version of this program wrote the file.
    #[error(
        "{file} has format version {found}, and this program knows versions up to {known}; use a newer program"
    )]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// A file that says what the directory is cannot be understood.
    #[error(
        "{file} is damaged ({found}); restore it from a copy, or empty the directory so that it is filled anew"
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        found: Arc<str>,
    },
    /// The log has an owner already.
    #[error("the log of {partition} is open already")]
    AlreadyOpen {
        /// The partition.
        partition: PartitionId,
    },
    /// The directory has been closed.
    #[error("log directory {directory} is closed")]
    Closed {
        /// The directory.
        directory: PathBuf,
    },
    /// A read or a look at a directory failed; nothing was changed.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl LogError {
    /// The same request may succeed when space has been freed.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }

    /// A failed look at `path`.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_path_buf(), source: Arc::new(source) }
    }
}

/// Whether the disk (or the quota) is full.
pub(super) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
