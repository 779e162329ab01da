//! DeleteAcls: removes the entries of access control lists that filters find.

use std::sync::Arc;

use millstream_actors::access::{Acl, AclFilter, Operation};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_transport::kafka::messages::delete_acls::DeleteAclsRequest;
use millstream_transport::kafka::messages::delete_acls::response::{
    DeleteAclsResponse, FilterResult, MatchingAcl,
};

use super::super::acls::{Told, demand, filter};
use super::super::call::Call;
use super::super::error::number;
use super::super::service::Service;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<DeleteAclsRequest<'_>>(&body) else { return };
    let allowed = demand(call.rights(), Operation::Alter);
    let wishes = request.filters.iter().map(|told| {
        allowed.clone()?;
        filter(&Told {
            resource: told.resource_type_filter,
            pattern: told.pattern_type_filter,
            name: told.resource_name_filter.as_deref(),
            principal: told.principal_filter.as_deref(),
            host: told.host_filter.as_deref(),
            operation: told.operation,
            permission: told.permission_type,
        })
    });
    let wishes: Vec<Result<AclFilter, Refusal>> = wishes.collect();
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let filters = wishes.iter().filter_map(|wish| wish.as_ref().ok().cloned()).collect();
        let mut removed = service.cluster.delete_acls(filters).await.map(Vec::into_iter);
        let results = wishes.into_iter().map(|wish| {
            let of_filter = wish.and_then(|_| match &mut removed {
                Ok(each) => each.next().ok_or_else(missing),
                Err(refusal) => Err(refusal.clone()),
            });
            told(of_filter)
        });
        call.answer(&DeleteAclsResponse { filter_results: results.collect(), ..Default::default() });
    });
}

fn missing() -> Refusal {
    Refusal::new(ErrorCode::UnknownServerError, "what became of a filter was not told")
}

fn told(removed: Result<Vec<Acl>, Refusal>) -> FilterResult<'static> {
    match removed {
        Ok(removed) => {
            FilterResult { matching_acls: removed.into_iter().map(gone).collect(), ..Default::default() }
        }
        Err(refusal) => FilterResult {
            error_code: number(refusal.code),
            error_message: Some(refusal.text.into()),
            ..Default::default()
        },
    }
}

fn gone(acl: Acl) -> MatchingAcl<'static> {
    MatchingAcl {
        resource_type: acl.resource.code(),
        resource_name: acl.name.into(),
        pattern_type: acl.pattern.code(),
        principal: acl.principal.into(),
        host: acl.host.into(),
        operation: acl.operation.code(),
        permission_type: acl.permission.code(),
        ..Default::default()
    }
}
