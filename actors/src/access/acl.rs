//! One access control list entry, and filters that find some. The numbers are those of Kafka's protocol (KIP-140, KIP-290).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The only name that a resource of type cluster has.
pub const CLUSTER_NAME: &str = "kafka-cluster";

/// Whoever it is.
pub const ANYBODY: &str = "User:*";

/// Any host, and any name of a literal pattern.
pub const WILDCARD: &str = "*";

/// The longest text of an entry, in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;

/// What one decision removes, in bytes of entries ([`Acl::bytes`]): once so much is removed, the rest is left to the next.
/// An entry of the quorum holds what is removed, whatever the filters find.
pub const REMOVED_BYTES_MAX: usize = 64 << 10;

/// Bytes of an entry beside its texts.
const FIXED_BYTES: usize = 8;

/// A host as entries have it: an address in one form, however it was written (`0:0:0:0:0:0:0:1` is `::1`), so that it is
/// the text that a client's address is compared with. What is no address stays as it is.
#[must_use]
pub fn canonical_host(host: &str) -> String {
    host.parse::<IpAddr>().map_or_else(|_| host.to_owned(), |address| address.to_canonical().to_string())
}

macro_rules! coded {
    ($(#[$about:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$about])*
        ///
        /// Written by place: new ones stand at the end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$of])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its number in Kafka's protocol.
            #[must_use]
            pub const fn code(self) -> i8 {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// The one of this number; `None` for a number that is none, or that stands for any.
            #[must_use]
            pub fn of_code(code: i8) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.code() == code)
            }
        }
    };
}

coded! {
    /// What something may be done to.
    ResourceType {
        /// A topic.
        Topic = 2,
        /// A consumer group.
        Group = 3,
        /// The cluster.
        Cluster = 4,
        /// A transactional id.
        TransactionalId = 5,
        /// A delegation token: kept, and asked by nobody here.
        DelegationToken = 6,
        /// A user whose delegation tokens are asked for: kept, and asked by nobody here.
        User = 7,
    }
}

coded! {
    /// How the name of a resource is meant.
    PatternType {
        /// This name, or any for `*`.
        Literal = 3,
        /// Every name that begins with it.
        Prefixed = 4,
    }
}

coded! {
    /// What may be done.
    Operation {
        /// Everything.
        All = 2,
        /// Read.
        Read = 3,
        /// Write.
        Write = 4,
        /// Create.
        Create = 5,
        /// Delete.
        Delete = 6,
        /// Alter.
        Alter = 7,
        /// Describe.
        Describe = 8,
        /// What nodes do among themselves.
        ClusterAction = 9,
        /// Describe settings.
        DescribeConfigs = 10,
        /// Alter settings.
        AlterConfigs = 11,
        /// Get a producer id without a transactional id.
        IdempotentWrite = 12,
        /// Create delegation tokens of a user.
        CreateTokens = 13,
        /// Describe delegation tokens of a user.
        DescribeTokens = 14,
        /// Two-phase commit of transactions (KIP-939).
        TwoPhaseCommit = 15,
    }
}

coded! {
    /// Whether it may be done.
    Permission {
        /// It may not, whatever else allows it.
        Deny = 2,
        /// It may.
        Allow = 3,
    }
}

impl Operation {
    /// Whether who is allowed `self` is thereby allowed `other`. Denials imply nothing but themselves.
    #[must_use]
    pub const fn implies(self, other: Self) -> bool {
        match other {
            Self::Describe => matches!(
                self,
                Self::All | Self::Describe | Self::Read | Self::Write | Self::Delete | Self::Alter
            ),
            Self::DescribeConfigs => {
                matches!(self, Self::All | Self::DescribeConfigs | Self::AlterConfigs)
            }
            _ => matches!(self, Self::All) || self.code() == other.code(),
        }
    }
}

/// An entry: who may, or may not, do what to which resources, coming from where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Acl {
    /// Of which type the resources are.
    pub resource: ResourceType,
    /// How their name is meant.
    pub pattern: PatternType,
    /// Their name, never empty.
    pub name: String,
    /// Who, as `User:name`; [`ANYBODY`] for everybody.
    pub principal: String,
    /// From which address, as [`canonical_host`] has it; [`WILDCARD`] for any.
    pub host: String,
    /// What.
    pub operation: Operation,
    /// Whether.
    pub permission: Permission,
}

/// An entry that cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAcl {
    /// A text is empty.
    #[error("{0} of the entry is empty")]
    Empty(&'static str),
    /// A text is too long.
    #[error("{0} of the entry has {1} bytes; {TEXT_BYTES_MAX} are the most")]
    TooLong(&'static str, usize),
    /// The cluster has one name.
    #[error("the only name of the resource cluster is {CLUSTER_NAME}, not {0:?}")]
    ClusterName(String),
    /// A principal is not one.
    #[error("the principal {0:?} is not of the form User:name")]
    Principal(String),
}

impl Acl {
    /// How many bytes it has.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.name.len() + self.principal.len() + self.host.len() + FIXED_BYTES
    }

    /// An error unless it makes sense.
    pub fn check(&self) -> Result<(), InvalidAcl> {
        for (what, text) in
            [("the name", &self.name), ("the principal", &self.principal), ("the host", &self.host)]
        {
            if text.is_empty() {
                return Err(InvalidAcl::Empty(what));
            }
            if text.len() > TEXT_BYTES_MAX {
                return Err(InvalidAcl::TooLong(what, text.len()));
            }
        }
        if self.resource == ResourceType::Cluster && self.name != CLUSTER_NAME {
            return Err(InvalidAcl::ClusterName(self.name.clone()));
        }
        if !self.principal.split_once(':').is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty()) {
            return Err(InvalidAcl::Principal(self.principal.clone()));
        }
        Ok(())
    }
}

/// How patterns are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PatternFilter {
    /// Of any type, with this very name.
    Any,
    /// All that say something about a resource of this name: literal, wildcard and prefixed.
    Match,
    /// Of one type, with this very name.
    Exactly(PatternType),
}

/// What entries are looked for; nothing filters where there is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclFilter {
    /// Type of resource.
    pub resource: Option<ResourceType>,
    /// Name.
    pub name: Option<String>,
    /// How the name is meant.
    pub pattern: PatternFilter,
    /// Principal.
    pub principal: Option<String>,
    /// Host.
    pub host: Option<String>,
    /// Operation.
    pub operation: Option<Operation>,
    /// Permission.
    pub permission: Option<Permission>,
}

impl AclFilter {
    /// Takes every entry.
    pub const EVERY: Self = Self {
        resource: None,
        name: None,
        pattern: PatternFilter::Any,
        principal: None,
        host: None,
        operation: None,
        permission: None,
    };

    /// Whether entries of this pattern may be looked for.
    pub(super) fn takes_resource(&self, resource: ResourceType, pattern: PatternType, name: &str) -> bool {
        self.resource.is_none_or(|wanted| wanted == resource) && self.takes_pattern(pattern, name)
    }

    /// Whether entries of this principal may be.
    pub(super) fn takes_principal(&self, principal: &str) -> bool {
        self.principal.as_ref().is_none_or(|wanted| wanted == principal)
    }

    /// Whether the rest of an entry is as it is looked for.
    pub(super) fn takes_rest(&self, host: &str, operation: Operation, permission: Permission) -> bool {
        self.host.as_ref().is_none_or(|wanted| wanted == host)
            && self.operation.is_none_or(|wanted| wanted == operation)
            && self.permission.is_none_or(|wanted| wanted == permission)
    }

    fn takes_pattern(&self, pattern: PatternType, name: &str) -> bool {
        if let PatternFilter::Exactly(wanted) = self.pattern
            && wanted != pattern
        {
            return false;
        }
        let Some(wanted) = &self.name else { return true };
        match (self.pattern, pattern) {
            (PatternFilter::Match, PatternType::Literal) => name == wanted || name == WILDCARD,
            (PatternFilter::Match, PatternType::Prefixed) => wanted.starts_with(name),
            (PatternFilter::Any | PatternFilter::Exactly(_), _) => name == wanted,
        }
    }
}
