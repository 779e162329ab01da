//! SyncGroup: a member of a group of the classic protocol asks for its assignment.

use std::sync::Arc;

use bytes::Bytes;
use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::Refusal;
use millstream_actors::group::classic::{SyncGroup, Synced};
use millstream_transport::kafka::messages::sync_group::SyncGroupRequest;
use millstream_transport::kafka::messages::sync_group::response::SyncGroupResponse;

use super::super::call::Call;
use super::super::error::of_groups;
use super::super::service::Service;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<SyncGroupRequest<'_>>(&body) else { return };
    let allowed = call.rights().demand(Operation::Read, ResourceType::Group, &request.group_id);
    if let Err(refusal) = allowed {
        return respond(call, &Err(refusal));
    }
    let assigned = request
        .assignments
        .iter()
        .map(|assigned| (Arc::from(&*assigned.member_id), Bytes::copy_from_slice(&assigned.assignment)));
    let sync = SyncGroup {
        member: Arc::from(&*request.member_id),
        generation: request.generation_id,
        instance: request.group_instance_id.as_deref().map(Arc::from),
        protocol_type: request.protocol_type.as_deref().map(Arc::from),
        protocol: request.protocol_name.as_deref().map(Arc::from),
        assignments: assigned.collect(),
    };
    let syncing = service.groups.sync(&request.group_id, sync);
    actix_rt::spawn(async move { respond(call, &syncing.await) });
}

fn respond(call: Call, synced: &Result<Synced, Refusal>) {
    let response = match synced {
        Ok(synced) => SyncGroupResponse {
            protocol_type: synced.protocol_type.as_deref().map(Into::into),
            protocol_name: synced.protocol.as_deref().map(Into::into),
            assignment: synced.assignment.as_ref().into(),
            ..Default::default()
        },
        Err(refusal) => SyncGroupResponse { error_code: of_groups(refusal.code), ..Default::default() },
    };
    call.answer(&response);
}
