//! A request over many partitions: split once, joined once.
//!
//! The parts run on several cores; the last one to be done answers. A fetch is done earlier, when it has bytes enough
//! or its time is up; until then each part's place holds what it would answer now.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::memory::Budget;
use super::message::{FetchAnswer, Fetched};
use super::reply::Reply;
use crate::error::Refusal;
use crate::ids::PartitionId;

/// The parts of an answer, by their place in the request.
type Parts<T> = Vec<(PartitionId, Result<T, Refusal>)>;

/// Takes all parts of an answer. It must not block.
type Taker<T> = Box<dyn FnOnce(Parts<T>) + Send>;

/// Waits for all parts.
pub struct Join<T>(Mutex<Joining<T>>);

struct Joining<T> {
    parts: Vec<(PartitionId, Option<Result<T, Refusal>>)>,
    missing: usize,
    take: Option<Taker<T>>,
}

impl<T: Send + 'static> Join<T> {
    /// One place for each partition, and the reply that fills it. Without partitions it answers at once.
    pub fn start(
        partitions: impl IntoIterator<Item = PartitionId>,
        take: impl FnOnce(Parts<T>) + Send + 'static,
    ) -> Vec<Reply<T>> {
        let parts: Vec<_> = partitions.into_iter().map(|partition| (partition, None)).collect();
        let missing = parts.len();
        if missing == 0 {
            take(Vec::new());
            return Vec::new();
        }
        let join = Arc::new(Self(Mutex::new(Joining { parts, missing, take: Some(Box::new(take)) })));
        (0..missing)
            .map(|place| {
                let join = Arc::clone(&join);
                Reply::new(move |answer| join.put(place, answer))
            })
            .collect()
    }

    fn put(&self, place: usize, answer: Result<T, Refusal>) {
        let mut joining = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, part)) = joining.parts.get_mut(place)
            && part.is_none()
        {
            *part = Some(answer);
            joining.missing -= 1;
        }
        if joining.missing > 0 {
            return;
        }
        let Some(take) = joining.take.take() else { return };
        let parts = std::mem::take(&mut joining.parts);
        drop(joining);
        take(parts.into_iter().filter_map(|(partition, part)| Some((partition, part?))).collect());
    }
}

impl<T> fmt::Debug for Join<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Join")
    }
}

/// A fetch under way. Its parts may wait on several cores.
pub struct FetchJoin {
    state: Mutex<Fetching>,
    /// Bytes that may still be read.
    budget: AtomicI64,
    memory: Budget,
}

/// How much a fetch is to bring.
#[derive(Clone, Debug)]
pub struct FetchBounds {
    /// It waits for so many bytes.
    pub min_bytes: usize,
    /// It reads no more, but for one batch that is longer.
    pub max_bytes: usize,
    /// What the fetches of the node hold. Once that is used up, it reads one batch; at twice as much, nothing.
    pub memory: Budget,
}

struct Fetching {
    parts: Vec<(PartitionId, Option<Result<Fetched, Refusal>>)>,
    unvisited: usize,
    waiting: usize,
    /// A part was refused, or its asker is to cut its log, or to ask another node.
    urgent: bool,
    /// Its time is up.
    expired: bool,
    bytes: usize,
    min_bytes: usize,
    answer: Option<Box<dyn FnOnce(FetchAnswer) + Send>>,
}

/// What a part says when it has looked.
#[derive(Debug)]
pub struct Visit {
    /// What it would answer now.
    pub now: Result<Fetched, Refusal>,
    /// More may come: it would wait.
    pub waits: bool,
}

impl Visit {
    /// Whether the whole fetch is answered at once because of it: the asker has to do something about it.
    fn is_urgent(&self) -> bool {
        !self.waits
            && !self
                .now
                .as_ref()
                .is_ok_and(|fetched| fetched.diverging.is_none() && fetched.preferred.is_none())
    }
}

impl FetchJoin {
    /// A fetch over these partitions.
    pub fn new(
        partitions: impl IntoIterator<Item = PartitionId>,
        bounds: FetchBounds,
        answer: impl FnOnce(FetchAnswer) + Send + 'static,
    ) -> Arc<Self> {
        let FetchBounds { min_bytes, max_bytes, memory } = bounds;
        let parts: Vec<_> = partitions.into_iter().map(|partition| (partition, None)).collect();
        let unvisited = parts.len();
        let state = Fetching {
            parts,
            unvisited,
            waiting: 0,
            urgent: false,
            expired: false,
            bytes: 0,
            min_bytes,
            answer: Some(Box::new(answer)),
        };
        let join = Self {
            state: Mutex::new(state),
            budget: AtomicI64::new(i64::try_from(max_bytes).unwrap_or(i64::MAX)),
            memory,
        };
        join.finish_if_done(&mut join.lock());
        Arc::new(join)
    }

    /// Takes up to `wanted` bytes of the budget. 0 once it is used up.
    #[must_use]
    pub fn reserve(&self, wanted: usize) -> usize {
        if self.memory.is_used_up() {
            let first = self.budget.swap(0, Ordering::Relaxed) > 0;
            return usize::from(first && !self.memory.is_overdrawn());
        }
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let before = self.budget.fetch_sub(wanted, Ordering::Relaxed);
        let granted = before.clamp(0, wanted);
        self.budget.fetch_add(wanted - granted, Ordering::Relaxed);
        usize::try_from(granted).unwrap_or(0)
    }

    /// Gives back what was reserved and not read; what was read beyond is taken.
    pub fn settle(&self, reserved: usize, read: usize) {
        let difference = i64::try_from(reserved).unwrap_or(0) - i64::try_from(read).unwrap_or(i64::MAX);
        self.budget.fetch_add(difference, Ordering::Relaxed);
    }

    /// Whether an answer is still wanted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.lock().answer.is_some()
    }

    /// A part has looked for the first time. True if it is to wait.
    pub fn visited(&self, place: usize, visit: Visit) -> bool {
        let mut state = self.lock();
        state.unvisited -= 1;
        state.waiting += usize::from(visit.waits);
        state.urgent |= visit.is_urgent();
        state.put(place, visit.now);
        self.finish_if_done(&mut state);
        visit.waits && state.answer.is_some()
    }

    /// A part that waits has looked again. True if it is to go on waiting.
    pub fn looked_again(&self, place: usize, visit: Visit) -> bool {
        let mut state = self.lock();
        if !visit.waits {
            state.waiting -= 1;
            state.urgent |= visit.is_urgent();
        }
        state.put(place, visit.now);
        self.finish_if_done(&mut state);
        visit.waits && state.answer.is_some()
    }

    /// The time is up: the answer is what there is, once every part has looked.
    pub fn expire(&self) {
        let mut state = self.lock();
        state.expired = true;
        self.finish_if_done(&mut state);
    }

    fn finish_if_done(&self, state: &mut MutexGuard<'_, Fetching>) {
        let enough = state.bytes >= state.min_bytes || state.urgent;
        let satisfied = enough || state.expired || state.waiting == 0;
        if state.unvisited == 0 && satisfied {
            state.finish();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Fetching> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fetching {
    fn put(&mut self, place: usize, now: Result<Fetched, Refusal>) {
        let Some((_, part)) = self.parts.get_mut(place) else { return };
        let bytes =
            |part: &Result<Fetched, Refusal>| part.as_ref().map_or(0, |fetched| fetched.batches.len());
        self.bytes -= part.as_ref().map_or(0, bytes);
        self.bytes += bytes(&now);
        *part = Some(now);
    }

    fn finish(&mut self) {
        if let Some(answer) = self.answer.take() {
            let parts = std::mem::take(&mut self.parts);
            let parts = parts.into_iter().filter_map(|(partition, part)| Some((partition, part?))).collect();
            answer(FetchAnswer { parts });
        }
    }
}

impl fmt::Debug for FetchJoin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FetchJoin").field("open", &self.is_open()).finish_non_exhaustive()
    }
}

/// One part of a fetch, on its way to its partition. Dropped before it has looked, it counts as refused, so that no
/// fetch waits for a replica that is gone.
#[derive(Debug)]
pub struct FetchPlace {
    join: Arc<FetchJoin>,
    place: usize,
    visited: bool,
}

impl FetchPlace {
    /// The part at this place.
    #[must_use]
    pub fn new(join: Arc<FetchJoin>, place: usize) -> Self {
        Self { join, place, visited: false }
    }

    /// The whole fetch.
    #[must_use]
    pub fn join(&self) -> &FetchJoin {
        &self.join
    }

    /// The part has looked. The place itself if it is to wait.
    #[must_use]
    pub fn look(mut self, visit: Visit) -> Option<Self> {
        let first = !std::mem::replace(&mut self.visited, true);
        let waits = if first {
            self.join.visited(self.place, visit)
        } else {
            self.join.looked_again(self.place, visit)
        };
        if waits { Some(self) } else { self.done() }
    }

    /// The part cannot be served.
    pub fn refuse(self, refusal: Refusal) {
        let over = self.look(Visit { now: Err(refusal), waits: false });
        debug_assert!(over.is_none(), "it was told not to wait");
    }

    fn done(mut self) -> Option<Self> {
        self.visited = true;
        self.place = usize::MAX;
        None
    }
}

impl Drop for FetchPlace {
    fn drop(&mut self) {
        if self.place == usize::MAX {
            return;
        }
        let text = "the replica stopped before it could answer; look for the leader and try again";
        let now = Err(Refusal::new(crate::error::ErrorCode::NotLeaderOrFollower, text));
        let visit = Visit { now, waits: false };
        if self.visited {
            self.join.looked_again(self.place, visit);
        } else {
            self.join.visited(self.place, visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use bytes::Bytes;

    use super::super::message::EpochEnd;
    use super::super::state::fixture::partition;
    use super::*;
    use crate::ids::{LeaderEpoch, Offset};

    fn looked(diverging: Option<EpochEnd>, waits: bool) -> Visit {
        let now = Fetched {
            high_watermark: Offset(4),
            log_start_offset: Offset(0),
            diverging,
            preferred: None,
            last_stable_offset: Offset(4),
            aborted: Vec::new(),
            batches: Bytes::new(),
        };
        Visit { now: Ok(now), waits }
    }

    #[test]
    fn a_fetch_is_answered_at_once_where_a_part_of_it_is_of_another_history() {
        let (send, receive) = channel();
        let bounds = FetchBounds { min_bytes: 1, max_bytes: 100, memory: Budget::new(100) };
        let other = PartitionId { index: 1, ..partition() };
        let join = FetchJoin::new([partition(), other], bounds, move |answer| send.send(answer).unwrap());
        assert!(join.visited(0, looked(None, true)));
        assert!(receive.try_recv().is_err(), "the other part has not looked");
        let diverging = EpochEnd { epoch: LeaderEpoch(2), end: Offset(4) };
        join.visited(1, looked(Some(diverging), false));
        assert_eq!(receive.try_recv().unwrap().parts.len(), 2);
    }
}
