//! The way of committed publications into their topics: one lane for each partition of a topic, one request of a lane at a
//! time.
//!
//! A lane that does not know what its target has (a new leader's, and each after a request that failed) asks for the
//! producer's last committed sequence and goes on behind it. An earlier leader that still sends can only append the same
//! records under the same sequences; whoever comes second is told that the sequence is another, and asks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::publication::{Stamp, Target, Together, Written, distance};
use super::table::Table;
use super::topics::KnownTopics;
use super::transactions::Transactions;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{PartitionId, ProducerId};
use crate::record::HEADER_BYTES;

/// Records of one request, and their bytes.
const BATCH_MAX: usize = 1_000;
const BATCH_BYTES: usize = 512 << 10;

/// How long a lane waits whose request failed, at first; it doubles up to the second.
const AGAIN_MS: i64 = 50;
const AGAIN_MOST_MS: i64 = 2_000;

/// Requests in a row that fail before that is told; again after twice as many.
const FAILURES_TOLD: u32 = 8;

/// What a target has of a producer: the last committed sequence in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSequence {
    /// The epoch.
    pub epoch: i16,
    /// The sequence.
    pub sequence: i32,
}

/// What is to be done for a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Get a producer id that nobody had.
    Name,
    /// Ask the target for the producer's last committed sequence.
    Ask(ProducerId),
    /// Append these records, the first with this sequence.
    Send {
        /// The producer.
        producer: Stamp,
        /// The sequence of the first.
        sequence: i32,
        /// The records.
        records: Vec<Written>,
    },
    /// Begin as the partition's transactional producer; find the first number that it has not committed.
    Begin,
    /// Append these records and commit this number, the first that is not among them, in one transaction.
    Commit {
        /// The records, by where they go.
        records: Vec<(PartitionId, Written)>,
        /// The number.
        next: u64,
    },
}

/// An errand of a lane; its number is given back with the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errands {
    /// The lane's target; none of a transaction.
    pub target: Option<PartitionId>,
    /// Which errand this is.
    pub number: u64,
    /// What is to be done.
    pub errand: Errand,
}

/// What became of an errand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Of [`Errand::Name`].
    Named(Result<ProducerId, Refusal>),
    /// Of [`Errand::Ask`]: nothing where the target does not know the producer.
    Asked(Result<Option<LastSequence>, Refusal>),
    /// Of [`Errand::Send`]: committed, or not.
    Sent(Result<(), Refusal>),
    /// Of [`Errand::Begin`].
    Began(Result<u64, Refusal>),
    /// Of [`Errand::Commit`]: committed, or nobody knows; one that will never be is aborted.
    Committed(Result<(), Refusal>),
}

/// What follows from an answer, beside what the lane does by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    Nothing,
    /// So many publications were found to be in their topic.
    There(u64),
    /// The target gets this producer, in whose epoch this sequence is number 0.
    Named(ProducerId, i32),
    /// The target will never take this publication, for this reason.
    Refused(u64, Refusal),
    /// A topic will never take one of these publications, which are those of a turn.
    RefusedTurn(Vec<u64>, Refusal),
    /// The target lost records of the producer: from this sequence on they are numbered anew.
    Lost(i32),
    /// Requests fail, so many in a row by now.
    Delayed(u32, Refusal),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// What the target has is not known.
    #[default]
    Unknown,
    /// The target has all before the first that waits.
    Ready,
    /// An errand is under way; of one that sends, how many.
    Errand(usize),
    /// The target's record is being written in this batch.
    Writing(u64),
}

#[derive(Debug, Default)]
struct Lane {
    /// Numbers and sequences, which follow one another.
    waiting: VecDeque<(u64, i32)>,
    step: Step,
    errand: u64,
    retry: Retry,
    /// So many are sent one by one: one of them is refused.
    alone: usize,
}

/// The publications of one partition on their way.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    lanes: BTreeMap<PartitionId, Lane>,
    pub(super) transactions: Transactions,
    /// The last number that is in a lane or a transaction.
    seen: u64,
    /// Publications that are done with and still in the log.
    settled: BTreeSet<u64>,
    errands: u64,
}

impl Publisher {
    /// Publications that are done with and still in the log.
    pub(super) fn settled(&self) -> impl Iterator<Item = u64> {
        self.settled.iter().copied()
    }

    /// Nothing is known of the log any more. Answers to what is under way count no more.
    pub(super) fn begin_anew(&mut self) {
        *self = Self { errands: self.errands, ..Self::default() };
    }

    /// Forgets those that the log is rid of, and knows what is committed.
    pub(super) fn committed(&mut self, table: &Table, batch: u64) {
        let is_there = |number| table.publications_from(number).next().is_some_and(|(it, _)| it == number);
        self.settled.retain(|number| is_there(*number));
        self.transactions.committed(batch);
        for lane in self.lanes.values_mut() {
            if matches!(lane.step, Step::Writing(written) if written <= batch) {
                lane.step = Step::Unknown;
            }
        }
    }

    /// What is to be done now, and the targets whose topics are gone, with the number of publications that went with them.
    pub(super) fn due(
        &mut self,
        table: &Table,
        now_ms: i64,
        topics: &dyn KnownTopics,
    ) -> (Vec<Errands>, Vec<(PartitionId, usize)>) {
        for (number, publication) in table.publications_from(self.seen.saturating_add(1)) {
            match publication.together {
                Together::Alone => {
                    let lane = self.lanes.entry(publication.target).or_default();
                    lane.waiting.push_back((number, publication.sequence));
                }
                Together::WithNext => self.transactions.push(number, false),
                Together::AsLast => self.transactions.push(number, true),
            }
            self.seen = number;
        }
        let (mut due, mut gone) = (Vec::new(), Vec::new());
        for (id, lane) in &mut self.lanes {
            if !matches!(lane.step, Step::Unknown | Step::Ready) || !lane.retry.is_due(now_ms) {
                continue;
            }
            let Some(target) = table.target(*id).filter(|_| !lane.waiting.is_empty()) else { continue };
            let batch_bytes = match topics.of(id.topic) {
                (_, Some(topic)) => topic.message_max_bytes.min(BATCH_BYTES),
                (version, None) if version >= target.seen_in => {
                    gone.push((*id, lane.waiting.len()));
                    self.settled.extend(lane.waiting.drain(..).map(|(number, _)| number));
                    continue;
                }
                // What is known here is older than the publication.
                (_, None) => {
                    lane.retry.not_before_ms = now_ms.saturating_add(AGAIN_MS);
                    continue;
                }
            };
            self.errands += 1;
            lane.errand = self.errands;
            let errand = lane.next(table, target, batch_bytes);
            due.push(Errands { target: Some(*id), number: self.errands, errand });
        }
        let number = self.errands.saturating_add(1);
        if let Some(errand) = self.transactions.due(table, (now_ms, number), topics) {
            self.errands = number;
            due.push(Errands { target: None, number, errand });
        }
        // One that knows what its target has need not ask again, unless the target is gone.
        self.lanes.retain(|id, lane| match lane.step {
            _ if !lane.waiting.is_empty() => true,
            Step::Unknown => false,
            Step::Ready => table.target(*id).is_some(),
            Step::Errand(_) | Step::Writing(_) => true,
        });
        (due, gone)
    }

    /// An errand of a lane is done, or failed.
    pub(super) fn answered(
        &mut self,
        (id, target): (PartitionId, Target),
        number: u64,
        now_ms: i64,
        done: Done,
    ) -> Then {
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.errand == number) else {
            return Then::Nothing;
        };
        let Step::Errand(sent) = lane.step else { return Then::Nothing };
        lane.step = Step::Unknown;
        let Some((first, sequence)) = lane.waiting.front().copied() else { return Then::Nothing };
        match done {
            Done::Named(Ok(id)) => Then::Named(id, sequence),
            Done::Asked(Ok(last)) => {
                let there = match target.producer.zip(last).filter(|(stamp, last)| stamp.epoch == last.epoch)
                {
                    Some((_, last)) => distance(target.in_epoch(sequence), last.sequence),
                    // It has nothing of this epoch, or nothing at all.
                    None => i32::MAX,
                };
                // The one before the first that waits is as far away as any can be.
                let is_before = there == i32::MAX;
                let behind = usize::try_from(there).unwrap_or(usize::MAX).saturating_add(1);
                let there = if is_before { 0 } else { behind };
                if there > lane.waiting.len() {
                    return Then::Lost(sequence);
                }
                lane.step = Step::Ready;
                self.settle(id, there)
            }
            Done::Sent(Ok(())) => {
                lane.retry = Retry::default();
                lane.alone = lane.alone.saturating_sub(sent);
                lane.step = Step::Ready;
                self.settle(id, sent)
            }
            Done::Sent(Err(refusal)) if is_for_ever(refusal.code) => {
                if sent > 1 {
                    lane.alone = sent;
                    lane.step = Step::Ready;
                    return Then::Nothing;
                }
                lane.alone = lane.alone.saturating_sub(1);
                Then::Refused(first, refusal)
            }
            Done::Named(Err(refusal)) | Done::Asked(Err(refusal)) | Done::Sent(Err(refusal)) => {
                lane.retry.failed(now_ms, refusal)
            }
            // Of a transaction.
            Done::Began(_) | Done::Committed(_) => Then::Nothing,
        }
    }

    /// An errand of a transaction is done, or failed.
    pub(super) fn answered_transaction(&mut self, number: u64, now_ms: i64, done: Done) -> Then {
        let (then, there) = self.transactions.answered(number, now_ms, done);
        self.settled.extend(there);
        then
    }

    /// The record of a target goes with this batch; what it says counts once that is committed.
    pub(super) fn writes(&mut self, target: PartitionId, batch: u64) {
        if let Some(lane) = self.lanes.get_mut(&target) {
            lane.step = Step::Writing(batch);
        }
    }

    /// The first publication of a lane is done with: the batch on its way takes it out of the log.
    pub(super) fn leave_out(&mut self, target: PartitionId) {
        if let Some(lane) = self.lanes.get_mut(&target) {
            lane.waiting.pop_front();
        }
    }

    /// The first publication of a lane cannot be done with now; it is tried again.
    pub(super) fn hold(&mut self, target: PartitionId, now_ms: i64) {
        if let Some(lane) = self.lanes.get_mut(&target) {
            lane.retry.hold(now_ms);
        }
    }

    /// When a lane is due that waits for its time.
    pub(super) fn next_ms(&self) -> Option<i64> {
        let waits =
            |lane: &&Lane| matches!(lane.step, Step::Unknown | Step::Ready) && !lane.waiting.is_empty();
        let lanes = self.lanes.values().filter(waits).map(|lane| lane.retry.not_before_ms);
        lanes.chain(self.transactions.next_ms()).min()
    }

    fn settle(&mut self, target: PartitionId, count: usize) -> Then {
        let Some(lane) = self.lanes.get_mut(&target) else { return Then::Nothing };
        let there = lane.waiting.drain(..count.min(lane.waiting.len())).map(|(number, _)| number);
        let before = self.settled.len();
        self.settled.extend(there);
        Then::There(u64::try_from(self.settled.len().saturating_sub(before)).unwrap_or(u64::MAX))
    }
}

impl Lane {
    fn next(&mut self, table: &Table, target: Target, batch_bytes: usize) -> Errand {
        let Some(producer) = target.producer else {
            self.step = Step::Errand(0);
            return Errand::Name;
        };
        if self.step == Step::Unknown {
            self.step = Step::Errand(0);
            return Errand::Ask(producer.id);
        }
        let most = if self.alone > 0 { 1 } else { BATCH_MAX };
        let mut bytes = HEADER_BYTES;
        let mut records: Vec<Written> = Vec::new();
        for (number, _) in self.waiting.iter().take(most) {
            let Some((_, publication)) = table.publications_from(*number).next() else { break };
            bytes = bytes.saturating_add(publication.record.bytes());
            if bytes > batch_bytes && !records.is_empty() {
                break;
            }
            records.push(publication.record.clone());
        }
        self.step = Step::Errand(records.len());
        let sequence = self.waiting.front().map_or(0, |(_, sequence)| target.in_epoch(*sequence));
        Errand::Send { producer, sequence, records }
    }
}

/// When what failed is tried again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Retry {
    failures: u32,
    pub(super) not_before_ms: i64,
}

impl Retry {
    pub(super) const fn is_due(&self, now_ms: i64) -> bool {
        self.not_before_ms <= now_ms
    }

    /// A request failed.
    pub(super) fn failed(&mut self, now_ms: i64, refusal: Refusal) -> Then {
        let wait_ms = AGAIN_MS.saturating_mul(1 << self.failures.min(10)).min(AGAIN_MOST_MS);
        self.not_before_ms = now_ms.saturating_add(wait_ms);
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_TOLD && self.failures.is_power_of_two() {
            return Then::Delayed(self.failures, refusal);
        }
        Then::Nothing
    }

    /// Nothing failed, but it cannot be gone on with.
    pub(super) const fn hold(&mut self, now_ms: i64) {
        self.not_before_ms = now_ms.saturating_add(AGAIN_MOST_MS);
    }
}

/// Whether the same records will be refused whenever they come.
pub(super) const fn is_for_ever(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::MessageTooLarge
            | ErrorCode::InvalidRecord
            | ErrorCode::InvalidTimestamp
            | ErrorCode::InvalidTopic
            | ErrorCode::PolicyViolation
            | ErrorCode::UnsupportedCompressionType
    )
}
