//! The refusals that several requests share.

use crate::error::{ErrorCode, Refusal};
use crate::group::doors::coordinator_code;

pub(super) fn unknown_member(group: &str, member: &str) -> Refusal {
    let text = format!("group {group} has no member {member:?}; join again without an id");
    Refusal::new(ErrorCode::UnknownMemberId, text)
}

pub(super) fn unknown_instance(group: &str, instance: &str) -> Refusal {
    let text = format!("group {group} has no member with group.instance.id {instance:?}; join without an id");
    Refusal::new(ErrorCode::UnknownMemberId, text)
}

pub(super) fn fenced(group: &str, instance: &str, member: &str) -> Refusal {
    let text = format!(
        "group {group}: member {member:?} is not {instance:?} any more, another process joined with this \
         group.instance.id: give every process its own"
    );
    Refusal::new(ErrorCode::FencedInstanceId, text)
}

pub(super) fn generation(group: &str, member: &str, came_with: i32, generation: i32) -> Refusal {
    let text = format!(
        "member {member} of group {group} came with generation {came_with}, it is {generation}: join again"
    );
    Refusal::new(ErrorCode::IllegalGeneration, text)
}

pub(super) fn rebalancing(group: &str) -> Refusal {
    Refusal::new(ErrorCode::RebalanceInProgress, format!("group {group} is rebalancing: join again"))
}

/// To a request that waits, when the same member comes with the next.
pub(super) fn superseded(group: &str, member: &str) -> Refusal {
    let text =
        format!("member {member} of group {group} asked again; the answer is given to its later request");
    Refusal::new(ErrorCode::RebalanceInProgress, text)
}

pub(super) fn dead(group: &str) -> Refusal {
    let text =
        format!("group {group} is being removed, or is coordinated elsewhere: find its coordinator again");
    Refusal::new(ErrorCode::CoordinatorNotAvailable, text)
}

pub(super) fn moved(group: &str) -> Refusal {
    let text = format!("group {group} is coordinated elsewhere: find its coordinator again");
    Refusal::new(ErrorCode::NotCoordinator, text)
}

pub(super) fn not_found(group: &str) -> Refusal {
    Refusal::new(ErrorCode::GroupIdNotFound, format!("there is no group {group:?}"))
}

/// A refusal of the log, as one of the coordinator: members know only these.
pub(super) fn of_log(group: &str, error: &Refusal) -> Refusal {
    let code = coordinator_code(error.code);
    Refusal::new(code, format!("group {group} could not be written: {}", error.text))
}
