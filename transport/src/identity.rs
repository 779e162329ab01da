//! Who is who: node ids, the cluster's certificate authority, certificates of nodes and clients.

use serde::{Deserialize, Serialize};

/// A node of the cluster, by number (1 and up; Kafka's broker id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

impl std::fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0)
    }
}
