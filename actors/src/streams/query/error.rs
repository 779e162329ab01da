//! Why a question to a store has no answer.

use serde::{Deserialize, Serialize};

use crate::client::ClientError;
use crate::streams::codec::CodecError;

/// Why a process does not answer a question to a store. Nothing is changed by a question: any may be asked again.
///
/// Told between nodes by place: variants are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum QueryRefusal {
    /// The stores are being brought up, or the application begins again from its last commit.
    #[error("not running: {0}")]
    NotRunning(String),
    /// Another process has the task.
    #[error("not here: {0}")]
    NotHere(String),
    /// The application has no such store, or none that can be asked.
    #[error("unknown store: {0}")]
    UnknownStore(String),
    /// The store does not have keys, values or windows as they are asked for.
    #[error("the store is of another type: {0}")]
    WrongType(String),
    /// Who had the question has died, or gave the task away, before it answered: ask again.
    #[error("not answered, ask again: {0}")]
    Retry(String),
    /// As many questions wait as may.
    #[error("busy: {0}")]
    Busy(String),
    /// The store cannot be read.
    #[error("{0}")]
    Failed(String),
}

impl QueryRefusal {
    /// Whether to ask again may help.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        matches!(self, Self::NotRunning(_) | Self::NotHere(_) | Self::Retry(_) | Self::Busy(_))
    }
}

/// Why a question to a store has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The process that was asked says no.
    #[error(transparent)]
    Refused(#[from] QueryRefusal),
    /// A key cannot be written, or what the store has is not of the form that is read here.
    #[error("a key or a value is not of the form that is read here: {0}")]
    Codec(#[from] CodecError),
    /// The cluster says no, or nothing in time.
    #[error(transparent)]
    Client(#[from] ClientError),
}
