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
    Alteration, Features, Image, Partition, Reassignment, ReassignmentStep, Topic, check_replicas,
    none_in_progress,
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

/// Who leads when a reassignment is given up: the leader, if it had a replica before and is there and beyond doubt, else
/// the first of those in sync that may. Where nobody can, those that would go may have the only whole logs.
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
    let stays = partition.leader.is_some_and(|leader| before.contains(&leader.node));
    if stays && partition.is_led(image.nodes()) {
        return Ok(None);
    }
    let next = before.iter().copied().find(|node| is_ready(image, partition, *node));
    let nobody = || {
        let text = format!(
            "partition {}: none of the replicas that it had before ({before:?}) is there, in sync and beyond doubt, so going \
             back to them might lose records; try again when one is, or ask for other replicas",
            id.index
        );
        Refusal::new(ErrorCode::EligibleLeadersNotAvailable, text)
    };
    next.map(Some).ok_or_else(nobody)
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
        // One that stays is to be there and beyond doubt: after a power cut it is only named by the image. If another is
        // to lead instead, an election says so first.
        if !partition.is_led(image.nodes()) || !is_ready(image, partition, leader.node) {
            return None;
        }
        None
    } else {
        Some(target.iter().copied().find(|node| is_ready(image, partition, *node))?)
    };
    Some(alteration(id, partition, ReassignmentStep::Complete { leader }))
}

/// Partitions of the system's own topics that have fewer than `factor` replicas on nodes that are not `gone` for good, though
/// there are nodes for more: they get some on those that `settled` says have been up long enough, those with the least
/// on them first. A raise under way gets another target where a node that it adds is gone. What somebody chose stays as it
/// is until a node has joined that was not known then, or one that it names is gone; a new life of a node is no new node.
pub(super) fn raises(
    image: &Image,
    factor: usize,
    settled: impl Fn(NodeId) -> bool,
    gone: impl Fn(NodeId) -> bool,
) -> Vec<Alteration> {
    let nodes: Vec<NodeId> =
        image.nodes().live().map(|(node, _)| node).filter(|node| settled(*node)).collect();
    if nodes.is_empty() {
        return Vec::new();
    }
    let is_kept = |partition: &Partition| {
        partition.chosen_among.as_ref().is_some_and(|known| nodes.iter().all(|node| known.contains(node)))
            && !partition.settled_replicas().iter().any(|node| gone(*node))
    };
    let remembers = image.features().level >= Features::CHOSEN_REPLICAS;
    let mut raises = Vec::new();
    for topic in image.topics().iter().filter(|topic| topic.internal) {
        // Of those that have the code of its entities, where it is a topic of such.
        let may_host = |node: &NodeId| image.nodes().may_host(*node, &topic.name);
        let nodes: Vec<NodeId> = nodes.iter().copied().filter(may_host).collect();
        let wanted = factor.min(nodes.len());
        let lacking: Vec<(PartitionId, &Partition, Vec<NodeId>)> = topic
            .ids()
            .filter(|(_, partition)| !is_kept(partition))
            .filter_map(|(id, partition)| Some((id, &**partition, lacking(partition, wanted, &gone)?)))
            .collect();
        if nodes.is_empty() || lacking.is_empty() {
            continue;
        }
        let present: Vec<&[NodeId]> = lacking.iter().map(|(_, _, present)| present.as_slice()).collect();
        let targets = placement::raised(image, topic, &nodes, &present, wanted);
        let alterations = lacking.iter().zip(targets).map(|((id, partition, _), target)| {
            let step = if remembers {
                ReassignmentStep::Raise { target }
            } else {
                ReassignmentStep::Begin { target }
            };
            alteration(*id, partition, step)
        });
        raises.extend(alterations);
    }
    raises
}

/// The replicas that a partition is to keep when it gets more, if it needs them.
fn lacking(partition: &Partition, wanted: usize, gone: impl Fn(NodeId) -> bool) -> Option<Vec<NodeId>> {
    // What takes a replica from a node that is not gone is no raise, but what somebody asked for.
    let is_raise = |under_way: &Reassignment| {
        under_way.before.iter().all(|node| under_way.target.contains(node) || gone(*node))
    };
    if partition.reassignment.as_ref().is_some_and(|under_way| !is_raise(under_way)) {
        return None;
    }
    let there: Vec<NodeId> =
        partition.settled_replicas().iter().copied().filter(|node| !gone(*node)).collect();
    let hangs =
        partition.adding().into_iter().any(|node| gone(node) && partition.settled_replicas().contains(&node));
    let is_lacking = hangs || there.len() < wanted;
    (is_lacking && !there.is_empty()).then_some(there)
}

fn alteration(partition: PartitionId, state: &Partition, step: ReassignmentStep) -> Alteration {
    Alteration { partition, epoch: state.leader_epoch, set_version: state.set_version, step }
}

#[cfg(test)]
mod tests;
