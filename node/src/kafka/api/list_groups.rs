//! ListGroups: the groups that this node coordinates.

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::Refusal;
use millstream_actors::group::front::ShownGroup;
use millstream_actors::group::message::GroupState;
use millstream_transport::kafka::messages::list_groups::ListGroupsRequest;
use millstream_transport::kafka::messages::list_groups::response::{Group, ListGroupsResponse};

use super::super::call::Call;
use super::super::error::of_groups_outcome;
use super::super::service::Service;

/// What the members of a group of KIP-848 are.
const CONSUMER: &str = "consumer";
/// The types of groups.
const MODERN: &str = "Consumer";
const CLASSIC: &str = "Classic";
const STREAMS: &str = "Streams";
/// What the members of a group of an application of streams are.
const STREAMS_MEMBERS: &str = "streams";

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<ListGroupsRequest<'_>>(&body) else { return };
    let states: Vec<String> = request.states_filter.iter().map(|state| state.to_lowercase()).collect();
    let types: Vec<String> = request.types_filter.iter().map(|kind| kind.to_lowercase()).collect();
    let listing = service.groups.list();
    actix_rt::spawn(async move {
        let mut listed = listing.await;
        let rights = call.rights();
        if let Ok(groups) = &mut listed
            && !rights.may_with_cluster(Operation::Describe)
        {
            groups.retain(|(group, _)| rights.may(Operation::Describe, ResourceType::Group, group));
        }
        respond(call, &states, &types, listed);
    });
}

fn respond(
    call: Call,
    states: &[String],
    types: &[String],
    listed: Result<Vec<(String, ShownGroup)>, Refusal>,
) {
    let is_wanted = |of: &[String], what: &str| of.is_empty() || of.contains(&what.to_lowercase());
    let error_code = of_groups_outcome(&listed);
    let groups = listed.unwrap_or_default().into_iter();
    let groups = groups
        .map(|(group, shown)| Group {
            group_id: group.into(),
            group_state: state_name(shown.state).into(),
            group_type: match &shown.classic {
                Some(_) => CLASSIC.into(),
                None if shown.is_of_streams => STREAMS.into(),
                None => MODERN.into(),
            },
            protocol_type: match shown.classic {
                Some(kind) => kind.to_string().into(),
                None if shown.is_of_streams => STREAMS_MEMBERS.into(),
                None => CONSUMER.into(),
            },
        })
        .filter(|group| is_wanted(states, &group.group_state) && is_wanted(types, &group.group_type));
    call.answer(&ListGroupsResponse { error_code, groups: groups.collect(), ..Default::default() });
}

/// Kafka's name of a state.
pub(super) const fn state_name(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "Empty",
        GroupState::Assigning => "Assigning",
        GroupState::Reconciling => "Reconciling",
        GroupState::Stable => "Stable",
        GroupState::PreparingRebalance => "PreparingRebalance",
        GroupState::CompletingRebalance => "CompletingRebalance",
    }
}
