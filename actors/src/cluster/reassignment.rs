//! Reassignments: what asks for one comes to, when one ends, and which topics of the system get more replicas. Pure
//! functions of the image.
//!
//! Level-triggered like elections: whatever dies in between, the next controller looks at the image anew. A target that
//! is away is waited for, until another target is asked for or the reassignment is given up.

use std::sync::Arc;

use super::election::is_ready;
use super::message::reassignment::Wish;
use super::placement;
use crate::error::{ErrorCode, Refusal};
use crate::ids::{NodeId, PartitionId};
use crate::image::{
    Alteration, Image, Partition, Reassignment, ReassignmentStep, Topic, check_replicas, none_in_progress,
};

/// What a client's wish for one partition comes to; `None` where it is so already.
pub(super) fn asked(
    image: &Image,
    wish: &Wish,
    may_change_factor: bool,
) -> Result<Option<Alteration>, Refusal> {
    let id = wish.partition;
    let partition = image.partition(id).ok_or_else(|| {
        Refusal::new(ErrorCode::UnknownTopicOrPartition, format!("there is no partition {}", id.index))
    })?;
    let Some(target) = &wish.replicas else {
        let under_way = partition.reassignment.as_ref().ok_or_else(|| none_in_progress(id))?;
        let leader = cancelled(image, id, partition, under_way)?;
        return Ok(Some(alteration(id, partition, ReassignmentStep::Cancel { leader })));
    };
    check_replicas(id, target, image.nodes())?;
    let present = partition.settled_replicas();
    if !may_change_factor && target.len() != present.len() {
        let text = format!(
            "partition {} has {} replicas and would have {}, which the request does not allow",
            id.index,
            present.len(),
            target.len()
        );
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, text));
    }
    let begin = ReassignmentStep::Begin { target: target.clone() };
    Ok((target != present).then(|| alteration(id, partition, begin)))
}

/// Who leads when a reassignment is given up: the leader, if it had a replica before, else the first of those in sync
/// that may.
fn cancelled(
    image: &Image,
    id: PartitionId,
    partition: &Partition,
    under_way: &Reassignment,
) -> Result<Option<NodeId>, Refusal> {
    let before = &under_way.before;
    if !before.iter().any(|node| partition.member(*node).is_some()) {
        let text = format!(
            "partition {}: none of the replicas that it had before ({before:?}) is in sync any more, so going back to them \
             would lose records; wait until one has caught up, or ask for other replicas",
            id.index
        );
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
    }
    match partition.leader {
        Some(leader) if !before.contains(&leader.node) => {
            let next = before.iter().copied().find(|node| is_ready(image, partition, *node));
            let nobody = || {
                let text = format!(
                    "partition {}: none of the replicas that it had before can lead it now; try again",
                    id.index
                );
                Refusal::new(ErrorCode::EligibleLeadersNotAvailable, text)
            };
            next.map(Some).ok_or_else(nobody)
        }
        Some(_) | None => Ok(None),
    }
}

/// Reassignments that have reached their end, of topics that have changed `since` an image looked at before, unless nodes
/// have; at most `most`.
pub(super) fn due(image: &Image, since: Option<&Image>, most: usize) -> Vec<Alteration> {
    let since = since.filter(|since| Arc::ptr_eq(since.nodes(), image.nodes()));
    if since.is_some_and(|since| Arc::ptr_eq(since.topics(), image.topics())) {
        return Vec::new();
    }
    let seen = |topic: &Arc<Topic>| {
        since.and_then(|since| since.topics().get(topic.id)).is_some_and(|seen| Arc::ptr_eq(seen, topic))
    };
    let unseen = image.topics().iter().filter(|topic| !seen(topic));
    unseen
        .flat_map(|topic| topic.ids())
        .filter_map(|(id, partition)| completed(image, id, partition))
        .take(most)
        .collect()
}

fn completed(image: &Image, id: PartitionId, partition: &Partition) -> Option<Alteration> {
    let target = &partition.reassignment.as_ref()?.target;
    // Without a leader nobody knows what is committed beyond what an election may still find out.
    let leader = partition.leader.filter(|_| target.iter().all(|node| partition.member(*node).is_some()))?;
    let leader = if target.contains(&leader.node) {
        None
    } else {
        Some(target.iter().copied().find(|node| is_ready(image, partition, *node))?)
    };
    Some(alteration(id, partition, ReassignmentStep::Complete { leader }))
}

/// Partitions of the system's own topics that have fewer than `factor` replicas, though there are nodes for more: they get
/// some on those that `settled` says have been up long enough, those with the least on them first.
pub(super) fn raises(image: &Image, factor: usize, settled: impl Fn(NodeId) -> bool) -> Vec<Alteration> {
    let nodes: Vec<NodeId> =
        image.nodes().live().map(|(node, _)| node).filter(|node| settled(*node)).collect();
    let wanted = factor.min(nodes.len());
    let lacks = |partition: &Partition| partition.reassignment.is_none() && partition.replicas.len() < wanted;
    let mut raises = Vec::new();
    for topic in image.topics().iter().filter(|topic| topic.internal) {
        let lacking = topic.ids().filter(|(_, partition)| lacks(partition));
        let lacking: Vec<_> = lacking.collect();
        let present: Vec<&[NodeId]> =
            lacking.iter().map(|(_, partition)| partition.replicas.as_slice()).collect();
        let targets = placement::raised(image, topic, &nodes, &present, wanted);
        let alterations = lacking
            .iter()
            .zip(targets)
            .map(|((id, partition), target)| alteration(*id, partition, ReassignmentStep::Begin { target }));
        raises.extend(alterations);
    }
    raises
}

fn alteration(partition: PartitionId, state: &Partition, step: ReassignmentStep) -> Alteration {
    Alteration { partition, epoch: state.leader_epoch, set_version: state.set_version, step }
}

#[cfg(test)]
mod tests;
