//! The group of an application as others see it.

use super::record::StreamsCurrent;
use super::{Live, StreamsState};
use crate::group::message::GroupState;
use crate::group::message::streams::{StreamsGroupDescription, StreamsMemberDescription};

/// Where the group stands.
pub(in crate::group) fn state(group: &StreamsState) -> GroupState {
    if !group.has_members() {
        return GroupState::Empty;
    }
    if group.epoch > group.target_epoch {
        return GroupState::Assigning;
    }
    let is_there = |member: &str, current: &StreamsCurrent| {
        current.epoch == group.target_epoch
            && current.revoking.is_empty()
            && current.tasks == *group.target(member)
    };
    let is_stable = group.members.keys().all(|member| is_there(member, group.current(member)));
    if is_stable { GroupState::Stable } else { GroupState::Reconciling }
}

/// Everything about the group.
pub(in crate::group) fn describe(group: &StreamsState, live: &Live) -> StreamsGroupDescription {
    let members = group.members.iter().map(|(id, metadata)| {
        let current = group.current(id);
        let description = StreamsMemberDescription {
            instance: metadata.instance.clone(),
            client_id: metadata.client_id.clone(),
            client_host: metadata.client_host.clone(),
            transactional_id: metadata.transactional_id.clone(),
            epoch: current.epoch,
            // Who was not heard since the coordinator took over does what it was told.
            running: live.running(id).unwrap_or(&current.tasks).clone(),
            wanted: group.target(id).clone(),
            lags: live.lags(id).iter().map(|(task, lag)| (*task, *lag)).collect(),
        };
        (id.to_string(), description)
    });
    StreamsGroupDescription {
        state: state(group),
        epoch: group.epoch,
        topology: group.topology.clone(),
        members: members.collect(),
    }
}
