//! The batches of one partition between queue and answer. Pure: told the time and what happened, it says what is next.
//!
//! What it keeps true, for an idempotent producer: batches reach the log once each, in the order of their queue.
//!
//! - When a batch fails in a way that may pass, nothing more is sent until everything in flight has come back; then all
//!   that failed is sent again, in order, with the sequence numbers it had. What had been written after all is known
//!   again by the leader: it remembers five batches, and no batch is sent while one is undecided that was sent five
//!   batches before. (To count what is in flight would not do: answers may come out of order.)
//! - "Out of order" behind another batch that failed is only its consequence. Of the first batch in flight it says that
//!   the leader does not have what this producer believes written, or that a batch before it was given up: neither it
//!   nor any behind it is in the log. So they begin a new epoch, at sequence 0, which cannot double them.
//! - The first batch of an epoch is alone until it is written. A leader that knows nothing of a producer takes any
//!   sequence from it, so a second batch could pass a first that was refused.
//! - A transaction has one epoch from its beginning to its end: there a broken sequence fails the batch, and with it the
//!   transaction, which is aborted and gives all lanes the next epoch.
//! - A batch whose time is up is given up without a new epoch, as it may have been written: the next one's answer tells.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::delivery::{Duty, ProduceError, Written};
use super::queue::Closed;
use crate::client::{LinkError, backoff};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{LeaderEpoch, NodeId, ProducerId};
use crate::record::{Packed, ProducerStamp, add_sequence, assign_producer};
use crate::transaction::state::ProducerEpoch;

/// How a batch looks at the moment.
#[derive(Debug)]
enum Body {
    /// Never sent.
    Packed(Packed),
    /// Sent with this stamp.
    Sealed(Bytes, Option<ProducerStamp>),
}

/// A batch that is to be sent, or was.
#[derive(Debug)]
pub(super) struct Batch {
    body: Body,
    count: i32,
    duty: Duty,
    pub(super) deadline: Instant,
    /// Counts the batches of the lane, from its first sending on.
    place: Option<u64>,
}

impl Batch {
    pub(super) fn new(closed: Closed, delivery_timeout: Duration) -> Self {
        let count = closed.packed.count();
        let deadline = closed.begun + delivery_timeout;
        Self { body: Body::Packed(closed.packed), count, duty: closed.duty, deadline, place: None }
    }

    pub(super) fn total_bytes(&self) -> usize {
        match &self.body {
            Body::Packed(packed) => packed.total_bytes(),
            Body::Sealed(bytes, _) => bytes.len(),
        }
    }

    /// The bytes to send, with this stamp.
    fn seal(self, stamp: Option<ProducerStamp>, is_transactional: bool) -> (Self, Bytes) {
        let bytes = match self.body {
            Body::Packed(packed) => match stamp.filter(|_| is_transactional) {
                Some(stamp) => packed.seal_in_transaction(stamp),
                None => packed.seal(stamp),
            },
            Body::Sealed(bytes, old) if old == stamp => bytes,
            Body::Sealed(bytes, _) => restamp(bytes, stamp),
        };
        (Self { body: Body::Sealed(bytes.clone(), stamp), ..self }, bytes)
    }

    const fn stamp(&self) -> Option<ProducerStamp> {
        match &self.body {
            Body::Packed(_) => None,
            Body::Sealed(_, stamp) => *stamp,
        }
    }
}

fn restamp(bytes: Bytes, stamp: Option<ProducerStamp>) -> Bytes {
    let Some(stamp) = stamp else { return bytes };
    let mut own = bytes.try_into_mut().unwrap_or_else(|shared| shared.as_ref().into());
    // It is a whole batch, made here: there is nothing in it that could be wrong.
    let stamped = assign_producer(&mut own, stamp);
    debug_assert_eq!(stamped, Ok(()), "a batch of our own is whole");
    own.freeze()
}

#[derive(Debug)]
struct Flight {
    request: u64,
    node: NodeId,
    epoch: LeaderEpoch,
    batch: Batch,
    /// Came back, and is to be sent again.
    failed: bool,
}

/// Why a batch was not written.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    Refused(Refusal),
    Link(LinkError),
}

impl Failure {
    fn text(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.to_string(),
            Self::Link(error) => error.to_string(),
        }
    }
}

enum Kind {
    Again,
    Sequence,
    Final,
}

fn kind(failure: &Failure) -> Kind {
    match failure {
        Failure::Link(LinkError::Refused(_)) => Kind::Final,
        Failure::Link(_) => Kind::Again,
        Failure::Refused(refusal) => match refusal.code {
            ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::UnknownProducerId
            | ErrorCode::InvalidProducerEpoch => Kind::Sequence,
            code if code.is_retriable() || code == ErrorCode::CorruptMessage => Kind::Again,
            _ => Kind::Final,
        },
    }
}

/// The batches of one partition between queue and answer.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Batches are parts of transactions: id and epoch come with each of these.
    is_transactional: bool,
    /// Id and epoch in use; none before the first batch and when a fresh id is wanted.
    stamp: Option<(ProducerId, i16)>,
    next_sequence: i32,
    /// A batch of this epoch was written: the leader knows the producer.
    known: bool,
    /// Batches sent, each counted once.
    sent: u64,
    retry: VecDeque<Batch>,
    in_flight: VecDeque<Flight>,
    /// A batch failed: nothing is sent until all in flight have come back.
    failing: bool,
    /// The sequence is broken: a new epoch begins before anything is sent.
    broken: bool,
    /// The id cannot be used any more.
    spent: bool,
    not_before: Option<Instant>,
    /// The newest epoch of a leader that failed us.
    failed_epoch: Option<LeaderEpoch>,
    tries: u32,
    last_failure: String,
}

impl Lane {
    /// A lane without batches.
    pub(super) fn new(is_transactional: bool) -> Self {
        Self { is_transactional, ..Self::default() }
    }

    /// Gives everything up with this error, and begins anew with whatever id is given next. Answers that come yet find
    /// nothing that they are for.
    pub(super) fn abandon(&mut self, error: &ProduceError) {
        let this = std::mem::replace(self, Self::new(self.is_transactional));
        let sent = this.in_flight.into_iter().map(|flight| flight.batch);
        for batch in sent.chain(this.retry) {
            batch.duty.decide(Err(error.clone()));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.retry.is_empty() && self.in_flight.is_empty()
    }

    /// Whether a batch may be sent now; else when to look again, where time alone decides.
    pub(super) fn may_send(&self, now: Instant, max_in_flight: usize) -> Result<(), Option<Instant>> {
        let oldest = self.in_flight.front().and_then(|flight| flight.batch.place);
        let next = self.retry.front().and_then(|batch| batch.place).unwrap_or(self.sent);
        let ahead = oldest.map_or(0, |oldest| next.saturating_sub(oldest));
        let most = if self.known || self.stamp.is_none() { max_in_flight } else { 1 };
        let alone = most == 1 && !self.in_flight.is_empty();
        if self.failing || alone || ahead >= u64::try_from(most).unwrap_or(u64::MAX) {
            return Err(None);
        }
        match self.not_before {
            Some(until) if until > now => Err(Some(until)),
            _ => Ok(()),
        }
    }

    /// Whether it has no usable producer id, and is given one here if `fresh` is one.
    pub(super) fn lacks_id(&mut self, fresh: Option<ProducerEpoch>) -> bool {
        if self.stamp.is_none() {
            self.stamp = fresh.filter(|_| !self.spent).map(|fresh| (fresh.id, fresh.epoch));
        }
        self.stamp.is_none()
    }

    /// The id cannot be used by this lane any more; true once.
    pub(super) fn take_spent(&mut self) -> bool {
        std::mem::take(&mut self.spent)
    }

    /// Bytes of the next batch to be sent again.
    pub(super) fn retry_bytes(&self) -> Option<usize> {
        self.retry.front().map(Batch::total_bytes)
    }

    /// The next batch to be sent again.
    pub(super) fn take_retry(&mut self) -> Option<Batch> {
        self.retry.pop_front()
    }

    /// Keeps a batch that was taken and could not be sent, at the front.
    pub(super) fn put_back(&mut self, batch: Batch) {
        self.retry.push_front(batch);
    }

    /// Sends a batch: returns its bytes.
    pub(super) fn send(&mut self, mut batch: Batch, request: u64, node: NodeId, epoch: LeaderEpoch) -> Bytes {
        if batch.place.is_none() {
            batch.place = Some(self.sent);
            self.sent = self.sent.saturating_add(1);
        }
        let stamp = self.stamp.map(|(id, producer_epoch)| {
            let same = |old: &ProducerStamp| (old.id, old.epoch) == (id, producer_epoch);
            batch.stamp().filter(same).unwrap_or_else(|| {
                let base_sequence = self.next_sequence;
                self.next_sequence = add_sequence(base_sequence, batch.count);
                ProducerStamp { id, epoch: producer_epoch, base_sequence }
            })
        });
        let (batch, bytes) = batch.seal(stamp, self.is_transactional);
        self.in_flight.push_back(Flight { request, node, epoch, batch, failed: false });
        bytes
    }

    /// An answer came, or will not.
    pub(super) fn answered(&mut self, request: u64, result: Result<Written, Failure>, now: Instant) {
        let Some(place) =
            self.in_flight.iter().position(|flight| flight.request == request && !flight.failed)
        else {
            return;
        };
        match result {
            Ok(written) => {
                self.tries = 0;
                self.known = true;
                self.decide(place, Ok(written));
            }
            Err(failure) => self.failed(place, &failure),
        }
        self.settle(now);
    }

    fn failed(&mut self, place: usize, failure: &Failure) {
        let behind_another = place > 0;
        let kind = match kind(failure) {
            Kind::Sequence if self.is_transactional && !behind_another => Kind::Final,
            kind => kind,
        };
        match kind {
            Kind::Final => {
                let error = match failure {
                    Failure::Refused(refusal) => ProduceError::Refused(refusal.clone()),
                    Failure::Link(error) => ProduceError::Client(error.clone().into()),
                };
                self.decide(place, Err(error));
                return;
            }
            Kind::Sequence if !behind_another => {
                self.broken = true;
                let fenced = matches!(failure, Failure::Refused(refusal)
                    if refusal.code == ErrorCode::InvalidProducerEpoch);
                self.spent |= fenced;
            }
            Kind::Sequence => {}
            Kind::Again => self.last_failure = failure.text(),
        }
        self.failing = true;
        if let Some(flight) = self.in_flight.get_mut(place) {
            flight.failed = true;
            self.failed_epoch = self.failed_epoch.max(Some(flight.epoch));
        }
    }

    fn decide(&mut self, place: usize, result: Result<Written, ProduceError>) {
        if let Some(flight) = self.in_flight.remove(place) {
            flight.batch.duty.decide(result);
        }
    }

    /// Once everything in flight has come back, what failed is ready to be sent again.
    fn settle(&mut self, now: Instant) {
        if !self.failing || self.in_flight.iter().any(|flight| !flight.failed) {
            return;
        }
        self.failing = false;
        for flight in std::mem::take(&mut self.in_flight).into_iter().rev() {
            self.retry.push_front(flight.batch);
        }
        self.tries = self.tries.saturating_add(1);
        self.not_before = Some(now + backoff(self.tries));
        if std::mem::take(&mut self.broken) {
            self.begin_epoch();
        }
    }

    fn begin_epoch(&mut self) {
        self.next_sequence = 0;
        self.known = false;
        self.stamp = match self.stamp {
            Some((id, epoch)) if epoch < i16::MAX && !self.spent => Some((id, epoch.saturating_add(1))),
            _ => {
                self.spent = true;
                None
            }
        };
    }

    /// Another node leads in a newer epoch: what is in flight to the old leader is not waited for, and what failed is
    /// sent again at once.
    pub(super) fn led_by(&mut self, node: NodeId, epoch: LeaderEpoch, now: Instant) {
        for flight in &mut self.in_flight {
            if flight.node != node && flight.epoch < epoch && !flight.failed {
                flight.failed = true;
                self.failing = true;
                self.failed_epoch = self.failed_epoch.max(Some(flight.epoch));
            }
        }
        self.settle(now);
        if self.failed_epoch.is_some_and(|failed| failed < epoch) {
            self.failed_epoch = None;
            self.not_before = None;
            self.tries = 0;
        }
    }

    /// Gives up what waits to be sent again and is out of time.
    pub(super) fn expire(&mut self, now: Instant, within: Duration) {
        while self.retry.front().is_some_and(|batch| batch.deadline <= now) {
            let Some(batch) = self.retry.pop_front() else { return };
            self.give_up(batch, within);
        }
    }

    /// Gives a batch up that is out of time.
    pub(super) fn give_up(&self, batch: Batch, within: Duration) {
        let last =
            if self.last_failure.is_empty() { "the partition had no leader" } else { &self.last_failure };
        batch.duty.decide(Err(ProduceError::TimedOut { within, last: last.to_owned() }));
    }

    /// When the first of those that wait to be sent again is out of time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.retry.front().map(|batch| batch.deadline)
    }
}

#[cfg(test)]
mod tests;
