//! Changes of in-sync sets on their way to the controller: one request per node carries all its partitions.

use std::collections::BTreeMap;

use ractor::ActorRef;

use super::super::controller_link::Altered;
use super::super::state::{self, ChangeOutcome};
use super::{State, SupervisorMessage};
use crate::error::{ErrorCode, Refusal};
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
            let told = outcomes.as_ref().and_then(|outcomes| outcomes.get(&partition));
            let outcome = outcome(partition, told);
            if let Some(slot) = self.slots.get(&partition) {
                slot.inbox.put(|completions| completions.settled = Some((epoch, attempt, outcome)));
            }
        }
    }
}

/// What became of a change, by what the controller said of it.
fn outcome(partition: PartitionId, told: Option<&Result<u32, Refusal>>) -> ChangeOutcome {
    match told {
        Some(Ok(set_version)) => ChangeOutcome::Committed { set_version: *set_version },
        // The set is another one by now: perhaps by this very change, asked for once before, whose answer was lost. It
        // counts until the image shows which.
        Some(Err(refusal)) if refusal.code == ErrorCode::InvalidUpdateVersion => ChangeOutcome::Unknown,
        Some(Err(refusal)) => {
            tracing::debug!(%partition, %refusal, "a change of the in-sync set was refused");
            ChangeOutcome::Refused
        }
        None => ChangeOutcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TopicId;

    #[test]
    fn a_change_that_may_have_been_made_by_an_attempt_whose_answer_was_lost_is_not_taken_for_refused() {
        let partition = PartitionId { topic: TopicId(uuid::Uuid::nil()), index: 0 };
        let refused = |code| outcome(partition, Some(&Err(Refusal::new(code, "by the test's wish"))));
        assert_eq!(refused(ErrorCode::InvalidUpdateVersion), ChangeOutcome::Unknown);
        assert_eq!(refused(ErrorCode::IneligibleReplica), ChangeOutcome::Refused);
        assert_eq!(outcome(partition, None), ChangeOutcome::Unknown);
        assert_eq!(outcome(partition, Some(&Ok(7))), ChangeOutcome::Committed { set_version: 7 });
    }
}
