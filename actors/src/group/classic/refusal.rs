//! The refusals that several requests share.

use crate::error::{ErrorCode, Refusal};
use crate::group::doors::coordinator_code;

pub(in crate::group) fn unknown_member(group: &str, member: &str) -> Refusal {
    let text = format!("group {group} has no member {member:?}; join again without an id");
    Refusal::new(ErrorCode::UnknownMemberId, text)
}

pub(in crate::group) fn unknown_instance(group: &str, instance: &str) -> Refusal {
    let text = format!("group {group} has no member with group.instance.id {instance:?}; join without an id");
    Refusal::new(ErrorCode::UnknownMemberId, text)
}

pub(in crate::group) fn fenced(group: &str, instance: &str, member: &str) -> Refusal {
    let text = format!(
        "group {group}: member {member:?} is not {instance:?} any more, another process joined with this \
         group.instance.id: give every process its own"
    );
    Refusal::new(ErrorCode::FencedInstanceId, text)
}

pub(in crate::group) fn generation(group: &str, member: &str, came_with: i32, generation: i32) -> Refusal {
    let text = format!(
        "member {member} of group {group} came with generation {came_with}, it is {generation}: join again"
    );
    Refusal::new(ErrorCode::IllegalGeneration, text)
}

pub(in crate::group) fn rebalancing(group: &str) -> Refusal {
    Refusal::new(ErrorCode::RebalanceInProgress, format!("group {group} is rebalancing: join again"))
}

/// To a request that waits, when the same member comes with the next.
pub(in crate::group) fn superseded(group: &str, member: &str) -> Refusal {
    let text =
        format!("member {member} of group {group} asked again; the answer is given to its later request");
    Refusal::new(ErrorCode::RebalanceInProgress, text)
}

pub(in crate::group) fn dead(group: &str) -> Refusal {
    let text =
        format!("group {group} is being removed, or is coordinated elsewhere: find its coordinator again");
    Refusal::new(ErrorCode::CoordinatorNotAvailable, text)
}

pub(in crate::group) fn moved(group: &str) -> Refusal {
    let text = format!("group {group} is coordinated elsewhere: find its coordinator again");
    Refusal::new(ErrorCode::NotCoordinator, text)
}

pub(in crate::group) fn not_found(group: &str) -> Refusal {
    Refusal::new(ErrorCode::GroupIdNotFound, format!("there is no group {group:?}"))
}

/// A refusal of the log, as one of the coordinator: members know only these.
pub(in crate::group) fn of_log(group: &str, error: &Refusal) -> Refusal {
    let code = coordinator_code(error.code);
    Refusal::new(code, format!("group {group} could not be written: {}", error.text))
}
