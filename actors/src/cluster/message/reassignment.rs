//! What is asked of the replicas of partitions.

use millstream_transport::message::Message;
use serde::{Deserialize, Serialize};

use crate::error::Refusal;
use crate::ids::{NodeId, PartitionId};

/// A wish for one partition, as a node passes it on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Which.
    pub partition: PartitionId,
    /// The replicas that it is to have, the preferred leader first; `None` to give up a reassignment under way.
    pub replicas: Option<Vec<NodeId>>,
}

/// Gives a partition other replicas, or gives that up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReassignPartition {
    /// The topic's name.
    pub topic: String,
    /// Which partition of it.
    pub partition: i32,
    /// The replicas that it is to have, the preferred leader first; `None` to give up a reassignment under way.
    pub replicas: Option<Vec<NodeId>>,
}

impl Message for ReassignPartition {
    const KIND: u16 = 207;
    type Answer = Result<(), Refusal>;
}
