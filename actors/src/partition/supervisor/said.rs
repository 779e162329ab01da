//! What replicas have said and the supervisor has not heard yet: the latest of each, and one message however many there
//! are. Nothing here is ever refused, and a supervisor that is late finds no more than its replicas have to say.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::super::state::{InSyncChange, ResignReason};
use crate::ids::{LeaderEpoch, PartitionId};

/// What was said since the supervisor last listened.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// A replica proposes again only once its attempt before is settled or void.
    pub(super) proposals: BTreeMap<PartitionId, InSyncChange>,
    pub(super) resignations: BTreeMap<PartitionId, (LeaderEpoch, ResignReason)>,
    is_under_way: bool,
}

/// Between the replicas, on their cores, and the supervisor.
#[derive(Debug, Default)]
pub(super) struct Said(Mutex<Heard>);

impl Said {
    /// True if the supervisor is to be told.
    #[must_use]
    pub(super) fn propose(&self, partition: PartitionId, change: InSyncChange) -> bool {
        self.say(|heard| {
            heard.proposals.insert(partition, change);
        })
    }

    /// True if the supervisor is to be told.
    #[must_use]
    pub(super) fn resign(&self, partition: PartitionId, epoch: LeaderEpoch, reason: ResignReason) -> bool {
        self.say(|heard| {
            heard.resignations.insert(partition, (epoch, reason));
        })
    }

    fn say(&self, what: impl FnOnce(&mut Heard)) -> bool {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        what(&mut heard);
        !std::mem::replace(&mut heard.is_under_way, true)
    }

    /// Takes what was said so far; what is said next is told again.
    pub(super) fn take(&self) -> Heard {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::state::fixture::{member, partition};

    fn change(attempt: u64) -> InSyncChange {
        InSyncChange { epoch: LeaderEpoch(2), set_version: 1, attempt, members: vec![member(1)] }
    }

    #[test]
    fn replicas_that_flood_their_supervisor_send_one_message_and_their_latest_word_counts() {
        let said = Said::default();
        let mut told = 0;
        for attempt in 0..20_000 {
            told += usize::from(said.propose(partition(), change(attempt)));
            told += usize::from(said.resign(partition(), LeaderEpoch(2), ResignReason::NotOpened));
        }
        assert_eq!(told, 1);
        let heard = said.take();
        assert_eq!(heard.proposals.into_values().collect::<Vec<_>>(), [change(19_999)]);
        assert_eq!(heard.resignations.len(), 1);
        assert!(said.propose(partition(), change(20_000)), "what is said next is told again");
    }
}
