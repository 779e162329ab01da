//! The coordinator of the transactional ids of one partition of `__transaction_state`: an actor on its leader.
//!
//! It decides nothing itself: [`state`](super::state) does. What was decided is seen by the next decision at once; its
//! answer is given when its record is committed, and markers are written only then. An append that was certainly not made
//! is taken back alone; where nobody knows what of it lies in the log, or something was built on it, all is read back.

mod known;
mod marking;
mod overdue;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::known::Known;
use self::waiting::Waiting;
use super::doors::TransactionDoors;
use super::records::{TransactionReplay, encode};
use super::request::{ListedTransaction, TransactionRequest};
use super::settings::TransactionSettings;
use super::state::{Beginning, Decided, ProducerEpoch, Transaction, begin_new};
use crate::error::{ErrorCode, Refusal};
use crate::events::{TransactionMetrics, TransactionsBroken, TransactionsLoaded};
use crate::group::doors::{OwnershipLease, coordinator_code, is_not_appended};
use crate::group::release::{Answers, Release, Waits};
use crate::group::request::Reply;
use crate::ids::LeaderEpoch;
use crate::kinds::TRANSACTION_COORDINATOR;
use crate::supervision::roster::{Entry, Seat};

/// How long a load that failed waits before the next, at first; it doubles up to [`LOAD_AGAIN_MOST`].
const LOAD_AGAIN: Duration = Duration::from_millis(100);
const LOAD_AGAIN_MOST: Duration = Duration::from_secs(5);

/// What a coordinator is told.
pub(super) enum CoordinatorMessage {
    /// A request about a transactional id.
    Request { id: Arc<str>, request: TransactionRequest },
    /// Lists the ids.
    List { to: oneshot::Sender<Result<Vec<ListedTransaction>, Refusal>> },
    /// The log was read, or could not be. `life` tells what is of an earlier reading.
    Loaded { life: u64, result: Result<TransactionReplay, Refusal> },
    /// What an answer waited for has come, or not.
    Settled { life: u64, number: u64, result: Result<(), Refusal> },
    /// All markers of a transaction are written.
    Marked { life: u64, id: Arc<str>, producer: ProducerEpoch },
    /// What waits for the end of a transaction has waited for long enough.
    WaitedLong { id: Arc<str>, number: u64 },
    /// Deadlines may have come.
    Tick,
}

impl ractor::Message for CoordinatorMessage {}

impl fmt::Debug for CoordinatorMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CoordinatorMessage")
    }
}

/// What a coordinator starts from.
#[derive(Clone, Debug)]
pub(super) struct Leadership {
    pub(super) partition: i32,
    pub(super) epoch: LeaderEpoch,
    pub(super) lease: Arc<dyn OwnershipLease>,
    pub(super) doors: TransactionDoors,
}

/// The actor.
pub(super) struct TransactionCoordinator;

/// The actor's state.
pub(super) struct Coordinator {
    leadership: Leadership,
    myself: ActorRef<CoordinatorMessage>,
    /// Nothing is known while this is `None`: the log is being read.
    known: Option<Known>,
    life: u64,
    loads_failed: u32,
    /// Appends refused since one was committed.
    appends_refused: u32,
    /// Ids that nothing can be done with: their last record could not be understood.
    unreadable: BTreeSet<Arc<str>>,
    /// More deadlines had come than were looked after at once.
    is_behind: bool,
    load: Option<JoinHandle<()>>,
    answers: Answers,
    /// Decided outcomes by the number of the answer that waits for them.
    preparing: BTreeMap<u64, Arc<str>>,
    /// Since when markers are written, and by which task.
    marking: BTreeMap<Arc<str>, (Instant, JoinHandle<()>)>,
    marking_places: Arc<Semaphore>,
    /// Requests that wait for the end of a transaction, and how often one began to wait.
    waiting: BTreeMap<Arc<str>, Waiting>,
    waits: u64,
    metrics: TransactionMetrics,
    /// Open transactions, as they were told last.
    told_open: usize,
    /// When ids that nobody uses were looked for last.
    expired_at: Option<Instant>,
    timer: Option<(Instant, JoinHandle<()>)>,
    seat: Seat,
}

impl Actor for TransactionCoordinator {
    type Msg = CoordinatorMessage;
    type State = Coordinator;
    type Arguments = Leadership;

    async fn pre_start(
        &self,
        myself: ActorRef<CoordinatorMessage>,
        leadership: Leadership,
    ) -> Result<Coordinator, ActorProcessingErr> {
        let places = leadership.doors.settings.borrow().marking_max;
        let metrics = TransactionMetrics::new(&leadership.doors.events);
        let entry = Entry::new(TRANSACTION_COORDINATOR, leadership.partition.to_string());
        let mut coordinator = Coordinator {
            seat: leadership.doors.events.seat(entry),
            leadership,
            myself,
            known: None,
            life: 0,
            loads_failed: 0,
            appends_refused: 0,
            unreadable: BTreeSet::new(),
            is_behind: false,
            load: None,
            answers: Answers::default(),
            preparing: BTreeMap::new(),
            marking: BTreeMap::new(),
            marking_places: Arc::new(Semaphore::new(places)),
            waiting: BTreeMap::new(),
            waits: 0,
            metrics,
            told_open: 0,
            expired_at: None,
            timer: None,
        };
        coordinator.read();
        Ok(coordinator)
    }

    async fn handle(
        &self,
        _myself: ActorRef<CoordinatorMessage>,
        message: CoordinatorMessage,
        coordinator: &mut Coordinator,
    ) -> Result<(), ActorProcessingErr> {
        let _turn = coordinator.seat.turn();
        coordinator.take(message);
        coordinator.tell_open();
        coordinator.set_timer();
        coordinator.seat.pulse().waits(coordinator.answers.waiting());
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<CoordinatorMessage>,
        coordinator: &mut Coordinator,
    ) -> Result<(), ActorProcessingErr> {
        coordinator.forget();
        Ok(())
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        // It may have panicked: what it began must not go on under its name.
        self.forget();
    }
}

impl Coordinator {
    fn take(&mut self, message: CoordinatorMessage) {
        match message {
            CoordinatorMessage::Request { id, request } => self.serve(&id, request),
            CoordinatorMessage::List { to } => {
                let _nobody_waits = to.send(self.list());
            }
            CoordinatorMessage::Loaded { life, result } if life == self.life => self.loaded(result),
            CoordinatorMessage::Settled { life, number, result } if life == self.life => {
                self.settled(number, result);
            }
            CoordinatorMessage::Marked { life, id, producer } if life == self.life => {
                self.marked(&id, producer);
            }
            CoordinatorMessage::Loaded { .. }
            | CoordinatorMessage::Settled { .. }
            | CoordinatorMessage::Marked { .. } => {}
            CoordinatorMessage::WaitedLong { id, number } => self.waited_long(&id, number),
            CoordinatorMessage::Tick => {
                self.timer = None;
                self.tick();
            }
        }
    }

    fn settings(&self) -> Arc<TransactionSettings> {
        Arc::clone(&self.leadership.doors.settings.borrow())
    }

    fn now_ms(&self) -> i64 {
        self.leadership.doors.clock.wall_ms()
    }

    fn reading(&self) -> Refusal {
        let text = format!(
            "partition {} of __transaction_state is being read; try again",
            self.leadership.partition
        );
        Refusal::new(ErrorCode::CoordinatorLoadInProgress, text)
    }

    /// Nothing is known, and nothing that is under way counts any more.
    fn forget(&mut self) {
        self.life += 1;
        self.known = None;
        self.tell_open();
        self.answers = Answers::default();
        self.preparing.clear();
        self.refuse_waiting();
        let marking = std::mem::take(&mut self.marking);
        let marking = marking.into_values().map(|(_, task)| task);
        let tasks = marking.chain(self.load.take()).chain(self.timer.take().map(|(_, task)| task));
        tasks.for_each(|task| task.abort());
    }

    /// Reads the log, after a pause where that failed before, or where it was in vain.
    fn read(&mut self) {
        self.forget();
        let wait = match self.loads_failed.max(self.appends_refused.saturating_sub(1)) {
            0 => Duration::ZERO,
            failures => LOAD_AGAIN.saturating_mul(1 << failures.min(10)).min(LOAD_AGAIN_MOST),
        };
        let Leadership { partition, epoch, doors, .. } = self.leadership.clone();
        let (myself, life) = (self.myself.clone(), self.life);
        self.load = Some(tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let result = doors.log.load(partition, epoch, TransactionReplay::default()).await;
            let _ended = myself.cast(CoordinatorMessage::Loaded { life, result });
        }));
    }

    fn loaded(&mut self, result: Result<TransactionReplay, Refusal>) {
        let (partition, events) = (self.leadership.partition, self.leadership.doors.events.clone());
        match result {
            Ok(replay) => {
                self.loads_failed = 0;
                let (records, undecodable) = replay.counts();
                self.unreadable = replay.unreadable().clone();
                let transactions = replay.into_transactions();
                events.emit(TransactionsLoaded { partition, ids: transactions.len(), records, undecodable });
                let decided = transactions.iter().filter(|(_, transaction)| transaction.outcome().is_some());
                let decided: Vec<_> = decided.map(|(id, _)| Arc::clone(id)).collect();
                self.known = Some(Known::new(transactions));
                for id in decided {
                    self.mark(&id);
                }
            }
            Err(refusal) => {
                events.emit(TransactionsBroken { partition, refusal: &refusal });
                self.loads_failed = self.loads_failed.saturating_add(1);
                self.read();
            }
        }
    }

    fn serve(&mut self, id: &Arc<str>, request: TransactionRequest) {
        let Some(all) = &mut self.known else { return request.refuse(self.reading()) };
        if self.unreadable.contains(id) {
            let text = format!(
                "the last record of transactional.id {id:?} in __transaction_state cannot be understood; use another id"
            );
            return request.refuse(Refusal::new(ErrorCode::UnknownServerError, text));
        }
        let known = all.look(id).cloned();
        let now_ms = self.now_ms();
        match request {
            TransactionRequest::Begin { beginning, fresh, reply } => {
                let decided = self.check_beginning(&beginning, known.is_none()).and_then(|()| match &known {
                    Some(known) => known.begin(&beginning, fresh, now_ms),
                    None => Ok(begin_new(&beginning, fresh, now_ms)),
                });
                let again = |reply| TransactionRequest::Begin { beginning, fresh: None, reply };
                self.carry_out(id, decided, reply, again);
            }
            TransactionRequest::Add { producer, partitions, client_version, reply } => {
                let decided = known
                    .ok_or_else(|| not_mapped(id))
                    .and_then(|known| known.add(producer, &partitions, client_version, now_ms));
                let again = |reply| TransactionRequest::Add { producer, partitions, client_version, reply };
                match &decided {
                    Err(refusal) if self.may_wait(id, refusal) => self.wait_for_end(id, again(reply)),
                    _ => self.carry_out(id, decided, reply, again),
                }
            }
            TransactionRequest::Verify { producer, partitions, reply } => {
                let known = known.ok_or_else(|| not_mapped(id));
                self.answer(reply, known.and_then(|known| known.verify(producer, &partitions)));
            }
            TransactionRequest::End { ending, fresh, reply } => {
                let decided =
                    known.ok_or_else(|| not_mapped(id)).and_then(|known| known.end(&ending, fresh, now_ms));
                let again = |reply| TransactionRequest::End { ending, fresh: None, reply };
                self.carry_out(id, decided, reply, again);
            }
            TransactionRequest::Describe { reply } => {
                let text = format!("there is no transactional.id {id:?}");
                self.answer(reply, known.ok_or(Refusal::new(ErrorCode::TransactionalIdNotFound, text)));
            }
        }
    }

    fn check_beginning(&self, beginning: &Beginning, is_new: bool) -> Result<(), Refusal> {
        let settings = self.settings();
        if beginning.timeout_ms <= 0 || beginning.timeout_ms > settings.timeout_max_ms {
            let text = format!(
                "a transaction of {} ms; transaction.max.timeout.ms is {}",
                beginning.timeout_ms, settings.timeout_max_ms
            );
            return Err(Refusal::new(ErrorCode::InvalidTransactionTimeout, text));
        }
        let count = self.known.as_ref().map_or(0, Known::len);
        if is_new && count >= settings.ids_max {
            let text = format!("{count} transactional ids are known here, as many as may; use fewer");
            return Err(Refusal::new(ErrorCode::ThrottlingQuotaExceeded, text));
        }
        Ok(())
    }

    /// Answers what was decided: at once, or when it is committed. Without a producer id that it needs it is asked
    /// `again` with one.
    fn carry_out<A: Send + 'static>(
        &mut self,
        id: &Arc<str>,
        decided: Result<Decided<A>, Refusal>,
        reply: Reply<Result<A, Refusal>>,
        again: impl FnOnce(Reply<Result<A, Refusal>>) -> TransactionRequest,
    ) {
        if decided.as_ref().is_err_and(|refusal| refusal.code == ErrorCode::ProducerFenced) {
            self.metrics.fenced.increment(1);
        }
        match decided {
            Ok(Decided::Same(answer)) => self.answer(reply, Ok(answer)),
            Err(refusal) => self.answer(reply, Err(refusal)),
            Ok(Decided::Write(next, answer)) => {
                let release: Release = Box::new(move |refusal| {
                    reply.give(refusal.map_or(answer, |refusal| Err(as_coordinator(&refusal))));
                });
                self.write(id, Some(*next), release);
            }
            Ok(Decided::NeedsProducerId) => {
                let (request, id) = (again(reply), Arc::clone(id));
                let (fresh, myself) = (self.leadership.doors.producer_ids.fresh(), self.myself.clone());
                tokio::spawn(async move {
                    match fresh.await {
                        Ok(fresh) => {
                            let request = request.with_id(fresh);
                            // Fails only if this coordinator has ended: then the asker is told by the lost reply.
                            let _ended = myself.cast(CoordinatorMessage::Request { id, request });
                        }
                        Err(refusal) => request.refuse(as_coordinator(&refusal)),
                    }
                });
            }
        }
    }

    /// Answers from memory: only while the lease holds, or once it is confirmed.
    fn answer<A: Send + 'static>(&mut self, reply: Reply<Result<A, Refusal>>, answer: Result<A, Refusal>) {
        let release: Release = Box::new(move |refusal| {
            reply.give(refusal.map_or(answer, |refusal| Err(as_coordinator(&refusal))));
        });
        if self.leadership.lease.holds() {
            self.answers.push(Waits::No, release);
            return;
        }
        let number = self.answers.push(Waits::ForLease, release);
        let (confirmed, myself, life) = (self.leadership.lease.confirm(), self.myself.clone(), self.life);
        tokio::spawn(async move {
            let result = confirmed.await;
            let _ended = myself.cast(CoordinatorMessage::Settled { life, number, result });
        });
    }

    /// What a transactional id is from now on; forgotten if nothing.
    fn write(&mut self, id: &Arc<str>, next: Option<Transaction>, release: Release) {
        let Some(known) = &mut self.known else { return release(Some(self.reading())) };
        let record = encode(self.leadership.doors.clock.wall_ms(), id, next.as_ref());
        let is_prepared = next.as_ref().is_some_and(|next| next.outcome().is_some());
        let number = self.answers.push(Waits::ForRecords, release);
        known.decide(number, id, next);
        if is_prepared {
            self.preparing.insert(number, Arc::clone(id));
        }
        let Leadership { partition, epoch, doors, .. } = &self.leadership;
        let done = doors.log.append(*partition, *epoch, vec![record]);
        let (myself, life) = (self.myself.clone(), self.life);
        tokio::spawn(async move {
            let result = done.await;
            let _ended = myself.cast(CoordinatorMessage::Settled { life, number, result });
        });
    }

    fn settled(&mut self, number: u64, result: Result<(), Refusal>) {
        let is_committed = result.is_ok();
        let prepared = self.preparing.remove(&number);
        if let Err(refusal) = &result
            && is_not_appended(refusal.code)
            && let Some(id) = self.known.as_mut().and_then(|known| known.take_back(number))
        {
            self.answers.refuse(number, refusal.clone());
            return self.complete_later(&id);
        }
        if let (true, Some(known)) = (is_committed, &mut self.known) {
            known.committed(number);
        }
        if let Some(refusal) = self.answers.settle(number, result) {
            let partition = self.leadership.partition;
            self.leadership.doors.events.emit(TransactionsBroken { partition, refusal: &refusal });
            self.appends_refused = self.appends_refused.saturating_add(1);
            return self.read();
        }
        if is_committed {
            self.appends_refused = 0;
        }
        if let Some(id) = prepared
            && is_committed
        {
            // What ends without having begun is none.
            let known = self.transaction(&id).filter(|known| known.started_ms.is_some());
            if let Some(commits) = known.and_then(Transaction::outcome) {
                self.metrics.decided(commits);
            }
            self.mark(&id);
        }
    }

    fn transaction(&self, id: &str) -> Option<&Transaction> {
        self.known.as_ref()?.get(id)
    }

    fn list(&self) -> Result<Vec<ListedTransaction>, Refusal> {
        let known = self.known.as_ref().ok_or_else(|| self.reading())?;
        let now_ms = self.now_ms();
        let listed = known.iter().map(|(id, transaction)| ListedTransaction {
            id: Arc::clone(id),
            producer_id: transaction.producer_id,
            state: transaction.state,
            open_ms: transaction.started_ms.map(|started_ms| now_ms.saturating_sub(started_ms)),
        });
        Ok(listed.collect())
    }

    fn tell_open(&mut self) {
        let open = self.known.as_ref().map_or(0, Known::open);
        self.metrics.open_changed(self.told_open, open);
        self.told_open = open;
    }
}

fn not_mapped(id: &str) -> Refusal {
    let text = format!("no producer has the transactional.id {id:?}; it was forgotten, or never began");
    Refusal::new(ErrorCode::InvalidProducerIdMapping, text)
}

/// A refusal of the log, the lease or the controller as one of the coordinator.
fn as_coordinator(refusal: &Refusal) -> Refusal {
    let text = format!("the coordinator could not commit its decision: {}", refusal.text);
    Refusal::new(coordinator_code(refusal.code), text)
}
