//! The coordinator of one group: an actor on the leader of the group's partition of `__consumer_offsets`.
//!
//! It decides nothing itself: the state machine does, and what it wrote is appended, in the order of the decisions.
//! When an append is refused, nobody knows what of it lies in the log, so the coordinator ends and the group is read
//! back; those who wait are told to try again. An answer that needs no records is from memory, and given only while
//! the lease on the partition holds or is confirmed (rule 8).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::doors::Leadership;
use super::lag::LagWatch;
use super::message::GroupState;
use super::modern::{ConsumerGroup, Decision, Group, Notice, Surroundings};
use super::records::{GroupRecord, encode};
use super::release::{Answers, Release, Waits};
use super::request::{GroupRequest, Reply};
use super::supervision::SupervisorMessage;
use crate::error::{ErrorCode, Refusal};
use crate::events::{
    GroupBroken, GroupRetargeted, InvariantBroken, MemberJoined, MemberLeft, OffsetsForgotten,
};
use crate::invariant::Broken;

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
            Self::Settled { .. } => "Settled",
        })
    }
}

/// What others may see of a group without asking its coordinator.
#[derive(Debug)]
pub(super) struct Shown(AtomicU8);

impl Shown {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU8::new(Self::NOTHING)))
    }

    const NOTHING: u8 = 0;

    fn set(&self, state: Option<GroupState>) {
        let number = match state {
            None => Self::NOTHING,
            Some(GroupState::Empty) => 1,
            Some(GroupState::Assigning) => 2,
            Some(GroupState::Reconciling) => 3,
            Some(GroupState::Stable) => 4,
        };
        self.0.store(number, Ordering::Relaxed);
    }

    /// The group's state; `None` while there is no such group.
    pub(super) fn state(&self) -> Option<GroupState> {
        match self.0.load(Ordering::Relaxed) {
            1 => Some(GroupState::Empty),
            2 => Some(GroupState::Assigning),
            3 => Some(GroupState::Reconciling),
            4 => Some(GroupState::Stable),
            _ => None,
        }
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
        coordinator.take(message);
        coordinator.after();
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
    answers: Answers,
    lag: LagWatch,
    /// The request last taken.
    taken: u64,
    /// The deadline that the supervisor will wake it at.
    wakes_ms: Option<u64>,
    is_broken: bool,
    leadership: Arc<Leadership>,
    supervisor: ActorRef<SupervisorMessage>,
    myself: ActorRef<CoordinatorMessage>,
    shown: Arc<Shown>,
}

impl Coordinator {
    fn new(start: Start, myself: ActorRef<CoordinatorMessage>) -> Self {
        let Start { id, group, leadership, supervisor, shown } = start;
        let (topics, settings) = (leadership.topics(), leadership.settings());
        let around = Surroundings { now: leadership.now(), topics: &*topics, settings: &settings };
        let lag = LagWatch::of(&id);
        let machine = ConsumerGroup::new(id, group, &around);
        let (answers, taken, wakes_ms, is_broken) = (Answers::default(), 0, None, false);
        Self { machine, answers, lag, taken, wakes_ms, is_broken, leadership, supervisor, myself, shown }
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
            _ if self.is_broken => {}
            CoordinatorMessage::TopicsChanged => self.decide(None, ConsumerGroup::topics_changed),
            CoordinatorMessage::Tick => {
                self.wakes_ms = None;
                self.decide(None, ConsumerGroup::tick);
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
            GroupRequest::Heartbeat { request, host, reply } => {
                self.decide(Some(reply), |machine, around| machine.heartbeat(around, &host, &request));
            }
            GroupRequest::Commit { request, reply } => {
                self.decide(Some(reply), |machine, around| machine.commit(around, &request));
            }
            GroupRequest::DeleteOffsets { request, reply } => {
                self.decide(Some(reply), |machine, around| machine.delete_offsets(around, &request));
            }
            GroupRequest::Delete { request, reply } => {
                self.decide(Some(reply), |machine, around| machine.delete(around, &request));
            }
            GroupRequest::Fetch { request, reply } => {
                self.decide(Some(reply), |machine, around| {
                    from_memory(Ok(machine.fetch(around.topics, &request)))
                });
            }
            GroupRequest::Describe { reply, .. } => {
                self.decide(Some(reply), |machine, around| from_memory(machine.describe(around.settings)));
            }
        }
    }

    /// Lets the machine decide, appends what it wrote, and lets the answer wait for that.
    fn decide<A: Send + 'static>(
        &mut self,
        reply: Option<Reply<Result<A, Refusal>>>,
        step: impl FnOnce(&mut ConsumerGroup, &Surroundings<'_>) -> Decision<A>,
    ) {
        let (topics, settings) = (self.leadership.topics(), self.leadership.settings());
        let now = self.leadership.now();
        let around = Surroundings { now, topics: &*topics, settings: &settings };
        let Decision { records, answer, notices } = step(&mut self.machine, &around);
        self.tell(notices);
        let waits = match (records.is_empty(), &reply) {
            (false, _) => Waits::ForRecords,
            // Nobody waits, nothing was written: nothing was decided.
            (true, None) => return,
            (true, Some(_)) if self.leadership.lease.holds() => Waits::No,
            (true, Some(_)) => Waits::ForLease,
        };
        let release: Release = Box::new(move |refusal| {
            if let Some(reply) = reply {
                reply.give(refusal.map_or(answer, |refusal| Err(as_coordinator(refusal))));
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
        let Some(refusal) = self.answers.settle(number, result) else { return };
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
        let is_nothing = self.machine.group().is_nothing();
        self.shown.set((!is_nothing).then(|| self.machine.state()));
        let (partition, group) = (self.leadership.partition, self.machine.id());
        if is_nothing && self.answers.is_empty() {
            let actor = self.myself.get_id();
            let told =
                SupervisorMessage::Vacant { partition, group: Arc::clone(group), actor, taken: self.taken };
            let _supervisor_ended = self.supervisor.cast(told);
        }
        let next_ms = self.machine.next_deadline_ms();
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
    let code = match refusal.code {
        ErrorCode::NotLeaderOrFollower
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::UnknownLeaderEpoch
        | ErrorCode::KafkaStorageError
        | ErrorCode::NotCoordinator => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::InvalidRecord => ErrorCode::UnknownServerError,
        _ => ErrorCode::CoordinatorNotAvailable,
    };
    Refusal::new(code, format!("the coordinator could not commit its decision: {}", refusal.text))
}
