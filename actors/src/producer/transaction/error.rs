//! What an error means to a transaction.

use crate::client::{ClientError, LinkError};
use crate::error::ErrorCode;
use crate::producer::ProduceError;

/// Why something of a transaction failed, and what there is to do: the classes that KIP-1050 gives such errors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// *Retriable*: nobody knows whether it was done. Ask for the same again.
    #[error("not known whether it was done, ask again: {0}")]
    Retriable(ClientError),
    /// *Abortable*: the transaction cannot commit. Abort it; the producer goes on with the next one.
    #[error("the transaction has to be aborted: {0}")]
    Abortable(ProduceError),
    /// *Application recoverable*: another producer with the same `transactional.id` has taken over, or the transaction was
    /// open for longer than `transaction.timeout.ms` and is aborted. This producer can do nothing any more: drop it, and
    /// begin anew with another one, from what is committed.
    #[error("the producer is fenced: {0}")]
    Fenced(ClientError),
    /// *Invalid configuration*, or something that is never done: to ask again changes nothing. This producer can do nothing
    /// any more.
    #[error("the producer cannot go on: {0}")]
    Fatal(ClientError),
}

impl TransactionError {
    /// Whether the same may be asked again.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        matches!(self, Self::Retriable(_))
    }

    /// Whether the transaction has to be aborted, and the producer then goes on.
    #[must_use]
    pub const fn is_abortable(&self) -> bool {
        matches!(self, Self::Abortable(_))
    }

    /// Whether the producer can do nothing any more.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Fenced(_) | Self::Fatal(_))
    }

    /// What an error of a transaction's coordinator means.
    pub(super) fn of(error: ClientError) -> Self {
        match &error {
            ClientError::TimedOut { .. }
            | ClientError::Link(LinkError::NotSent(_) | LinkError::NoAnswer(_)) => Self::Retriable(error),
            ClientError::UnknownTopic(_) => Self::Abortable(error.into()),
            ClientError::Refused(refusal) => match refusal.code {
                ErrorCode::ProducerFenced
                | ErrorCode::InvalidProducerEpoch
                | ErrorCode::InvalidProducerIdMapping => Self::Fenced(error),
                code if code.is_retriable() => Self::Retriable(error),
                ErrorCode::TransactionAbortable => Self::Abortable(error.into()),
                _ => Self::Fatal(error),
            },
            ClientError::Link(LinkError::Refused(_))
            | ClientError::Setting { .. }
            | ClientError::Start(_)
            | ClientError::Closed => Self::Fatal(error),
        }
    }

    /// The same of offsets: what is not known to be part of the transaction is not committed with it, and what a group
    /// refuses concerns the offsets, not the producer, unless that is fenced.
    pub(super) fn of_offsets(error: ClientError) -> Self {
        match Self::of(error) {
            Self::Retriable(error)
            | Self::Fatal(error @ (ClientError::Refused(_) | ClientError::Link(LinkError::Refused(_)))) => {
                Self::Abortable(error.into())
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;

    fn refused(code: ErrorCode) -> TransactionError {
        TransactionError::of(Refusal::new(code, "no").into())
    }

    #[test]
    fn each_refusal_says_what_there_is_to_do() {
        assert!(refused(ErrorCode::CoordinatorLoadInProgress).is_retriable());
        assert!(refused(ErrorCode::ConcurrentTransactions).is_retriable());
        assert!(refused(ErrorCode::TransactionAbortable).is_abortable());
        assert!(matches!(refused(ErrorCode::ProducerFenced), TransactionError::Fenced(_)));
        assert!(refused(ErrorCode::InvalidTransactionTimeout).is_fatal());
        assert!(refused(ErrorCode::InvalidTxnState).is_fatal());
    }

    #[test]
    fn what_a_group_refuses_costs_the_transaction_and_only_fencing_the_producer() {
        let of_offsets = |code| TransactionError::of_offsets(Refusal::new(code, "no").into());
        for code in [
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::IllegalGeneration,
            ErrorCode::UnknownMemberId,
            ErrorCode::InvalidGroupId,
            ErrorCode::UnknownServerError,
            ErrorCode::InvalidRequest,
            ErrorCode::InvalidTxnState,
            ErrorCode::GroupAuthorizationFailed,
        ] {
            assert!(of_offsets(code).is_abortable(), "{code:?}");
        }
        assert!(matches!(of_offsets(ErrorCode::InvalidProducerEpoch), TransactionError::Fenced(_)));
        assert!(TransactionError::of_offsets(ClientError::Closed).is_fatal());
    }
}
