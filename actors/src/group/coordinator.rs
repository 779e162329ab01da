//! The coordinator of one group: an actor on the leader of the group's partition of `__consumer_offsets`.
//!
//! It decides nothing itself: the state machine does, and what it wrote is appended, in the order of the decisions.
//! When an append is refused, nobody knows what of it lies in the log, so the coordinator ends and the group is read
//! back; those who wait are told to try again. An answer that needs no records is from memory, and given only while
//! the lease on the partition holds or is confirmed (rule 8).

mod classic;
mod conversion;
mod streams;
mod transactional;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use self::transactional::Committing;
use super::classic::Committer;
use super::classic_part::ClassicPart;
use super::doors::{Leadership, coordinator_code, is_not_appended};
use super::lag::LagWatch;
use super::message::GroupState;
use super::modern::{ConsumerGroup, Decision, Group, Notice, Sender, Surroundings};
use super::pending::{OfProducer, Put};
use super::records::{GroupRecord, encode};
use super::release::{Answers, Release, Waits};
use super::request::{Described, GroupRequest, Reply};
use super::supervision::SupervisorMessage;
use crate::error::{ErrorCode, Refusal};
use crate::events::{
    GroupBroken, GroupNotDowngraded, GroupRetargeted, InvariantBroken, MemberJoined, MemberLeft,
    OffsetsForgotten,
};
use crate::invariant::Broken;
use crate::kinds::GROUP_COORDINATOR;
use crate::record::EndMarker;
use crate::supervision::roster::{Entry, Seat};

/// What a coordinator is told.
pub(super) enum CoordinatorMessage {
    /// A request; `number` counts those sent to this actor.
    Request { number: u64, request: Box<GroupRequest> },
    /// Topics came, went or grew.
    TopicsChanged,
    /// A deadline has come.
    Tick,
    /// The lag is to be computed.
    MeasureLag,
    /// A producer's transaction ended in the group's partition.
    TransactionEnded(EndMarker),
    /// The coordinator of a transaction has answered whether offsets may become part of it.
    Admitted { committing: Box<Committing>, result: Result<(), Refusal> },
    /// What an answer waited for has come, or not.
    Settled { number: u64, result: Result<(), Refusal> },
}

impl ractor::Message for CoordinatorMessage {}

impl fmt::Debug for CoordinatorMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Request { .. } => "Request",
            Self::TopicsChanged => "TopicsChanged",
            Self::Tick => "Tick",
            Self::MeasureLag => "MeasureLag",
            Self::TransactionEnded(_) => "TransactionEnded",
            Self::Admitted { .. } => "Admitted",
            Self::Settled { .. } => "Settled",
        })
    }
}

/// What others may see of a group without asking its coordinator.
#[derive(Debug, Default)]
pub(super) struct Shown(Mutex<Option<ShownGroup>>);

/// A group in a list of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownGroup {
    /// Where it stands.
    pub state: GroupState,
    /// The protocol type of a group of the classic protocol.
    pub classic: Option<Arc<str>>,
    /// Whether it is of an application of streams.
    pub is_of_streams: bool,
}

impl Shown {
    fn set(&self, group: Option<ShownGroup>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = group;
    }

    /// `None` while there is no such group.
    pub(super) fn group(&self) -> Option<ShownGroup> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a coordinator starts from.
pub(super) struct Start {
    pub(super) id: Arc<str>,
    pub(super) group: Group,
    pub(super) leadership: Arc<Leadership>,
    pub(super) supervisor: ActorRef<SupervisorMessage>,
    pub(super) shown: Arc<Shown>,
}

/// The actor.
pub(super) struct GroupCoordinator;

impl Actor for GroupCoordinator {
    type Msg = CoordinatorMessage;
    type State = Coordinator;
    type Arguments = Start;

    async fn pre_start(
        &self,
        myself: ActorRef<CoordinatorMessage>,
        start: Start,
    ) -> Result<Coordinator, ActorProcessingErr> {
        let mut coordinator = Coordinator::new(start, myself);
        coordinator.after();
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
        coordinator.after();
        coordinator.seat.pulse().waits(coordinator.answers.waiting());
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<CoordinatorMessage>,
        coordinator: &mut Coordinator,
    ) -> Result<(), ActorProcessingErr> {
        coordinator.lag.end(&coordinator.leadership.doors.events);
        Ok(())
    }
}

/// The actor's state.
pub(super) struct Coordinator {
    machine: ConsumerGroup,
    /// The group as one of the classic protocol, if it is one.
    classic: Option<ClassicPart>,
    answers: Answers,
    /// What was put into transactions, by the answer that waits for it to be appended.
    in_transactions: BTreeMap<u64, (OfProducer, Vec<Put>)>,
    /// Requests that wait for the coordinators of their transactions.
    admitting: usize,
    lag: LagWatch,
    /// Where the group stands as one of KIP-848, until a record may have changed that: to tell, all members are looked at.
    state: Option<GroupState>,
    /// The request last taken.
    taken: u64,
    /// The deadline that the supervisor will wake it at.
    wakes_ms: Option<u64>,
    is_broken: bool,
    leadership: Arc<Leadership>,
    supervisor: ActorRef<SupervisorMessage>,
    myself: ActorRef<CoordinatorMessage>,
    shown: Arc<Shown>,
    seat: Seat,
}

impl Coordinator {
    fn new(start: Start, myself: ActorRef<CoordinatorMessage>) -> Self {
        let Start { id, group, leadership, supervisor, shown } = start;
        let (topics, settings) = (leadership.topics(), leadership.settings());
        let around = Surroundings { now: leadership.now(), topics: &*topics, settings: &settings };
        let lag = LagWatch::of(&id);
        let seat = leadership.doors.events.seat(Entry::new(GROUP_COORDINATOR, &*id));
        let written = group.classic.clone();
        let machine = ConsumerGroup::new(Arc::clone(&id), group, &around);
        let (answers, taken, wakes_ms, is_broken) = (Answers::default(), 0, None, false);
        let classic = None;
        let mut coordinator = Self {
            machine,
            classic,
            answers,
            in_transactions: BTreeMap::new(),
            admitting: 0,
            lag,
            state: None,
            taken,
            wakes_ms,
            is_broken,
            leadership,
            supervisor,
            myself,
            shown,
            seat,
        };
        // What a group is that became one of an application is in the records of that, whatever is left of what it was.
        if written.is_some() && !coordinator.machine.is_of_streams() {
            // What a way over to KIP-848 left that was not whole when its coordinator died.
            coordinator.decide(None, ConsumerGroup::leave_modern);
            coordinator.begin_classic(written);
        } else {
            coordinator.decide(None, ConsumerGroup::make_whole);
        }
        coordinator
    }

    fn take(&mut self, message: CoordinatorMessage) {
        match message {
            CoordinatorMessage::Settled { number, result } => self.settle(number, result),
            CoordinatorMessage::Request { number, request } => {
                self.taken = number;
                if self.is_broken {
                    request.refuse(reading_back(self.machine.id()));
                } else {
                    self.serve(*request);
                }
            }
            CoordinatorMessage::Admitted { committing, result } => {
                self.admitting = self.admitting.saturating_sub(1);
                self.admitted(*committing, result);
            }
            _ if self.is_broken => {}
            CoordinatorMessage::TransactionEnded(marker) => self.machine.end_transaction(&marker),
            CoordinatorMessage::TopicsChanged => self.decide(None, ConsumerGroup::topics_changed),
            CoordinatorMessage::Tick => {
                self.wakes_ms = None;
                self.tick();
            }
            // One that only believes to be the owner would tell a second, older lag beside the owner's.
            CoordinatorMessage::MeasureLag if self.leadership.lease.holds() => {
                self.lag.measure(&self.machine, &self.leadership);
            }
            CoordinatorMessage::MeasureLag => {}
        }
    }

    fn serve(&mut self, request: GroupRequest) {
        match request {
            GroupRequest::Heartbeat { request, host, rights, reply } => {
                self.heartbeat(&request, Sender { host: &host, rights }, reply);
            }
            GroupRequest::Commit { request, committer, reply } => {
                if self.classic.is_none() {
                    let fenced =
                        committer.and_then(|committer| self.machine.check_instance(&committer).err());
                    if let Some(refusal) = fenced {
                        return reply.give(Err(refusal));
                    }
                    return self.decide(Some(reply), |machine, around| machine.commit(around, &request));
                }
                let committer = committer.unwrap_or_else(|| Committer {
                    version: i16::MAX,
                    member: request.member.as_str().into(),
                    generation: request.member_epoch,
                    instance: None,
                });
                match self.check_classic_commit(&committer) {
                    Ok(()) => {
                        self.decide(Some(reply), |machine, around| machine.commit_checked(around, &request));
                    }
                    Err(refusal) => reply.give(Err(refusal)),
                }
            }
            GroupRequest::CommitInTransaction { request, committer, transaction, reply } => {
                self.commit_in_transaction(Committing { request, committer, transaction, reply });
            }
            GroupRequest::Unstable { reply, .. } => {
                self.decide(Some(reply), |machine, _| from_memory(Ok(machine.unstable())));
            }
            GroupRequest::Classic { request, .. } => self.serve_classic(request),
            GroupRequest::Streams { request, host, reply } => self.streams_heartbeat(&request, &host, reply),
            GroupRequest::DescribeStreams { reply, .. } => self.describe_streams(reply),
            GroupRequest::DeleteOffsets { request, reply } => self.delete_offsets(request, reply),
            GroupRequest::Delete { request, reply } => {
                // A member that was promised an id is on its way.
                if let Some(refusal) = self.deletion_refused() {
                    return reply.give(Err(refusal));
                }
                self.decide(Some(reply), |machine, around| machine.delete(around, &request));
                if self.machine.group().is_nothing() {
                    self.classic = None;
                }
            }
            GroupRequest::Fetch { request, reader, reply } => {
                let reader = reader.filter(|_| self.classic.is_none());
                self.decide(Some(reply), |machine, around| {
                    let checked =
                        reader.map_or(Ok(()), |(member, epoch)| machine.check_reader(&member, epoch));
                    from_memory(checked.map(|()| machine.fetch(around.topics, &request)))
                });
            }
            GroupRequest::Describe { request, reply } => {
                if self.classic.as_ref().is_some_and(|classic| !classic.is_nothing()) {
                    let text = format!("group {:?} is one of the classic protocol", request.group);
                    return reply.give(Err(Refusal::new(ErrorCode::GroupIdNotFound, text)));
                }
                self.decide(Some(reply), |machine, around| {
                    let described = machine.describe(around.settings);
                    let classic = machine.classic_members();
                    from_memory(described.map(|group| Described { group, classic }))
                });
            }
        }
    }

    /// Lets the machine decide, appends what it wrote, and lets the answer wait for that.
    fn decide<A: Send + 'static>(
        &mut self,
        reply: Option<Reply<Result<A, Refusal>>>,
        step: impl FnOnce(&mut ConsumerGroup, &Surroundings<'_>) -> Decision<A>,
    ) {
        self.decide_for(reply.map(|reply| move |answer| reply.give(answer)), step);
    }

    /// The same, where the answer is given otherwise.
    fn decide_for<A: Send + 'static>(
        &mut self,
        give: Option<impl FnOnce(Result<A, Refusal>) + Send + 'static>,
        step: impl FnOnce(&mut ConsumerGroup, &Surroundings<'_>) -> Decision<A>,
    ) {
        let (topics, settings) = (self.leadership.topics(), self.leadership.settings());
        let now = self.leadership.now();
        let around = Surroundings { now, topics: &*topics, settings: &settings };
        let Decision { records, answer, notices } = step(&mut self.machine, &around);
        self.tell(notices);
        if records.iter().any(|record| !matches!(record, GroupRecord::Offset { .. })) {
            self.state = None;
        }
        let waits = match (records.is_empty(), &give) {
            (false, _) => Waits::ForRecords,
            // Nobody waits, nothing was written: nothing was decided.
            (true, None) => return,
            (true, Some(_)) if self.leadership.lease.holds() => Waits::No,
            (true, Some(_)) => Waits::ForLease,
        };
        let release: Release = Box::new(move |refusal| {
            if let Some(give) = give {
                give(refusal.map_or(answer, |refusal| Err(as_coordinator(refusal))));
            }
        });
        let number = self.answers.push(waits, release);
        self.start_waiting(number, waits, now.wall_ms, &records);
    }

    fn start_waiting(&self, number: u64, waits: Waits, now_ms: i64, records: &[GroupRecord]) {
        let Leadership { partition, epoch, doors, lease, .. } = &*self.leadership;
        let done = match waits {
            Waits::No => return,
            Waits::ForLease => lease.confirm(),
            Waits::ForRecords => {
                let id = self.machine.id();
                let records = records.iter().map(|record| encode(now_ms, id, record)).collect();
                doors.log.append(*partition, *epoch, records)
            }
        };
        let myself = self.myself.clone();
        tokio::spawn(async move {
            let result = done.await;
            // Fails only if this coordinator has ended: then nobody waits.
            let _ended = myself.cast(CoordinatorMessage::Settled { number, result });
        });
    }

    fn settle(&mut self, number: u64, result: Result<(), Refusal>) {
        if let Some((of, put)) = self.in_transactions.remove(&number)
            && let Err(refusal) = &result
            && is_not_appended(refusal.code)
        {
            self.machine.take_back(of, put);
            return self.answers.refuse(number, refusal.clone());
        }
        let is_committed = result.is_ok();
        let token = self.classic.as_mut().and_then(|classic| classic.records.remove(&number));
        let settled = self.answers.settle(number, result);
        if let Some(token) = token
            && is_committed
        {
            self.decide_classic(|group, around| group.committed(around, token));
        }
        let Some(refusal) = settled else { return };
        // Who waits is told to try again when this coordinator is gone.
        self.classic = None;
        self.is_broken = true;
        let group = self.machine.id();
        self.leadership.doors.events.emit(GroupBroken { group, refusal: &refusal });
        let partition = self.leadership.partition;
        let told =
            SupervisorMessage::Broken { partition, group: Arc::clone(group), actor: self.myself.get_id() };
        let _supervisor_ended = self.supervisor.cast(told);
    }

    fn tell(&self, notices: Vec<Notice>) {
        let (events, group) = (&self.leadership.doors.events, &**self.machine.id());
        for notice in notices {
            match notice {
                Notice::Joined { member } => events.emit(MemberJoined { group, member: &member }),
                Notice::Left { member, reason } => {
                    events.emit(MemberLeft { group, member: &member, reason: reason.name() });
                }
                Notice::Retargeted { epoch, members, partitions, affected } => {
                    events.emit(GroupRetargeted { group, epoch, members, partitions, affected });
                }
                Notice::NotDowngraded { why } => events.emit(GroupNotDowngraded { group, why }),
                Notice::Forgotten { partitions } => events.emit(OffsetsForgotten { group, partitions }),
                Notice::Broken(Broken { invariant, found }) => {
                    let found = format!("group {group}: {found}");
                    events.emit(InvariantBroken { invariant, found: &found });
                }
            }
        }
    }

    /// After every message: shows the group's state, asks to be woken, and says when there is nothing left to do.
    fn after(&mut self) {
        if self.is_broken {
            return;
        }
        self.follow_classic();
        self.follow_downgrade();
        let is_classic_nothing = self.classic.as_ref().is_none_or(ClassicPart::is_nothing);
        let is_nothing = self.machine.group().is_nothing() && is_classic_nothing;
        let shown = (!is_nothing).then(|| self.shown_group());
        self.shown.set(shown);
        let (partition, group) = (self.leadership.partition, self.machine.id());
        if is_nothing && self.answers.is_empty() && self.admitting == 0 {
            let actor = self.myself.get_id();
            let told =
                SupervisorMessage::Vacant { partition, group: Arc::clone(group), actor, taken: self.taken };
            let _supervisor_ended = self.supervisor.cast(told);
        }
        let classic_ms = self.classic.as_ref().and_then(|classic| classic.group.wake_at());
        let next_ms = classic_ms.unwrap_or(u64::MAX).min(self.machine.next_deadline_ms());
        if self.wakes_ms.is_none_or(|wakes_ms| next_ms < wakes_ms) {
            self.wakes_ms = Some(next_ms);
            let told = SupervisorMessage::Deadline { partition, group: Arc::clone(group), at_ms: next_ms };
            let _supervisor_ended = self.supervisor.cast(told);
        }
    }
}

fn from_memory<A>(answer: Result<A, Refusal>) -> Decision<A> {
    Decision { records: Vec::new(), answer, notices: Vec::new() }
}

/// The refusal while a group is read back.
pub(super) fn reading_back(group: &str) -> Refusal {
    let text = format!("the coordinator reads group {group} from its log; try again");
    Refusal::new(ErrorCode::CoordinatorLoadInProgress, text)
}

/// A refusal of the log, or of the lease, as one of the coordinator.
fn as_coordinator(refusal: Refusal) -> Refusal {
    let code = coordinator_code(refusal.code);
    Refusal::new(code, format!("the coordinator could not commit its decision: {}", refusal.text))
}
