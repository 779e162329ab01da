//! What the owner of a log does for its cleaning: it says what may be cleaned, and takes in what came of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::error::LogError;
use super::super::partition_log::Log;
use super::cleaning::{Cleaned, Cleaning, Lacked, Terms};
use super::judge::KnownProducers;
use super::output::{Prepared, Replaced};
use super::reading::Input;
use crate::ids::Offset;

/// What a log knows of its cleanings.
#[derive(Debug, Default)]
pub(in crate::log) struct CleaningState {
    /// The least offset to which the log was cut: whatever a segment's name says, it is dirty from there on.
    cut_to: Option<Offset>,
    /// When the first tombstone of the part that is clean may go; unknown after a start.
    horizon_ms: Option<i64>,
    /// What the last cleaning failed for want of.
    lacked: Option<Lacked>,
    /// Set when segments are about to go that the cleaning under way may be reading.
    stale: Arc<AtomicBool>,
}

impl CleaningState {
    pub(in crate::log) fn cut_to(&mut self, end: Offset) {
        self.cut_to = Some(self.cut_to.map_or(end, |known| known.min(end)));
    }

    /// What the cleaning under way reads is about to change under it.
    pub(in crate::log) fn interrupt(&mut self) {
        std::mem::take(&mut self.stale).store(true, Ordering::SeqCst);
    }
}

impl Drop for CleaningState {
    fn drop(&mut self) {
        self.interrupt();
    }
}

impl Log {
    /// What is cleaned lies below this offset: committed, of no open transaction, on disk, and in a sealed segment.
    fn cleanable_end(&self, stable: Offset) -> Offset {
        let bound = stable.min(self.durable_end());
        let sealed = self.segments.iter().skip(1).map(|next| next.file.base);
        sealed.take_while(|next| *next <= bound).last().unwrap_or(self.start)
    }

    /// Whether the log is compacted and has something that was not cleaned, or a tombstone that may go.
    #[must_use]
    pub fn wants_cleaning(&self, stable: Offset, now_ms: i64) -> bool {
        if self.config.compact.is_none() || self.check_writable().is_err() {
            return false;
        }
        let end = self.cleanable_end(stable);
        let is_past_horizon = self.cleaning.horizon_ms.is_some_and(|horizon_ms| horizon_ms <= now_ms);
        is_past_horizon || self.inputs(end).iter().any(|input| input.clean < input.next)
    }

    /// A cleaning of what lies below the last stable offset, if there is anything; [`Cleaning::step`] decides whether it is
    /// time. `producers` tells what there is to know of them below an offset.
    pub fn cleaning(
        &mut self,
        stable: Offset,
        producers: impl FnOnce(Offset) -> KnownProducers,
    ) -> Option<Box<Cleaning>> {
        let rules = self.config.compact.filter(|_| self.check_writable().is_ok())?;
        let end = self.cleanable_end(stable);
        let inputs = self.inputs(end);
        if inputs.is_empty() {
            return None;
        }
        self.cleaning.interrupt();
        Some(Box::new(Cleaning::new(
            Arc::clone(self.shared()),
            Arc::clone(&self.ends),
            Arc::clone(&self.epochs),
            inputs,
            Terms {
                rules,
                segment_bytes: self.config.segment_bytes,
                dedupe_bytes: self.directory.settings().cleaner.dedupe_bytes,
                producers: producers(end),
                horizon_ms: self.cleaning.horizon_ms,
                lacked: self.cleaning.lacked,
                stale: Arc::clone(&self.cleaning.stale),
            },
        )))
    }

    /// The sealed segments below `end`.
    fn inputs(&self, end: Offset) -> VecDeque<Input> {
        let pairs = self.segments.iter().zip(self.segments.iter().skip(1));
        pairs
            .map(|(segment, next)| {
                let (base, next) = (segment.file.base, next.file.base);
                let clean = segment.file.cleaned.map_or(base, |cleaned| cleaned.clean);
                let dirty_from = self.cleaning.cut_to.unwrap_or(Offset(i64::MAX));
                let clean = clean.min(dirty_from.max(base));
                Input { segment: segment.clone(), next, clean }
            })
            .take_while(|input| input.next <= end)
            .collect()
    }

    /// Puts a file that a cleaning prepared in the place of the segments that it was made of; nothing where those are not
    /// the log's any more. Does not block for long: a rename is all.
    pub fn adopt(&mut self, prepared: &Prepared) -> Result<Option<Replaced>, LogError> {
        self.check_writable()?;
        let first = prepared.inputs.first().map(|(id, _)| *id);
        let place = self.segments.iter().position(|segment| Some(segment.file.file_id) == first);
        let Some(place) = place.filter(|_| self.config.compact.is_some()) else { return Ok(None) };
        let behind = place + prepared.inputs.len();
        let found = self.segments.iter().skip(place).map(|segment| (segment.file.file_id, segment.length));
        let is_there = found.take(prepared.inputs.len()).eq(prepared.inputs.iter().copied());
        // The last one is active, and takes appends.
        if !is_there || behind >= self.segments.len() {
            return Ok(None);
        }
        let shared = Arc::clone(self.shared());
        let new = Arc::clone(&prepared.segment.file);
        prepared.rename(&shared).map_err(|error| shared.fail("name", &new.path, &error))?;
        self.ends.renamed(0);
        let index = Arc::new(prepared.index.clone());
        shared.indexes.put(new.file_id, Arc::clone(&index));
        let old: Vec<_> = self.segments.splice(place..behind, [prepared.segment.clone()]).collect();
        self.tail.forget_below(prepared.next());
        for segment in &old {
            shared.files.forget(segment.file.file_id);
            shared.indexes.forget(segment.file.file_id);
        }
        Ok(Some(Replaced { old: old.into_iter().map(|segment| segment.file).collect(), new, index }))
    }

    /// A cleaning has ended, and all that it prepared was taken in.
    pub fn cleaned(&mut self, cleaned: Cleaned) {
        self.cleaning.horizon_ms = cleaned.horizon_ms;
        self.cleaning.lacked = None;
        if !cleaned.is_part {
            self.cleaning.cut_to = None;
        }
    }

    /// A cleaning has failed. If it was for want of space, the next one learns no keys before there is as much.
    pub fn not_cleaned(&mut self, lacked: Option<Lacked>) {
        self.cleaning.lacked = lacked;
    }
}
