//! DescribeAcls: the entries of access control lists that a filter finds, by resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_actors::access::{Acl, Operation, PatternType, ResourceType};
use millstream_transport::kafka::messages::describe_acls::DescribeAclsRequest;
use millstream_transport::kafka::messages::describe_acls::response::{
    Acl as Described, DescribeAclsResponse, Resource,
};

use super::super::acls::{Told, demand, filter};
use super::super::call::Call;
use super::super::error::number;
use super::super::service::Service;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<DescribeAclsRequest<'_>>(&body) else { return };
    let told = Told {
        resource: request.resource_type_filter,
        pattern: request.pattern_type_filter,
        name: request.resource_name_filter.as_deref(),
        principal: request.principal_filter.as_deref(),
        host: request.host_filter.as_deref(),
        operation: request.operation,
        permission: request.permission_type,
    };
    let found = demand(call.rights(), Operation::Describe).and_then(|()| filter(&told));
    let filter = match found {
        Ok(filter) => filter,
        Err(refusal) => {
            return call.answer(&DescribeAclsResponse {
                error_code: number(refusal.code),
                error_message: Some(refusal.text.into()),
                ..Default::default()
            });
        }
    };
    let image = service.image();
    let resources = by_resource(image.acls().found(&filter));
    call.answer(&DescribeAclsResponse { resources: resources.into(), ..Default::default() });
}

fn by_resource(acls: impl Iterator<Item = Acl>) -> Vec<Resource<'static>> {
    let mut resources: BTreeMap<(ResourceType, String, PatternType), Vec<Described<'static>>> =
        BTreeMap::new();
    for acl in acls {
        let described = Described {
            principal: acl.principal.into(),
            host: acl.host.into(),
            operation: acl.operation.code(),
            permission_type: acl.permission.code(),
        };
        resources.entry((acl.resource, acl.name, acl.pattern)).or_default().push(described);
    }
    let resources = resources.into_iter().map(|((resource, name, pattern), acls)| Resource {
        resource_type: resource.code(),
        resource_name: name.into(),
        pattern_type: pattern.code(),
        acls: acls.into(),
    });
    resources.collect()
}
