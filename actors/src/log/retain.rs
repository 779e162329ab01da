//! How the beginning of a log goes: whole segments by age and size, and on the order to advance the log's start.

use std::sync::Arc;

use super::error::LogError;
use super::partition_log::Log;
use super::segment::{NO_TIMESTAMP, Segment};
use crate::ids::Offset;

impl Log {
    /// Lets go of whole segments that are too old or too much by the topic's settings, and of those below the log's
    /// start; never of anything at or above the high watermark. Gives how many went.
    ///
    /// The files go when a table with the new log start is on disk, within a second or so.
    pub fn retain(&mut self, now_ms: i64, high_watermark: Offset) -> Result<usize, LogError> {
        self.check_writable()?;
        let is_expired = self.active_is_expired(now_ms) && self.end <= high_watermark;
        if is_expired || self.active_waits_to_be_cleaned() {
            match self.roll() {
                // It goes another time: deleting needs no space.
                Ok(()) | Err(LogError::NoSpace { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut excess = self.excess_bytes();
        let mut gone = 0;
        while let [segment, next, ..] = self.segments.get(gone..).unwrap_or_default() {
            let next_base = next.file.base;
            let fits = segment.length <= excess;
            if next_base > high_watermark {
                break;
            }
            if next_base > self.start && !fits && !self.is_expired(segment, now_ms)? {
                break;
            }
            excess = excess.saturating_sub(segment.length);
            gone += 1;
        }
        self.let_go(gone);
        Ok(gone)
    }

    /// The log begins at `start` from now on, or where it begins already if that is later.
    pub fn advance_start(&mut self, start: Offset) -> Result<(), LogError> {
        self.check_writable()?;
        if start > self.end {
            return Err(LogError::OutOfRange { asked: start, start: self.start, end: self.end });
        }
        if start > self.start {
            self.set_start(start);
            let whole = self.segments.iter().skip(1).take_while(|next| next.file.base <= start).count();
            self.let_go(whole);
        }
        Ok(())
    }

    /// `done` hears when the log's start as it is now is on disk: within a second or so. Never refused; it must not
    /// block.
    pub fn keep_start(&self, done: Box<dyn FnOnce(Result<(), LogError>) + Send>) {
        self.directory.syncer().await_table(done);
    }

    /// The first segments go.
    fn let_go(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let shared = Arc::clone(self.shared());
        let gone: Vec<Segment> =
            self.segments.drain(..count.min(self.segments.len().saturating_sub(1))).collect();
        if let Some(first) = self.segments.first() {
            let base = first.file.base;
            self.set_start(base.max(self.start));
        }
        for segment in &gone {
            shared.files.forget(segment.file.file_id);
            shared.indexes.forget(segment.file.file_id);
            // What it has unsynced stays so: until the table is on disk, all that follows rests on it.
        }
        shared.retire(gone.into_iter().map(|segment| segment.file));
        self.directory.syncer().table_wanted();
    }

    fn set_start(&mut self, start: Offset) {
        self.start = start;
        self.ends.set_log_start(start);
        Arc::make_mut(&mut self.epochs).advance_start(start);
        self.directory.syncer().table_wanted();
    }

    /// Bytes above the topic's bound.
    fn excess_bytes(&self) -> u64 {
        let bound = self.config.retention_bytes.filter(|_| self.config.delete);
        bound.map_or(0, |bound| self.bytes().saturating_sub(bound))
    }

    fn is_expired(&self, segment: &Segment, now_ms: i64) -> Result<bool, LogError> {
        let Some(retention_ms) = self.config.retention_ms.filter(|_| self.config.delete) else {
            return Ok(false);
        };
        let footer = segment.index(self.shared())?.footer;
        let newest = footer.map_or(NO_TIMESTAMP, |footer| footer.max_timestamp);
        Ok(is_past(newest, retention_ms, now_ms))
    }

    /// Nothing of the active segment is cleaned, and a partition that takes no more would stay as it is for ever.
    fn active_waits_to_be_cleaned(&self) -> bool {
        let has_batches = self.segments.last().is_some_and(|segment| segment.length > 0);
        self.config.compact.is_some() && has_batches && self.active_is_old()
    }

    fn active_is_expired(&self, now_ms: i64) -> bool {
        let retention_ms = self.config.retention_ms.filter(|_| self.config.delete);
        let has_batches = self.segments.last().is_some_and(|segment| segment.length > 0);
        has_batches && retention_ms.is_some_and(|ms| is_past(self.active.max_timestamp(), ms, now_ms))
    }
}

/// Whether a segment whose newest record is of `newest` has had its time. One without timestamps never has.
fn is_past(newest: i64, retention_ms: u64, now_ms: i64) -> bool {
    newest >= 0
        && now_ms
            .checked_sub(newest)
            .is_some_and(|age| u64::try_from(age).is_ok_and(|age| age > retention_ms))
}
