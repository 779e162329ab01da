//! A request on its way to a coordinator, and the place its answer goes to.

use std::fmt;
use std::sync::Arc;

use super::state::{Beginning, Ending, ProducerEpoch, TopicPartition, Transaction, TransactionState};
use crate::error::Refusal;
use crate::group::request::Reply;
use crate::ids::ProducerId;

/// What a coordinator can be asked about a transactional id.
pub(super) enum TransactionRequest {
    Begin {
        beginning: Beginning,
        fresh: Option<ProducerId>,
        reply: Reply<Result<ProducerEpoch, Refusal>>,
    },
    Add {
        producer: ProducerEpoch,
        partitions: Vec<TopicPartition>,
        client_version: i16,
        reply: Reply<Result<(), Refusal>>,
    },
    Verify {
        producer: ProducerEpoch,
        partitions: Vec<TopicPartition>,
        reply: Reply<Result<(), Refusal>>,
    },
    End {
        ending: Ending,
        fresh: Option<ProducerId>,
        reply: Reply<Result<ProducerEpoch, Refusal>>,
    },
    Describe {
        reply: Reply<Result<Transaction, Refusal>>,
    },
}

impl TransactionRequest {
    /// Answers with a refusal.
    pub(super) fn refuse(self, refusal: Refusal) {
        match self {
            Self::Begin { reply, .. } | Self::End { reply, .. } => reply.give(Err(refusal)),
            Self::Add { reply, .. } | Self::Verify { reply, .. } => reply.give(Err(refusal)),
            Self::Describe { reply } => reply.give(Err(refusal)),
        }
    }

    /// The same with a producer id that nobody had.
    pub(super) fn with_id(self, id: ProducerId) -> Self {
        match self {
            Self::Begin { beginning, reply, .. } => Self::Begin { beginning, fresh: Some(id), reply },
            Self::End { ending, reply, .. } => Self::End { ending, fresh: Some(id), reply },
            other => other,
        }
    }
}

impl fmt::Debug for TransactionRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TransactionRequest")
    }
}

/// A transactional id in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTransaction {
    /// The id.
    pub id: Arc<str>,
    /// Its producer's id.
    pub producer_id: ProducerId,
    /// Where it stands.
    pub state: TransactionState,
    /// How long its transaction has been open, in milliseconds.
    pub open_ms: Option<i64>,
}
