//! How the end of a log goes: on its replica's order, when histories part.
//!
//! The table of durable ends is lowered first: bytes that come to stand where others were cut must not be taken for
//! durable after a power cut.

use std::io;
use std::sync::Arc;

use super::batches::{self, Step, Walk};
use super::error::LogError;
use super::partition_log::Log;
use super::recover::EPOCHS_FILE;
use super::segment::{Active, Cleaned, Index, IndexEntry, Name, Segment, SegmentFile};
use crate::events::LogTruncated;
use crate::ids::{LeaderEpoch, Offset};

/// Where a segment is to be cut, and what its index is then.
struct Cut {
    position: u64,
    end: Offset,
    entries: Vec<IndexEntry>,
    max_timestamp: i64,
}

impl Log {
    /// Cuts the log to end at `to`, or at the beginning of the batch that holds it. Gives the new end. Needs no space.
    ///
    /// Below the log's start it is the same as [`reset_to`](Self::reset_to). Damage that recovery found is cut with it.
    pub fn truncate_to(&mut self, to: Offset) -> Result<Offset, LogError> {
        self.shared().health.check()?;
        if to >= self.end && self.damage.is_none() {
            return Ok(self.end);
        }
        if to < self.start {
            self.reset_to(to)?;
            return Ok(self.end);
        }
        let from = self.end;
        let to = to.min(self.end);
        let place = self.segments.partition_point(|segment| segment.file.base <= to).saturating_sub(1);
        let segment = self.segments.get(place).cloned();
        let segment = segment.ok_or(LogError::OutOfRange { asked: to, start: self.start, end: self.end })?;
        let cut = self.find_cut(&segment, to)?;
        self.cleaning.interrupt();
        Arc::make_mut(&mut self.epochs).truncate_to(cut.end);
        self.lower_ends(None, cut.end)?;
        let cut_file = self.cut_files(place, &segment, cut.position);
        cut_file.map_err(|error| self.shared().fail("cut", &segment.file.path, &error))?;
        self.take_cut(&segment, cut)?;
        self.shared().events.emit(LogTruncated { partition: self.partition, from, to: self.end });
        Ok(self.end)
    }

    /// Empties the log and lets it begin at `start`: for a follower whose leader has nothing earlier.
    pub fn reset_to(&mut self, start: Offset) -> Result<(), LogError> {
        self.shared().health.check()?;
        let from = self.end;
        // The only step that may be refused comes first.
        let fresh = self.create_segment(start)?;
        self.cleaning.interrupt();
        Arc::make_mut(&mut self.epochs).truncate_to(Offset(i64::MIN));
        self.lower_ends(Some(fresh.file.file_id), start)?;
        let old = std::mem::replace(&mut self.segments, vec![fresh.clone()]);
        let removed = self.remove_segments(&old);
        removed.map_err(|error| self.shared().fail("remove the segments in", self.ends.path(), &error))?;
        self.start = start;
        self.tail.truncate_to(Offset(i64::MIN));
        self.take_cut(&fresh, Cut { position: 0, end: start, entries: Vec::new(), max_timestamp: i64::MIN })?;
        self.shared().events.emit(LogTruncated { partition: self.partition, from, to: start });
        Ok(())
    }

    /// Tells the ends, and the table on disk if it may tell of more.
    fn lower_ends(&self, reset_to: Option<u64>, end: Offset) -> Result<(), LogError> {
        let epoch = self.epochs.last().unwrap_or(LeaderEpoch(0));
        if self.ends.cut(reset_to, end, epoch) { self.shared().write_table() } else { Ok(()) }
    }

    fn find_cut(&self, segment: &Segment, to: Offset) -> Result<Cut, LogError> {
        let shared = self.shared();
        let is_active = self.damage.is_none() && segment.file.file_id == self.active_segment()?.file.file_id;
        let entries = if is_active {
            self.active.index().entries.clone()
        } else {
            Index::load(&*shared.disk, &segment.file.index_path(), segment.file.file_id)?.entries
        };
        let index = Index { entries, footer: None };
        let file = segment.open(shared)?;
        let cut_from = |entry: IndexEntry| -> Result<(Cut, bool), LogError> {
            let mut walk = Walk::headers(&*file, entry.position, segment.length, entry.offset);
            let (mut max_timestamp, mut stepped) = (entry.max_timestamp, false);
            let (position, end) = loop {
                match walk.step().map_err(LogError::io("read", &segment.file.path))? {
                    Step::Batch(position, header) if header.next_offset() > to => {
                        break (position, header.base_offset);
                    }
                    Step::Batch(_, header) => max_timestamp = max_timestamp.max(header.max_timestamp_ms),
                    Step::End | Step::Bad(_) => break (walk.position, walk.offset),
                }
                stepped = true;
            };
            let entries =
                index.entries.iter().copied().take_while(|entry| entry.position < position).collect();
            Ok((Cut { position, end, entries, max_timestamp }, stepped || end == to))
        };
        let (cut, found) = cut_from(index.before(to, segment.file.base))?;
        if found {
            return Ok(cut);
        }
        // The index is wrong: only the batches can tell.
        let start = IndexEntry { offset: segment.file.base, position: 0, max_timestamp: i64::MIN };
        let (cut, _) = cut_from(start)?;
        Ok(Cut { entries: Vec::new(), ..cut })
    }

    /// Removes the segments behind `place` and cuts the one there.
    fn cut_files(&mut self, place: usize, segment: &Segment, position: u64) -> io::Result<()> {
        let shared = Arc::clone(self.shared());
        let behind = self.segments.split_off(place + 1);
        self.remove_segments(&behind)?;
        let writer = shared.files.to_write(segment.file.file_id, &segment.file.path)?;
        self.ends.touch(segment.file.file_id, &writer);
        writer.set_length(position)?;
        // A sync that began meanwhile may have taken the file as it was.
        self.ends.touch(segment.file.file_id, &writer);
        Ok(())
    }

    /// Removes segments, the last first: what is left at any time has no gap.
    fn remove_segments(&self, segments: &[Segment]) -> io::Result<()> {
        let shared = self.shared();
        for segment in segments.iter().rev() {
            shared.files.forget(segment.file.file_id);
            shared.indexes.forget(segment.file.file_id);
            self.ends.forget_file(segment.file.file_id);
            for path in [segment.file.index_path(), segment.file.path.clone()] {
                match shared.disk.remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        self.ends.renamed(0);
        Ok(())
    }

    /// The cut segment is the active one now.
    fn take_cut(&mut self, segment: &Segment, cut: Cut) -> Result<(), LogError> {
        let shared = Arc::clone(self.shared());
        self.end = cut.end;
        self.damage = None;
        self.cleaning.cut_to(cut.end);
        self.tail.truncate_to(cut.end);
        segment.file.was_cut();
        shared.indexes.forget(segment.file.file_id);
        self.active_segment_mut()?.length = cut.position;
        self.call_dirty(&cut)?;
        let began_ms = self.active.began_ms;
        self.active = Active::new(segment.file.file_id, self.config.segment_bytes);
        self.active.resume(cut.entries, cut.max_timestamp);
        self.active.began_ms = began_ms.filter(|_| cut.position > 0);
        self.rewrite_index()?;
        self.rewrite_epochs()?;
        self.remove_snapshots()?;
        self.directory.syncer().request(&self.ends, None);
        Ok(())
    }

    /// What is written where a cleaned segment was cut was never cleaned: from there on its name calls it dirty.
    fn call_dirty(&mut self, cut: &Cut) -> Result<(), LogError> {
        let shared = Arc::clone(self.shared());
        let old = Arc::clone(&self.active_segment()?.file);
        let Some(cleaned) = old.cleaned.filter(|cleaned| cleaned.clean > cut.end) else { return Ok(()) };
        let cleaned = Some(Cleaned { clean: cut.end, ..cleaned });
        let name = Name { base: old.base, file_id: old.file_id, cleaned };
        let new = SegmentFile::new(self.ends.path(), name);
        // A hint: the index is written anew under the new name.
        let _ = batches::remove_if_there(&*shared.disk, &old.index_path());
        let renamed = shared.disk.rename(&old.path, &new.path);
        renamed.map_err(|error| shared.fail("name", &new.path, &error))?;
        shared.sync_names(&self.ends)?;
        self.active_segment_mut()?.file = Arc::new(new);
        Ok(())
    }

    /// An index must not lead to what was cut: it is written anew and synced, or removed.
    pub(super) fn rewrite_index(&mut self) -> Result<(), LogError> {
        let shared = Arc::clone(self.shared());
        let path = self.active_segment()?.file.index_path();
        let rewritten = self.active.rewrite(&*shared.disk, &path);
        let kept = if rewritten.is_ok() { Ok(()) } else { batches::remove_if_there(&*shared.disk, &path) };
        kept.map_err(|error| shared.fail("remove", &path, &error))
    }

    /// The same for the file of epochs: without it the epochs are found in the batches.
    fn rewrite_epochs(&self) -> Result<(), LogError> {
        let Err(error) = self.save_epochs() else { return Ok(()) };
        if !error.is_retriable() {
            return Err(error);
        }
        let path = self.ends.path().join(EPOCHS_FILE);
        let removed = batches::remove_if_there(&*self.shared().disk, &path);
        removed.map_err(|error| self.shared().fail("remove", &path, &error))
    }

    /// A snapshot of producers that did what was cut must not come back.
    fn remove_snapshots(&mut self) -> Result<(), LogError> {
        let shared = Arc::clone(self.shared());
        let (directory, end) = (self.ends.path().to_path_buf(), self.end);
        let removed = self.snapshots.remove(&*shared.disk, &directory, |offset| offset > end);
        let synced =
            removed.and_then(|any| if any { shared.disk.sync_directory(&directory) } else { Ok(()) });
        synced.map_err(|error| shared.fail("remove snapshots in", &directory, &error))
    }
}
