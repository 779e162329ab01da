//! JoinGroup: a member joins a group of the classic protocol.

use std::sync::Arc;

use bytes::Bytes;
use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::group::classic::{JoinGroup, Joined, Protocol};
use millstream_actors::group::front::JoinAnswer;
use millstream_transport::kafka::messages::join_group::JoinGroupRequest;
use millstream_transport::kafka::messages::join_group::response::{JoinGroupResponse, Member};

use super::super::call::Call;
use super::super::error::of_groups;
use super::super::service::Service;

/// The longest that a member may take to join again: as long as it may be silent at most.
const REBALANCE_MS_MAX: i32 = 1_800_000;
/// The first version in which no protocol is told by null.
const NULL_PROTOCOL_FROM: i16 = 7;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<JoinGroupRequest<'_>>(&body) else { return };
    let allowed = call.rights().demand(Operation::Read, ResourceType::Group, &request.group_id);
    if let Err(refusal) = allowed {
        return respond(call, (Arc::from(&*request.member_id), Err(refusal)));
    }
    let client_id: Arc<str> = call.client_id.clone().unwrap_or_default();
    let instance: Option<Arc<str>> = request.group_instance_id.as_deref().map(Arc::from);
    let protocol = |protocol: millstream_transport::kafka::messages::join_group::request::Protocol<'_>| {
        Protocol { name: Arc::from(&*protocol.name), metadata: Bytes::copy_from_slice(&protocol.metadata) }
    };
    // A member is called after its instance, or else its client (KIP-345).
    let name = instance.as_deref().unwrap_or(&client_id);
    let join = JoinGroup {
        version: call.version,
        member: Arc::from(&*request.member_id),
        new_member: format!("{name}-{}", service.world.random.uuid()).into(),
        instance: instance.clone(),
        client_host: format!("/{}", call.peer).into(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match request.rebalance_timeout_ms {
            ..0 => request.session_timeout_ms,
            told => told.min(REBALANCE_MS_MAX),
        },
        protocol_type: Arc::from(&*request.protocol_type),
        protocols: request.protocols.iter().map(protocol).collect(),
        reason: request.reason.map(Into::into),
        client_id,
    };
    let joining = service.groups.join(&request.group_id, join);
    actix_rt::spawn(async move { respond(call, joining.await) });
}

fn respond(call: Call, (member, result): JoinAnswer) {
    let no_protocol = || if call.version >= NULL_PROTOCOL_FROM { None } else { Some("".into()) };
    let response = match &result {
        Ok(joined) => joined_as(&member, joined, no_protocol()),
        Err(refusal) => JoinGroupResponse {
            error_code: of_groups(refusal.code),
            generation_id: -1,
            protocol_name: no_protocol(),
            member_id: (&*member).into(),
            ..Default::default()
        },
    };
    call.answer(&response);
}

fn joined_as<'a>(
    member: &'a str,
    joined: &'a Joined,
    no_protocol: Option<std::borrow::Cow<'a, str>>,
) -> JoinGroupResponse<'a> {
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.as_deref().map(Into::into),
        protocol_name: joined.protocol.as_deref().map_or(no_protocol, |name| Some(name.into())),
        leader: (&*joined.leader).into(),
        skip_assignment: joined.skip_assignment,
        member_id: member.into(),
        members: joined
            .members
            .iter()
            .map(|known| Member {
                member_id: (&*known.member).into(),
                group_instance_id: known.instance.as_deref().map(Into::into),
                metadata: known.metadata.as_ref().into(),
            })
            .collect(),
        ..Default::default()
    }
}
