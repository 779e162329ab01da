//! What operators ask of the quorum: who belongs to it, and to change who votes. Kinds 257 to 259.
//!
//! Any node says what it knows. Only the quorum's leader changes voters; another node refuses with
//! [`NotController`](crate::error::ErrorCode::NotController) and says who leads, if it knows.

use millstream_transport::message::{Answer, Message};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Refusal;
use crate::ids::NodeId;

/// Asks who belongs to the quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeQuorum {}

/// The quorum as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumDescription {
    /// Who answers.
    pub node: NodeId,
    /// Who leads, if somebody was heard of lately.
    pub leader: Option<NodeId>,
    /// The present term.
    pub term: u64,
    /// Where the answerer's log ends.
    pub last_log_index: u64,
    /// What of it is applied there.
    pub last_applied: u64,
    /// All members, by node.
    pub members: Vec<QuorumMember>,
}

/// A member of the quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumMember {
    /// Its node.
    pub node: NodeId,
    /// Its quorum directory.
    pub directory: Uuid,
    /// Where it is reached.
    pub address: String,
    /// Whether it votes; else it is fed only.
    pub is_voter: bool,
    /// Entries that it has not got yet; only the leader knows.
    pub behind: Option<u64>,
}

impl Message for DescribeQuorum {
    const KIND: u16 = 257;
    type Answer = Result<QuorumDescription, Refusal>;
}

impl Answer for QuorumDescription {}

/// Makes a learner a voter, once it has nearly caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddVoter {
    /// The node.
    pub node: NodeId,
}

impl Message for AddVoter {
    const KIND: u16 = 258;
    /// Done; also where it votes already.
    type Answer = Result<(), Refusal>;
}

/// Makes a voter a learner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveVoter {
    /// The node.
    pub node: NodeId,
    /// No learner either: for a node that does not come back. One that is running introduces itself again.
    pub forget: bool,
}

impl Message for RemoveVoter {
    const KIND: u16 = 259;
    /// Done; also where it does not vote, or is not known.
    type Answer = Result<(), Refusal>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(value: &impl Serialize) -> String {
        postcard::to_stdvec(value).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_version_1_stay() {
        let description = QuorumDescription {
            node: NodeId(1),
            leader: Some(NodeId(2)),
            term: 300,
            last_log_index: 9,
            last_applied: 8,
            members: vec![QuorumMember {
                node: NodeId(2),
                directory: Uuid::from_u128(7),
                address: "a:1".to_owned(),
                is_voter: true,
                behind: Some(1),
            }],
        };
        assert_eq!(hex(&DescribeQuorum {}), "");
        let bytes = "010102ac0209080102100000000000000000000000000000000703613a31010101";
        assert_eq!(hex(&description), bytes);
        assert_eq!(hex(&AddVoter { node: NodeId(3) }), "03");
        assert_eq!(hex(&RemoveVoter { node: NodeId(3), forget: true }), "0301");
    }
}
