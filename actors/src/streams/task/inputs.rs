//! What waits to be processed by a task: of several partitions the record whose event time is the least goes first, so
//! that a join sees both sides as they occurred.

use std::collections::{BTreeMap, VecDeque};

use super::super::operator::RawRecord;
use super::super::scope::StreamError;
use super::super::time::InputId;

/// What a task does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A record of a topic, with its event time.
    Record { topic: usize, timestamp_ms: i64, record: RawRecord },
    /// A record of a topic that is left out, since its event time cannot be told.
    Undated { topic: usize, record: RawRecord, error: StreamError },
    /// An input has come this far: all that it had written before is processed.
    Time { input: InputId, ms: i64 },
}

#[derive(Debug)]
enum Waiting {
    Record(i64, RawRecord),
    Undated(RawRecord, StreamError),
    Time { input: InputId, ms: i64, offset: i64 },
}

impl Waiting {
    /// What has no time of its own holds nothing up.
    const fn at_ms(&self) -> i64 {
        match self {
            Self::Record(ms, _) => *ms,
            Self::Undated(..) | Self::Time { .. } => i64::MIN,
        }
    }

    const fn offset(&self) -> i64 {
        match self {
            Self::Record(_, record) | Self::Undated(record, _) => record.offset,
            Self::Time { offset, .. } => *offset,
        }
    }
}

/// Records of the task's partition of each topic that it reads, in their order.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    waiting: BTreeMap<usize, VecDeque<Waiting>>,
}

impl Inputs {
    /// A record of a topic with its event time.
    pub(super) fn push(&mut self, topic: usize, timestamp_ms: i64, record: RawRecord) {
        self.wait(topic, Waiting::Record(timestamp_ms, record));
    }

    /// A record of a topic that is left out when its turn comes: what waits is read again after a failure.
    pub(super) fn push_undated(&mut self, topic: usize, record: RawRecord, error: StreamError) {
        self.wait(topic, Waiting::Undated(record, error));
    }

    /// What an input tells, in the record of this offset of a topic, of how far it has come.
    pub(super) fn push_time(&mut self, topic: usize, input: InputId, ms: i64, offset: i64) {
        self.wait(topic, Waiting::Time { input, ms, offset });
    }

    fn wait(&mut self, topic: usize, waiting: Waiting) {
        self.waiting.entry(topic).or_default().push_back(waiting);
    }

    /// The next to be processed, of what is here.
    pub(super) fn pop(&mut self) -> Option<Next> {
        let heads = self.waiting.iter().filter_map(|(topic, queue)| Some((queue.front()?.at_ms(), *topic)));
        let (_, topic) = heads.min()?;
        Some(match self.waiting.get_mut(&topic)?.pop_front()? {
            Waiting::Record(timestamp_ms, record) => Next::Record { topic, timestamp_ms, record },
            Waiting::Undated(record, error) => Next::Undated { topic, record, error },
            Waiting::Time { input, ms, .. } => Next::Time { input, ms },
        })
    }

    /// Whether nothing of a topic waits.
    pub(crate) fn is_empty(&self, topic: usize) -> bool {
        self.waiting.get(&topic).is_none_or(VecDeque::is_empty)
    }

    /// The offset of the first of a topic that waits.
    pub(crate) fn first_offset(&self, topic: usize) -> Option<i64> {
        Some(self.waiting.get(&topic)?.front()?.offset())
    }
}
