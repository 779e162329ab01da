//! Batches that wait for their transaction's coordinator, in the order in which they came.

use std::collections::BTreeMap;

use actix::{AsyncContext, Handler, Message};

use super::super::verify::Verification;
use super::Replica;
use super::produce::ProduceOne;
use crate::error::{ErrorCode, Refusal};
use crate::ids::ProducerId;
use crate::record::BatchHeader;

/// Requests that wait, by producer.
#[derive(Debug, Default)]
pub(super) struct Unverified {
    asking: BTreeMap<ProducerId, Asking>,
    asked: u64,
    waiting: usize,
}

/// A coordinator that is being asked, and what waits for its answer.
#[derive(Debug)]
struct Asking {
    number: u64,
    waiting: Vec<ProduceOne>,
}

impl Unverified {
    /// How many requests wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    fn take(&mut self, id: ProducerId) -> Vec<ProduceOne> {
        let waiting = self.asking.remove(&id).map(|asking| asking.waiting).unwrap_or_default();
        self.waiting -= waiting.len();
        waiting
    }

    /// A marker is written: whatever the coordinator says of the transaction that was, it is over.
    pub(super) fn void(&mut self, id: ProducerId) {
        for one in self.take(id) {
            let text = "the transaction ended while the batch was on its way";
            one.reply.refuse(ErrorCode::InvalidTxnState, text);
        }
    }

    pub(super) fn refuse_all(&mut self, refusal: &Refusal) {
        self.waiting = 0;
        for (_, asking) in std::mem::take(&mut self.asking) {
            for one in asking.waiting {
                one.reply.send(Err(refusal.clone()));
            }
        }
    }
}

/// A coordinator has answered. A completion: there is one for each producer that is asked about.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Verified {
    id: ProducerId,
    number: u64,
    result: Result<(), Refusal>,
}

impl Handler<Verified> for Replica {
    type Result = ();

    fn handle(&mut self, verified: Verified, context: &mut Self::Context) {
        let Verified { id, number, result } = verified;
        if self.unverified.asking.get(&id).is_none_or(|asking| asking.number != number) {
            return;
        }
        for one in self.unverified.take(id) {
            match &result {
                Ok(()) => self.take(one, true),
                Err(refusal) => one.reply.send(Err(refusal.clone())),
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
        let id = asked.producer_id;
        if let Some(asking) = self.unverified.asking.get_mut(&id) {
            asking.waiting.push(one);
            self.unverified.waiting += 1;
            return None;
        }
        if self.gathered.holds(id) {
            self.write_gathered();
        }
        if self.producers.is_open(id, asked.producer_epoch) {
            return Some(one);
        }
        let leads = self.check_leads(one.part.leader_epoch).and_then(|_| self.check_room(one.acks));
        if let Err(refusal) = leads {
            one.reply.send(Err(refusal));
            return None;
        }
        let Some(myself) = self.myself.clone() else { return Some(one) };
        self.unverified.asked += 1;
        let number = self.unverified.asked;
        self.unverified.waiting += 1;
        self.unverified.asking.insert(id, Asking { number, waiting: vec![one] });
        let answer = move |result| myself.do_send(Verified { id, number, result });
        self.shared.verifier.verify(asked, Box::new(answer));
        None
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
