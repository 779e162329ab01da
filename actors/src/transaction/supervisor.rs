//! The supervisor of a node's transaction coordinators: one for each partition of `__transaction_state` that the node
//! leads. One that panicked is begun anew and reads its log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::coordinator::{CoordinatorMessage, Leadership, TransactionCoordinator};
use super::doors::TransactionDoors;
use super::request::{ListedTransaction, TransactionRequest};
use crate::error::{ErrorCode, Refusal};
use crate::events::ActorRestarted;
use crate::group::doors::OwnershipLease;
use crate::group::request::Reply;
use crate::ids::LeaderEpoch;
use crate::kinds::TRANSACTION_COORDINATOR;
use crate::supervision::Deaths;
use crate::supervision::roster::Seat;

/// What the supervisor is told.
pub(super) enum SupervisorMessage {
    /// This node leads the partition in this epoch.
    Lead { partition: i32, epoch: LeaderEpoch, lease: Arc<dyn OwnershipLease> },
    /// It leads it in this epoch no more.
    Resign { partition: i32, epoch: LeaderEpoch },
    /// A request, and the partition of its transactional id.
    Request { partition: i32, id: Arc<str>, request: TransactionRequest },
    /// Lists the ids of all partitions.
    List { reply: Reply<Result<Vec<ListedTransaction>, Refusal>> },
    /// The wait after a death is over.
    Restart { partition: i32, epoch: LeaderEpoch },
}

impl ractor::Message for SupervisorMessage {}

impl fmt::Debug for SupervisorMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SupervisorMessage")
    }
}

/// The actor.
pub(super) struct TransactionSupervisor;

/// A partition that is led here.
struct Led {
    leadership: Leadership,
    /// None while it rests after a death.
    actor: Option<ActorRef<CoordinatorMessage>>,
    deaths: Deaths,
}

/// The actor's state.
pub(super) struct Supervision {
    doors: TransactionDoors,
    origin: Instant,
    led: BTreeMap<i32, Led>,
    myself: ActorRef<SupervisorMessage>,
    seat: Seat,
}

impl Actor for TransactionSupervisor {
    type Msg = SupervisorMessage;
    type State = Supervision;
    type Arguments = (TransactionDoors, Seat);

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        (doors, seat): (TransactionDoors, Seat),
    ) -> Result<Supervision, ActorProcessingErr> {
        let origin = doors.clock.now();
        Ok(Supervision { doors, origin, led: BTreeMap::new(), myself, seat })
    }

    async fn handle(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        supervision: &mut Supervision,
    ) -> Result<(), ActorProcessingErr> {
        let _turn = supervision.seat.turn();
        supervision.take(message).await;
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
        for led in supervision.led.values() {
            led.end();
        }
        Ok(())
    }
}

impl Led {
    fn end(&self) {
        if let Some(actor) = &self.actor {
            actor.stop(None);
        }
    }
}

impl Supervision {
    async fn take(&mut self, message: SupervisorMessage) {
        match message {
            SupervisorMessage::Lead { partition, epoch, lease } => {
                match self.led.get(&partition) {
                    Some(led) if led.leadership.epoch >= epoch => return,
                    Some(led) => led.end(),
                    None => {}
                }
                let leadership = Leadership { partition, epoch, lease, doors: self.doors.clone() };
                self.led.insert(partition, Led { leadership, actor: None, deaths: Deaths::default() });
                self.start(partition).await;
            }
            SupervisorMessage::Resign { partition, epoch } => {
                if self.led.get(&partition).is_some_and(|led| led.leadership.epoch <= epoch)
                    && let Some(led) = self.led.remove(&partition)
                {
                    led.end();
                }
            }
            SupervisorMessage::Request { partition, id, request } => match self.led.get(&partition) {
                Some(Led { actor: Some(actor), .. }) => {
                    // One that has ended drops it, and with it its reply: the asker is told to try again.
                    let _ended = actor.cast(CoordinatorMessage::Request { id, request });
                }
                Some(_) => request.refuse(resting(partition)),
                None => request.refuse(not_coordinator(partition)),
            },
            SupervisorMessage::List { reply } => self.list(reply),
            SupervisorMessage::Restart { partition, epoch } => {
                let is_same = |led: &Led| led.leadership.epoch == epoch && led.actor.is_none();
                if self.led.get(&partition).is_some_and(is_same) {
                    self.start(partition).await;
                }
            }
        }
    }

    async fn start(&mut self, partition: i32) {
        let Some(led) = self.led.get_mut(&partition) else { return };
        let (leadership, me) = (led.leadership.clone(), self.myself.get_cell());
        // Without a name: names are of the whole process, in which other nodes may live.
        match Actor::spawn_linked(None, TransactionCoordinator, leadership, me).await {
            Ok((actor, _)) => led.actor = Some(actor),
            Err(error) => self.rest(partition, error.to_string()),
        }
    }

    fn died(&mut self, actor: ractor::ActorId, cause: &str) {
        let is_it = |led: &Led| led.actor.as_ref().is_some_and(|known| known.get_id() == actor);
        let found = self.led.iter().find(|(_, led)| is_it(led)).map(|(partition, _)| *partition);
        if let Some(partition) = found {
            self.rest(partition, cause.to_owned());
        }
    }

    fn rest(&mut self, partition: i32, cause: String) {
        let now = self.doors.clock.now().saturating_duration_since(self.origin);
        let Some(led) = self.led.get_mut(&partition) else { return };
        led.actor = None;
        let after = led.deaths.rest(now, &TRANSACTION_COORDINATOR.restarts);
        let (kind, name) = (TRANSACTION_COORDINATOR.name, &partition.to_string());
        self.doors.events.emit(ActorRestarted { kind, name, cause, after });
        let (epoch, myself) = (led.leadership.epoch, self.myself.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ended = myself.cast(SupervisorMessage::Restart { partition, epoch });
        });
    }

    fn list(&self, reply: Reply<Result<Vec<ListedTransaction>, Refusal>>) {
        let mut waiting = Vec::new();
        for (partition, led) in &self.led {
            let (to, from) = oneshot::channel();
            let asked =
                led.actor.as_ref().is_some_and(|actor| actor.cast(CoordinatorMessage::List { to }).is_ok());
            waiting.push((*partition, asked.then_some(from)));
        }
        tokio::spawn(async move {
            let mut all = Vec::new();
            for (partition, from) in waiting {
                let listed = match from {
                    Some(from) => from.await.unwrap_or_else(|_| Err(resting(partition))),
                    None => Err(resting(partition)),
                };
                match listed {
                    Ok(listed) => all.extend(listed),
                    Err(refusal) => return reply.give(Err(refusal)),
                }
            }
            reply.give(Ok(all));
        });
    }
}

fn resting(partition: i32) -> Refusal {
    let text =
        format!("the coordinator of partition {partition} of __transaction_state is begun anew; try again");
    Refusal::new(ErrorCode::CoordinatorLoadInProgress, text)
}

/// The refusal of a node that does not lead the partition.
pub(super) fn not_coordinator(partition: i32) -> Refusal {
    let text =
        format!("this node does not lead partition {partition} of __transaction_state; find the coordinator");
    Refusal::new(ErrorCode::NotCoordinator, text)
}
