//! The actor that carries out what [`standby`](super::standby) decides: one for all partitions of entities that a node
//! follows, on the users' threads, as the indexes of those that it leads.

use std::fmt;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::doors::{EntityDoors, ReplicaRecords};
use super::standby::{Handed, Input, Standbys, Wanted};
use crate::error::Refusal;
use crate::events::{EntityIndex, EntityIndexOf};
use crate::ids::PartitionId;
use crate::kinds::ENTITY_STANDBY;
use crate::supervision::roster::{Entry, Seat};

/// What the actor is told.
pub(super) enum StandbyMessage {
    /// This node follows the partition.
    Follow(PartitionId),
    /// It does so no more.
    Leave(PartitionId),
    /// It leads it from now on: its table is wanted.
    HandOver { partition: PartitionId, reply: oneshot::Sender<Handed> },
    /// A replica was read.
    Read { partition: PartitionId, life: u64, result: Result<ReplicaRecords, Refusal> },
    /// The rest after a failure is over.
    Tick,
}

impl ractor::Message for StandbyMessage {}

impl fmt::Debug for StandbyMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StandbyMessage")
    }
}

/// The actor.
pub(super) struct EntityStandby;

/// The actor's state.
pub(super) struct Follows {
    standbys: Standbys,
    doors: EntityDoors,
    myself: ActorRef<StandbyMessage>,
    index: EntityIndex,
    /// The one timer, and when it rings.
    timer: Option<(Instant, JoinHandle<()>)>,
    seat: Seat,
}

impl Actor for EntityStandby {
    type Msg = StandbyMessage;
    type State = Follows;
    type Arguments = EntityDoors;

    async fn pre_start(
        &self,
        myself: ActorRef<StandbyMessage>,
        doors: EntityDoors,
    ) -> Result<Follows, ActorProcessingErr> {
        let index = EntityIndex::new(&doors.events, EntityIndexOf::Standby);
        let seat = doors.events.seat(Entry::new(ENTITY_STANDBY, ""));
        Ok(Follows { standbys: Standbys::default(), doors, myself, index, timer: None, seat })
    }

    async fn handle(
        &self,
        _myself: ActorRef<StandbyMessage>,
        message: StandbyMessage,
        follows: &mut Follows,
    ) -> Result<(), ActorProcessingErr> {
        let _turn = follows.seat.turn();
        follows.take(message);
        Ok(())
    }
}

impl Follows {
    fn take(&mut self, message: StandbyMessage) {
        let input = match message {
            StandbyMessage::Follow(partition) => Input::Follow(partition),
            StandbyMessage::Leave(partition) => Input::Leave(partition),
            StandbyMessage::HandOver { partition, reply } => {
                // A new leader that has gone already needs none.
                let _ = reply.send(self.standbys.hand_over(partition).unwrap_or_default());
                Input::Leave(partition)
            }
            StandbyMessage::Read { partition, life, result } => Input::Read { partition, life, result },
            StandbyMessage::Tick => {
                self.timer = None;
                Input::Tick
            }
        };
        for Wanted { life, read } in self.standbys.take(self.doors.clock.now(), input) {
            let (myself, partition) = (self.myself.clone(), read.partition);
            let answer = Box::new(move |result| {
                // A completion: one for each read. An actor that has ended needs it no more.
                let _ended = myself.cast(StandbyMessage::Read { partition, life, result });
            });
            self.doors.log.read_replica(read, answer);
        }
        let (entities, bytes) = self.standbys.size();
        self.index.is(entities, bytes);
        self.set_timer();
    }

    /// None where nothing rests: partitions that have nothing new cost no timer.
    fn set_timer(&mut self) {
        let Some(at) = self.standbys.next() else { return };
        if self.timer.as_ref().is_some_and(|(set_to, _)| *set_to <= at) {
            return;
        }
        let myself = self.myself.clone();
        let wait = at.saturating_duration_since(self.doors.clock.now()).max(Duration::from_millis(1));
        let task = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ended = myself.cast(StandbyMessage::Tick);
        });
        if let Some((_, old)) = self.timer.replace((at, task)) {
            old.abort();
        }
    }
}

impl Drop for Follows {
    fn drop(&mut self) {
        if let Some((_, timer)) = self.timer.take() {
            timer.abort();
        }
    }
}
