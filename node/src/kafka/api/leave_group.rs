//! LeaveGroup: members leave a group of the classic protocol.

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::Refusal;
use millstream_actors::group::classic::{EachLeft, LeaveGroup, Leaver};
use millstream_transport::kafka::messages::leave_group::LeaveGroupRequest;
use millstream_transport::kafka::messages::leave_group::response::{LeaveGroupResponse, Member};

use super::super::call::Call;
use super::super::error::{NONE, of_groups, of_groups_outcome};
use super::super::service::Service;

/// The first version in which several leave at a time.
const BATCHED_FROM: i16 = 3;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<LeaveGroupRequest<'_>>(&body) else { return };
    let allowed = call.rights().demand(Operation::Read, ResourceType::Group, &request.group_id);
    if let Err(refusal) = allowed {
        return respond(call, &Err(refusal));
    }
    let members = if call.version >= BATCHED_FROM {
        let leaver =
            |member: millstream_transport::kafka::messages::leave_group::request::Member<'_>| Leaver {
                member: Arc::from(&*member.member_id),
                instance: member.group_instance_id.as_deref().map(Arc::from),
                reason: member.reason.map(Into::into),
            };
        request.members.iter().map(leaver).collect()
    } else {
        vec![Leaver { member: Arc::from(&*request.member_id), instance: None, reason: None }]
    };
    let leaving = service.groups.leave(&request.group_id, LeaveGroup { members });
    actix_rt::spawn(async move { respond(call, &leaving.await) });
}

fn respond(call: Call, left: &Result<EachLeft, Refusal>) {
    let each = match left {
        Ok(each) => each,
        Err(refusal) => {
            let error_code = of_groups(refusal.code);
            return call.answer(&LeaveGroupResponse { error_code, ..Default::default() });
        }
    };
    if call.version < BATCHED_FROM {
        let error_code = each.first().map_or(NONE, |(_, outcome)| of_groups_outcome(outcome));
        return call.answer(&LeaveGroupResponse { error_code, ..Default::default() });
    }
    let members = each.iter().map(|(leaver, outcome)| Member {
        member_id: (&*leaver.member).into(),
        group_instance_id: leaver.instance.as_deref().map(Into::into),
        error_code: of_groups_outcome(outcome),
    });
    call.answer(&LeaveGroupResponse { members: members.collect(), ..Default::default() });
}
