//! The way of publications that reach their topics together: one transaction of the partition at a time.
//!
//! A transaction holds all that whole turns published, in their order, and the number behind that, as an offset of a group of
//! the partition's own (KIP-447). Whoever leads begins as the partition's transactional producer: who was it before is
//! fenced, what it had begun has ended, and the committed number says where to go on. So it is after every failure.

use std::collections::{BTreeMap, VecDeque};

use super::publication::Written;
use super::publisher::{Done, Errand, Retry, Then, is_for_ever};
use super::table::Table;
use super::topics::KnownTopics;
use crate::ids::PartitionId;

/// Records of one transaction, and their bytes; the turn that reaches them is in it whole.
const TRANSACTION_MAX: usize = 1_000;
const TRANSACTION_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// How far the partition has committed is not known.
    #[default]
    Unknown,
    /// It is the producer, and has committed all before the first that waits.
    Ready,
    Begins,
    /// A transaction of so many publications of so many turns is under way.
    Commits {
        count: usize,
        turns: usize,
    },
    /// What is left out is being written in this batch.
    Writing(u64),
}

/// The transactions of a partition.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Numbers, and whether each is the last of its turn.
    waiting: VecDeque<(u64, bool)>,
    step: Step,
    errand: u64,
    retry: Retry,
    /// So many turns have a transaction each: one of them is refused.
    alone: usize,
    /// How many publications of the transaction under way were for topics that are gone.
    gone: BTreeMap<PartitionId, usize>,
}

impl Transactions {
    /// A publication is committed.
    pub(super) fn push(&mut self, number: u64, is_last: bool) {
        self.waiting.push_back((number, is_last));
    }

    /// What is to be done now.
    pub(super) fn due(
        &mut self,
        table: &Table,
        (now_ms, errand): (i64, u64),
        topics: &dyn KnownTopics,
    ) -> Option<Errand> {
        let is_begun = match self.step {
            Step::Unknown => false,
            Step::Ready => true,
            Step::Begins | Step::Commits { .. } | Step::Writing(_) => return None,
        };
        if self.waiting.is_empty() || !self.retry.is_due(now_ms) {
            return None;
        }
        self.errand = errand;
        if !is_begun {
            self.step = Step::Begins;
            return Some(Errand::Begin);
        }
        let most = if self.alone > 0 { 1 } else { usize::MAX };
        let (mut count, mut turns, mut bytes) = (0, 0, 0_usize);
        let mut records: Vec<(PartitionId, Written)> = Vec::new();
        self.gone.clear();
        for (number, is_last) in &self.waiting {
            count += 1;
            if let Some((_, publication)) = table.publications_from(*number).next() {
                let id = publication.target;
                let seen_in = table.target(id).map_or(0, |target| target.seen_in);
                match topics.of(id.topic) {
                    (version, None) if version >= seen_in => *self.gone.entry(id).or_default() += 1,
                    // One that is not known yet fails, and is tried again.
                    _ => {
                        bytes = bytes.saturating_add(publication.record.bytes());
                        records.push((id, publication.record.clone()));
                    }
                }
            }
            turns += usize::from(*is_last);
            let is_full = count >= TRANSACTION_MAX || bytes >= TRANSACTION_BYTES || turns >= most;
            if *is_last && is_full {
                break;
            }
        }
        self.step = Step::Commits { count, turns };
        let next = self.waiting.get(count.saturating_sub(1)).map_or(0, |(last, _)| last.saturating_add(1));
        Some(Errand::Commit { records, next })
    }

    /// An errand is done, or failed: what follows, and the publications that are done with.
    pub(super) fn answered(&mut self, errand: u64, now_ms: i64, done: Done) -> (Then, Vec<u64>) {
        if self.errand != errand {
            return (Then::Nothing, Vec::new());
        }
        match (std::mem::take(&mut self.step), done) {
            (Step::Begins, Done::Began(Ok(next))) => {
                self.step = Step::Ready;
                self.gone.clear();
                let there = self.waiting.iter().take_while(|(number, _)| *number < next).count();
                self.there(there)
            }
            (Step::Commits { count, turns }, Done::Committed(Ok(()))) => {
                self.retry = Retry::default();
                self.step = Step::Ready;
                self.alone = self.alone.saturating_sub(turns);
                self.there(count)
            }
            (Step::Commits { count, turns: 1 }, Done::Committed(Err(refusal)))
                if is_for_ever(refusal.code) =>
            {
                self.alone = self.alone.saturating_sub(1);
                let turn = self.waiting.iter().take(count).map(|(number, _)| *number).collect();
                (Then::RefusedTurn(turn, refusal), Vec::new())
            }
            (Step::Commits { turns, .. }, Done::Committed(Err(refusal))) if is_for_ever(refusal.code) => {
                self.alone = turns;
                (Then::Nothing, Vec::new())
            }
            (Step::Begins, Done::Began(Err(refusal)))
            | (Step::Commits { .. }, Done::Committed(Err(refusal))) => {
                (self.retry.failed(now_ms, refusal), Vec::new())
            }
            (step, _) => {
                self.step = step;
                (Then::Nothing, Vec::new())
            }
        }
    }

    /// How many publications of the transaction that was committed last were for topics that are gone.
    pub(super) fn take_gone(&mut self) -> BTreeMap<PartitionId, usize> {
        std::mem::take(&mut self.gone)
    }

    /// The first publications are done with: this batch takes them out of the log.
    pub(super) fn leave_out(&mut self, count: usize, batch: u64) {
        self.waiting.drain(..count.min(self.waiting.len()));
        self.step = Step::Writing(batch);
    }

    /// The first turn cannot be done with now; it is tried again.
    pub(super) fn hold(&mut self, now_ms: i64) {
        self.retry.hold(now_ms);
    }

    pub(super) fn committed(&mut self, batch: u64) {
        if matches!(self.step, Step::Writing(written) if written <= batch) {
            self.step = Step::Unknown;
        }
    }

    /// When something is due that waits for its time.
    pub(super) fn next_ms(&self) -> Option<i64> {
        let waits = matches!(self.step, Step::Unknown | Step::Ready) && !self.waiting.is_empty();
        waits.then_some(self.retry.not_before_ms)
    }

    fn there(&mut self, count: usize) -> (Then, Vec<u64>) {
        let there: Vec<u64> =
            self.waiting.drain(..count.min(self.waiting.len())).map(|(number, _)| number).collect();
        (Then::There(u64::try_from(there.len()).unwrap_or(u64::MAX)), there)
    }
}
