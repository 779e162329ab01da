//! What only an operator decides: that a replica leads although it may lack acknowledged records (rule 4).

use super::{Standing, election, present, standing};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{NodeId, Offset, PartitionId};
use crate::image::{Choice, DoubtCause, Election, Image, Nodes, Partition};

/// The election of an operator: this replica leads a partition that has no leader, whatever it lacks. Unless it is
/// confirmed, a refusal says what is known of all replicas, so that the operator can choose.
pub(in crate::cluster) fn decided(
    image: &Image,
    id: PartitionId,
    node: NodeId,
    is_confirmed: bool,
) -> Result<Election, Refusal> {
    let refusal = |text: String| Refusal::new(ErrorCode::InvalidRequest, text);
    let partition = image.partition(id).ok_or_else(|| {
        Refusal::new(ErrorCode::UnknownTopicOrPartition, format!("there is no partition {}", id.index))
    })?;
    if let Some(leader) = partition.leader {
        let text = format!("node {} leads partition {}: there is nothing to decide", leader.node, id.index);
        return Err(refusal(text));
    }
    let known: Vec<String> =
        partition.replicas.iter().map(|node| known_of(image.nodes(), partition, *node)).collect();
    let known = known.join("; ");
    if !is_confirmed {
        let text = format!(
            "partition {} has no leader. {known}. Acknowledged records that the chosen replica lacks are lost for good; \
             confirm it if no better one comes back",
            id.index
        );
        return Err(refusal(text));
    }
    let works = partition.doubt(node).is_none_or(|doubt| doubt.cause != DoubtCause::DirectoryFailed);
    let leader = present(image.nodes(), node, partition.member(node));
    match leader.filter(|_| works && partition.replicas.contains(&node)) {
        Some(leader) => Ok(election(id, partition, Choice::Alone { leader, unclean: true })),
        None => Err(refusal(format!("node {node} cannot lead partition {}. {known}", id.index))),
    }
}

/// What is known of a replica, for people.
fn known_of(nodes: &Nodes, partition: &Partition, node: NodeId) -> String {
    let Some(member) = partition.member(node) else {
        return format!("node {node}: was not in sync, it lacks records");
    };
    match standing(nodes, partition, member) {
        Standing::Ready | Standing::Leaving | Standing::Starting => format!("node {node}: has all records"),
        Standing::Dead => format!("node {node}: was in sync, and is away"),
        Standing::Broken => format!("node {node}: was in sync, and its disk does not work"),
        Standing::InDoubt(doubt) => {
            format!(
                "node {node}: was in sync, its log ends at offset {} in epoch {}",
                doubt.end, doubt.last_epoch
            )
        }
        Standing::Lost(doubt) if doubt.end == Offset::ZERO => {
            format!("node {node}: was in sync, and has lost its log")
        }
        Standing::Lost(doubt) => format!(
            "node {node}: was in sync, and has lost the end of its log; it ends at offset {} in epoch {}",
            doubt.end, doubt.last_epoch
        ),
    }
}
