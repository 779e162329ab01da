//! Segments: files of record batches as they came, each with a sparse index beside it.
//!
//! A [`Name`] says which offsets a file is for; it holds whole batches and nothing else. The last segment of a log is
//! active: batches are appended to it, and its index is in memory and written out in blocks. All others are sealed.

mod active;
mod cold;
mod index;
mod name;
mod sealed;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub(super) use self::active::Active;
pub use self::cold::ColdRead;
pub(super) use self::cold::Start;
pub(super) use self::index::{Footer, Index, IndexCache, IndexEntry, NO_TIMESTAMP};
pub(super) use self::name::{Cleaned, Name};
pub(super) use self::sealed::start_of;
use super::directory::Shared;
use super::error::LogError;
use crate::events::CorruptionFound;
use crate::ids::Offset;

/// A segment's file, shared by the owner of the log and those who read for it elsewhere.
#[derive(Debug)]
pub(super) struct SegmentFile {
    pub(super) base: Offset,
    pub(super) file_id: u64,
    /// What the cleaner made of it, if it did.
    pub(super) cleaned: Option<Cleaned>,
    pub(super) path: PathBuf,
    seen: Mutex<Seen>,
    /// Set when the first corruption in it was told.
    corrupt: OnceLock<()>,
}

/// What readers have found out.
#[derive(Debug, Default)]
struct Seen {
    /// Where readers that go through the segment in order will go on: offset and position.
    next: [(Offset, u64); READERS],
    newest: usize,
}

/// Readers in order that are remembered for each segment.
const READERS: usize = 4;

/// A segment of a log, as its owner sees it.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) file: Arc<SegmentFile>,
    /// Bytes of batches.
    pub(super) length: u64,
}

impl SegmentFile {
    pub(super) fn new(directory: &Path, name: Name) -> Self {
        Self {
            base: name.base,
            file_id: name.file_id,
            cleaned: name.cleaned,
            path: directory.join(name.to_string()),
            seen: Mutex::default(),
            corrupt: OnceLock::new(),
        }
    }

    /// The file of the index beside it.
    pub(super) fn index_path(&self) -> PathBuf {
        self.path.with_extension("index")
    }

    /// The file was cut: nobody goes on reading where he was.
    pub(super) fn was_cut(&self) {
        self.seen().next = Default::default();
    }

    /// A reader that goes on at `offset` will find it at `position`.
    fn remember(&self, offset: Offset, position: u64) {
        let mut seen = self.seen();
        seen.newest = (seen.newest + 1) % READERS;
        let newest = seen.newest;
        if let Some(place) = seen.next.get_mut(newest) {
            *place = (offset, position);
        }
    }

    fn remembered(&self, offset: Offset) -> Option<u64> {
        let seen = self.seen();
        seen.next
            .iter()
            .find(|(next, position)| *next == offset && *position > 0)
            .map(|(_, position)| *position)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error for bytes that are not what was written; tells of it the first time.
    pub(super) fn corrupt(&self, shared: &Shared, position: u64, offset: Offset, found: &str) -> LogError {
        if self.corrupt.set(()).is_ok() {
            shared.events.emit(CorruptionFound { segment: &self.path, position, offset, found });
        }
        LogError::Corrupt { segment: self.path.clone(), position, offset, found: found.into() }
    }
}
