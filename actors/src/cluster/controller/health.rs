//! How the partitions of the cluster are, counted from the image.

use std::sync::Arc;

use crate::events::PartitionHealth;
use crate::image::{Image, Partition, Topic};

/// How the partitions of an image are.
pub(super) fn health(image: &Image) -> PartitionHealth {
    let mut health =
        PartitionHealth { live_nodes: image.nodes().live().count(), ..PartitionHealth::default() };
    let leads = |partition: &Partition| {
        partition.leader.is_some_and(|leader| {
            image.nodes().get(leader.node).is_some_and(|known| known.incarnation == leader.incarnation)
        })
    };
    for partition in image.topics().iter().flat_map(|topic: &Arc<Topic>| topic.partitions.iter()) {
        health.partitions += 1;
        health.offline += usize::from(!leads(partition));
        // Those that a reassignment adds are not missing while they are on their way.
        let added = partition.adding();
        let wanted = partition.replicas.iter().filter(|node| !added.contains(node)).count();
        health.under_replicated += usize::from(partition.in_sync.len() < wanted);
        let preferred = partition.leader.map(|leader| leader.node) == partition.replicas.first().copied();
        health.not_preferred += usize::from(!preferred && partition.leader.is_some());
    }
    health
}
