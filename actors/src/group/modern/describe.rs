//! A group as others see it.

use std::collections::BTreeMap;

use super::Group;
use crate::group::assignor::Assignor;
use crate::group::message::{GroupDescription, GroupState, MemberDescription};
use crate::group::records::MemberState;
use crate::group::settings::GroupSettings;

/// Where the group stands.
pub(super) fn state(group: &Group) -> GroupState {
    if group.members.is_empty() {
        return GroupState::Empty;
    }
    if group.epoch > group.target_epoch {
        return GroupState::Assigning;
    }
    let reconciled = |id| {
        group.currents.get(id).is_some_and(|current| {
            current.state == MemberState::Stable && current.epoch == group.target_epoch
        })
    };
    if group.members.keys().all(reconciled) { GroupState::Stable } else { GroupState::Reconciling }
}

/// The assignor that most members with a choice would have; of as many, the earlier in [`Assignor::ALL`].
pub(super) fn assignor(group: &Group, settings: &GroupSettings) -> Assignor {
    let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
    for choice in group.members.values().filter_map(|member| Assignor::named(member.assignor.as_deref()?)) {
        *votes.entry(choice).or_default() += 1;
    }
    let most = votes.values().max().copied();
    let favoured =
        Assignor::ALL.into_iter().find(|choice| most.is_some() && votes.get(choice).copied() == most);
    favoured.unwrap_or(settings.assignor)
}

/// Everything about the group.
pub(super) fn describe(group: &Group, settings: &GroupSettings) -> GroupDescription {
    let members = group.members.iter().map(|(id, metadata)| {
        let current = group.current(id);
        let member = MemberDescription {
            epoch: current.epoch,
            instance: metadata.instance.as_deref().map(str::to_owned),
            client_id: metadata.client_id.clone(),
            topics: metadata.topics.iter().map(|name| name.to_string()).collect(),
            assigned: current.assigned.iter().copied().collect(),
            target: group.target(id).iter().copied().collect(),
        };
        (id.to_string(), member)
    });
    GroupDescription {
        state: state(group),
        epoch: group.epoch,
        assignor: assignor(group, settings).name().to_owned(),
        members: members.collect(),
    }
}
