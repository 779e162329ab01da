//! Batches that wait for their transaction's coordinator, in the order in which they came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix::{AsyncContext, Handler, Message};

use super::super::message::Acks;
use super::super::reply::Reply;
use super::super::verify::Verification;
use super::Replica;
use super::produce::ProduceOne;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{LeaderEpoch, ProducerId};
use crate::record::{BatchHeader, EndMarker};

/// What is asked about: an answer counts for requests of just this producer, epoch and transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct About {
    producer_id: ProducerId,
    producer_epoch: i16,
    id: Arc<str>,
    adds: bool,
    knows_abortable: bool,
}

impl About {
    fn of(asked: &Verification) -> Self {
        Self {
            producer_id: asked.producer_id,
            producer_epoch: asked.producer_epoch,
            id: Arc::clone(&asked.transaction.id),
            adds: asked.transaction.adds,
            knows_abortable: asked.transaction.knows_abortable,
        }
    }

    /// Whether a marker ends the transaction. Where every end gives a new epoch, a marker has the epoch of the transaction that
    /// comes next.
    fn is_ended_by(&self, marker: &EndMarker) -> bool {
        let (epoch, last) = (self.producer_epoch, marker.producer_epoch);
        self.producer_id == marker.producer_id && (epoch < last || (epoch == last && !self.adds))
    }

    /// Whether it is the transaction that comes next after one that this marker ends.
    fn is_next_after(&self, marker: &EndMarker) -> bool {
        self.producer_id == marker.producer_id && self.producer_epoch == marker.producer_epoch && self.adds
    }
}

/// Whether a marker ends the transaction that a request says it is part of.
pub(super) fn is_ended_by(one: &ProduceOne, marker: &EndMarker) -> bool {
    asked_of(one).is_some_and(|asked| About::of(&asked).is_ended_by(marker))
}

pub(super) fn has_ended() -> Refusal {
    Refusal::new(ErrorCode::InvalidTxnState, "the transaction ended while the batch was on its way")
}

/// Requests that wait, by what they wait for.
#[derive(Debug, Default)]
pub(super) struct Unverified {
    asking: BTreeMap<About, Asking>,
    asked: u64,
    waiting: usize,
    /// Producers and epochs whose coordinator has said that their transaction has this partition, so that a marker will
    /// come, and of which no batch need have come yet.
    admitted: BTreeSet<(ProducerId, i16)>,
}

/// Admissions without a marker yet, at most.
const ADMITTED_MAX: usize = 10_000;

/// A coordinator that is being asked, and what waits for its answer.
#[derive(Debug)]
struct Asking {
    number: u64,
    asked: Verification,
    waiting: Vec<Waiter>,
}

/// What waits for a coordinator's answer.
#[derive(Debug)]
enum Waiter {
    /// A batch that is to be appended then.
    Batch(ProduceOne),
    /// Somebody whose batch comes later.
    Admission(Reply<()>),
}

impl Waiter {
    fn refuse(self, refusal: Refusal) {
        match self {
            Self::Batch(one) => one.reply.send(Err(refusal)),
            Self::Admission(reply) => reply.send(Err(refusal)),
        }
    }
}

/// Asks whether the partition is part of a transaction. Answered once its coordinator says so; batches of the producer
/// in this epoch are then taken without asking again, until a marker is written.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct AdmitOne {
    /// The epoch that the asker counts on.
    pub epoch: LeaderEpoch,
    /// What its coordinator is asked.
    pub asked: Verification,
    /// Where the answer goes.
    pub reply: Reply<()>,
}

impl Handler<AdmitOne> for Replica {
    type Result = ();

    fn handle(&mut self, message: AdmitOne, _: &mut Self::Context) {
        let _turn = self.turn();
        let AdmitOne { epoch, asked, reply } = message;
        let of = (asked.producer_id, asked.producer_epoch);
        if self.gathered.holds(of.0) {
            self.write_gathered();
        }
        let checked = self.check_leads(Some(epoch)).and_then(|_| self.check_room(Acks::All));
        match checked.and_then(|()| self.unverified.check_admits()) {
            Err(refusal) => reply.send(Err(refusal)),
            Ok(()) if self.unverified.admitted.contains(&of) || self.producers.is_open(of.0, of.1) => {
                reply.send(Ok(()));
            }
            Ok(()) => self.wait_for(asked, Waiter::Admission(reply)),
        }
        self.settle();
    }
}

impl Unverified {
    /// How many requests wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Whether batches of this producer in this epoch are taken without asking.
    pub(super) fn admits(&self, id: ProducerId, epoch: i16) -> bool {
        self.admitted.contains(&(id, epoch))
    }

    fn check_admits(&self) -> Result<(), Refusal> {
        if self.admitted.len() < ADMITTED_MAX {
            return Ok(());
        }
        let text = "too many transactions of the partition wait for their first batch; try again";
        Err(Refusal::new(ErrorCode::ThrottlingQuotaExceeded, text))
    }

    fn take(&mut self, about: &About) -> Vec<Waiter> {
        let waiting = self.asking.remove(about).map(|asking| asking.waiting).unwrap_or_default();
        self.waiting -= waiting.len();
        waiting
    }

    /// A marker is written: whatever the coordinator says of the transaction that it ends, that is over. Gives what is to
    /// be asked again.
    ///
    /// What waits for the transaction that comes next goes on waiting, for an answer that was given after the marker.
    fn void(&mut self, marker: &EndMarker) -> Vec<About> {
        let (id, last) = (marker.producer_id, marker.producer_epoch);
        self.admitted.retain(|(admitted, epoch)| *admitted != id || *epoch > last);
        let ended: Vec<_> = self.asking.keys().filter(|about| about.is_ended_by(marker)).cloned().collect();
        for one in ended.iter().flat_map(|about| self.take(about)).collect::<Vec<_>>() {
            one.refuse(has_ended());
        }
        self.asking.keys().filter(|about| about.is_next_after(marker)).cloned().collect()
    }

    /// A coordinator of this node is about to read its log back, and counts on nothing that it asked for before: its batches
    /// that still wait are refused.
    pub(super) fn refuse_coordinators(&mut self) {
        for asking in self.asking.values_mut().filter(|asking| asking.asked.transaction.by_coordinator) {
            let (batches, others): (Vec<_>, Vec<_>) = std::mem::take(&mut asking.waiting)
                .into_iter()
                .partition(|waiter| matches!(waiter, Waiter::Batch(_)));
            asking.waiting = others;
            self.waiting -= batches.len();
            for batch in batches {
                let text = "its coordinator reads the partition back; nothing was appended; try again";
                batch.refuse(Refusal::new(ErrorCode::CoordinatorNotAvailable, text));
            }
        }
    }

    pub(super) fn refuse_all(&mut self, refusal: &Refusal) {
        self.waiting = 0;
        self.admitted.clear();
        for (_, asking) in std::mem::take(&mut self.asking) {
            for one in asking.waiting {
                one.refuse(refusal.clone());
            }
        }
    }
}

/// A coordinator has answered. A completion: there is one for each question.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Verified {
    about: About,
    number: u64,
    result: Result<(), Refusal>,
}

impl Handler<Verified> for Replica {
    type Result = ();

    fn handle(&mut self, verified: Verified, context: &mut Self::Context) {
        let _turn = self.turn();
        let Verified { about, number, result } = verified;
        if self.unverified.asking.get(&about).is_none_or(|asking| asking.number != number) {
            return;
        }
        for one in self.unverified.take(&about) {
            let of = (about.producer_id, about.producer_epoch);
            match (&result, one) {
                (Ok(()), Waiter::Batch(one)) => self.take(one, Some(of)),
                (Ok(()), Waiter::Admission(reply)) => {
                    self.unverified.admitted.insert(of);
                    reply.send(Ok(()));
                }
                (Err(refusal), one) => one.refuse(refusal.clone()),
            }
        }
        self.plan_write(|message| context.notify(message));
        self.settle();
    }
}

impl Replica {
    /// Whether a request has to wait for a coordinator: it is the first of a transaction here, or stands behind one that
    /// waits. Then it is taken, and the coordinator asked.
    pub(super) fn waits_to_be_verified(&mut self, one: ProduceOne) -> Option<ProduceOne> {
        let Some(asked) = asked_of(&one) else { return Some(one) };
        let (id, about) = (asked.producer_id, About::of(&asked));
        let is_asking = self.unverified.asking.contains_key(&about);
        if !is_asking {
            if self.gathered.holds(id) {
                self.write_gathered();
            }
            let epoch = asked.producer_epoch;
            if self.producers.is_open(id, epoch) || self.unverified.admits(id, epoch) {
                return Some(one);
            }
        }
        let leads = self.check_leads(one.part.leader_epoch).and_then(|_| self.check_room(one.acks));
        if let Err(refusal) = leads {
            one.reply.send(Err(refusal));
            return None;
        }
        self.wait_for(asked, Waiter::Batch(one));
        None
    }

    fn wait_for(&mut self, asked: Verification, waiter: Waiter) {
        let about = About::of(&asked);
        self.unverified.waiting += 1;
        match self.unverified.asking.get_mut(&about) {
            Some(asking) => asking.waiting.push(waiter),
            None => {
                let asking = Asking { number: 0, asked, waiting: vec![waiter] };
                self.unverified.asking.insert(about.clone(), asking);
                self.ask(about);
            }
        }
    }

    /// The transaction of a producer ends here: nothing that was verified for it opens it again.
    pub(super) fn void_verifications(&mut self, marker: &EndMarker) {
        self.unlooked.refuse_ended(marker);
        for about in self.unverified.void(marker) {
            self.ask(about);
        }
    }

    /// Asks; an answer to an earlier question about the same counts no more.
    fn ask(&mut self, about: About) {
        let (Some(myself), Some(asking)) = (self.myself.clone(), self.unverified.asking.get_mut(&about))
        else {
            return;
        };
        self.unverified.asked += 1;
        let number = self.unverified.asked;
        asking.number = number;
        let asked = asking.asked.clone();
        let answer = move |result| myself.do_send(Verified { about, number, result });
        self.shared.verifier.verify(asked, Box::new(answer));
    }
}

/// What the coordinator is asked about the batches of a request; nothing about those of no transaction.
fn asked_of(one: &ProduceOne) -> Option<Verification> {
    let transaction = one.part.transaction.as_ref()?;
    let header = BatchHeader::parse(&one.part.batches).ok()?;
    let producer_id = header.producer().filter(|_| header.attributes.is_transactional())?;
    Some(Verification {
        transaction: transaction.clone(),
        producer_id,
        producer_epoch: header.producer_epoch,
        partition: one.part.partition,
    })
}
