//! Up to where windows are closed, and what of a store that is due.

use std::ops::Bound;

use bytes::Bytes;

use super::super::operator::Outcome;
use super::super::scope::{Scope, StreamError};
use super::super::store::Entry;
use super::super::store::layout::{Found, MARKS, Segments, ordered, time_of};
use super::super::time::{SeenTime, UNKNOWN_MS};

/// Entries that are taken from a store at once while windows close.
pub(crate) const CHUNK: usize = 256;

/// Sends what has closed, chunk by chunk, until fewer than [`CHUNK`] were due, as `send` says. All of it: who is behind is
/// told of the time that closes them when this is done, and finds what comes later late.
pub(crate) fn send_all(mut send: impl FnMut() -> Result<usize, StreamError>) -> Outcome {
    while send()? >= CHUNK {}
    Ok(())
}

/// The stream time by which an operator closes windows. With every commit it is noted in the store: a task that begins
/// again on a store that was built from a changelog that still had what had expired, or where what was committed of its
/// time was lost, does not open what it had closed.
#[derive(Debug)]
pub(crate) struct Closed {
    place: usize,
    time: SeenTime,
    noted_ms: i64,
}

impl Closed {
    pub(crate) const fn new(place: usize, time: SeenTime) -> Self {
        Self { place, time, noted_ms: UNKNOWN_MS }
    }

    fn key() -> Bytes {
        [&MARKS, &b"closed"[..]].concat().into()
    }

    /// The task begins: what was closed is.
    pub(crate) fn begin(&mut self, scope: &Scope) -> Outcome {
        if let Some(bytes) = scope.store(self.place)?.get(&Self::key())? {
            self.noted_ms = time_of(&bytes)?;
        }
        self.time.resume(self.noted_ms);
        self.time.pass(scope.time_ms);
        Ok(())
    }

    /// The task's stream time went on; how far, as it is seen here.
    pub(crate) fn pass(&mut self, scope: &Scope) -> i64 {
        self.time.pass(scope.time_ms);
        self.now_ms()
    }

    /// The stream time, as it is seen here.
    pub(crate) const fn now_ms(&self) -> i64 {
        self.time.now_ms()
    }

    /// What was closed, and sent, when the task began or last committed.
    const fn noted_ms(&self) -> i64 {
        self.noted_ms
    }

    /// All that is closed was sent, and goes into the commit that comes.
    pub(crate) fn note(&mut self, scope: &mut Scope) -> Outcome {
        if self.noted_ms < self.now_ms() {
            self.noted_ms = self.now_ms();
            let value = Bytes::copy_from_slice(&ordered(self.noted_ms));
            scope.store_mut(self.place)?.put(Self::key(), Some(value));
        }
        Ok(())
    }
}

/// Goes through a store whose keys begin with a time as that time comes, and forgets what is no longer kept.
#[derive(Debug)]
pub(crate) struct TimeFirst {
    place: usize,
    /// How long after its time an entry is due.
    due_after_ms: i64,
    kept_ms: i64,
    /// The first key that was not taken; not known before the store was looked at.
    next: Option<Bytes>,
    floor_ms: i64,
}

impl TimeFirst {
    /// Entries are due so long after their times, and kept for so long, which is no less.
    pub(crate) const fn new(place: usize, due_after_ms: i64, kept_ms: i64) -> Self {
        Self { place, due_after_ms, kept_ms, next: None, floor_ms: i64::MIN }
    }

    /// The next that are due, in order: fewer than [`CHUNK`] where none is left.
    pub(crate) fn take_due(&mut self, scope: &Scope, closed: &Closed) -> Result<Vec<Entry>, StreamError> {
        self.begin(closed);
        let next = self.next.as_deref().unwrap_or_default();
        let Some(end) = self.end(closed.now_ms()).filter(|end| *end > next) else { return Ok(Vec::new()) };
        let due = scope.store(self.place)?.scan(Bound::Included(next), Bound::Excluded(&end), CHUNK)?;
        self.next = match due.last() {
            Some((last, _)) if due.len() == CHUNK => Some([last, &[0][..]].concat().into()),
            _ => Some(end),
        };
        Ok(due)
    }

    /// Whether an entry was taken, or would have been.
    pub(crate) fn has_passed(&mut self, closed: &Closed, at: &[u8]) -> bool {
        self.begin(closed);
        self.next.as_deref().is_some_and(|next| at < next)
    }

    fn begin(&mut self, closed: &Closed) {
        if self.next.is_none() {
            self.next = self.end(closed.noted_ms()).or(Some(Bytes::new()));
        }
    }

    /// What is due has keys below.
    fn end(&self, now_ms: i64) -> Option<Bytes> {
        let last_ms = now_ms.checked_sub(self.due_after_ms)?;
        Some(Bytes::copy_from_slice(&ordered(last_ms.saturating_add(1))))
    }

    /// Forgets what is no longer kept, some of it at a time: that it was taken is up to the caller.
    pub(crate) fn forget(&mut self, scope: &mut Scope, now_ms: i64) -> Outcome {
        let Some(floor_ms) = now_ms.checked_sub(self.kept_ms).and_then(|ms| ms.checked_add(1)) else {
            return Ok(());
        };
        // A floor that moves with every millisecond would cost more than what it frees.
        if floor_ms.saturating_sub(self.floor_ms) > self.kept_ms / 16 {
            self.floor_ms = floor_ms;
            scope.store_mut(self.place)?.raise_floor(Bytes::copy_from_slice(&ordered(floor_ms)));
        }
        Ok(())
    }
}

/// Goes through the index of a store in segments as its times come.
#[derive(Debug)]
pub(crate) struct ByIndex {
    /// How long after its time an entry is due.
    due_after_ms: i64,
    /// The first time that was not taken; not known before the store was looked at.
    from_ms: Option<i64>,
    behind: Option<Found>,
}

impl ByIndex {
    /// Entries are due so long after their times.
    pub(crate) const fn new(due_after_ms: i64) -> Self {
        Self { due_after_ms, from_ms: None, behind: None }
    }

    /// The next that are due, in order: fewer than [`CHUNK`] where none is left.
    pub(crate) fn take_due(
        &mut self,
        scope: &Scope,
        segments: &mut Segments,
        closed: &Closed,
    ) -> Result<Vec<Found>, StreamError> {
        let (noted_ms, now_ms) = (closed.noted_ms(), closed.now_ms());
        let end = |ms: i64| Some(ms.checked_sub(self.due_after_ms)?.saturating_add(1));
        let from_ms = self.from_ms.or_else(|| end(noted_ms)).unwrap_or(i64::MIN);
        self.from_ms = Some(from_ms);
        let Some(end_ms) = end(now_ms).filter(|end_ms| *end_ms > from_ms) else { return Ok(Vec::new()) };
        let due =
            segments.index_page(scope, (from_ms, end_ms.saturating_sub(1)), self.behind.as_ref(), CHUNK)?;
        if due.len() == CHUNK {
            self.behind = due.last().cloned();
        } else {
            self.behind = None;
            self.from_ms = Some(end_ms);
        }
        Ok(due)
    }
}
