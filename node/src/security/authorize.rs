//! Whether somebody may do something (KIP-11, KIP-290): the one place where that is decided.

use std::sync::Arc;

use millstream_actors::access::acl::CLUSTER_NAME;
use millstream_actors::access::{Acls, Operation, Question, ResourceType, Ruling};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::topics::TopicRights;
use millstream_actors::image::Image;
use millstream_transport::world::watch;

use super::principal::Principal;
use crate::config::AuthorizerConfig;

/// So many letters of a name are shown in a refusal: no topic has more.
const SHOWN_LETTERS: usize = 249;

/// What is told where nobody asked for operations (KIP-430).
pub(crate) const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

/// What an API may ask for: an operation on a type of resource.
pub(crate) type Need = (Operation, ResourceType);

/// What an API asks for. Every row of the table has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing: everybody who is let in may.
    Open,
    /// Some of these, by what the request names. Nothing else is ever granted to it.
    Needs(&'static [Need]),
}

impl Rule {
    fn names(self, need: Need) -> bool {
        match self {
            Self::Open => false,
            Self::Needs(needs) => needs.contains(&need),
        }
    }
}

/// Who asks, and how lists are read here.
#[derive(Clone, Debug)]
struct Sender {
    policy: Arc<AuthorizerConfig>,
    principal: Principal,
    host: Arc<str>,
}

/// What the sender of one request may do, as the lists were when it came.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    rule: Rule,
    image: Arc<Image>,
    sender: Sender,
}

/// The topics that somebody may describe, as the lists are whenever that is asked.
#[derive(Debug)]
pub(crate) struct Describer {
    sender: Sender,
    images: watch::Receiver<Arc<Image>>,
}

impl Rights {
    /// Of this principal, from this address.
    pub(crate) const fn new(
        rule: Rule,
        policy: Arc<AuthorizerConfig>,
        image: Arc<Image>,
        principal: Principal,
        host: Arc<str>,
    ) -> Self {
        Self { rule, image, sender: Sender { policy, principal, host } }
    }

    /// Whether anything is asked at all.
    pub(crate) fn are_asked(&self) -> bool {
        self.sender.policy.is_on
    }

    /// Whether the sender may do this to that.
    ///
    /// What the API's row does not name is not granted: a handler and its row say the same.
    #[must_use = "a handler that asks is to do as it is told"]
    pub(crate) fn may(&self, operation: Operation, resource: ResourceType, name: &str) -> bool {
        if !self.are_asked() {
            return true;
        }
        let is_named = self.rule.names((operation, resource));
        debug_assert!(is_named, "{operation:?} of {resource:?} is not in the row of this API");
        is_named && self.is_granted(operation, resource, name)
    }

    /// Whether the sender may do this to the cluster.
    #[must_use = "a handler that asks is to do as it is told"]
    pub(crate) fn may_with_cluster(&self, operation: Operation) -> bool {
        self.may(operation, ResourceType::Cluster, CLUSTER_NAME)
    }

    /// Whether there may be a resource of this type to which the sender may do this (KIP-679).
    #[must_use = "a handler that asks is to do as it is told"]
    pub(crate) fn may_with_any(&self, operation: Operation, resource: ResourceType) -> bool {
        let is_named = !self.are_asked() || self.rule.names((operation, resource));
        if !self.are_asked() || (is_named && self.sender.is_super()) {
            return true;
        }
        let (principal, host) = (self.sender.principal.as_str(), &self.sender.host);
        let ruling = self.image.acls().ruling_on_any(principal, host, operation, resource);
        is_named
            && match ruling {
                Ruling::Allowed => true,
                Ruling::NothingSaid => self.sender.policy.everyone_if_none,
                Ruling::Denied => false,
            }
    }

    /// A refusal with Kafka's code unless the sender may do this to that. It names nothing: a topic that was asked for by
    /// its id has a name that the sender may not know. Who was refused what is in the log.
    pub(crate) fn demand(
        &self,
        operation: Operation,
        resource: ResourceType,
        name: &str,
    ) -> Result<(), Refusal> {
        if self.may(operation, resource, name) {
            return Ok(());
        }
        let (who, shown) = (self.sender.principal.as_str().escape_debug(), name.chars().take(SHOWN_LETTERS));
        let text = format!("{who} may not {operation:?} {resource:?} {:?}", shown.collect::<String>());
        tracing::info!(host = %self.sender.host, "denied: {text}");
        Err(Refusal::new(
            code_of(resource),
            format!("no list allows the sender to {operation:?} this {resource:?}"),
        ))
    }

    /// A refusal unless the sender may do this to the cluster.
    pub(crate) fn demand_of_cluster(&self, operation: Operation) -> Result<(), Refusal> {
        self.demand(operation, ResourceType::Cluster, CLUSTER_NAME)
    }

    /// The operations that the sender may do to a resource, a bit each: what clients ask for with `include operations`.
    pub(crate) fn operations(&self, resource: ResourceType, name: &str) -> i32 {
        let granted = operations_of(resource)
            .iter()
            .filter(|operation| !self.are_asked() || self.is_granted(**operation, resource, name));
        granted.fold(0, |bits, operation| bits | (1_i32 << operation.code()))
    }

    /// The topics that the sender may describe; `None` where nobody is asked, and it may describe all of them.
    pub(crate) fn to_describe(&self, images: &watch::Receiver<Arc<Image>>) -> Option<Arc<Describer>> {
        let need = (Operation::Describe, ResourceType::Topic);
        debug_assert!(!self.are_asked() || self.rule.names(need), "{need:?} is not in the row of this API");
        self.are_asked().then(|| Arc::new(Describer { sender: self.sender.clone(), images: images.clone() }))
    }

    fn is_granted(&self, operation: Operation, resource: ResourceType, name: &str) -> bool {
        self.sender.is_granted(self.image.acls(), operation, resource, name)
    }
}

impl Sender {
    fn is_super(&self) -> bool {
        self.policy.super_users.contains(self.principal.as_str())
    }

    fn is_granted(&self, acls: &Acls, operation: Operation, resource: ResourceType, name: &str) -> bool {
        if self.is_super() {
            return true;
        }
        let principal = self.principal.as_str();
        match acls.ruling(Question { principal, host: &self.host, operation, resource, name }) {
            Ruling::Allowed => true,
            Ruling::Denied => false,
            Ruling::NothingSaid => self.policy.everyone_if_none,
        }
    }
}

impl TopicRights for Describer {
    fn name(&self, lists: &Acls) -> Arc<str> {
        let Sender { principal, host, .. } = &self.sender;
        if lists.tell_hosts_of_topics_apart() {
            // An address has no blanks.
            format!("{host} {principal}").into()
        } else {
            principal.shared()
        }
    }

    fn lists(&self) -> Arc<Acls> {
        Arc::clone(self.images.borrow().acls())
    }

    fn may_describe(&self, lists: &Acls, topic: &str) -> bool {
        self.sender.is_granted(lists, Operation::Describe, ResourceType::Topic, topic)
    }
}

/// What is answered to who may not do something to a resource of this type.
const fn code_of(resource: ResourceType) -> ErrorCode {
    match resource {
        ResourceType::Topic => ErrorCode::TopicAuthorizationFailed,
        ResourceType::Group => ErrorCode::GroupAuthorizationFailed,
        ResourceType::TransactionalId => ErrorCode::TransactionalIdAuthorizationFailed,
        ResourceType::Cluster | ResourceType::DelegationToken | ResourceType::User => {
            ErrorCode::ClusterAuthorizationFailed
        }
    }
}

/// The operations that make sense with a type of resource, as Kafka has them (KIP-430).
const fn operations_of(resource: ResourceType) -> &'static [Operation] {
    use Operation::{
        Alter, AlterConfigs, ClusterAction, Create, CreateTokens, Delete, Describe, DescribeConfigs,
        DescribeTokens, IdempotentWrite, Read, Write,
    };
    match resource {
        ResourceType::Topic => &[Read, Write, Create, Describe, Delete, Alter, DescribeConfigs, AlterConfigs],
        ResourceType::Group => &[Read, Describe, Delete, DescribeConfigs, AlterConfigs],
        ResourceType::Cluster => {
            &[Create, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite, Alter, Describe]
        }
        ResourceType::TransactionalId => &[Describe, Write],
        ResourceType::DelegationToken => &[Describe],
        ResourceType::User => &[CreateTokens, DescribeTokens],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use millstream_actors::access::{Acl, PatternType, Permission};

    use super::*;

    fn rights(is_on: bool, everyone_if_none: bool, name: &str) -> Rights {
        rights_from("127.0.0.1", is_on, everyone_if_none, name)
    }

    fn rights_from(host: &str, is_on: bool, everyone_if_none: bool, name: &str) -> Rights {
        let super_users = BTreeSet::from(["User:admin".to_owned()]);
        let policy = Arc::new(AuthorizerConfig { is_on, super_users, everyone_if_none });
        let needs = Rule::Needs(&[
            (Operation::Read, ResourceType::Topic),
            (Operation::Describe, ResourceType::Topic),
            (Operation::Alter, ResourceType::Cluster),
        ]);
        Rights::new(needs, policy, Arc::default(), Principal::user(name), host.into())
    }

    #[test]
    fn who_may_describe_what_is_told_apart_by_hosts_only_where_the_lists_do() {
        let images = watch::channel(Arc::<Image>::default()).1;
        let describer = |host| rights_from(host, true, false, "alice").to_describe(&images).unwrap();
        let (one, other) = (describer("10.0.0.1"), describer("10.0.0.2"));
        let mut lists = Acls::default();
        assert_eq!(one.name(&lists), other.name(&lists));
        lists.insert(Acl {
            resource: ResourceType::Topic,
            pattern: PatternType::Literal,
            name: "t".to_owned(),
            principal: "User:alice".to_owned(),
            host: "10.0.0.1".to_owned(),
            operation: Operation::Read,
            permission: Permission::Allow,
        });
        assert_ne!(one.name(&lists), other.name(&lists));
        assert!(one.may_describe(&lists, "t") && !other.may_describe(&lists, "t"));
    }

    #[test]
    fn without_lists_everybody_may_where_nothing_is_asked_and_super_users_may_anywhere() {
        let reads = |rights: &Rights| rights.may(Operation::Read, ResourceType::Topic, "t");
        assert!(reads(&rights(false, false, "alice")));
        assert!(!reads(&rights(true, false, "alice")));
        assert!(reads(&rights(true, true, "alice")));
        assert!(reads(&rights(true, false, "admin")));
        assert!(rights(true, false, "admin").may_with_cluster(Operation::Alter));
        assert!(!rights(true, false, "ANONYMOUS").may_with_cluster(Operation::Alter));
    }

    #[test]
    fn a_refusal_says_what_may_not_be_done_and_names_nothing() {
        let refusal =
            rights(true, false, "alice").demand(Operation::Read, ResourceType::Topic, "t").unwrap_err();
        assert_eq!(refusal.code, ErrorCode::TopicAuthorizationFailed);
        assert_eq!(refusal.text, "no list allows the sender to Read this Topic");
    }

    #[test]
    #[should_panic(expected = "is not in the row of this API")]
    fn what_the_row_of_an_api_does_not_name_is_not_asked_for() {
        let _ = rights(true, false, "admin").may(Operation::Write, ResourceType::Topic, "t");
    }

    #[test]
    fn operations_are_told_a_bit_each() {
        assert_eq!(
            rights(false, false, "a").operations(ResourceType::TransactionalId, "t"),
            (1 << 8) | (1 << 4)
        );
        assert_eq!(rights(true, false, "a").operations(ResourceType::Topic, "t"), 0);
    }
}
