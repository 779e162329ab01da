//! What nodes say to each other about transactions. Kinds 350 to 369.

use millstream_transport::message::{Answer, Message};
use serde::{Deserialize, Serialize};

use super::state::ProducerEpoch;
use crate::error::Refusal;
use crate::ids::{NodeId, PartitionId};
use crate::record::EndMarker;

/// A partition's leader asks a coordinator whether partitions are part of a producer's open transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifyTransaction {
    /// The producer's `transactional.id`.
    pub id: String,
    /// The producer.
    pub producer: ProducerEpoch,
    /// Topics and indexes.
    pub partitions: Vec<(String, i32)>,
    /// They are to become part of it, for a producer that speaks this version of transactions.
    pub adds: Option<i16>,
}

impl Message for VerifyTransaction {
    const KIND: u16 = 350;
    type Answer = Result<(), Refusal>;
}

/// A coordinator writes a marker to partitions that the receiver leads. Answered when all are committed or refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WriteMarkers {
    /// The marker.
    pub marker: EndMarker,
    /// Every end gives the producer another epoch: a marker with the epoch of an open transaction came late.
    pub bumps: bool,
    /// Where to.
    pub partitions: Vec<PartitionId>,
}

impl Message for WriteMarkers {
    const KIND: u16 = 351;
    type Answer = Vec<(PartitionId, Result<(), Refusal>)>;
}

/// Asks which node coordinates a transactional id. Any node answers; makes `__transaction_state` where it does not exist.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FindTransactionCoordinator {
    /// The `transactional.id`.
    pub id: String,
}

impl Message for FindTransactionCoordinator {
    const KIND: u16 = 352;
    type Answer = Result<NodeId, Refusal>;
}

/// A transactional producer begins: gets its id and epoch. Whoever had the transactional id before is fenced, and its
/// open transaction aborted; until that is done the answer is `ConcurrentTransactions`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BeginTransactions {
    /// The `transactional.id`.
    pub id: String,
    /// `transaction.timeout.ms`: how long a transaction of its may take before it is aborted.
    pub timeout_ms: i32,
}

impl Message for BeginTransactions {
    const KIND: u16 = 353;
    type Answer = Result<ProducerEpoch, Refusal>;
}

/// A producer ends its transaction. Answered when the outcome is decided, with the id and epoch that it goes on with
/// (KIP-890 part 2). Asked again, for want of an answer, it says the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndTransaction {
    /// The `transactional.id`.
    pub id: String,
    /// The producer.
    pub producer: ProducerEpoch,
    /// Whether it commits.
    pub commits: bool,
}

impl Message for EndTransaction {
    const KIND: u16 = 354;
    type Answer = Result<ProducerEpoch, Refusal>;
}

impl Answer for ProducerEpoch {}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ids::{ProducerId, TopicId};

    fn hex(value: &impl Serialize) -> String {
        postcard::to_stdvec(value).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_version_1() {
        let producer = ProducerEpoch { id: ProducerId(5), epoch: 2 };
        let verify = VerifyTransaction {
            id: "id".to_owned(),
            producer,
            partitions: vec![("t".to_owned(), 3)],
            adds: Some(2),
        };
        assert_eq!(hex(&verify), "0269640a04010174060104");
        let marker =
            EndMarker { producer_id: ProducerId(5), producer_epoch: 2, coordinator_epoch: 7, commits: true };
        let partition = PartitionId { topic: TopicId(Uuid::from_bytes([0xab; 16])), index: 2 };
        let write = WriteMarkers { marker, bumps: true, partitions: vec![partition] };
        assert_eq!(hex(&write), "0a040e01010110abababababababababababababababab04");
        let id = "id".to_owned();
        assert_eq!(hex(&FindTransactionCoordinator { id: id.clone() }), "026964");
        assert_eq!(hex(&BeginTransactions { id: id.clone(), timeout_ms: 60 }), "02696478");
        assert_eq!(hex(&EndTransaction { id, producer, commits: true }), "0269640a0401");
    }
}
