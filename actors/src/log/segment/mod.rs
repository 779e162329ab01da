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
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// Bytes from this position on were written by this process, out of batches that it had checked.
    written_from: AtomicU64,
    seen: Mutex<Seen>,
    /// Set when the first corruption in it was told.
    corrupt: OnceLock<()>,
}

/// What readers have found out.
#[derive(Debug, Default)]
struct Seen {
    /// Checksums of the batches in this range have been verified.
    verified: (u64, u64),
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
    pub(super) fn new(directory: &Path, name: Name, written_from: u64) -> Self {
        Self {
            base: name.base,
            file_id: name.file_id,
            cleaned: name.cleaned,
            path: directory.join(name.to_string()),
            written_from: AtomicU64::new(written_from),
            seen: Mutex::default(),
            corrupt: OnceLock::new(),
        }
    }

    /// The file of the index beside it.
    pub(super) fn index_path(&self) -> PathBuf {
        self.path.with_extension("index")
    }

    /// The batches from here on are this process's own.
    pub(super) fn write_from(&self, position: u64) {
        self.written_from.fetch_min(position, Ordering::SeqCst);
        let mut seen = self.seen();
        seen.verified.1 = seen.verified.1.min(position);
        seen.next = Default::default();
    }

    /// Batches in this range were found well.
    pub(super) fn note_verified(&self, from: u64, to: u64) {
        let mut seen = self.seen();
        let (known_from, known_to) = seen.verified;
        seen.verified = if from <= known_to && to >= known_from && known_to > known_from {
            (known_from.min(from), known_to.max(to))
        } else {
            (from, to)
        };
    }

    fn needs_verification(&self, from: u64, to: u64) -> bool {
        let written_from = self.written_from.load(Ordering::SeqCst);
        let (verified_from, verified_to) = self.seen().verified;
        from < written_from && !(verified_from <= from && to.min(written_from) <= verified_to)
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
