//! DeleteGroups: forgets groups without members, and their offsets.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::group::message::DeleteGroup;
use millstream_transport::kafka::messages::delete_groups::DeleteGroupsRequest;
use millstream_transport::kafka::messages::delete_groups::response::{
    DeletableGroupResult, DeleteGroupsResponse,
};

use super::super::call::Call;
use super::super::error::of_groups_outcome;
use super::super::service::Service;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<DeleteGroupsRequest<'_>>(&body) else { return };
    let groups: BTreeSet<String> = request.groups_names.iter().map(Into::into).collect();
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let mut results = Vec::with_capacity(groups.len());
        for group in groups {
            let deleting = DeleteGroup { group: group.clone() };
            let done = match call.rights().demand(Operation::Delete, ResourceType::Group, &group) {
                Ok(()) => service.groups.handle(&call.peer.to_string(), deleting).await,
                Err(refusal) => Err(refusal),
            };
            results.push(DeletableGroupResult {
                group_id: group.into(),
                error_code: of_groups_outcome(&done),
                error_message: done.err().map(|refusal| refusal.text.into()),
            });
        }
        call.answer(&DeleteGroupsResponse { results: results.into(), ..Default::default() });
    });
}
