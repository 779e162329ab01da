//! Nodes that clients name as replicas.

use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::NodeId;
use millstream_transport::kafka::Array;

/// The nodes that a request names as the replicas of a partition; refused where a number can be no node's.
pub(super) fn named_nodes(ids: &Array<'_, i32>) -> Result<Vec<NodeId>, Refusal> {
    let node = |id: i32| {
        u32::try_from(id).map(NodeId).map_err(|_| {
            let text = format!("there would be a replica on node {id}, which no node is");
            Refusal::new(ErrorCode::InvalidReplicaAssignment, text)
        })
    };
    ids.iter().map(node).collect()
}
