//! Why a client could not do what it was asked to.

use std::time::Duration;

use super::link::LinkError;
use crate::error::{ErrorCode, Refusal};

/// Why a client could not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A node said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No node could be asked, or none answered.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// It took too long; the last thing that went wrong, where something did.
    #[error("{what} was not done within {} ms{}", .within.as_millis(), reason(.last))]
    TimedOut {
        /// What was to be done.
        what: String,
        /// The time given.
        within: Duration,
        /// The last error on the way.
        last: Option<String>,
    },
    /// There is no such topic, and it was not made within a few seconds.
    #[error("topic {0} does not exist: create it, or look for a typing error")]
    UnknownTopic(String),
    /// A setting cannot be taken.
    #[error("setting {name}: {reason}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The client cannot be started: threads, socket or credentials.
    #[error("the client cannot start: {0}")]
    Start(String),
    /// The client, producer or consumer is closed.
    #[error("closed")]
    Closed,
}

fn reason(last: &Option<String>) -> String {
    last.as_ref().map(|last| format!(": {last}")).unwrap_or_default()
}

impl ClientError {
    /// The code, where a node said no.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            _ => None,
        }
    }

    /// Whether to try again may help.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.code.is_retriable(),
            Self::Link(LinkError::NotSent(_) | LinkError::NoAnswer(_)) => true,
            _ => false,
        }
    }

    /// A setting that cannot be taken.
    pub(crate) fn setting(name: &'static str, reason: impl Into<String>) -> Self {
        Self::Setting { name, reason: reason.into() }
    }
}
