//! The actor that sends: takes batches from the queues, one of each partition into a request for its leader, and hears
//! the answers.
//!
//! It is woken when a batch is begun or closed, by answers, by new views and by one timer, set to the next moment at
//! which time alone changes something. What it keeps true of each partition is in [`Lane`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture,
};
use tokio::time::Instant;

use super::delivery::{ProduceError, Written};
use super::lane::{Batch, Failure, Lane};
use super::queue::{Front, Queue, Ripe};
use super::topics::Topics;
use crate::client::{Asking, Asks, Client, ClientError, LinkError, RETRY_BACKOFF_MAX, Target, View};
use crate::cluster::message::InitProducerId;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{NodeId, PartitionId, ProducerId};
use crate::partition::message::transactional::ProduceInTransaction;
use crate::partition::message::{Acks, Produce, ProduceAnswer, ProducePart, Produced};
use crate::transaction::state::ProducerEpoch;

/// The least time that a request is given, however little its records have left.
const LEAST_REQUEST_TIME: Duration = Duration::from_millis(100);

/// Something is to be looked at. At most one is under way.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Wake;

/// Stop once every batch is decided; at once where `now`.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Stop {
    pub(super) now: bool,
}

/// A transaction has ended, or is to be aborted: what is not decided is given up. Batches from now on have this id and
/// epoch; without one none is sent.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Adopt(pub(super) Option<ProducerEpoch>);

/// What callers and router tell each other besides the queues.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// A [`Wake`] is under way.
    pub(super) woken: AtomicBool,
    /// Batches with lesser numbers do not linger.
    pub(super) flush_below: AtomicU64,
}

#[derive(Debug)]
struct Line {
    lane: Lane,
    queue: Arc<Queue>,
}

#[derive(Debug, PartialEq, Eq)]
enum Id {
    None,
    Asked,
    Known(ProducerEpoch),
}

/// The actor that sends.
#[derive(Debug)]
pub(super) struct Router {
    client: Client,
    topics: Arc<Topics>,
    signals: Arc<Signals>,
    view: Arc<View>,
    lines: BTreeMap<PartitionId, Line>,
    /// Partitions with something to send or to hear of.
    active: BTreeSet<PartitionId>,
    /// The partition served last: the next request begins behind it.
    served: Option<PartitionId>,
    requests: BTreeMap<NodeId, usize>,
    next_request: u64,
    id: Id,
    timer: Option<(Instant, SpawnHandle)>,
    stopping: bool,
}

/// What is sent to one node.
struct Draft {
    parts: Vec<ProducePart>,
    deadline: Instant,
    bytes: usize,
}

impl Router {
    pub(super) fn new(client: Client, topics: Arc<Topics>, signals: Arc<Signals>) -> Self {
        let view = client.metadata.view();
        Self {
            client,
            topics,
            signals,
            view,
            lines: BTreeMap::new(),
            active: BTreeSet::new(),
            served: None,
            requests: BTreeMap::new(),
            next_request: 0,
            id: Id::None,
            timer: None,
            stopping: false,
        }
    }

    /// Does all that can be done now.
    fn pump(&mut self, context: &mut Context<Self>) {
        self.take_news();
        let now = Instant::now();
        let mut look_again = None;
        self.expire(now, &mut look_again);
        if self.has_id(context) {
            while self.send_round(now, &mut look_again, context) {}
        }
        self.active.retain(|partition| {
            let line = self.lines.get(partition);
            line.is_some_and(|line| !line.lane.is_empty() || line.queue.oldest().is_some())
        });
        self.set_timer(look_again, context);
        if self.stopping && self.topics.budget.is_idle() {
            context.stop();
        }
    }

    fn take_news(&mut self) {
        let is_transactional = self.topics.settings.transactional_id.is_some();
        for queue in self.topics.take_news() {
            let partition = queue.partition;
            self.active.insert(partition);
            self.lines.entry(partition).or_insert_with(|| Line { lane: Lane::new(is_transactional), queue });
        }
    }

    /// One request to each node that can take one; false when nothing was sent.
    fn send_round(
        &mut self,
        now: Instant,
        look_again: &mut Option<Instant>,
        context: &mut Context<Self>,
    ) -> bool {
        let mut drafts: BTreeMap<NodeId, Draft> = BTreeMap::new();
        let request = self.next_request;
        for partition in self.in_turn() {
            let Some((node, epoch)) = self.view.leader(partition) else { continue };
            let busy = self.requests.get(&node).copied().unwrap_or(0);
            if busy >= self.topics.settings.max_in_flight {
                continue;
            }
            let room = self.topics.settings.request_bytes;
            let used = drafts.get(&node).map_or(0, |draft| draft.bytes);
            let Some(batch) = self.next_batch(partition, now, room.saturating_sub(used), look_again) else {
                continue;
            };
            let draft = drafts.entry(node).or_insert_with(|| Draft {
                parts: Vec::new(),
                deadline: batch.deadline,
                bytes: 0,
            });
            draft.bytes = draft.bytes.saturating_add(batch.total_bytes());
            draft.deadline = draft.deadline.min(batch.deadline);
            let Some(line) = self.lines.get_mut(&partition) else { continue };
            let batches = line.lane.send(batch, request, node, epoch);
            draft.parts.push(ProducePart {
                partition,
                leader_epoch: Some(epoch),
                batches,
                transaction: None,
            });
            self.served = Some(partition);
        }
        self.next_request = request.saturating_add(1);
        let sent = !drafts.is_empty();
        for (node, draft) in drafts {
            self.send(node, draft, request, now, context);
        }
        sent
    }

    /// The active partitions, beginning behind the one served last.
    fn in_turn(&self) -> Vec<PartitionId> {
        let Some(served) = self.served else { return self.active.iter().copied().collect() };
        let behind = self.active.range((std::ops::Bound::Excluded(served), std::ops::Bound::Unbounded));
        behind.chain(self.active.range(..=served)).copied().collect()
    }

    /// The partition's next batch, if it may be sent now and has room; the first in a request always has.
    fn next_batch(
        &mut self,
        partition: PartitionId,
        now: Instant,
        room: usize,
        look_again: &mut Option<Instant>,
    ) -> Option<Batch> {
        let settings = &self.topics.settings;
        let known = match self.id {
            Id::Known(id) => Some(id),
            _ => None,
        };
        let line = self.lines.get_mut(&partition)?;
        if settings.is_idempotent() && line.lane.lacks_id(known) {
            return None;
        }
        if let Err(until) = line.lane.may_send(now, settings.max_in_flight) {
            earlier(look_again, until);
            return None;
        }
        let empty_request = room == settings.request_bytes;
        if line.lane.retry_bytes().is_some_and(|bytes| bytes > room && !empty_request) {
            return None;
        }
        if let Some(batch) = line.lane.take_retry() {
            return Some(batch);
        }
        let hurry = self.topics.budget.is_short() || self.stopping;
        let linger = if hurry { Duration::ZERO } else { settings.linger };
        let ripe = Ripe {
            begun_until: now.checked_sub(linger).unwrap_or(now),
            below: self.signals.flush_below.load(Ordering::Acquire),
        };
        match line.queue.take(ripe) {
            Front::Batch(closed) => {
                let batch = Batch::new(closed, settings.delivery_timeout);
                if batch.total_bytes() <= room || empty_request {
                    return Some(batch);
                }
                line.lane.put_back(batch);
                None
            }
            Front::Lingers(begun) => {
                earlier(look_again, Some(begun + linger));
                None
            }
            Front::Packing | Front::Empty => None,
        }
    }

    fn send(&mut self, node: NodeId, draft: Draft, request: u64, now: Instant, context: &mut Context<Self>) {
        *self.requests.entry(node).or_default() += 1;
        let left = draft.deadline.saturating_duration_since(now).max(LEAST_REQUEST_TIME);
        let deadline = left.min(self.client.settings.request_timeout);
        let partitions: Vec<PartitionId> = draft.parts.iter().map(|part| part.partition).collect();
        let acks = self.topics.settings.acks;
        let message = Produce {
            acks,
            timeout_ms: u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX),
            parts: draft.parts,
        };
        let asking = self.ask(node, message, deadline);
        if acks == Acks::None {
            let sent = Written { base_offset: None, append_time_ms: None };
            for partition in &partitions {
                self.part_answered(*partition, request, Ok(sent.clone()));
            }
        }
        context.spawn(asking.into_actor(self).map(move |answer, this, context| {
            this.answered(node, request, &partitions, answer);
            this.pump(context);
        }));
    }

    fn ask(&self, node: NodeId, produce: Produce, deadline: Duration) -> Asking<ProduceAnswer> {
        let (link, target) = (&*self.client.link, Target::Node(node));
        match self.topics.settings.transactional_id.clone() {
            None => Asks::<Produce>::ask(link, &target, produce, deadline),
            Some(id) => {
                let message = ProduceInTransaction { id, produce };
                Asks::<ProduceInTransaction>::ask(link, &target, message, deadline)
            }
        }
    }

    fn answered(
        &mut self,
        node: NodeId,
        request: u64,
        partitions: &[PartitionId],
        answer: Result<ProduceAnswer, LinkError>,
    ) {
        if let Some(requests) = self.requests.get_mut(&node) {
            *requests = requests.saturating_sub(1);
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.client.metadata.refresh();
                for partition in partitions {
                    self.part_answered(*partition, request, Err(Failure::Link(error.clone())));
                }
                return;
            }
        };
        let mut missing: BTreeSet<PartitionId> = partitions.iter().copied().collect();
        for (partition, result) in answer.parts {
            if missing.remove(&partition) {
                self.part_answered(partition, request, written(result));
            }
        }
        for partition in missing {
            let text = "the answer does not speak of the partition".to_owned();
            self.part_answered(partition, request, Err(Failure::Link(LinkError::NoAnswer(text))));
        }
    }

    fn part_answered(&mut self, partition: PartitionId, request: u64, result: Result<Written, Failure>) {
        if let Err(Failure::Refused(refusal)) = &result
            && is_about_leader(refusal.code)
        {
            self.client.metadata.refresh();
        }
        let Some(line) = self.lines.get_mut(&partition) else { return };
        line.lane.answered(request, result, Instant::now());
        if line.lane.take_spent() {
            self.id = Id::None;
        }
    }

    /// A new view: partitions whose leader is another are served by it at once.
    fn follow(&mut self, view: Arc<View>) {
        self.topics.follow(&view);
        self.view = view;
        if !self.topics.settings.is_idempotent() {
            return;
        }
        let now = Instant::now();
        for (partition, line) in &mut self.lines {
            if let Some((node, epoch)) = self.view.leader(*partition) {
                line.lane.led_by(node, epoch, now);
            }
            if line.lane.take_spent() {
                self.id = Id::None;
            }
        }
    }

    /// Gives up what is out of time, and looks again when the next is.
    fn expire(&mut self, now: Instant, look_again: &mut Option<Instant>) {
        let within = self.topics.settings.delivery_timeout;
        for partition in &self.active {
            let Some(line) = self.lines.get_mut(partition) else { continue };
            line.lane.expire(now, within);
            while let Some(begun) = line.queue.oldest().filter(|begun| *begun + within <= now) {
                let ripe = Ripe { begun_until: begun, below: 0 };
                let Front::Batch(closed) = line.queue.take(ripe) else { break };
                line.lane.give_up(Batch::new(closed, within), within);
            }
            earlier(look_again, line.lane.deadline());
            earlier(look_again, line.queue.oldest().map(|begun| begun + within));
        }
    }

    /// Whether batches can be stamped; asks for an id where they cannot.
    fn has_id(&mut self, context: &mut Context<Self>) -> bool {
        if !self.topics.settings.is_idempotent() || matches!(self.id, Id::Known(_)) {
            return true;
        }
        if self.topics.settings.transactional_id.is_some() {
            // It comes with each transaction.
            return false;
        }
        if self.id == Id::None && !self.active.is_empty() {
            self.id = Id::Asked;
            let client = self.client.clone();
            let asking = async move { client.ask_any("getting a producer id", InitProducerId {}).await };
            context.spawn(asking.into_actor(self).map(Self::id_came));
        }
        false
    }

    fn id_came(id: Result<ProducerId, ClientError>, this: &mut Self, context: &mut Context<Self>) {
        match id {
            Ok(id) => {
                this.id = Id::Known(ProducerEpoch { id, epoch: 0 });
                this.pump(context);
            }
            // It was tried for long; the batches' own time runs meanwhile.
            Err(_) => {
                context.run_later(RETRY_BACKOFF_MAX, |this, context| {
                    this.id = Id::None;
                    this.pump(context);
                });
            }
        }
    }

    fn set_timer(&mut self, at: Option<Instant>, context: &mut Context<Self>) {
        let Some(at) = at else { return };
        // One that is set too early costs a look; setting it anew with every answer would cost more.
        if self.timer.is_some_and(|(set, _)| set <= at) {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            context.cancel_future(timer);
        }
        let wait = at.saturating_duration_since(Instant::now());
        let timer = context.run_later(wait, |this, context| {
            this.timer = None;
            this.pump(context);
        });
        self.timer = Some((at, timer));
    }

    /// Hears of new views as long as the actor lives.
    fn watch(&self, context: &mut Context<Self>) {
        let mut views = self.client.metadata.subscribe();
        let next = async move {
            views.changed().await.ok()?;
            Some(Arc::clone(&views.borrow()))
        };
        context.spawn(next.into_actor(self).map(|view, this, context| {
            if let Some(view) = view {
                this.watch(context);
                this.follow(view);
                this.pump(context);
            }
        }));
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.watch(context);
        self.follow(self.client.metadata.view());
    }

    /// Runs after a panic, too: nobody waits for a router that is gone.
    fn stopped(&mut self, _: &mut Self::Context) {
        self.lines.clear();
        self.topics.shut();
    }
}

impl Handler<Wake> for Router {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Self::Context) {
        self.signals.woken.store(false, Ordering::Release);
        self.pump(context);
    }
}

impl Handler<Adopt> for Router {
    type Result = ();

    fn handle(&mut self, adopt: Adopt, context: &mut Self::Context) {
        self.take_news();
        for line in self.lines.values_mut() {
            line.queue.abandon(&ProduceError::Aborted);
            line.lane.abandon(&ProduceError::Aborted);
        }
        self.id = adopt.0.map_or(Id::None, Id::Known);
        self.pump(context);
    }
}

impl Handler<Stop> for Router {
    type Result = ();

    fn handle(&mut self, stop: Stop, context: &mut Self::Context) {
        self.stopping = true;
        if stop.now {
            context.stop();
            return;
        }
        self.pump(context);
    }
}

fn earlier(look_again: &mut Option<Instant>, at: Option<Instant>) {
    if let Some(at) = at {
        *look_again = Some(look_again.map_or(at, |set| set.min(at)));
    }
}

const fn is_about_leader(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::KafkaStorageError
    )
}

fn written(result: Result<Produced, Refusal>) -> Result<Written, Failure> {
    match result {
        Ok(produced) => Ok(Written {
            base_offset: Some(produced.base_offset),
            append_time_ms: produced.log_append_time_ms,
        }),
        // Written before, at an offset that the leader does not remember.
        Err(refusal) if refusal.code == ErrorCode::DuplicateSequenceNumber => {
            Ok(Written { base_offset: None, append_time_ms: None })
        }
        Err(refusal) => Err(Failure::Refused(refusal)),
    }
}
