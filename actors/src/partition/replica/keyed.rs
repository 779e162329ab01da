//! Requests to a compacted topic, each record of which needs a key: they have to be unpacked to see it.
//!
//! What is soon done is done here. The rest is done off the core's thread, one request of a partition at a time, and what
//! comes behind it waits, so that appends keep the order in which they came. A request that was looked at is then held
//! against leadership, room and transactions as they are then.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext, Handler, Message};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::super::append::{keyed, validate};
use super::super::message::Acks;
use super::super::verify::InTransaction;
use super::super::warden::ReplicaKilled;
use super::Replica;
use super::fetch::EndOne;
use super::produce::{ProduceOne, fingerprint};
use super::verify::{has_ended, is_ended_by};
use crate::error::{ErrorCode, Refusal};
use crate::ids::LeaderEpoch;
use crate::image::Topic;
use crate::record::{EndMarker, MAX_UNPACKED_BYTES};
use crate::topic_config::TopicConfig;

/// What is unpacked on the core's thread for one message: about a millisecond's work.
const HERE_BYTES: usize = 128 << 10;

/// What is unpacked at the same time for all replicas of a node. Each may need what its codec keeps of a batch: little, but up
/// to [`MAX_UNPACKED_BYTES`](crate::record::MAX_UNPACKED_BYTES) with zstd and snappy.
const AT_ONCE: usize = 2;

/// Turns at unpacking, which all replicas of a node share. Clones are the same.
#[derive(Clone, Debug)]
pub struct Unpackings(Arc<Semaphore>);

impl Default for Unpackings {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Unpackings {
    /// Waits for a turn, which lasts until it is dropped. None only if turns had ended, which they never do.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

/// Requests that wait to be looked at and what waits for them, in the order in which it came. If anything does, the first is
/// a request that is being looked at.
#[derive(Debug, Default)]
pub(super) struct Unlooked {
    waiting: VecDeque<Waiter>,
    looking: Option<Looking>,
    looks: u64,
}

/// A look under way. Given up, it keeps the batches no longer; one that is being unpacked does until that is done, and so has
/// its turn.
#[derive(Debug)]
struct Looking {
    number: u64,
    task: JoinHandle<()>,
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
enum Waiter {
    /// What is appended if each of its records has a key.
    Request(Request),
    /// Somebody who asks for the end of the log behind all of these.
    End(EndOne),
}

#[derive(Debug)]
struct Request {
    one: ProduceOne,
    /// It is appended by the leader of this epoch, ...
    epoch: LeaderEpoch,
    /// ... and not later than its producer waits.
    deadline: Duration,
}

impl Waiter {
    fn refuse(self, refusal: Refusal) {
        match self {
            Self::Request(request) => request.one.reply.send(Err(refusal)),
            Self::End(asked) => asked.reply.send(Err(refusal)),
        }
    }
}

impl Unlooked {
    /// How many requests wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn refuse_all(&mut self, refusal: &Refusal) {
        self.looking = None;
        for waiter in self.waiting.drain(..) {
            waiter.refuse(refusal.clone());
        }
    }

    /// A marker is written: what is part of the transaction that it ends is not appended behind it.
    pub(super) fn refuse_ended(&mut self, marker: &EndMarker) {
        let is_ended =
            |waiter: &Waiter| matches!(waiter, Waiter::Request(request) if is_ended_by(&request.one, marker));
        if self.waiting.front().is_some_and(is_ended) {
            self.looking = None;
        }
        let (ended, waiting) = std::mem::take(&mut self.waiting).into_iter().partition::<Vec<_>, _>(is_ended);
        self.waiting = waiting.into();
        for waiter in ended {
            waiter.refuse(has_ended());
        }
    }
}

/// The first of those that wait was looked at. A completion: there is one for each that is looked at elsewhere.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct KeysLookedAt {
    number: u64,
    found: Result<(), Refusal>,
}

impl Handler<KeysLookedAt> for Replica {
    type Result = ();

    fn handle(&mut self, looked: KeysLookedAt, context: &mut Self::Context) {
        let _turn = self.turn();
        let KeysLookedAt { number, found } = looked;
        if self.unlooked.looking.take_if(|looking| looking.number == number).is_none() {
            return;
        }
        match self.unlooked.waiting.pop_front() {
            Some(Waiter::Request(request)) => self.looked_at(request, found),
            Some(Waiter::End(asked)) => self.tell_end(asked),
            None => {}
        }
        self.look_on();
        self.plan_write(|message| context.notify(message));
        self.settle();
    }
}

/// What was found where little time may be spent.
enum Look {
    Done(Result<(), Refusal>),
    TooLong,
}

impl Replica {
    /// Whether a request has to wait until its records were looked at. Then it is taken.
    pub(super) fn waits_to_be_looked_at(&mut self, one: ProduceOne) -> Option<ProduceOne> {
        let mut left = HERE_BYTES;
        if self.unlooked.waiting.is_empty() {
            match self.look_here(&one, &mut left) {
                Look::Done(Ok(())) => return Some(one),
                Look::Done(Err(refusal)) => {
                    one.reply.send(Err(refusal));
                    return None;
                }
                Look::TooLong => {}
            }
        }
        let epoch = match self.check_leads(one.part.leader_epoch) {
            Ok(epoch) => self.check_room(one.acks).map(|()| epoch),
            refused => refused,
        };
        match epoch {
            Err(refusal) => one.reply.send(Err(refusal)),
            Ok(epoch) => {
                let deadline = self.now() + one.timeout;
                self.unlooked.waiting.push_back(Waiter::Request(Request { one, epoch, deadline }));
                if self.unlooked.looking.is_none() {
                    self.look_elsewhere();
                }
            }
        }
        None
    }

    /// Whether the end of the log is to be told only when the requests before were looked at. Then the question is taken.
    pub(super) fn waits_for_looks(&mut self, asked: EndOne) -> Option<EndOne> {
        if self.unlooked.waiting.is_empty() {
            return Some(asked);
        }
        match self.check_leads(Some(asked.epoch)).and_then(|_| self.check_room(Acks::Leader)) {
            Ok(()) => self.unlooked.waiting.push_back(Waiter::End(asked)),
            Err(refusal) => asked.reply.send(Err(refusal)),
        }
        None
    }

    /// Looks at those that wait, as far as there is time.
    pub(super) fn look_on(&mut self) {
        let mut left = HERE_BYTES;
        while self.unlooked.looking.is_none()
            && let Some(waiter) = self.unlooked.waiting.pop_front()
        {
            let request = match waiter {
                Waiter::Request(request) => request,
                Waiter::End(asked) => {
                    self.tell_end(asked);
                    continue;
                }
            };
            if self.now() > request.deadline {
                request.one.reply.send(Err(late()));
                continue;
            }
            match self.look_here(&request.one, &mut left) {
                Look::Done(found) => self.looked_at(request, found),
                Look::TooLong => {
                    self.unlooked.waiting.push_front(Waiter::Request(request));
                    return self.look_elsewhere();
                }
            }
        }
    }

    fn looked_at(&mut self, request: Request, found: Result<(), Refusal>) {
        let Request { one, epoch, deadline } = request;
        let left = deadline.checked_sub(self.now()).ok_or_else(late);
        match found.and_then(|()| self.check_leads(Some(epoch))).and(left) {
            Ok(timeout) => self.begin(ProduceOne { timeout, ..one }),
            Err(refusal) => one.reply.send(Err(refusal)),
        }
    }

    /// Looks at a request if that unpacks no more than what is left.
    fn look_here(&mut self, one: &ProduceOne, left: &mut usize) -> Look {
        let Some(config) = self.to_look_for(one) else { return Look::Done(Ok(())) };
        if one.part.batches.len() > *left {
            return Look::TooLong;
        }
        let now_ms = self.clock.wall_ms();
        self.bench.put(fingerprint(&one.part.batches));
        let found = look(&one.part.batches, one.part.transaction.as_ref(), &config, now_ms, *left);
        self.bench.clear();
        match found {
            Ok(Some(unpacked)) => {
                *left = left.saturating_sub(unpacked.max(one.part.batches.len()));
                Look::Done(Ok(()))
            }
            Ok(None) => Look::TooLong,
            Err(refusal) => Look::Done(Err(refusal)),
        }
    }

    /// The settings of the topic, if it is compacted and the request may be taken at all: else it is refused when it is. To the
    /// system's own topics only coordinators write, and each of their records has a key.
    fn to_look_for(&self, one: &ProduceOne) -> Option<Arc<TopicConfig>> {
        if Topic::is_internal_name(&self.topic) {
            return None;
        }
        let config =
            self.state.assignment().map(|assigned| &assigned.config).filter(|config| config.compact)?;
        let fingerprint = fingerprint(&one.part.batches);
        let suspect = ReplicaKilled { partition: self.partition, fingerprint };
        let is_taken =
            self.check_leads(one.part.leader_epoch).is_ok() && !self.shared.quarantine.holds(suspect);
        is_taken.then(|| Arc::clone(config))
    }

    /// Has the first of those that wait looked at.
    fn look_elsewhere(&mut self) {
        let (Some(myself), Some(Waiter::Request(Request { one, deadline, .. })), Some(assigned)) =
            (self.myself.clone(), self.unlooked.waiting.front(), self.state.assignment())
        else {
            return;
        };
        self.unlooked.looks += 1;
        let number = self.unlooked.looks;
        let (batches, transaction) = (one.part.batches.clone(), one.part.transaction.clone());
        let (config, deadline, clock) = (assigned.config.clone(), *deadline, Rc::clone(&self.clock));
        let now_ms = clock.wall_ms();
        let (threads, unpackings) = (self.shared.threads.clone(), self.shared.unpackings.clone());
        let task = actix_rt::spawn(async move {
            let turn = unpackings.turn().await;
            if clock.now() > deadline {
                return myself.do_send(KeysLookedAt { number, found: Err(late()) });
            }
            let work = move || {
                let looked = look(&batches, transaction.as_ref(), &config, now_ms, MAX_UNPACKED_BYTES);
                looked.and_then(|unpacked| unpacked.map(drop).ok_or_else(too_large))
            };
            // It kills nobody here, so it is refused at once, not when it has killed twice.
            let looked = move || {
                let _until_it_is_unpacked = turn;
                catch_unwind(AssertUnwindSafe(work))
            };
            let found = threads.run_blocking(looked).await;
            let found = found.unwrap_or_else(|_| {
                let text = "the records cannot be looked at: the node's check of them has failed";
                Err(Refusal::new(ErrorCode::InvalidRecord, text))
            });
            myself.do_send(KeysLookedAt { number, found });
        });
        self.unlooked.looking = Some(Looking { number, task });
    }
}

fn late() -> Refusal {
    let text = "the request's time was over before its records were looked at; nothing was appended";
    Refusal::new(ErrorCode::RequestTimedOut, text)
}

fn too_large() -> Refusal {
    let text = format!(
        "the record batches of one request for the partition unpack to more than {MAX_UNPACKED_BYTES} bytes together"
    );
    Refusal::new(ErrorCode::MessageTooLarge, text)
}

fn look(
    batches: &Bytes,
    transaction: Option<&InTransaction>,
    config: &TopicConfig,
    now_ms: i64,
    most_bytes: usize,
) -> Result<Option<usize>, Refusal> {
    validate(batches.clone(), transaction, config, now_ms)?;
    keyed(batches, most_bytes)
}
