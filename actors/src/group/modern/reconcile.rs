//! How a member gets from what it owns to what it is to own, one answer at a time (KIP-848).
//!
//! First it gives up what it must, and while it has not said so it stays in its epoch and gets nothing; then it moves
//! to the target's epoch and gets what is free; what another still has it gets when that one has given it up. So a
//! partition is never told to two, and a member that keeps what it has never stops.

use std::collections::BTreeSet;

use crate::group::records::{CurrentAssignment, MemberState};
use crate::ids::PartitionId;

/// Where a member is to get to.
pub(super) struct Target<'a> {
    /// The epoch of the target.
    pub(super) epoch: i32,
    /// What it is to own.
    pub(super) partitions: &'a BTreeSet<PartitionId>,
}

/// The member's next assignment; `None` if it stays as it is.
///
/// `owned` is what the member says that it owns now. `is_free` tells partitions that nobody else has.
pub(super) fn reconcile(
    current: &CurrentAssignment,
    target: &Target<'_>,
    owned: Option<&BTreeSet<PartitionId>>,
    is_free: impl Fn(&PartitionId) -> bool,
) -> Option<CurrentAssignment> {
    let next = match current.state {
        MemberState::Stable if current.epoch == target.epoch => return None,
        MemberState::Unrevoked if still_owns(owned, &current.revoking) => return None,
        MemberState::Stable | MemberState::Unreleased => next(current, current.epoch, target, owned, is_free),
        // One epoch further, so that an answer that asks for the next partitions is told from the one before.
        MemberState::Unrevoked => next(current, current.epoch.saturating_add(1), target, owned, is_free),
    };
    Some(next).filter(|next| next != current)
}

/// Whether it has not said that it gave all of these up. Who says nothing has given nothing up.
fn still_owns(owned: Option<&BTreeSet<PartitionId>>, revoking: &BTreeSet<PartitionId>) -> bool {
    !revoking.is_empty() && owned.is_none_or(|owned| !owned.is_disjoint(revoking))
}

fn next(
    current: &CurrentAssignment,
    epoch: i32,
    target: &Target<'_>,
    owned: Option<&BTreeSet<PartitionId>>,
    is_free: impl Fn(&PartitionId) -> bool,
) -> CurrentAssignment {
    let (mut assigned, revoking): (BTreeSet<_>, BTreeSet<_>) =
        current.assigned.iter().copied().partition(|partition| target.partitions.contains(partition));
    if still_owns(owned, &revoking) {
        return at(current, epoch, MemberState::Unrevoked, assigned, revoking);
    }
    let wanted = target.partitions.difference(&assigned).copied();
    let (free, taken): (BTreeSet<_>, BTreeSet<_>) = wanted.partition(|partition| is_free(partition));
    let state = if taken.is_empty() { MemberState::Stable } else { MemberState::Unreleased };
    assigned.extend(free);
    at(current, target.epoch, state, assigned, BTreeSet::new())
}

fn at(
    current: &CurrentAssignment,
    epoch: i32,
    state: MemberState,
    assigned: BTreeSet<PartitionId>,
    revoking: BTreeSet<PartitionId>,
) -> CurrentAssignment {
    let previous_epoch = if epoch == current.epoch { current.previous_epoch } else { current.epoch };
    CurrentAssignment { epoch, previous_epoch, state, assigned, revoking }
}
