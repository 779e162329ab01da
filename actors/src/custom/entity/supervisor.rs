//! The supervisor of a node's entities: one actor for each partition of a type hosted here that the node leads. One that
//! died is begun anew and reads its log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use dashmap::DashMap;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::doors::EntityDoors;
use super::host::{HostMessage, Leadership};
use super::series::EntitySeries;
use super::types::EntityTypes;
use crate::events::ActorRestarted;
use crate::group::doors::OwnershipLease;
use crate::ids::{LeaderEpoch, PartitionId};
use crate::kinds::{ENTITY_HOST, ENTITY_SUPERVISOR};
use crate::supervision::Deaths;
use crate::supervision::roster::{Entry, Seat};

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
    /// The actor of a partition was begun, or could not be.
    Begun { partition: PartitionId, epoch: LeaderEpoch, result: Result<ActorRef<HostMessage>, String> },
    /// The wait after a death is over.
    Restart { partition: PartitionId, epoch: LeaderEpoch },
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
    origin: Instant,
    led: BTreeMap<PartitionId, Led>,
    myself: ActorRef<SupervisorMessage>,
    seat: Seat,
}

impl Actor for EntitySupervisor {
    type Msg = SupervisorMessage;
    type State = Supervision;
    type Arguments = (EntityTypes, EntityDoors, Hosts);

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        (types, doors, hosts): (EntityTypes, EntityDoors, Hosts),
    ) -> Result<Supervision, ActorProcessingErr> {
        let origin = doors.clock.now();
        let seat = doors.events.seat(Entry::new(ENTITY_SUPERVISOR, ""));
        Ok(Supervision { types, doors, hosts, origin, led: BTreeMap::new(), myself, seat })
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
                let (doors, series) = (self.doors.clone(), EntitySeries::new(&self.doors.events, &kind));
                let leadership = Leadership { kind, partition, epoch, lease, places, series, doors };
                let (host, deaths) = (Host::Begins, Deaths::default());
                self.led.insert(partition, Led { leadership, host, deaths });
                self.begin(partition);
            }
            SupervisorMessage::Resign { partition, epoch } => {
                if self.led.get(&partition).is_some_and(|led| led.leadership.epoch <= epoch) {
                    self.end(partition);
                }
            }
            SupervisorMessage::Begun { partition, epoch, result } => self.begun(partition, epoch, result),
            SupervisorMessage::Restart { partition, epoch } => {
                let Some(led) = self.led.get_mut(&partition) else { return };
                if led.leadership.epoch == epoch && matches!(led.host, Host::Rests) {
                    led.host = Host::Begins;
                    self.begin(partition);
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

    fn begin(&self, partition: PartitionId) {
        let Some(led) = self.led.get(&partition) else { return };
        let (epoch, myself) = (led.leadership.epoch, self.myself.clone());
        let Some(begun) = self.types.begin(led.leadership.clone(), myself.get_cell()) else { return };
        tokio::spawn(async move {
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
    }

    fn died(&mut self, actor: ActorId, cause: &str) {
        let is_it = |led: &Led| matches!(&led.host, Host::Runs(known) if known.get_id() == actor);
        let found = self.led.iter().find(|(_, led)| is_it(led)).map(|(partition, _)| *partition);
        if let Some(partition) = found {
            self.rest(partition, cause.to_owned());
        }
    }

    fn rest(&mut self, partition: PartitionId, cause: String) {
        let now = self.doors.clock.now().saturating_duration_since(self.origin);
        let Some(led) = self.led.get_mut(&partition) else { return };
        led.host = Host::Rests;
        self.hosts.remove(partition);
        let after = led.deaths.rest(now, &ENTITY_HOST.restarts);
        let name = led.leadership.name();
        self.doors.events.emit(ActorRestarted { kind: ENTITY_HOST.name, name: &name, cause, after });
        let (epoch, myself) = (led.leadership.epoch, self.myself.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ended = myself.cast(SupervisorMessage::Restart { partition, epoch });
        });
    }
}
