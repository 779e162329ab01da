//! What was appended last, kept in memory, so that readers at the head of a log never touch the disk.
//!
//! A log keeps the very buffers that were appended; nothing is copied. All logs that share a [`TailBudget`] share its
//! bytes: the oldest append among them goes first.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

use super::batches;
use crate::ids::Offset;

/// What one buffer costs beside its bytes.
const CHUNK_COST: usize = 160;

/// Memory for the tails of several logs. Clones share it.
#[derive(Clone)]
pub struct TailBudget(Arc<Budget>);

struct Budget {
    limit: usize,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    used: usize,
    /// All buffers of all logs, the oldest first.
    oldest: VecDeque<(Weak<Chunks>, u64, usize)>,
}

type Chunks = Mutex<Tail>;

/// The tail of one log.
pub(super) struct TailCache {
    budget: Arc<Budget>,
    chunks: Arc<Chunks>,
}

#[derive(Default)]
struct Tail {
    /// Counts the buffers that ever came in.
    count: u64,
    chunks: VecDeque<Chunk>,
}

struct Chunk {
    number: u64,
    base: Offset,
    next: Offset,
    bytes: Bytes,
}

impl TailBudget {
    /// So many bytes; 0 keeps nothing.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Budget { limit: bytes, line: Mutex::default() }))
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        lock(&self.0.line).used
    }

    /// An empty tail in this budget.
    pub(super) fn tail(&self) -> TailCache {
        TailCache { budget: Arc::clone(&self.0), chunks: Arc::default() }
    }
}

impl TailCache {
    /// Takes in what was appended: whole batches from `base` up to `next`.
    pub(super) fn push(&self, base: Offset, next: Offset, bytes: Bytes) {
        let cost = bytes.len() + CHUNK_COST;
        let number = {
            let mut tail = lock(&self.chunks);
            tail.count += 1;
            let number = tail.count;
            tail.chunks.push_back(Chunk { number, base, next, bytes });
            number
        };
        let mut line = lock(&self.budget.line);
        line.used += cost;
        line.oldest.push_back((Arc::downgrade(&self.chunks), number, cost));
        while line.used > self.budget.limit {
            let Some((chunks, number, cost)) = line.oldest.pop_front() else { break };
            line.used -= cost;
            if let Some(chunks) = chunks.upgrade() {
                lock(&chunks).forget_through(number);
            }
        }
    }

    /// Batches from the one that holds `from`, all below `upto`, of about `max_bytes` (the first whole in any case).
    /// `None` where `from` is no longer here.
    pub(super) fn read(&self, from: Offset, upto: Offset, max_bytes: usize) -> Option<Vec<Bytes>> {
        let tail = lock(&self.chunks);
        if tail.chunks.front().is_none_or(|first| from < first.base) {
            return None;
        }
        let mut taken = Vec::new();
        let mut room = max_bytes;
        let at = tail.chunks.partition_point(|chunk| chunk.next <= from);
        for chunk in tail.chunks.range(at..) {
            if chunk.base >= upto {
                break;
            }
            let whole = chunk.base >= from && chunk.next <= upto && chunk.bytes.len() <= room;
            let part =
                if whole { chunk.bytes.clone() } else { chunk.part(from, upto, room, taken.is_empty()) };
            // A part that is not the chunk's rest was ended by a bound.
            let is_rest = part.as_ptr_range().end == chunk.bytes.as_ptr_range().end;
            room = room.saturating_sub(part.len());
            if !part.is_empty() {
                taken.push(part);
            }
            if !is_rest {
                break;
            }
        }
        Some(taken)
    }

    /// What lies below `upto` stands otherwise in the log now.
    pub(super) fn forget_below(&self, upto: Offset) {
        let mut tail = lock(&self.chunks);
        while tail.chunks.front().is_some_and(|chunk| chunk.next <= upto) {
            tail.chunks.pop_front();
        }
    }

    /// The log was cut to end at `end`.
    pub(super) fn truncate_to(&self, end: Offset) {
        let mut tail = lock(&self.chunks);
        while let Some(last) = tail.chunks.pop_back() {
            if last.next <= end {
                tail.chunks.push_back(last);
                return;
            }
            let kept = last.part(last.base, end, usize::MAX, false);
            if !kept.is_empty() {
                tail.chunks.push_back(Chunk { next: end, bytes: kept, ..last });
                return;
            }
        }
    }
}

impl Tail {
    fn forget_through(&mut self, number: u64) {
        while self.chunks.front().is_some_and(|chunk| chunk.number <= number) {
            self.chunks.pop_front();
        }
    }
}

impl Chunk {
    /// The batches from the one that holds `from`, below `upto`, in `room` bytes; the first is whole where `first`.
    fn part(&self, from: Offset, upto: Offset, room: usize, first: bool) -> Bytes {
        let (mut start, mut end) = (None, 0);
        let mut position = 0;
        for header in batches::headers(&self.bytes).map_while(Result::ok) {
            let length = header.total_bytes();
            let begins = position;
            position += length;
            if header.next_offset() <= from {
                continue;
            }
            let start_at = *start.get_or_insert(begins);
            let fits = position - start_at <= room || first && begins == start_at;
            if header.next_offset() > upto || !fits {
                break;
            }
            end = position;
        }
        match start {
            Some(start) if end > start => self.bytes.slice(start..end),
            _ => Bytes::new(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for TailBudget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TailBudget")
            .field("limit", &self.0.limit)
            .field("used", &self.used())
            .finish()
    }
}

impl fmt::Debug for TailCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TailCache")
            .field("chunks", &lock(&self.chunks).chunks.len())
            .finish_non_exhaustive()
    }
}
