//! The actor of one replica: sole owner of one log, on one core. Performs what its state decides.
//!
//! Requests come through the mailbox and may be refused there; completions come through the [`Inbox`]. All handlers
//! are synchronous. After every message the replica *settles*: what was gathered is written, answers that have become
//! due are given, the timer is set.

mod clean;
mod fetch;
mod follow;
mod keyed;
mod lead;
mod mark;
mod nearby;
mod offsets;
mod perform;
pub(crate) mod produce;
mod standing;
mod trim;
mod upkeep;
mod verify;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use millstream_transport::world::Threads;

pub use fetch::{EndOne, FetchOne};
pub use keyed::Unpackings;
pub use mark::{MarkOne, ProducersOne};
pub use offsets::{EpochOne, ListOne};
pub use produce::ProduceOne;
pub use standing::{SizeOf, Standing, StandingOf};
pub use trim::DeleteOne;
pub use upkeep::producers_of;
pub use verify::AdmitOne;

use self::keyed::Unlooked;
use self::lead::Fed;
use self::produce::Gathered;
use self::upkeep::{Uncommitted, Upkeep};
use self::verify::Unverified;
use super::acknowledge::Acknowledgements;
use super::append::{ProducerLimits, ProducerTable};
use super::core_clock::CoreClock;
use super::deliver::Deliveries;
use super::following::LeaderLinks;
use super::inbox::{Inbox, Wake};
use super::memory::Budget;
use super::reply::Reply;
use super::state::{Failure, Input, LogFacts, ReplicaState, Role, Settings};
use super::trim::Trims;
use super::verify::VerifierDoor;
use super::warden::{OnTheBench, Quarantine, Warden};
use crate::error::{ErrorCode, Refusal};
use crate::events::Events;
use crate::events::partition::{PartitionSeries, ReplicasMissing};
use crate::ids::{LeaderEpoch, Member, NodeId, Offset, PartitionId};
use crate::invariant::{Broken, Invariant};
use crate::kinds::REPLICA;
use crate::log::{Log, LogError};
use crate::supervision::roster::{Seat, Turn};
use crate::topic_config::FlushPolicy;

/// What all replicas of a node share.
#[derive(Debug)]
pub struct ReplicaShared {
    /// Where happenings are told.
    pub events: Events,
    /// The series that move with every request.
    pub series: PartitionSeries,
    /// Bounds of patience.
    pub settings: Settings,
    /// `log.retention.check.interval.ms`, and how often a moved high watermark is kept.
    pub upkeep: UpkeepSettings,
    /// How much is remembered of producers.
    pub producers: ProducerLimits,
    /// Requests that are refused because they kill.
    pub quarantine: Arc<Quarantine>,
    /// Whom the replicas report to.
    pub warden: Arc<dyn Warden>,
    /// Where coordinators are asked about transactions.
    pub verifier: VerifierDoor,
    /// Where reads of the disk go, so that they hold up nobody else on the core.
    pub threads: Threads,
    /// Memory for such reads under way; one more is refused.
    pub cold_reads: Budget,
    /// Turns at unpacking what is sent to compacted topics.
    pub unpackings: Unpackings,
    /// Memory for looks for records by their time; one more is refused.
    pub timed_looks: Budget,
    /// Turns at unpacking for these: producers do not wait behind those who ask for many offsets.
    pub timed_unpackings: Unpackings,
}

/// When a replica looks after its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpkeepSettings {
    /// How often segments are looked at for retention and rolling.
    pub retention_check: Duration,
    /// How long a moved high watermark is not kept.
    pub checkpoint: Duration,
}

impl Default for UpkeepSettings {
    fn default() -> Self {
        Self { retention_check: Duration::from_secs(60), checkpoint: Duration::from_secs(5) }
    }
}

/// What one replica is begun with.
#[derive(Debug)]
pub struct ReplicaParts {
    /// The partition.
    pub partition: PartitionId,
    /// Who it is.
    pub me: Member,
    /// Its log, recovered.
    pub log: Log,
    /// The high watermark that was kept.
    pub high_watermark: Offset,
    /// Where recovery found it damaged below what was durable.
    pub damage: Option<LogError>,
    /// The producers as recovery found them.
    pub producers: ProducerTable,
    /// Epochs up to this one it never leads in (rule 1).
    pub floor: Option<LeaderEpoch>,
    /// Tells it from replicas of this partition before and after it.
    pub life: u64,
    /// Its completions.
    pub inbox: Inbox,
    /// What it works on.
    pub bench: Arc<OnTheBench>,
    /// What it shares.
    pub shared: Arc<ReplicaShared>,
}

/// One replica.
pub struct Replica {
    partition: PartitionId,
    topic: Arc<str>,
    me: Member,
    life: u64,
    state: ReplicaState,
    log: Log,
    policy: FlushPolicy,
    producers: ProducerTable,
    gathered: Gathered,
    unlooked: Unlooked,
    unverified: Unverified,
    acks: Acknowledgements,
    deliveries: Deliveries,
    trims: Trims,
    feeds: BTreeMap<NodeId, Fed>,
    upkeep: Upkeep,
    uncommitted: Uncommitted,
    inbox: Inbox,
    bench: Arc<OnTheBench>,
    links: Box<dyn LeaderLinks>,
    shared: Arc<ReplicaShared>,
    clock: Rc<CoreClock>,
    myself: Option<Addr<Self>>,
    timer: Option<Duration>,
    left_set: bool,
    tally: Tally,
    clean: bool,
    /// What recovery found, until the topic's name is known to tell it with.
    untold: Option<LogError>,
    /// Among the live actors of the node, once the topic's name is known.
    seat: Option<Seat>,
}

/// What this replica counts for in the node's gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    leads: bool,
    under_replicated: bool,
    /// Replicas outside of the in-sync set.
    missing: usize,
    under_min_in_sync: bool,
    offline: bool,
    fetches_waiting: usize,
}

impl Replica {
    /// A replica on this core's thread. It does nothing until it is told what the image says.
    #[must_use]
    pub fn new(parts: ReplicaParts, links: Box<dyn LeaderLinks>, clock: Rc<CoreClock>) -> Self {
        let ReplicaParts { partition, me, log, high_watermark, producers, floor, life, .. } = parts;
        let facts = facts_of(&log, FlushPolicy::Sync);
        let mut state = ReplicaState::new(me, parts.shared.settings, floor, facts, high_watermark);
        if parts.damage.is_some() {
            // What recovery found damaged is not in the log, which takes nothing before it is cut there.
            state.step(clock.now(), Input::Damaged(facts.end));
        }
        Self {
            partition,
            topic: Arc::from(""),
            me,
            life,
            state,
            log,
            policy: FlushPolicy::Sync,
            trims: Trims::new(facts.start),
            producers,
            gathered: Gathered::default(),
            unlooked: Unlooked::default(),
            unverified: Unverified::default(),
            acks: Acknowledgements::default(),
            deliveries: Deliveries::default(),
            feeds: BTreeMap::new(),
            upkeep: Upkeep::new(high_watermark),
            uncommitted: Uncommitted::default(),
            inbox: parts.inbox,
            bench: parts.bench,
            links,
            shared: parts.shared,
            clock,
            myself: None,
            timer: None,
            left_set: false,
            tally: Tally::default(),
            clean: false,
            untold: parts.damage,
            seat: None,
        }
    }

    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn facts(&self) -> LogFacts {
        facts_of(&self.log, self.policy)
    }

    /// A message is handled from now on, until what this gives is dropped.
    fn turn(&self) -> Option<Turn> {
        self.seat.as_ref().and_then(Seat::turn)
    }

    /// Requests that are not answered.
    fn unanswered(&self) -> usize {
        self.acks.len()
            + self.deliveries.len()
            + self.gathered.len()
            + self.trims.len()
            + self.unlooked.len()
            + self.unverified.len()
    }

    /// Tells the state what happened and performs what it decides.
    fn step(&mut self, input: Input) {
        let effects = self.state.step(self.now(), input);
        for effect in effects {
            self.perform(effect);
        }
    }

    /// After every message: answers that are due, gauges, the next timer.
    fn settle(&mut self) {
        let enough = self.has_enough_in_sync();
        self.producers.committed(self.state.high_watermark().value());
        let (high_watermark, durable_end) =
            (self.state.high_watermark().value(), self.state.log().durable_end);
        let (now, series) = (self.clock.now(), &self.shared.series);
        self.acks.release(high_watermark, durable_end, enough, |since| {
            series.produce_seconds.record(now.saturating_sub(since).as_secs_f64());
        });
        if let Some(broken) = self.acks.over_bound().or_else(|| self.deliveries.over_bound()) {
            self.broke(&broken);
        }
        self.settle_trims();
        self.count();
        if let Some(seat) = &self.seat {
            seat.pulse().waits(self.unanswered());
        }
        self.set_timer();
    }

    fn has_enough_in_sync(&self) -> bool {
        match self.state.role() {
            Role::Leader(leader) => {
                let wanted =
                    self.state.assignment().map_or(1, |assigned| assigned.config.min_insync_replicas);
                leader.in_sync().committed().len() >= usize::try_from(wanted).unwrap_or(usize::MAX)
            }
            Role::Follower(_) | Role::Offline(_) => false,
        }
    }

    fn set_timer(&mut self) {
        let now = self.now();
        let due = [
            self.acks.next_deadline(),
            self.deliveries.next_deadline(),
            self.trims.next_deadline(),
            self.state.wants_tick(now),
            self.upkeep.due(now, &self.shared.upkeep),
        ];
        let Some(next) = due.into_iter().flatten().min() else { return };
        if self.timer.is_none_or(|timer| next < timer) {
            self.timer = Some(next);
            self.clock.wake_at(next, self.inbox.clone());
        }
    }

    fn ticked(&mut self) {
        let now = self.now();
        self.timer = None;
        self.acks.expire(now);
        self.deliveries.expire(now);
        self.trims.expire(now);
        self.step(Input::Tick);
        self.look_after_the_log();
    }

    /// Moves the node's gauges by what has changed for this replica.
    fn count(&mut self) {
        let mut tally = Tally { fetches_waiting: self.deliveries.len(), ..Tally::default() };
        match self.state.role() {
            Role::Leader(leader) => {
                let replicas = self.state.assignment().map_or(0, |assigned| assigned.replicas.len());
                tally.leads = true;
                tally.missing = replicas.saturating_sub(leader.in_sync().committed().len());
                tally.under_replicated = tally.missing > 0;
                tally.under_min_in_sync = !self.has_enough_in_sync();
            }
            Role::Follower(_) => {}
            Role::Offline(_) => tally.offline = true,
        }
        let before = std::mem::replace(&mut self.tally, tally);
        self.tell_tally(before, tally);
    }

    fn tell_tally(&self, before: Tally, now: Tally) {
        if before == now {
            return;
        }
        let series = &self.shared.series;
        for (gauge, before, now) in [
            (&series.led, before.leads, now.leads),
            (&series.under_replicated, before.under_replicated, now.under_replicated),
            (&series.under_min_in_sync, before.under_min_in_sync, now.under_min_in_sync),
            (&series.offline, before.offline, now.offline),
        ] {
            match (before, now) {
                (false, true) => gauge.increment(1.0),
                (true, false) => gauge.decrement(1.0),
                _ => {}
            }
        }
        if (before.leads, before.missing) != (now.leads, now.missing) {
            let (topic, partition, missing) = (self.topic.as_ref(), self.partition, now.missing);
            self.shared.events.emit(ReplicasMissing { topic, partition, missing });
        }
        let count = |waiting: usize| f64::from(u32::try_from(waiting).unwrap_or(u32::MAX));
        series.fetches_waiting.increment(count(now.fetches_waiting) - count(before.fetches_waiting));
    }

    /// Checks that this replica leads, in this epoch if one is named.
    fn check_leads(&self, epoch: Option<LeaderEpoch>) -> Result<LeaderEpoch, Refusal> {
        let current = self.state.epoch();
        let leads = match self.state.role() {
            Role::Leader(_) => Ok(()),
            Role::Offline(failure) => {
                let text = format!("the replica on node {} is offline: {failure}", self.me.node);
                Err(Refusal::new(ErrorCode::KafkaStorageError, text))
            }
            Role::Follower(_) => Err(self.not_leader()),
        };
        match epoch {
            Some(epoch) if epoch > current => {
                let text =
                    format!("this node knows epoch {current} only, epoch {epoch} was asked for; try again");
                Err(Refusal::new(ErrorCode::UnknownLeaderEpoch, text))
            }
            _ if leads.is_err() => leads.map(|()| current),
            Some(epoch) if epoch < current => {
                let text =
                    format!("epoch {epoch} is over, this node leads in epoch {current}; refresh metadata");
                Err(Refusal::new(ErrorCode::FencedLeaderEpoch, text))
            }
            _ => Ok(current),
        }
    }

    fn not_leader(&self) -> Refusal {
        let leader = self.state.assignment().and_then(|assigned| assigned.leader);
        let text = match leader {
            Some(leader) if leader.node != self.me.node => {
                format!("node {} leads {}-{}, not this one", leader.node, self.topic, self.partition.index)
            }
            _ => format!("{}-{} has no leader now; try again", self.topic, self.partition.index),
        };
        Refusal::new(ErrorCode::NotLeaderOrFollower, text)
    }

    /// A log call failed. What it was is the state's to judge.
    fn log_failed(&mut self, error: &LogError) {
        match error {
            LogError::Corrupt { offset, .. } => self.damage_found(*offset, &error.to_string()),
            LogError::NoSpace { .. } | LogError::OutOfRange { .. } | LogError::Io { .. } => {}
            LogError::DirectoryFailed { .. } | LogError::Closed { .. } => {
                self.step(Input::Failed(Failure::Directory));
            }
            LogError::NotNext { .. } => {
                // What is appended was numbered here, or checked: the log never has a reason to refuse it.
                self.broke(&Broken::new(Invariant::NothingAcknowledgedIsLost, error.to_string()));
            }
            _ => {
                tracing::error!(partition = %self.partition, %error, "the log refused what it never should");
                self.step(Input::Failed(Failure::Invariant));
            }
        }
    }
}

/// What the state needs to know of a log. With `os` what is appended counts as durable.
fn facts_of(log: &Log, policy: FlushPolicy) -> LogFacts {
    let end = log.end();
    LogFacts {
        start: log.start(),
        end,
        durable_end: match policy {
            FlushPolicy::Sync => log.durable_end(),
            FlushPolicy::Os => end,
        },
        last_epoch: log.epochs().last_written(),
    }
}

impl Actor for Replica {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(REPLICA.mailbox_max);
        self.myself = Some(context.address());
        self.inbox.belongs_to(context.address().recipient());
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.tell_tally(self.tally, Tally::default());
        self.shared.warden.down(self.partition, self.life, self.clean);
    }
}

impl Handler<Wake> for Replica {
    type Result = ();

    fn handle(&mut self, _: Wake, _: &mut Self::Context) {
        let _turn = self.turn();
        let completions = self.inbox.take();
        if let Some(result) = completions.synced {
            self.synced(result);
        }
        if let Some(kept) = completions.kept_start {
            self.start_kept(kept);
        }
        if let Some(assignment) = completions.assignment {
            self.assigned(assignment);
        }
        if let Some((epoch, attempt, outcome)) = completions.settled {
            self.step(Input::Settled(epoch, attempt, outcome));
        }
        if completions.tick {
            self.ticked();
        }
        self.settle();
    }
}

/// Ends the replica: what it knows is kept, its log closed. Answered when that is done.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Stop(pub Reply<()>);

impl Handler<Stop> for Replica {
    type Result = ();

    fn handle(&mut self, stop: Stop, context: &mut Self::Context) {
        let _turn = self.turn();
        self.write_gathered();
        self.settle();
        let refusal =
            Refusal::new(ErrorCode::NotLeaderOrFollower, "the replica is being stopped; look for the leader");
        self.refuse_waiting(&refusal);
        let unanswered = self.unanswered();
        if unanswered > 0 {
            let found = format!("{unanswered} requests were left without an answer at the end");
            self.broke(&Broken::new(Invariant::OneAnswer, found));
        }
        self.links.close(self.partition);
        self.keep_what_is_known();
        self.clean = true;
        stop.0.send(Ok(()));
        context.stop();
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Replica")
            .field("partition", &self.partition)
            .field("life", &self.life)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
