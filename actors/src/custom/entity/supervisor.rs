//! The supervisor of a node's entities: one actor for each partition of a type hosted here that the node leads, and one for
//! the indexes of all that it follows. One that died is begun anew and reads its log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::doors::EntityDoors;
use super::formats::Formats;
use super::host::{HostMessage, Leadership};
use super::series::EntitySeries;
use super::standby::Handed;
use super::standby_host::{EntityStandby, StandbyMessage};
use super::types::EntityTypes;
use crate::events::ActorRestarted;
use crate::group::doors::OwnershipLease;
use crate::ids::{LeaderEpoch, PartitionId};
use crate::kinds::{ActorKind, ENTITY_HOST, ENTITY_STANDBY, ENTITY_SUPERVISOR};
use crate::supervision::roster::{Entry, Seat};
use crate::supervision::{Deaths, EarlyDeaths};

/// The actor of a partition, and the places for those who ask it.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) actor: ActorRef<HostMessage>,
    pub(super) places: Arc<Semaphore>,
    pub(super) series: EntitySeries,
}

/// The actors of the partitions led here: any thread finds them. Cheap to clone; all clones see the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Arc<DashMap<PartitionId, Door>>);

impl Hosts {
    pub(super) fn get(&self, partition: PartitionId) -> Option<Door> {
        self.0.get(&partition).map(|door| door.clone())
    }

    fn insert(&self, actor: ActorRef<HostMessage>, leadership: &Leadership) {
        let (places, series) = (Arc::clone(&leadership.places), leadership.series.clone());
        self.0.insert(leadership.partition, Door { actor, places, series });
    }

    fn remove(&self, partition: PartitionId) {
        self.0.remove(&partition);
    }
}

/// What the supervisor is told.
pub(super) enum SupervisorMessage {
    /// This node leads the partition in this epoch.
    Lead { kind: Arc<str>, partition: PartitionId, epoch: LeaderEpoch, lease: Arc<dyn OwnershipLease> },
    /// It leads it in this epoch no more.
    Resign { partition: PartitionId, epoch: LeaderEpoch },
    /// This node has a replica of the partition that another leads.
    Follow { partition: PartitionId },
    /// It has none any more.
    Leave { partition: PartitionId },
    /// The actor of a partition was begun, or could not be.
    Begun { partition: PartitionId, epoch: LeaderEpoch, result: Result<ActorRef<HostMessage>, String> },
    /// The wait after a death is over.
    Restart { partition: PartitionId, epoch: LeaderEpoch },
    /// The same of the standby.
    RestartStandby,
    /// The standby was begun, or could not be.
    StandbyBegun(Result<ActorRef<StandbyMessage>, String>),
}

impl ractor::Message for SupervisorMessage {}

impl fmt::Debug for SupervisorMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SupervisorMessage")
    }
}

/// The actor.
pub(super) struct EntitySupervisor;

/// A partition that is led here.
struct Led {
    leadership: Leadership,
    host: Host,
    deaths: Deaths,
}

/// The actor of all partitions that are followed here.
enum Standby {
    /// There is none: nothing was followed yet, or it rests after a death.
    Away,
    /// It is being begun.
    Begins,
    Runs(ActorRef<StandbyMessage>),
}

enum Host {
    /// It is being begun.
    Begins,
    Runs(ActorRef<HostMessage>),
    /// It rests after a death.
    Rests,
}

/// The actor's state.
pub(super) struct Supervision {
    types: EntityTypes,
    doors: EntityDoors,
    hosts: Hosts,
    formats: Formats,
    origin: Instant,
    led: BTreeMap<PartitionId, Led>,
    dead: EarlyDeaths,
    followed: BTreeSet<PartitionId>,
    standby: Standby,
    standby_deaths: Deaths,
    myself: ActorRef<SupervisorMessage>,
    seat: Seat,
}

impl Actor for EntitySupervisor {
    type Msg = SupervisorMessage;
    type State = Supervision;
    type Arguments = (EntityTypes, EntityDoors, Hosts, Formats);

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        (types, doors, hosts, formats): (EntityTypes, EntityDoors, Hosts, Formats),
    ) -> Result<Supervision, ActorProcessingErr> {
        let origin = doors.clock.now();
        let seat = doors.events.seat(Entry::new(ENTITY_SUPERVISOR, ""));
        Ok(Supervision {
            types,
            doors,
            hosts,
            formats,
            origin,
            led: BTreeMap::new(),
            dead: EarlyDeaths::default(),
            followed: BTreeSet::new(),
            standby: Standby::Away,
            standby_deaths: Deaths::default(),
            myself,
            seat,
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        supervision: &mut Supervision,
    ) -> Result<(), ActorProcessingErr> {
        let _turn = supervision.seat.turn();
        supervision.take(message);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        supervision: &mut Supervision,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(actor, cause) = event {
            supervision.died(actor.get_id(), &cause.to_string());
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        supervision: &mut Supervision,
    ) -> Result<(), ActorProcessingErr> {
        while let Some(partition) = supervision.led.keys().next().copied() {
            supervision.end(partition);
        }
        Ok(())
    }
}

impl Supervision {
    fn take(&mut self, message: SupervisorMessage) {
        match message {
            SupervisorMessage::Lead { kind, partition, epoch, lease } => {
                if self.led.get(&partition).is_some_and(|led| led.leadership.epoch >= epoch) {
                    return;
                }
                self.end(partition);
                let places = Arc::new(Semaphore::new(ENTITY_HOST.mailbox_max));
                let (doors, formats) = (self.doors.clone(), self.formats.clone());
                let series = EntitySeries::new(&self.doors.events, &kind);
                let leadership = Leadership { kind, partition, epoch, lease, places, series, doors, formats };
                let (host, deaths) = (Host::Begins, Deaths::default());
                self.led.insert(partition, Led { leadership, host, deaths });
                self.followed.remove(&partition);
                let handed = self.hand_over(partition);
                self.begin(partition, handed);
            }
            SupervisorMessage::Resign { partition, epoch } => {
                if self.led.get(&partition).is_some_and(|led| led.leadership.epoch <= epoch) {
                    self.end(partition);
                }
            }
            SupervisorMessage::Follow { partition } => self.follow(partition),
            SupervisorMessage::Leave { partition } => {
                self.followed.remove(&partition);
                self.tell_standby(StandbyMessage::Leave(partition));
            }
            SupervisorMessage::RestartStandby => self.begin_standby(),
            SupervisorMessage::StandbyBegun(result) => self.standby_begun(result),
            SupervisorMessage::Begun { partition, epoch, result } => self.begun(partition, epoch, result),
            SupervisorMessage::Restart { partition, epoch } => {
                let Some(led) = self.led.get_mut(&partition) else { return };
                if led.leadership.epoch == epoch && matches!(led.host, Host::Rests) {
                    led.host = Host::Begins;
                    self.begin(partition, None);
                }
            }
        }
    }

    /// It has lost its epoch: nothing that it has begun counts, so it need not end it.
    fn end(&mut self, partition: PartitionId) {
        self.hosts.remove(partition);
        if let Some(Led { host: Host::Runs(actor), .. }) = self.led.remove(&partition) {
            actor.kill();
        }
    }

    /// `handed` brings what is known of the log already, if anything is.
    fn begin(&self, partition: PartitionId, handed: Option<oneshot::Receiver<Handed>>) {
        let Some(led) = self.led.get(&partition) else { return };
        let (epoch, leadership, myself) = (led.leadership.epoch, led.leadership.clone(), self.myself.clone());
        let types = self.types.clone();
        tokio::spawn(async move {
            let handed = match handed {
                // A standby that has died has nothing any more.
                Some(handed) => handed.await.unwrap_or_default(),
                None => Handed::default(),
            };
            let Some(begun) = types.begin(leadership, handed, myself.get_cell()) else { return };
            let result = begun.await;
            let _ended = myself.cast(SupervisorMessage::Begun { partition, epoch, result });
        });
    }

    fn begun(
        &mut self,
        partition: PartitionId,
        epoch: LeaderEpoch,
        result: Result<ActorRef<HostMessage>, String>,
    ) {
        // One may have died already: the news of that is faster.
        let result = self.alive(result);
        let led = self.led.get_mut(&partition);
        match (result, led.filter(|led| led.leadership.epoch == epoch)) {
            (Ok(actor), Some(led)) => {
                led.host = Host::Runs(actor.clone());
                self.hosts.insert(actor, &led.leadership);
            }
            (Ok(actor), None) => actor.kill(),
            (Err(error), Some(_)) => self.rest(partition, error),
            (Err(_), None) => {}
        }
        self.forget_early_deaths();
    }

    /// An actor that was begun, unless it has died already.
    fn alive<M>(&mut self, begun: Result<ActorRef<M>, String>) -> Result<ActorRef<M>, String> {
        begun.and_then(|actor| match self.dead.cause(actor.get_id()) {
            Some(cause) => Err(cause),
            None => Ok(actor),
        })
    }

    fn begins(&self) -> bool {
        matches!(self.standby, Standby::Begins)
            || self.led.values().any(|led| matches!(led.host, Host::Begins))
    }

    fn forget_early_deaths(&mut self) {
        if !self.begins() {
            self.dead = EarlyDeaths::default();
        }
    }

    fn died(&mut self, actor: ActorId, cause: &str) {
        if matches!(&self.standby, Standby::Runs(standby) if standby.get_id() == actor) {
            return self.rest_standby(cause.to_owned());
        }
        let is_it = |led: &Led| matches!(&led.host, Host::Runs(known) if known.get_id() == actor);
        let found = self.led.iter().find(|(_, led)| is_it(led)).map(|(partition, _)| *partition);
        match found {
            Some(partition) => self.rest(partition, cause.to_owned()),
            // One that begins, perhaps: it is looked for when it is heard that it has begun.
            None if self.begins() => self.dead.note(actor, cause),
            None => {}
        }
    }

    fn follow(&mut self, partition: PartitionId) {
        // What is led is known to its own actor.
        if !self.led.contains_key(&partition) && self.followed.insert(partition) {
            match &self.standby {
                Standby::Runs(_) => self.tell_standby(StandbyMessage::Follow(partition)),
                Standby::Away if self.followed.len() == 1 => self.begin_standby(),
                // Once it is begun it follows all.
                Standby::Away | Standby::Begins => {}
            }
        }
    }

    /// Begins the standby: the first time when there is something to follow, so that other nodes have no users' threads.
    fn begin_standby(&mut self) {
        if !matches!(self.standby, Standby::Away) {
            return;
        }
        self.standby = Standby::Begins;
        let (doors, supervisor, myself) = (self.doors.clone(), self.myself.get_cell(), self.myself.clone());
        // What an actor spawns runs where it was spawned: on the users' threads.
        let spawned = self
            .doors
            .threads
            .spawn(async move { Actor::spawn_linked(None, EntityStandby, doors, supervisor).await });
        // Not waited for here: users' code may keep its threads busy.
        tokio::spawn(async move {
            let begun = match spawned {
                Ok(task) => task.await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let begun = begun.and_then(|begun| begun.map_err(|error| error.to_string()));
            let _ended = myself.cast(SupervisorMessage::StandbyBegun(begun.map(|(standby, _)| standby)));
        });
    }

    fn standby_begun(&mut self, begun: Result<ActorRef<StandbyMessage>, String>) {
        match self.alive(begun) {
            Ok(standby) => {
                self.standby = Standby::Runs(standby);
                for partition in &self.followed {
                    self.tell_standby(StandbyMessage::Follow(*partition));
                }
            }
            Err(error) => self.rest_standby(error),
        }
        self.forget_early_deaths();
    }

    fn rest_standby(&mut self, cause: String) {
        self.standby = Standby::Away;
        let after =
            Self::rests(&self.doors, self.origin, &mut self.standby_deaths, (&ENTITY_STANDBY, ""), cause);
        let myself = self.myself.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ended = myself.cast(SupervisorMessage::RestartStandby);
        });
    }

    fn tell_standby(&self, message: StandbyMessage) {
        if let Standby::Runs(standby) = &self.standby {
            // One that has ended is begun anew, and told all that is followed then.
            let _ended = standby.cast(message);
        }
    }

    /// The table of a partition that is led from now on.
    fn hand_over(&self, partition: PartitionId) -> Option<oneshot::Receiver<Handed>> {
        let Standby::Runs(standby) = &self.standby else { return None };
        let (reply, handed) = oneshot::channel();
        // One that has ended has nothing.
        let _ended = standby.cast(StandbyMessage::HandOver { partition, reply });
        Some(handed)
    }

    fn rest(&mut self, partition: PartitionId, cause: String) {
        let Some(led) = self.led.get_mut(&partition) else { return };
        led.host = Host::Rests;
        self.hosts.remove(partition);
        let name = led.leadership.name();
        let after = Self::rests(&self.doors, self.origin, &mut led.deaths, (&ENTITY_HOST, &name), cause);
        let (epoch, myself) = (led.leadership.epoch, self.myself.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ended = myself.cast(SupervisorMessage::Restart { partition, epoch });
        });
    }

    /// How long one rests that died once more.
    fn rests(
        doors: &EntityDoors,
        origin: Instant,
        deaths: &mut Deaths,
        (kind, name): (&ActorKind, &str),
        cause: String,
    ) -> Duration {
        let now = doors.clock.now().saturating_duration_since(origin);
        let after = deaths.rest(now, &kind.restarts);
        doors.events.emit(ActorRestarted { kind: kind.name, name, cause, after });
        after
    }
}
