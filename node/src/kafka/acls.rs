//! What the calls about access control lists share: between the numbers of the protocol and what is meant.

use millstream_actors::access::acl::canonical_host;
use millstream_actors::access::{
    Acl, AclFilter, Operation, PatternFilter, PatternType, Permission, ResourceType,
};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::image::invalid_acl;

use crate::security::authorize::Rights;

/// The number that stands for any, of a type, an operation or a permission.
const ANY: i8 = 1;

/// The number that stands for all patterns that a name fits.
const MATCH: i8 = 2;

/// An entry, or a filter, as a request has it.
pub(super) struct Told<'a> {
    pub(super) resource: i8,
    pub(super) pattern: i8,
    pub(super) name: Option<&'a str>,
    pub(super) principal: Option<&'a str>,
    pub(super) host: Option<&'a str>,
    pub(super) operation: i8,
    pub(super) permission: i8,
}

/// A refusal where there are no lists, or where the sender may not do this with them.
pub(super) fn demand(rights: &Rights, operation: Operation) -> Result<(), Refusal> {
    if rights.are_asked() {
        return rights.demand_of_cluster(operation);
    }
    let text = "access control lists are off: set authorizer.class.name = acl on all nodes";
    Err(Refusal::new(ErrorCode::SecurityDisabled, text))
}

fn unknown(what: &str, code: i8) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, format!("{what} {code} is none that an entry can have"))
}

/// An entry to be made.
pub(super) fn acl(told: &Told<'_>) -> Result<Acl, Refusal> {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let acl = Acl {
        resource: ResourceType::of_code(told.resource)
            .ok_or_else(|| unknown("type of resource", told.resource))?,
        pattern: PatternType::of_code(told.pattern)
            .ok_or_else(|| unknown("type of pattern", told.pattern))?,
        name: text(told.name),
        principal: text(told.principal),
        host: canonical_host(told.host.unwrap_or_default()),
        operation: Operation::of_code(told.operation).ok_or_else(|| unknown("operation", told.operation))?,
        permission: Permission::of_code(told.permission)
            .ok_or_else(|| unknown("permission", told.permission))?,
    };
    acl.check().map_err(|wrong| invalid_acl(&wrong))?;
    Ok(acl)
}

/// A filter.
pub(super) fn filter(told: &Told<'_>) -> Result<AclFilter, Refusal> {
    let text = |text: Option<&str>| text.map(str::to_owned);
    Ok(AclFilter {
        resource: any_or(told.resource, ResourceType::of_code, "type of resource")?,
        name: text(told.name),
        pattern: match told.pattern {
            ANY => PatternFilter::Any,
            MATCH => PatternFilter::Match,
            code => PatternFilter::Exactly(
                PatternType::of_code(code).ok_or_else(|| unknown("type of pattern", code))?,
            ),
        },
        principal: text(told.principal),
        host: told.host.map(canonical_host),
        operation: any_or(told.operation, Operation::of_code, "operation")?,
        permission: any_or(told.permission, Permission::of_code, "permission")?,
    })
}

fn any_or<T>(code: i8, of_code: impl Fn(i8) -> Option<T>, what: &str) -> Result<Option<T>, Refusal> {
    if code == ANY {
        return Ok(None);
    }
    of_code(code).map(Some).ok_or_else(|| unknown(what, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(resource: i8, pattern: i8, operation: i8, permission: i8) -> Told<'static> {
        Told {
            resource,
            pattern,
            name: Some("t"),
            principal: Some("User:a"),
            host: Some("*"),
            operation,
            permission,
        }
    }

    #[test]
    fn an_entry_has_no_part_that_stands_for_any() {
        assert!(acl(&told(2, 3, 3, 3)).is_ok());
        for wrong in
            [told(1, 3, 3, 3), told(2, 2, 3, 3), told(2, 3, 1, 3), told(2, 3, 3, 1), told(0, 3, 3, 3)]
        {
            assert_eq!(acl(&wrong).unwrap_err().code, ErrorCode::InvalidRequest);
        }
        assert!(acl(&Told { principal: Some("a"), ..told(2, 3, 3, 3) }).is_err());
        assert!(acl(&Told { host: None, ..told(2, 3, 3, 3) }).is_err());
    }

    #[test]
    fn an_address_is_kept_and_looked_for_as_clients_have_it() {
        let java = Told { host: Some("0:0:0:0:0:0:0:1"), ..told(2, 3, 3, 3) };
        assert_eq!(acl(&java).unwrap().host, "::1");
        assert_eq!(filter(&java).unwrap().host.as_deref(), Some("::1"));
    }

    #[test]
    fn a_filter_may_leave_everything_open_and_names_nothing_that_there_is_not() {
        let open = filter(&told(1, 1, 1, 1)).unwrap();
        assert_eq!((open.resource, open.operation, open.permission), (None, None, None));
        assert_eq!(filter(&told(2, 2, 3, 3)).unwrap().pattern, PatternFilter::Match);
        for wrong in [told(0, 1, 1, 1), told(1, 0, 1, 1), told(1, 1, 99, 1), told(1, 1, 1, 4)] {
            assert_eq!(filter(&wrong).unwrap_err().code, ErrorCode::InvalidRequest);
        }
    }
}
