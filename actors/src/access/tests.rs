use proptest::prelude::*;

use super::acl::{ANYBODY, CLUSTER_NAME, WILDCARD};
use super::*;

fn acl(
    pattern: PatternType,
    name: &str,
    principal: &str,
    operation: Operation,
    permission: Permission,
) -> Acl {
    Acl {
        resource: ResourceType::Topic,
        pattern,
        name: name.to_owned(),
        principal: principal.to_owned(),
        host: WILDCARD.to_owned(),
        operation,
        permission,
    }
}

fn allow(pattern: PatternType, name: &str, operation: Operation) -> Acl {
    acl(pattern, name, "User:a", operation, Permission::Allow)
}

fn deny(pattern: PatternType, name: &str, operation: Operation) -> Acl {
    acl(pattern, name, "User:a", operation, Permission::Deny)
}

fn ask(acls: &Acls, principal: &str, name: &str, operation: Operation) -> Ruling {
    let resource = ResourceType::Topic;
    acls.ruling(Question { principal, host: "10.0.0.1", operation, resource, name })
}

use Operation::{All, Describe, Read, Write};
use PatternType::{Literal, Prefixed};

#[test]
fn literal_wildcard_and_prefixed_patterns_speak_of_their_names_only() {
    for (pattern, name, fits, not) in [
        (Literal, "flights", "flights", "flights2"),
        (Prefixed, "fl", "flights", "kflights"),
        (Prefixed, "flights", "flights", "flight"),
    ] {
        let acls: Acls = [allow(pattern, name, Read)].into_iter().collect();
        assert_eq!(ask(&acls, "User:a", fits, Read), Ruling::Allowed, "{pattern:?} {name}");
        assert_eq!(ask(&acls, "User:b", fits, Read), Ruling::Denied);
        assert_eq!(ask(&acls, "User:a", not, Read), Ruling::NothingSaid);
    }
    let acls: Acls = [allow(Literal, WILDCARD, Read)].into_iter().collect();
    assert_eq!(ask(&acls, "User:a", "anything", Read), Ruling::Allowed);
}

#[test]
fn an_entry_is_about_its_host_and_its_principal_or_everybody() {
    let mut one = allow(Literal, "t", Read);
    one.principal = ANYBODY.to_owned();
    one.host = "10.0.0.1".to_owned();
    let acls: Acls = [one].into_iter().collect();
    assert_eq!(ask(&acls, "User:whoever", "t", Read), Ruling::Allowed);
    let elsewhere = Question {
        principal: "User:whoever",
        host: "10.0.0.2",
        operation: Read,
        resource: ResourceType::Topic,
        name: "t",
    };
    assert_eq!(acls.ruling(elsewhere), Ruling::Denied);
}

#[test]
fn an_address_has_one_text_however_it_is_written() {
    for (written, kept) in [
        ("0:0:0:0:0:0:0:1", "::1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        (WILDCARD, WILDCARD),
        ("host.example", "host.example"),
    ] {
        assert_eq!(acl::canonical_host(written), kept);
    }
}

#[test]
fn what_is_allowed_implies_describing_and_what_is_denied_implies_nothing() {
    for operation in [Read, Write, Operation::Delete, Operation::Alter, All] {
        let acls: Acls = [allow(Literal, "t", operation)].into_iter().collect();
        assert_eq!(ask(&acls, "User:a", "t", Describe), Ruling::Allowed, "{operation:?}");
    }
    let acls: Acls = [allow(Literal, "t", Operation::AlterConfigs)].into_iter().collect();
    assert_eq!(ask(&acls, "User:a", "t", Operation::DescribeConfigs), Ruling::Allowed);
    assert_eq!(ask(&acls, "User:a", "t", Describe), Ruling::Denied);
    let acls: Acls = [allow(Literal, "t", Describe), deny(Literal, "t", Read)].into_iter().collect();
    assert_eq!(ask(&acls, "User:a", "t", Describe), Ruling::Allowed);
    assert_eq!(ask(&acls, "User:a", "t", Read), Ruling::Denied);
}

#[test]
fn a_right_on_any_topic_is_none_where_denials_cover_all_that_is_allowed() {
    let on_any = |acls: &[Acl]| {
        let acls: Acls = acls.iter().cloned().collect();
        acls.ruling_on_any("User:a", "h", Write, ResourceType::Topic)
    };
    assert_eq!(on_any(&[]), Ruling::NothingSaid);
    assert_eq!(on_any(&[allow(Literal, "t", Write)]), Ruling::Allowed);
    assert_eq!(on_any(&[allow(Literal, "t", Read)]), Ruling::NothingSaid);
    assert_eq!(on_any(&[allow(Literal, "t", Write), deny(Literal, "t", Write)]), Ruling::NothingSaid);
    assert_eq!(on_any(&[allow(Prefixed, "tab", Write), deny(Prefixed, "ta", Write)]), Ruling::NothingSaid);
    assert_eq!(on_any(&[allow(Prefixed, "t", Write), deny(Prefixed, "ta", Write)]), Ruling::Allowed);
    assert_eq!(on_any(&[allow(Literal, WILDCARD, Write), deny(Literal, WILDCARD, All)]), Ruling::Denied);
}

#[test]
fn filters_find_by_name_or_by_what_speaks_of_a_name() {
    let all: Acls = [
        allow(Literal, "flights", Read),
        allow(Prefixed, "fl", Read),
        allow(Literal, WILDCARD, Read),
        allow(Literal, "other", Write),
    ]
    .into_iter()
    .collect();
    let filter = |pattern: PatternFilter, name: Option<&str>| AclFilter {
        resource: Some(ResourceType::Topic),
        name: name.map(str::to_owned),
        pattern,
        principal: None,
        host: None,
        operation: None,
        permission: None,
    };
    let found = |pattern, name| all.found(&filter(pattern, name)).count();
    assert_eq!(found(PatternFilter::Any, None), 4);
    assert_eq!(found(PatternFilter::Match, Some("flights")), 3);
    assert_eq!(found(PatternFilter::Exactly(Literal), Some("flights")), 1);
    assert_eq!(found(PatternFilter::Exactly(Prefixed), None), 1);
    assert_eq!(found(PatternFilter::Any, Some("fl")), 1);
    let writes = AclFilter { operation: Some(Write), ..filter(PatternFilter::Any, None) };
    assert_eq!(all.found(&writes).count(), 1);
}

#[test]
fn entries_that_make_no_sense_are_refused() {
    assert_eq!(allow(Literal, "t", Read).check(), Ok(()));
    let wrong = [
        Acl { name: String::new(), ..allow(Literal, "t", Read) },
        Acl { principal: "alice".to_owned(), ..allow(Literal, "t", Read) },
        Acl { host: String::new(), ..allow(Literal, "t", Read) },
        Acl { resource: ResourceType::Cluster, ..allow(Literal, "t", Read) },
        Acl { name: "n".repeat(2000), ..allow(Literal, "t", Read) },
    ];
    for acl in wrong {
        assert!(acl.check().is_err(), "{acl:?}");
    }
    let cluster = Acl { resource: ResourceType::Cluster, ..allow(Literal, CLUSTER_NAME, Read) };
    assert_eq!(cluster.check(), Ok(()));
}

#[test]
fn numbers_are_those_of_the_protocol_and_stand_for_one_thing_each() {
    for operation in Operation::ALL {
        assert_eq!(Operation::of_code(operation.code()), Some(*operation));
    }
    assert_eq!((Operation::of_code(0), Operation::of_code(1), Operation::of_code(16)), (None, None, None));
    assert_eq!(ResourceType::of_code(5), Some(ResourceType::TransactionalId));
    assert_eq!(PatternType::of_code(2), None);
    assert_eq!(Permission::of_code(3), Some(Permission::Allow));
}

#[test]
fn a_credential_is_not_shown() {
    let credential = ScramCredential {
        salt: vec![77; 16],
        stored_key: vec![78; 32],
        server_key: vec![79; 32],
        iterations: 4096,
    };
    assert_eq!(credential.check(ScramMechanism::Sha256), Ok(()));
    assert!(credential.check(ScramMechanism::Sha512).is_err());
    let shown = format!("{credential:?}");
    assert!(
        shown.contains("4096") && !["77", "78", "79"].iter().any(|secret| shown.contains(secret)),
        "{shown}"
    );
    let cheap = ScramCredential { iterations: 4095, ..credential };
    assert_eq!(cheap.check(ScramMechanism::Sha256), Err(InvalidCredential::Iterations(4095)));
}

fn any_acl() -> impl Strategy<Value = Acl> {
    let pattern = prop_oneof![Just(Literal), Just(Prefixed)];
    let name = prop_oneof![Just("*".to_owned()), "[ab]{1,3}"];
    let principal = prop_oneof![Just("User:a"), Just("User:b"), Just(ANYBODY)];
    let operation = proptest::sample::select(vec![All, Read, Write, Describe]);
    let permission = prop_oneof![Just(Permission::Allow), Just(Permission::Deny)];
    (pattern, name, principal, operation, permission).prop_map(
        |(pattern, name, principal, operation, permission)| {
            acl(pattern, &name, principal, operation, permission)
        },
    )
}

/// What the rules say, one entry at a time.
fn by_the_book(acls: &[Acl], principal: &str, name: &str, operation: Operation) -> Ruling {
    let speaks = |acl: &&Acl| match acl.pattern {
        Literal => acl.name == name || acl.name == WILDCARD,
        Prefixed => name.starts_with(acl.name.as_str()),
    };
    let about = |acl: &&Acl| acl.principal == principal || acl.principal == ANYBODY;
    let denies = |acl: &Acl| {
        acl.permission == Permission::Deny && (acl.operation == All || acl.operation == operation)
    };
    let allows = |acl: &Acl| acl.permission == Permission::Allow && acl.operation.implies(operation);
    if !acls.iter().any(|acl| speaks(&acl)) {
        return Ruling::NothingSaid;
    }
    let mine = || acls.iter().filter(speaks).filter(about);
    if mine().any(denies) || !mine().any(allows) { Ruling::Denied } else { Ruling::Allowed }
}

proptest! {
    #[test]
    fn a_denial_wins_over_whatever_allows(
        acls in proptest::collection::vec(any_acl(), 0..12),
        name in "[ab]{1,3}",
        operation in proptest::sample::select(vec![Read, Write, Describe]),
    ) {
        let mut all: Acls = acls.iter().cloned().collect();
        prop_assert_eq!(ask(&all, "User:a", &name, operation), by_the_book(&acls, "User:a", &name, operation));
        all.insert(deny(Literal, &name, operation));
        prop_assert_eq!(ask(&all, "User:a", &name, operation), Ruling::Denied);
    }

    #[test]
    fn what_is_added_and_removed_leaves_nothing(acls in proptest::collection::vec(any_acl(), 0..12)) {
        let mut all: Acls = acls.iter().cloned().collect();
        prop_assert_eq!(all.len(), all.iter().count());
        prop_assert!(all.iter().all(|acl| all.contains(&acl)) && acls.iter().all(|acl| all.contains(acl)));
        for acl in &acls {
            all.remove(acl);
        }
        prop_assert!(all.is_empty());
        prop_assert_eq!(all, Acls::default());
    }
}

#[test]
fn hosts_matter_to_topics_only_while_an_entry_about_topics_is_about_one() {
    let mut acls = Acls::default();
    let of_host = Acl { host: "10.0.0.1".to_owned(), ..allow(Literal, "t", Read) };
    acls.insert(allow(Literal, "t", Read));
    acls.insert(Acl { resource: ResourceType::Group, ..of_host.clone() });
    assert!(!acls.tell_hosts_of_topics_apart());
    acls.insert(of_host.clone());
    acls.insert(of_host.clone());
    assert!(acls.tell_hosts_of_topics_apart());
    acls.remove(&of_host);
    acls.remove(&of_host);
    assert!(!acls.tell_hosts_of_topics_apart());
}
