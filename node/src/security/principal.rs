//! Who a client is.

use std::fmt;
use std::sync::Arc;

/// The type of all principals here, as Kafka calls it.
const USER: &str = "User";

/// A client's name with its type, as access control lists have it: `User:alice`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal(Arc<str>);

impl Principal {
    /// Who did not say who they are.
    pub(crate) fn anonymous() -> Self {
        Self::user("ANONYMOUS")
    }

    /// The user of this name.
    pub(crate) fn user(name: &str) -> Self {
        Self(format!("{USER}:{name}").into())
    }

    /// With its type, not copied.
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// With its type.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
