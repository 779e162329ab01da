//! The supervisor of a node's group coordinators.
//!
//! For every partition of `__consumer_offsets` that the node leads it has the groups read from the log and a
//! coordinator started for each; when the leadership is lost they end. A coordinator that broke off or panicked is
//! read back and started again; one that panics twice in a row is left alone for a while (rule 10). There is one timer
//! for each partition, whatever the number of groups and members.

mod meanwhile;
mod shard;

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::doors::{GroupDoors, OwnershipLease};
use super::request::Reply;
use super::supervision::{Listed, SupervisorMessage};
use crate::error::{ErrorCode, Refusal};
use crate::ids::LeaderEpoch;
use crate::supervision::roster::Seat;
use shard::Shard;

/// The actor.
pub(super) struct GroupSupervisor;

/// The actor's state.
pub(super) struct Supervision {
    doors: GroupDoors,
    origin: Instant,
    shards: BTreeMap<i32, Shard>,
    myself: ActorRef<SupervisorMessage>,
    topics: JoinHandle<()>,
    loads: u64,
    seat: Seat,
}

impl Actor for GroupSupervisor {
    type Msg = SupervisorMessage;
    type State = Supervision;
    type Arguments = (GroupDoors, Seat);

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        (doors, seat): (GroupDoors, Seat),
    ) -> Result<Supervision, ActorProcessingErr> {
        let topics = tokio::spawn(watch_topics(doors.clone(), myself.clone()));
        let origin = doors.clock.now();
        Ok(Supervision { doors, origin, shards: BTreeMap::new(), myself, topics, loads: 0, seat })
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
        if let SupervisionEvent::ActorFailed(actor, reason) = event {
            let loads = &mut supervision.loads;
            for shard in supervision.shards.values_mut() {
                shard.panicked(actor.get_id(), &reason.to_string(), loads);
            }
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        supervision: &mut Supervision,
    ) -> Result<(), ActorProcessingErr> {
        supervision.topics.abort();
        for shard in supervision.shards.values_mut() {
            shard.end();
        }
        Ok(())
    }
}

async fn watch_topics(mut doors: GroupDoors, supervisor: ActorRef<SupervisorMessage>) {
    while doors.topics.changed().await.is_ok() {
        if supervisor.cast(SupervisorMessage::TopicsChanged).is_err() {
            return;
        }
    }
}

impl Supervision {
    async fn take(&mut self, message: SupervisorMessage) {
        let loads = &mut self.loads;
        match message {
            SupervisorMessage::Lead { partition, epoch, lease } => self.lead(partition, epoch, lease),
            SupervisorMessage::Resign { partition, epoch } => self.resign(partition, epoch),
            SupervisorMessage::Request { partition, request } => match self.shards.get_mut(&partition) {
                Some(shard) => shard.request(request, loads).await,
                None => request.refuse(not_coordinator(partition)),
            },
            SupervisorMessage::List { reply } => self.list(reply),
            SupervisorMessage::TransactionEnded { partition, marker } => {
                self.with(partition, |shard, _| shard.transaction_ended(marker));
            }
            SupervisorMessage::Pending { partition, group, of } => {
                self.with(partition, |shard, _| shard.pending(group, of));
            }
            SupervisorMessage::TransactionUnknown { partition, producer } => {
                self.with(partition, |shard, loads| shard.transaction_unknown(producer, loads));
            }
            SupervisorMessage::TopicsChanged => self.shards.values().for_each(Shard::topics_changed),
            SupervisorMessage::Loaded { partition, load, result } => {
                if let Some(shard) = self.shards.get_mut(&partition) {
                    shard.loaded(load, result, loads).await;
                }
            }
            SupervisorMessage::LoadAgain { partition, load } => {
                self.with(partition, |shard, loads| shard.load_again(load, loads));
            }
            SupervisorMessage::Deadline { partition, group, at_ms } => {
                self.with(partition, |shard, _| shard.wake_at(at_ms, group));
            }
            SupervisorMessage::Due { partition, epoch } => self.with(partition, |shard, _| shard.due(epoch)),
            SupervisorMessage::Vacant { partition, group, actor, taken } => {
                self.with(partition, |shard, _| shard.vacant(&group, actor, taken));
            }
            SupervisorMessage::Broken { partition, group, actor } => {
                self.with(partition, |shard, loads| shard.broken(group, actor, loads));
            }
        }
    }

    fn with(&mut self, partition: i32, step: impl FnOnce(&mut Shard, &mut u64)) {
        if let Some(shard) = self.shards.get_mut(&partition) {
            step(shard, &mut self.loads);
        }
    }

    fn lead(&mut self, partition: i32, epoch: LeaderEpoch, lease: Arc<dyn OwnershipLease>) {
        match self.shards.get_mut(&partition) {
            Some(shard) if shard.epoch() >= epoch => return,
            Some(shard) => shard.end(),
            None => {}
        }
        let leadership = super::doors::Leadership {
            partition,
            epoch,
            lease,
            doors: self.doors.clone(),
            origin: self.origin,
        };
        let shard = Shard::load(leadership, self.myself.clone(), &mut self.loads);
        self.shards.insert(partition, shard);
    }

    fn resign(&mut self, partition: i32, epoch: LeaderEpoch) {
        if self.shards.get(&partition).is_some_and(|shard| shard.epoch() <= epoch)
            && let Some(mut shard) = self.shards.remove(&partition)
        {
            shard.end();
        }
    }

    /// Lists all groups, once every lease that does not hold is confirmed.
    fn list(&self, reply: Reply<Listed>) {
        if let Some(loading) = self.shards.values().find(|shard| shard.is_loading()) {
            return reply.give(Err(loading.reading()));
        }
        let listed: Vec<_> = self.shards.values().flat_map(Shard::listed).collect();
        let confirmations: Vec<_> = self.shards.values().filter_map(Shard::confirmation).collect();
        if confirmations.is_empty() {
            return reply.give(Ok(listed));
        }
        tokio::spawn(async move {
            let confirmed = futures::future::try_join_all(confirmations).await;
            reply.give(confirmed.map(|_| listed));
        });
    }
}

/// The refusal for a group of a partition that is led elsewhere.
pub(super) fn not_coordinator(partition: i32) -> Refusal {
    let text = format!(
        "the group's partition {partition} of __consumer_offsets is not led here; find its coordinator"
    );
    Refusal::new(ErrorCode::NotCoordinator, text)
}
