//! Which files make a log.

use std::path::PathBuf;
use std::sync::Arc;

use millstream_transport::world::OpenMode;

use super::super::batches::remove_if_there;
use super::super::directory::ends::ReplicaEnds;
use super::super::directory::table::Entry;
use super::super::directory::{Shared, read_small};
use super::super::epochs::EpochCache;
use super::super::error::LogError;
use super::super::producers::{self, Snapshots};
use super::super::segment::{Name, Segment, SegmentFile};
use super::EPOCHS_FILE;

/// A file of epochs larger than this is none.
const EPOCHS_BYTES_MAX: u64 = 64 << 20;

/// What lies in a log's directory.
pub(super) struct Files {
    pub(super) segments: Vec<Segment>,
    pub(super) snapshots: Snapshots,
    epochs_path: PathBuf,
}

impl Files {
    /// Finds the log's files; makes its directory if there is none, and removes what was on its way out.
    pub(super) fn find(shared: &Shared, ends: &ReplicaEnds, entry: &Entry) -> Result<Self, LogError> {
        let (disk, path) = (&*shared.disk, ends.path());
        if !disk.exists(path).map_err(LogError::io("look for", path))? {
            disk.create_directories(path).map_err(LogError::io("make", path))?;
            ends.renamed(shared.note_root_change());
        }
        let mut named = Vec::new();
        let mut snapshots = Snapshots::default();
        for file in disk.list(path).map_err(LogError::io("list", path))? {
            match Name::of(&file) {
                Some(name) => named.push(name),
                None if Name::is_unfinished(&file) => {
                    remove_if_there(disk, &file).map_err(LogError::io("remove", &file))?;
                }
                None => snapshots.0.extend(producers::parse_name(&file)),
            }
        }
        let (kept, leftover) = sort_out(named, entry);
        if kept.iter().any(|name| name.cleaned.is_some()) && !leftover.is_empty() {
            // What a cleaned file takes the place of must not go before its own name is certain to stay.
            disk.sync_directory(path).map_err(LogError::io("sync the names in", path))?;
        }
        for name in leftover {
            let gone = SegmentFile::new(path, name);
            let removed =
                remove_if_there(disk, &gone.index_path()).and_then(|()| remove_if_there(disk, &gone.path));
            removed.map_err(LogError::io("remove", &gone.path))?;
            ends.renamed(0);
        }
        let mut segments = Vec::new();
        for name in kept {
            let file = SegmentFile::new(path, name);
            let opened = disk.open(&file.path, OpenMode::Read).and_then(|opened| opened.length());
            let length = opened.map_err(LogError::io("look at", &file.path))?;
            segments.push(Segment { file: Arc::new(file), length });
        }
        Ok(Self { segments, snapshots, epochs_path: path.join(EPOCHS_FILE) })
    }

    /// The epochs as the file has them.
    pub(super) fn known_epochs(&self, shared: &Shared) -> Result<Option<EpochCache>, LogError> {
        let bytes = read_small(&*shared.disk, &self.epochs_path, EPOCHS_BYTES_MAX)?;
        Ok(bytes.as_deref().and_then(EpochCache::decode))
    }

    /// The epochs as the batches have them, all of which have to be looked at.
    pub(super) fn epochs_of_batches(&self, shared: &Shared) -> EpochCache {
        let mut cache = EpochCache::default();
        for segment in &self.segments {
            let seen = segment.each_batch(shared, |header| {
                cache.begin(header.leader_epoch, header.base_offset);
            });
            if seen.is_err() {
                // The scan, or the first read, says what is wrong with it.
                break;
            }
        }
        cache
    }
}

/// Which segments make the log, and which were on their way in or out when the last life ended.
///
/// A cleaned segment is the log's in place of those that it was made of. Of the others file ids grow with the base
/// offsets, but for a reset: it makes a segment first, with the greatest id; then the table tells that id; then the
/// others go.
fn sort_out(mut named: Vec<Name>, entry: &Entry) -> (Vec<Name>, Vec<Name>) {
    named.sort_unstable_by_key(|name| (name.base, name.file_id));
    let mut leftover = Vec::new();
    let cleaned: Vec<Name> = named.iter().copied().filter(|name| name.cleaned.is_some()).collect();
    leftover.extend(named.extract_if(.., |name| cleaned.iter().any(|newer| newer.replaces(name))));
    let told = named.iter().copied().find(|name| name.file_id == entry.file_id);
    if let Some(told) = told {
        // Told: what was there before is not part of the log any more.
        leftover.extend(named.extract_if(.., |name| name.base >= told.base && name.file_id < told.file_id));
    }
    let all = named.clone();
    let was_reset_to = |name: &Name| {
        // A cleaned one is never begun by a reset, and younger than those that follow it.
        name.cleaned.is_none()
            && all.iter().any(|other| other.base >= name.base && other.file_id < name.file_id)
    };
    leftover.extend(named.extract_if(.., |name| was_reset_to(name)));
    // Segments whose successor begins at or below the log's start were let go.
    let let_go = named.iter().skip(1).take_while(|next| next.base <= entry.log_start).count();
    leftover.extend(named.drain(..let_go));
    (named, leftover)
}
