//! What was read for a task and waits for it, within a bound: beyond it the partition is read no more for a while.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::client::TopicPartition;
use crate::consumer::Fetched;

/// What came of a task's partition of a topic.
#[derive(Debug)]
pub(super) enum Came {
    Records(Fetched),
    /// What follows up to here are no records: marks of transactions, and what was aborted.
    Nothing {
        next: i64,
    },
}

impl Came {
    fn bytes(&self) -> usize {
        match self {
            Self::Records(fetched) => fetched.bytes(),
            Self::Nothing { .. } => 0,
        }
    }
}

/// Records for a task.
#[derive(Debug)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    most_bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<(usize, Came)>,
    bytes: usize,
    /// Partitions that are not read now.
    paused: BTreeSet<TopicPartition>,
    /// The task was told that there is something, and has not taken all since.
    is_told: bool,
}

/// What is to be done after something was put in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Put {
    /// The partition is to be paused.
    pub(super) is_full: bool,
    /// The task is to be told.
    pub(super) wakes: bool,
}

impl Inbox {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { waiting: Mutex::default(), most_bytes }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records of the task's partition of a topic.
    pub(super) fn put(&self, topic: usize, fetched: Fetched) -> Put {
        let mut waiting = self.waiting();
        waiting.bytes = waiting.bytes.saturating_add(fetched.bytes());
        let is_full = waiting.bytes >= self.most_bytes;
        if is_full {
            waiting.paused.insert(fetched.partition.clone());
        }
        waiting.batches.push_back((topic, Came::Records(fetched)));
        Put { is_full, wakes: !std::mem::replace(&mut waiting.is_told, true) }
    }

    /// Nothing came of the task's partition of a topic but the way up to here; whether the task is to be told.
    pub(super) fn put_nothing(&self, topic: usize, next: i64) -> bool {
        let mut waiting = self.waiting();
        match waiting.batches.back_mut() {
            Some((of, Came::Nothing { next: before })) if *of == topic => *before = next,
            _ => waiting.batches.push_back((topic, Came::Nothing { next })),
        }
        !std::mem::replace(&mut waiting.is_told, true)
    }

    /// The next, and the partitions that may be read again now. After `None` the task is told of the next.
    pub(super) fn take(&self) -> (Option<(usize, Came)>, BTreeSet<TopicPartition>) {
        let mut waiting = self.waiting();
        let next = waiting.batches.pop_front();
        match &next {
            Some((_, came)) => waiting.bytes = waiting.bytes.saturating_sub(came.bytes()),
            None => waiting.is_told = false,
        }
        let has_room = waiting.bytes <= self.most_bytes / 2;
        let resumed = if has_room { std::mem::take(&mut waiting.paused) } else { BTreeSet::new() };
        (next, resumed)
    }
}
