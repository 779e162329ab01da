//! CreateAcls: adds entries to access control lists.

use std::sync::Arc;

use millstream_actors::access::{Acl, Operation};
use millstream_actors::error::Refusal;
use millstream_transport::kafka::messages::create_acls::CreateAclsRequest;
use millstream_transport::kafka::messages::create_acls::response::{AclCreationResult, CreateAclsResponse};

use super::super::acls::{Told, acl, demand};
use super::super::call::Call;
use super::super::error::number_of;
use super::super::service::Service;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<CreateAclsRequest<'_>>(&body) else { return };
    let allowed = demand(call.rights(), Operation::Alter);
    let wishes = request.creations.iter().map(|told| {
        allowed.clone()?;
        acl(&Told {
            resource: told.resource_type,
            pattern: told.resource_pattern_type,
            name: Some(&told.resource_name),
            principal: Some(&told.principal),
            host: Some(&told.host),
            operation: told.operation,
            permission: told.permission_type,
        })
    });
    let wishes: Vec<Result<Acl, Refusal>> = wishes.collect();
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let acls = wishes.iter().filter_map(|wish| wish.as_ref().ok().cloned()).collect();
        let made = service.cluster.create_acls(acls).await;
        let results = wishes.into_iter().map(|wish| {
            let done = wish.and_then(|_| made.clone());
            AclCreationResult {
                error_code: number_of(&done),
                error_message: done.err().map(|refusal| refusal.text.into()),
            }
        });
        call.answer(&CreateAclsResponse { results: results.collect(), ..Default::default() });
    });
}
