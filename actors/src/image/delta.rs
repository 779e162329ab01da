//! What an image says to one node, and what a newer one says otherwise.

use std::sync::Arc;

use super::assignment::Assignment;
use super::{Image, NodeState, Nodes, Partition, Topic};
use crate::ids::{Incarnation, NodeId, PartitionId};

/// What changed for one node between two images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Partitions with a replica on the node that are new to it or have changed.
    pub changed: Vec<Assignment>,
    /// Partitions that have no replica on the node any more.
    pub removed: Vec<PartitionId>,
}

impl Delta {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

/// All partitions with a replica on `node`, by id.
#[must_use]
pub fn assignments(image: &Image, node: NodeId) -> Vec<Assignment> {
    image.topics().iter().flat_map(|topic| of_topic(image.nodes(), topic, node)).collect()
}

/// What changed for `node` from `old` to `new`. Costs nothing for topics that are the same in both.
#[must_use]
pub fn delta(old: &Image, new: &Image, node: NodeId) -> Delta {
    let mut delta = Delta::default();
    if Arc::ptr_eq(old.topics(), new.topics()) {
        return delta;
    }
    for topic in new.topics().iter() {
        match old.topics().get(topic.id) {
            Some(before) if Arc::ptr_eq(before, topic) => {}
            Some(before) => compare(before, (new.nodes(), topic), node, &mut delta),
            None => delta.changed.extend(of_topic(new.nodes(), topic, node)),
        }
    }
    for topic in old.topics().iter().filter(|topic| new.topics().get(topic.id).is_none()) {
        delta.removed.extend(topic.ids().filter(|(_, p)| p.replicas.contains(&node)).map(|(id, _)| id));
    }
    delta
}

fn compare(old: &Topic, (nodes, new): (&Nodes, &Topic), node: NodeId, delta: &mut Delta) {
    let same_config = old.config == new.config;
    for (id, partition) in new.ids() {
        let before = old.partition(id.index);
        if same_config && before.is_some_and(|before| Arc::ptr_eq(before, partition)) {
            continue;
        }
        if partition.replicas.contains(&node) {
            delta.changed.push(assignment(nodes, new, id, partition));
        } else if before.is_some_and(|before| before.replicas.contains(&node)) {
            delta.removed.push(id);
        }
    }
}

fn of_topic(nodes: &Nodes, topic: &Topic, node: NodeId) -> impl Iterator<Item = Assignment> {
    let here = topic.ids().filter(move |(_, partition)| partition.replicas.contains(&node));
    here.map(move |(id, partition)| assignment(nodes, topic, id, partition))
}

fn assignment(nodes: &Nodes, topic: &Topic, id: PartitionId, partition: &Partition) -> Assignment {
    Assignment {
        partition: id,
        topic: Arc::clone(&topic.name),
        config: Arc::clone(&topic.config),
        epoch: partition.leader_epoch,
        leader: partition.leader,
        replicas: partition.replicas.clone(),
        in_sync: partition.in_sync.clone(),
        set_version: partition.set_version,
        leaving: leaving(nodes, partition),
    }
}

fn leaving(nodes: &Nodes, partition: &Partition) -> Vec<(NodeId, Incarnation)> {
    let known = partition.replicas.iter().filter_map(|node| Some((*node, nodes.get(*node)?)));
    let leaving = known.filter(|(_, known)| known.state == NodeState::Leaving);
    leaving.map(|(node, known)| (node, known.incarnation)).collect()
}
