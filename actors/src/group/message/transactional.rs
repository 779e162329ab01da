//! Offsets of groups in transactions (KIP-447).

use millstream_transport::message::Message;
use serde::{Deserialize, Serialize};

use super::{CommittedOffset, OffsetCommit};
use crate::error::Refusal;
use crate::ids::{PartitionId, ProducerId};

/// Commits offsets as part of a producer's transaction: they are the group's when it commits. The offsets become part of
/// the transaction where they are not yet (KIP-890 part 2).
///
/// Refused when the group has replaced the member that the commit names: with `IllegalGeneration`, `UnknownMemberId` or
/// `FencedInstanceId`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommitInTransaction {
    /// What to commit, and for which member.
    pub commit: OffsetCommit,
    /// `group.instance.id` of a static member.
    pub instance: Option<String>,
    /// The producer's `transactional.id`.
    pub id: String,
    /// The producer's id.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: i16,
}

impl Message for CommitInTransaction {
    const KIND: u16 = 320;
    type Answer = Result<Vec<(PartitionId, Result<(), Refusal>)>, Refusal>;
}

/// Reads committed offsets of these partitions, each refused with `UnstableOffsetCommit` while an offset for it waits for
/// the end of a transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StableOffsetFetch {
    /// The group.
    pub group: String,
    /// The partitions.
    pub partitions: Vec<PartitionId>,
}

impl Message for StableOffsetFetch {
    const KIND: u16 = 321;
    /// Partitions with a committed offset, or with one that waits; others are left out.
    type Answer = Result<Vec<(PartitionId, Result<CommittedOffset, Refusal>)>, Refusal>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Offset, TopicId};

    fn hex(value: &impl Serialize) -> String {
        postcard::to_stdvec(value).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_version_1() {
        let partition = PartitionId { topic: TopicId(uuid::Uuid::from_bytes([0xab; 16])), index: 2 };
        let committed = CommittedOffset { offset: Offset(5), leader_epoch: None, metadata: String::new() };
        let commit = CommitInTransaction {
            commit: OffsetCommit {
                group: "g".to_owned(),
                member: "m".to_owned(),
                member_epoch: 3,
                offsets: vec![(partition, committed)],
            },
            instance: None,
            id: "id".to_owned(),
            producer_id: ProducerId(7),
            producer_epoch: 1,
        };
        let on_the_wire = "10abababababababababababababababab04";
        assert_eq!(hex(&commit), format!("0167016d0601{on_the_wire}0a0000000269640e02"));
        let fetch = StableOffsetFetch { group: "g".to_owned(), partitions: vec![partition] };
        assert_eq!(hex(&fetch), format!("016701{on_the_wire}"));
    }
}
