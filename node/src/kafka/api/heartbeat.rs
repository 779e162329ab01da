//! Heartbeat: a member of a group of the classic protocol lives.

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::group::classic::Heartbeat;
use millstream_transport::kafka::messages::heartbeat::HeartbeatRequest;
use millstream_transport::kafka::messages::heartbeat::response::HeartbeatResponse;

use super::super::call::Call;
use super::super::error::of_groups_outcome;
use super::super::service::Service;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<HeartbeatRequest<'_>>(&body) else { return };
    let allowed = call.rights().demand(Operation::Read, ResourceType::Group, &request.group_id);
    if allowed.is_err() {
        return call
            .answer(&HeartbeatResponse { error_code: of_groups_outcome(&allowed), ..Default::default() });
    }
    let heartbeat = Heartbeat {
        member: Arc::from(&*request.member_id),
        generation: request.generation_id,
        instance: request.group_instance_id.as_deref().map(Arc::from),
    };
    let beating = service.groups.classic_heartbeat(&request.group_id, heartbeat);
    actix_rt::spawn(async move {
        call.answer(&HeartbeatResponse {
            error_code: of_groups_outcome(&beating.await),
            ..Default::default()
        });
    });
}
