//! Appends: one vectored write each, and what follows from it.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use millstream_transport::world::DiskFile;

use super::batches;
use super::error::LogError;
use super::partition_log::Log;
use super::segment::{Active, Segment};
use crate::ids::{LeaderEpoch, Offset};
use crate::record::BatchHeader;

/// Where an append went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record.
    pub base: Offset,
    /// The end of the log now.
    pub end: Offset,
    /// Where in its segment the first byte stands.
    pub position: u64,
    /// A new segment was begun: time for a snapshot of the producers ([`Log::save_producers`]).
    pub rolled: bool,
}

/// What is about to be appended, checked.
struct Checked {
    bytes: u64,
    headers: Vec<BatchHeader>,
    /// The offset behind each of the buffers.
    nexts: Vec<Offset>,
    end: Offset,
}

impl Log {
    /// Appends batches whose offsets and leader epoch are assigned and continue the log. Each buffer holds whole batches.
    ///
    /// All or nothing: one write to the page cache, in one segment. [`LogError::NoSpace`] wrote nothing and may be tried
    /// again; after any other failure of a write the directory has failed. Checksums were the caller's to verify.
    pub fn append(&mut self, buffers: Vec<Bytes>) -> Result<Appended, LogError> {
        self.check_writable()?;
        let started = self.shared().clock.now();
        let checked = self.check(&buffers)?;
        if checked.bytes == 0 {
            let position = self.active_segment()?.length;
            return Ok(Appended { base: self.end, end: self.end, position, rolled: false });
        }
        let rolled = self.roll_if_due(checked.bytes)?;
        self.note_epochs(&checked.headers)?;
        let (position, writer) = self.write(&buffers, checked.bytes)?;
        let base = self.end;
        self.note_written(&checked, position, &writer)?;
        let mut from = base;
        for (buffer, next) in buffers.into_iter().zip(checked.nexts) {
            if next > from {
                self.tail.push(from, next, buffer);
            }
            from = next;
        }
        let metrics = &self.shared().metrics;
        metrics.appended_bytes.increment(checked.bytes);
        metrics.append_seconds.record(self.shared().clock.now().duration_since(started));
        Ok(Appended { base, end: self.end, position, rolled })
    }

    /// Ends the active segment and begins a new one, unless it is empty.
    pub fn roll(&mut self) -> Result<(), LogError> {
        self.check_writable()?;
        if self.active_segment()?.length == 0 {
            return Ok(());
        }
        // The only step that may be refused comes first.
        let next = self.create_segment(self.end)?;
        self.seal_active()?;
        self.active = Active::new(next.file.file_id, self.config.segment_bytes);
        self.segments.push(next);
        // Its last bytes are wanted on disk soon, so that a start need not look at them.
        self.directory.syncer().request(&self.ends, None);
        Ok(())
    }

    fn check(&self, buffers: &[Bytes]) -> Result<Checked, LogError> {
        let refuse = |found: String| LogError::NotNext {
            partition: self.partition,
            end: self.end,
            found: found.into(),
        };
        let (mut end, mut epoch) = (self.end, self.epochs().last_written());
        let mut checked = Checked { bytes: 0, headers: Vec::new(), nexts: Vec::new(), end };
        for buffer in buffers {
            for header in batches::headers(buffer) {
                let header = header.map_err(refuse)?;
                if header.base_offset != end {
                    return Err(refuse(format!("a batch begins at {}, not at {end}", header.base_offset)));
                }
                if epoch.is_some_and(|epoch| header.leader_epoch < epoch) {
                    return Err(refuse(format!(
                        "a batch is of the past leader epoch {}",
                        header.leader_epoch
                    )));
                }
                end = header.next_offset();
                epoch = Some(header.leader_epoch);
                checked.bytes += batches::length(&header);
                checked.headers.push(header);
            }
            checked.nexts.push(end);
        }
        checked.end = end;
        Ok(checked)
    }

    fn roll_if_due(&mut self, bytes: u64) -> Result<bool, LogError> {
        let length = self.active_segment()?.length;
        if length == 0 {
            return Ok(false);
        }
        let is_old = self.active_is_old();
        let is_full = length + bytes > self.config.segment_bytes;
        if is_old || is_full {
            self.roll()?;
        }
        Ok(is_old || is_full)
    }

    /// Whether the active segment has been that for as long as one may be.
    pub(super) fn active_is_old(&self) -> bool {
        let age = self.active.began_ms.map(|began| self.shared().clock.wall_ms().saturating_sub(began));
        age.is_some_and(|age| u64::try_from(age).is_ok_and(|age| age >= self.config.segment_ms))
    }

    /// Ends the index and gives back what was reserved ahead.
    pub(super) fn seal_active(&mut self) -> Result<(), LogError> {
        let Segment { file, length } = self.active_segment()?.clone();
        let shared = Arc::clone(self.shared());
        let writer = shared.files.to_write(file.file_id, &file.path);
        let released = writer.and_then(|writer| writer.set_length(length));
        released.map_err(|error| shared.fail("release what was reserved for", &file.path, &error))?;
        let path = file.index_path();
        // A hint: without it the index is made from the batches when it is needed.
        let _ = self.active.seal(&*shared.disk, &path, length, self.end);
        Ok(())
    }

    /// The file of epochs is written before the first batch of an epoch, so that this cannot fail in between.
    fn note_epochs(&mut self, headers: &[BatchHeader]) -> Result<(), LogError> {
        self.note_all(headers.iter().map(|header| (header.leader_epoch, header.base_offset)))
    }

    /// Notes which epochs begin where. What is not on disk is not known either: else the first batch of an epoch would be
    /// written before the file knows of it, and be taken for damage at the next start.
    pub(super) fn note_all(
        &mut self,
        begun: impl Iterator<Item = (LeaderEpoch, Offset)>,
    ) -> Result<(), LogError> {
        let before = Arc::clone(&self.epochs);
        let mut is_new = false;
        for (epoch, start) in begun.filter(|(epoch, _)| before.last() != Some(*epoch)) {
            is_new |= Arc::make_mut(&mut self.epochs).go_on(epoch, start);
        }
        let saved = if is_new { self.save_epochs() } else { Ok(()) };
        if saved.is_err() {
            self.epochs = before;
        }
        saved
    }

    /// The one write.
    fn write(&mut self, buffers: &[Bytes], bytes: u64) -> Result<(u64, Arc<dyn DiskFile>), LogError> {
        let Segment { file, length } = self.active_segment()?.clone();
        let shared = Arc::clone(self.shared());
        let writer = shared.files.to_write(file.file_id, &file.path);
        let writer = writer.map_err(LogError::io("open", &file.path))?;
        // Known as unsynced before the first byte is written, so that its descriptor stays.
        self.ends.touch(file.file_id, &writer);
        let limit = self.config.segment_bytes;
        let reserved = self.active.space.cover(&*writer, length, length + bytes, limit);
        reserved.map_err(|error| self.refused("reserve space for", &file.path, bytes, &error))?;
        let slices: Vec<IoSlice<'_>> = buffers.iter().map(|buffer| IoSlice::new(buffer)).collect();
        let written = writer.write_at(&slices, length);
        written.map_err(|error| self.refused("write to", &file.path, bytes, &error))?;
        Ok((length, writer))
    }

    fn note_written(
        &mut self,
        checked: &Checked,
        position: u64,
        writer: &Arc<dyn DiskFile>,
    ) -> Result<(), LogError> {
        let mut at = position;
        for header in &checked.headers {
            self.active.note(at, header);
            at += batches::length(header);
        }
        if self.active.began_ms.is_none() {
            self.active.began_ms = Some(self.shared().clock.wall_ms());
        }
        self.end = checked.end;
        let segment = self.active_segment_mut()?;
        segment.length = at;
        let (file_id, index_path) = (segment.file.file_id, segment.file.index_path());
        let epoch = checked.headers.last().map_or(LeaderEpoch::default(), |header| header.leader_epoch);
        let unsynced = self.ends.appended(self.end, epoch, (file_id, writer), checked.bytes);
        if unsynced >= self.directory.settings().unsynced_bytes_max {
            self.directory.syncer().request(&self.ends, None);
        }
        if self.active.has_block() {
            let disk = Arc::clone(&self.shared().disk);
            // A hint: what cannot be written now is written with the next block.
            let _ = self.active.flush(&*disk, &index_path);
        }
        Ok(())
    }
}
