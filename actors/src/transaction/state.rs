//! One transactional id, pure: what its producer asks and what time brings, to the transaction as it is then.
//!
//! A decision gives the whole new state, to be written as one record of `__transaction_state`; what refuses changes
//! nothing. A transaction that is prepared has its outcome: its markers are written, and nothing reverses it.
//!
//! Producers older than KIP-890 keep their epoch from one transaction to the next (version 1); newer ones get the next
//! epoch with every end (version 2), so that nothing of an ended transaction can come late.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{ErrorCode, Refusal};
use crate::ids::ProducerId;

/// No epoch.
pub const NO_EPOCH: i16 = -1;

/// The last epoch that a producer is given: the one behind it is for fencing it.
const LAST_EPOCH: i16 = i16::MAX - 1;

/// The version of transactions in which every end gives a new epoch (KIP-890 part 2).
pub const BUMPS_WITH_EVERY_END: i16 = 2;

/// A partition as records of `__transaction_state` name it.
pub type TopicPartition = (Arc<str>, i32);

/// Where a transaction stands. The numbers are those of Kafka's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[repr(i8)]
pub enum TransactionState {
    /// Nothing was done yet in this epoch.
    Empty = 0,
    /// Open.
    Ongoing = 1,
    /// It commits: markers are being written.
    PrepareCommit = 2,
    /// It aborts: markers are being written.
    PrepareAbort = 3,
    /// All markers of a commit are written.
    CompleteCommit = 4,
    /// All markers of an abort are written.
    CompleteAbort = 5,
    /// The transactional id is about to be forgotten.
    Dead = 6,
}

impl TransactionState {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
        Self::Dead,
    ];

    /// The one with this number.
    #[must_use]
    pub fn from_number(number: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i8 == number)
    }

    /// Its name in Kafka's answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::Dead => "Dead",
        }
    }

    const fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }

    const fn is_idle(self) -> bool {
        matches!(self, Self::Empty | Self::CompleteCommit | Self::CompleteAbort)
    }
}

/// A producer's id and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProducerEpoch {
    /// The id.
    pub id: ProducerId,
    /// The epoch.
    pub epoch: i16,
}

/// A transactional id as its record tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its producer's id.
    pub producer_id: ProducerId,
    /// The id before, where its epochs were used up.
    pub previous_producer_id: Option<ProducerId>,
    /// The id that it gets with the end of the transaction, where the epochs are used up.
    pub next_producer_id: Option<ProducerId>,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The epoch before, of a producer that went on from it by itself; not in the record.
    pub last_producer_epoch: i16,
    /// How long a transaction may take, in milliseconds.
    pub timeout_ms: i32,
    /// Where it stands.
    pub state: TransactionState,
    /// What was written to.
    pub partitions: BTreeSet<TopicPartition>,
    /// When the transaction began, in milliseconds since 1970.
    pub started_ms: Option<i64>,
    /// When this was decided, in milliseconds since 1970.
    pub updated_ms: i64,
    /// The version of transactions that its producer speaks.
    pub client_version: i16,
}

/// What a decision came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided<A> {
    /// Nothing changes.
    Same(A),
    /// This is to be written, and then answered.
    Write(Box<Transaction>, Result<A, Refusal>),
    /// A producer id that nobody had is wanted: decide again with one.
    NeedsProducerId,
}

/// What a producer says when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// How long a transaction of its may take, in milliseconds.
    pub timeout_ms: i32,
    /// What it has, where it goes on after an error (KIP-360).
    pub has: Option<ProducerEpoch>,
}

/// How a producer ends its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The producer.
    pub producer: ProducerEpoch,
    /// Whether it commits.
    pub commits: bool,
    /// The version of transactions that it speaks.
    pub client_version: i16,
}

fn refuse<T>(code: ErrorCode, text: String) -> Result<T, Refusal> {
    Err(Refusal::new(code, text))
}

pub(super) fn still_ending() -> Refusal {
    Refusal::new(ErrorCode::ConcurrentTransactions, "the transaction before is being ended; try again")
}

/// A producer begins with a transactional id that is not known.
#[must_use]
pub fn begin_new(beginning: &Beginning, fresh: Option<ProducerId>, now_ms: i64) -> Decided<ProducerEpoch> {
    let Some(producer_id) = fresh else { return Decided::NeedsProducerId };
    let transaction = Transaction {
        producer_id,
        previous_producer_id: None,
        next_producer_id: None,
        producer_epoch: 0,
        last_producer_epoch: NO_EPOCH,
        timeout_ms: beginning.timeout_ms,
        state: TransactionState::Empty,
        partitions: BTreeSet::new(),
        started_ms: None,
        updated_ms: now_ms,
        client_version: 0,
    };
    Decided::Write(Box::new(transaction), Ok(ProducerEpoch { id: producer_id, epoch: 0 }))
}

impl Transaction {
    /// Id and epoch of its producer.
    #[must_use]
    pub const fn producer(&self) -> ProducerEpoch {
        ProducerEpoch { id: self.producer_id, epoch: self.producer_epoch }
    }

    /// A producer begins: whoever had the id before is fenced, and its open transaction aborted.
    pub fn begin(
        &self,
        beginning: &Beginning,
        fresh: Option<ProducerId>,
        now_ms: i64,
    ) -> Result<Decided<ProducerEpoch>, Refusal> {
        if let Some(has) = beginning.has
            && !self.continues(has)
        {
            let text = "a newer producer with the same transactional.id has taken over; close this one";
            return refuse(ErrorCode::ProducerFenced, text.to_owned());
        }
        match self.state {
            TransactionState::Ongoing => {
                Ok(Decided::Write(Box::new(self.fenced_abort(now_ms)), Err(still_ending())))
            }
            state if state.is_prepared() => Err(still_ending()),
            _ => Ok(self.next_epoch(beginning, fresh, now_ms)),
        }
    }

    /// Whether what a producer has is what it was given here last, or right before and it has not heard.
    fn continues(&self, has: ProducerEpoch) -> bool {
        let is_now = has.id == self.producer_id
            && (has.epoch == self.producer_epoch
                || (self.last_producer_epoch != NO_EPOCH && has.epoch == self.last_producer_epoch));
        // The id before counts until the new one is used: from then on whoever has it is a stranger.
        let is_before =
            self.previous_producer_id == Some(has.id) && has.epoch >= LAST_EPOCH && self.producer_epoch == 0;
        is_now || is_before || self.is_told_already(has)
    }

    /// Whether a producer has heard of the id that it goes on with before the markers of its transaction are written.
    fn is_told_already(&self, producer: ProducerEpoch) -> bool {
        self.state.is_prepared() && self.next_producer_id == Some(producer.id) && producer.epoch == 0
    }

    fn next_epoch(
        &self,
        beginning: &Beginning,
        fresh: Option<ProducerId>,
        now_ms: i64,
    ) -> Decided<ProducerEpoch> {
        let is_again = beginning.has.is_some_and(|has| has != self.producer());
        let mut next = self.idle(TransactionState::Empty, now_ms);
        next.timeout_ms = beginning.timeout_ms;
        if is_again {
            // It did not hear the answer: it has that epoch already.
        } else if self.producer_epoch < LAST_EPOCH {
            next.producer_epoch += 1;
            next.last_producer_epoch = beginning.has.map_or(NO_EPOCH, |has| has.epoch);
        } else {
            let Some(fresh) = fresh else { return Decided::NeedsProducerId };
            next.previous_producer_id = Some(self.producer_id);
            next.producer_id = fresh;
            next.producer_epoch = 0;
            next.last_producer_epoch = NO_EPOCH;
        }
        let producer = next.producer();
        Decided::Write(Box::new(next), Ok(producer))
    }

    /// The same without a transaction.
    fn idle(&self, state: TransactionState, now_ms: i64) -> Self {
        Self {
            state,
            partitions: BTreeSet::new(),
            started_ms: None,
            updated_ms: now_ms,
            next_producer_id: None,
            ..self.clone()
        }
    }

    fn check_producer(&self, producer: ProducerEpoch) -> Result<(), Refusal> {
        if self.is_told_already(producer) {
            return Err(still_ending());
        }
        if producer.id != self.producer_id {
            let text =
                format!("the transactional.id has producer id {}, not {}", self.producer_id, producer.id);
            return refuse(ErrorCode::InvalidProducerIdMapping, text);
        }
        if producer.epoch != self.producer_epoch {
            let text = format!(
                "producer {} is in epoch {}, not {}; a newer one has taken over, or its transaction timed out",
                producer.id, self.producer_epoch, producer.epoch
            );
            return refuse(ErrorCode::ProducerFenced, text);
        }
        Ok(())
    }

    /// Partitions become part of the transaction, which begins with the first.
    pub fn add(
        &self,
        producer: ProducerEpoch,
        partitions: &[TopicPartition],
        client_version: i16,
        now_ms: i64,
    ) -> Result<Decided<()>, Refusal> {
        self.check_producer(producer)?;
        if self.state.is_prepared() {
            return Err(still_ending());
        }
        let is_open = self.state == TransactionState::Ongoing;
        if is_open && partitions.iter().all(|partition| self.partitions.contains(partition)) {
            return Ok(Decided::Same(()));
        }
        let mut next = self.clone();
        if !is_open {
            next = self.idle(TransactionState::Ongoing, now_ms);
            next.started_ms = Some(now_ms);
            next.previous_producer_id = None;
        }
        next.partitions.extend(partitions.iter().cloned());
        next.updated_ms = now_ms;
        next.client_version = client_version;
        Ok(Decided::Write(Box::new(next), Ok(())))
    }

    /// Whether all these partitions are part of the open transaction.
    pub fn verify(&self, producer: ProducerEpoch, partitions: &[TopicPartition]) -> Result<(), Refusal> {
        self.check_producer(producer)?;
        if self.state.is_prepared() {
            return Err(still_ending());
        }
        let is_open = self.state == TransactionState::Ongoing;
        match partitions.iter().find(|partition| !is_open || !self.partitions.contains(*partition)) {
            None => Ok(()),
            Some((topic, index)) => {
                let text = format!("{topic}-{index} is not part of an open transaction of the producer");
                refuse(ErrorCode::TransactionAbortable, text)
            }
        }
    }

    /// The producer ends its transaction. The answer is what it goes on with.
    pub fn end(
        &self,
        ending: &Ending,
        fresh: Option<ProducerId>,
        now_ms: i64,
    ) -> Result<Decided<ProducerEpoch>, Refusal> {
        let bumps = ending.client_version >= BUMPS_WITH_EVERY_END;
        let is_again = bumps && self.is_ended_from(ending.producer);
        if !is_again {
            self.check_producer(ending.producer)?;
        }
        let wrong = || {
            let text = format!(
                "the transaction is in state {}, and cannot be {} now",
                self.state.name(),
                if ending.commits { "committed" } else { "aborted" }
            );
            refuse(ErrorCode::InvalidTxnState, text)
        };
        match (self.state, ending.commits) {
            (TransactionState::Ongoing, _) if !is_again => Ok(self.prepare(ending, bumps, fresh, now_ms)),
            (TransactionState::PrepareCommit, true) | (TransactionState::PrepareAbort, false) => {
                Err(still_ending())
            }
            (TransactionState::CompleteCommit, true) | (TransactionState::CompleteAbort, false)
                if is_again || !bumps =>
            {
                Ok(Decided::Same(self.producer()))
            }
            // Nothing was written, or nobody knows: an abort that gives the next epoch is never wrong.
            (state, false) if bumps && !is_again && state.is_idle() => {
                Ok(self.prepare(ending, bumps, fresh, now_ms))
            }
            _ => wrong(),
        }
    }

    /// Whether a producer asks again for what was decided: it has the epoch before the one that the end gave.
    fn is_ended_from(&self, producer: ProducerEpoch) -> bool {
        // An end never gives the epoch behind the last one, but another id: what has it there was fenced.
        let was_given = self.producer_epoch <= LAST_EPOCH || self.next_producer_id.is_some();
        let same_id = producer.id == self.producer_id
            && producer.epoch.checked_add(1) == Some(self.producer_epoch)
            && was_given;
        let other_id = self.previous_producer_id == Some(producer.id)
            && producer.epoch == LAST_EPOCH
            && self.producer_epoch == 0;
        // In version 1 an end gives nothing: the epoch is the one in which a successor began, which fenced the one before.
        self.client_version >= BUMPS_WITH_EVERY_END
            && self.state != TransactionState::Ongoing
            && self.state != TransactionState::Empty
            && (same_id || other_id)
    }

    fn prepare(
        &self,
        ending: &Ending,
        bumps: bool,
        fresh: Option<ProducerId>,
        now_ms: i64,
    ) -> Decided<ProducerEpoch> {
        let mut next = self.clone();
        next.state = prepared(ending.commits);
        next.updated_ms = now_ms;
        next.client_version = ending.client_version;
        if self.state != TransactionState::Ongoing {
            next.partitions = BTreeSet::new();
        }
        let mut goes_on = self.producer();
        if bumps {
            next.last_producer_epoch = self.producer_epoch;
            next.producer_epoch = self.producer_epoch.saturating_add(1);
            goes_on = next.producer();
            if self.producer_epoch >= LAST_EPOCH {
                let Some(fresh) = fresh else { return Decided::NeedsProducerId };
                next.next_producer_id = Some(fresh);
                goes_on = ProducerEpoch { id: fresh, epoch: 0 };
            }
        }
        Decided::Write(Box::new(next), Ok(goes_on))
    }

    /// The open transaction is aborted, and its producer fenced: by the next epoch, or by the one behind that where the
    /// next one would be what the producer's own end gives it.
    fn fenced_abort(&self, now_ms: i64) -> Self {
        let by = if self.client_version >= BUMPS_WITH_EVERY_END { 2 } else { 1 };
        Self {
            state: TransactionState::PrepareAbort,
            producer_epoch: self.producer_epoch.saturating_add(by),
            last_producer_epoch: NO_EPOCH,
            updated_ms: now_ms,
            ..self.clone()
        }
    }

    /// Time has passed: the abort, if the transaction has been open for longer than it may.
    #[must_use]
    pub fn time_out(&self, now_ms: i64) -> Option<Self> {
        (self.ends_ms()? <= now_ms).then(|| self.fenced_abort(now_ms))
    }

    /// Until when the open transaction may take.
    #[must_use]
    pub fn ends_ms(&self) -> Option<i64> {
        let started_ms = self.started_ms.filter(|_| self.state == TransactionState::Ongoing)?;
        Some(started_ms.saturating_add(self.timeout_ms.into()))
    }

    /// Whether nothing was heard of the id for so long that it is forgotten.
    #[must_use]
    pub fn is_expired(&self, now_ms: i64, expiration_ms: i64) -> bool {
        self.state.is_idle() && self.updated_ms.saturating_add(expiration_ms) <= now_ms
    }

    /// Whether its markers are to be written: whether it commits.
    #[must_use]
    pub fn outcome(&self) -> Option<bool> {
        self.state.is_prepared().then_some(self.state == TransactionState::PrepareCommit)
    }

    /// All markers are written.
    #[must_use]
    pub fn complete(&self, now_ms: i64) -> Self {
        let state = match self.state {
            TransactionState::PrepareCommit => TransactionState::CompleteCommit,
            _ => TransactionState::CompleteAbort,
        };
        let mut next = self.idle(state, now_ms);
        if let Some(id) = self.next_producer_id {
            next.previous_producer_id = Some(self.producer_id);
            next.producer_id = id;
            next.producer_epoch = 0;
            next.last_producer_epoch = NO_EPOCH;
        }
        next
    }
}

const fn prepared(commits: bool) -> TransactionState {
    if commits { TransactionState::PrepareCommit } else { TransactionState::PrepareAbort }
}

#[cfg(test)]
mod tests;
