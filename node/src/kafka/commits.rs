//! What OffsetCommit and TxnOffsetCommit tell of each partition.

use std::collections::BTreeMap;

use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::PartitionId;
use millstream_transport::kafka::Uuid;

use super::error::{NONE, of_groups};

/// A topic of a request; partitions are without an id where there is no such topic.
pub(super) struct AskedTopic {
    pub(super) name: String,
    pub(super) id: Uuid,
    /// What is said of partitions without an id.
    pub(super) unknown: ErrorCode,
    pub(super) partitions: Vec<(i32, Option<PartitionId>)>,
}

/// A coordinator's answer.
type Committed = Result<Vec<(PartitionId, Result<(), Refusal>)>, Refusal>;

/// What became of each partition.
pub(super) struct Codes {
    each: BTreeMap<PartitionId, Result<(), Refusal>>,
    all: Option<ErrorCode>,
}

impl Codes {
    /// Of a coordinator's answer.
    pub(super) fn of(committed: Committed) -> Self {
        match committed {
            Ok(each) => Self { each: each.into_iter().collect(), all: None },
            Err(refusal) => Self { each: BTreeMap::new(), all: Some(refusal.code) },
        }
    }

    /// The number for a partition; `unknown` for one without an id.
    pub(super) fn of_partition(&self, id: Option<PartitionId>, unknown: ErrorCode) -> i16 {
        let Some(id) = id else { return of_groups(unknown) };
        match (self.all, self.each.get(&id)) {
            (Some(code), _) => of_groups(code),
            (None, Some(Err(refusal))) => of_groups(refusal.code),
            (None, Some(Ok(()))) => NONE,
            (None, None) => of_groups(ErrorCode::UnknownServerError),
        }
    }
}
