//! DescribeGroups: groups of the classic protocol and their members.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::classic::ClassicDescription;
use millstream_transport::kafka::messages::describe_groups::DescribeGroupsRequest;
use millstream_transport::kafka::messages::describe_groups::response::{
    DescribeGroupsResponse, Group, Member,
};

use super::super::call::Call;
use super::super::error::of_groups;
use super::super::service::Service;
use crate::security::authorize::OPERATIONS_NOT_ASKED;

/// The state of a group that there is not.
const DEAD: &str = "Dead";
/// The first version in which such a group is an error.
const NOT_FOUND_FROM: i16 = 6;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<DescribeGroupsRequest<'_>>(&body) else { return };
    let groups: BTreeSet<String> = request.groups.iter().map(Into::into).collect();
    let (service, includes) = (Arc::clone(service), request.include_authorized_operations);
    actix_rt::spawn(async move {
        let mut described = Vec::with_capacity(groups.len());
        for group in groups {
            let rights = call.rights();
            let answer = match rights.demand(Operation::Describe, ResourceType::Group, &group) {
                Ok(()) => service.groups.describe_classic(&group).await,
                Err(refusal) => Err(refusal),
            };
            let operations = if includes && answer.is_ok() {
                rights.operations(ResourceType::Group, &group)
            } else {
                OPERATIONS_NOT_ASKED
            };
            described.push(Group { authorized_operations: operations, ..told(group, answer, call.version) });
        }
        call.answer(&DescribeGroupsResponse { groups: described.into(), ..Default::default() });
    });
}

fn told(id: String, answer: Result<ClassicDescription, Refusal>, version: i16) -> Group<'static> {
    match answer {
        Ok(described) => Group {
            group_id: id.into(),
            group_state: described.state.into(),
            protocol_type: described.protocol_type.to_string().into(),
            protocol_data: described.protocol.to_string().into(),
            members: described
                .members
                .into_iter()
                .map(|known| Member {
                    member_id: known.member.to_string().into(),
                    group_instance_id: known.instance.map(|instance| instance.to_string().into()),
                    client_id: known.client_id.to_string().into(),
                    client_host: known.client_host.to_string().into(),
                    member_metadata: known.metadata.to_vec().into(),
                    member_assignment: known.assignment.to_vec().into(),
                })
                .collect(),
            ..Default::default()
        },
        Err(refusal) => {
            let is_missing = refusal.code == ErrorCode::GroupIdNotFound;
            let is_told = !is_missing || version >= NOT_FOUND_FROM;
            Group {
                error_code: if is_told { of_groups(refusal.code) } else { 0 },
                error_message: (version >= NOT_FOUND_FROM).then(|| refusal.text.into()),
                group_id: id.into(),
                group_state: if is_missing { DEAD.into() } else { "".into() },
                ..Default::default()
            }
        }
    }
}
