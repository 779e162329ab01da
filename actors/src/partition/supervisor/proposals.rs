//! Changes of in-sync sets on their way to the controller: one request per node carries all its partitions.

use std::collections::BTreeMap;

use ractor::ActorRef;

use super::super::controller_link::Altered;
use super::super::state::{self, ChangeOutcome};
use super::{State, SupervisorMessage};
use crate::ids::{LeaderEpoch, PartitionId};
use crate::image::InSyncChange;

/// What waits, and what is under way. A replica proposes again only after it has heard the outcome, so both are
/// bounded by the number of replicas.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    waiting: BTreeMap<PartitionId, state::InSyncChange>,
    under_way: Option<BTreeMap<PartitionId, (LeaderEpoch, u64)>>,
}

impl Proposals {
    pub(super) fn put(&mut self, partition: PartitionId, change: state::InSyncChange) {
        self.waiting.insert(partition, change);
    }
}

impl State {
    /// Sends what waits, if nothing is under way.
    pub(super) fn propose(&mut self, myself: &ActorRef<SupervisorMessage>) {
        if self.proposals.under_way.is_some() || self.proposals.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.proposals.waiting);
        let under_way =
            waiting.iter().map(|(partition, change)| (*partition, (change.epoch, change.attempt)));
        self.proposals.under_way = Some(under_way.collect());
        let changes = waiting.into_iter().map(|(partition, change)| InSyncChange {
            partition,
            epoch: change.epoch,
            set_version: change.set_version,
            in_sync: change.members,
        });
        let actor = myself.clone();
        let done = move |altered| {
            // A supervisor that is gone has no replicas that wait.
            let _ = actor.cast(SupervisorMessage::Altered(altered));
        };
        self.parts.controller.alter_in_sync(changes.collect(), Box::new(done));
    }

    /// Tells every replica what became of its change.
    pub(super) fn altered(&mut self, altered: Altered) {
        let Some(under_way) = self.proposals.under_way.take() else { return };
        let outcomes: Option<BTreeMap<_, _>> = altered.map(|results| results.into_iter().collect());
        for (partition, (epoch, attempt)) in under_way {
            let outcome = match outcomes.as_ref().and_then(|outcomes| outcomes.get(&partition)) {
                Some(Ok(set_version)) => ChangeOutcome::Committed { set_version: *set_version },
                Some(Err(refusal)) => {
                    tracing::debug!(%partition, %refusal, "a change of the in-sync set was refused");
                    ChangeOutcome::Refused
                }
                None => ChangeOutcome::Unknown,
            };
            if let Some(slot) = self.slots.get(&partition) {
                slot.inbox.put(|completions| completions.settled = Some((epoch, attempt, outcome)));
            }
        }
    }
}
