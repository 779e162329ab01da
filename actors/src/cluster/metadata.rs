//! The image as clients see it.

use std::sync::Arc;

use super::message::{MetadataAnswer, NodeAddress, PartitionMetadata, TopicMetadata};
use crate::ids::NodeId;
use crate::image::{Image, NodeState, Partition, Topic};

/// The topics of these names, or all; with the nodes that are there.
pub(super) fn answer(image: &Image, controller: Option<NodeId>, names: Option<&[String]>) -> MetadataAnswer {
    let nodes = image.nodes().iter().filter(|(_, known)| known.state != NodeState::Fenced);
    let nodes = nodes.map(|(id, known)| NodeAddress { id, quic: known.address.clone() });
    MetadataAnswer {
        cluster_id: image.cluster().map(|id| id.to_string()).unwrap_or_default(),
        version: image.version(),
        controller,
        nodes: nodes.collect(),
        topics: wanted(image, names).map(|found| topic(image, found)).collect(),
    }
}

/// Whether what was asked for differs between two images.
pub(super) fn differs(old: &Image, new: &Image, names: Option<&[String]>) -> bool {
    if !Arc::ptr_eq(old.nodes(), new.nodes()) {
        return true;
    }
    match names {
        _ if Arc::ptr_eq(old.topics(), new.topics()) => false,
        None => true,
        Some(names) => names.iter().any(|name| match (old.topics().named(name), new.topics().named(name)) {
            (Some(old), Some(new)) => !Arc::ptr_eq(old, new),
            (None, None) => false,
            (Some(_), None) | (None, Some(_)) => true,
        }),
    }
}

fn wanted<'a>(
    image: &'a Image,
    names: Option<&'a [String]>,
) -> Box<dyn Iterator<Item = &'a Arc<Topic>> + 'a> {
    match names {
        None => Box::new(image.topics().by_name()),
        Some(names) => Box::new(names.iter().filter_map(|name| image.topics().named(name))),
    }
}

fn topic(image: &Image, topic: &Arc<Topic>) -> TopicMetadata {
    TopicMetadata {
        name: topic.name.to_string(),
        id: topic.id,
        internal: topic.internal,
        partitions: topic.partitions.iter().map(|state| partition(image, state)).collect(),
        config: topic.overrides.clone(),
    }
}

fn partition(image: &Image, state: &Partition) -> PartitionMetadata {
    // Between a leader's restart and the next election nobody leads, whatever the name in the image.
    let leads = |node: NodeId| {
        let known = image.nodes().get(node);
        known.map(|known| known.incarnation) == state.leader.map(|leader| leader.incarnation)
    };
    PartitionMetadata {
        leader: state.leader.map(|leader| leader.node).filter(|node| leads(*node)),
        leader_epoch: state.leader_epoch,
        replicas: state.replicas.clone(),
        in_sync: state.in_sync.iter().map(|member| member.node).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Command;
    use crate::image::fixture::{create, done, fence, live_nodes, registration, three};

    #[test]
    fn a_client_sees_the_nodes_and_the_topics_it_asked_for() {
        let mut image = three();
        done(&mut image, create(2, &[&[2, 3]]));
        done(&mut image, fence(3, 1));
        let names = ["topic-2".to_owned(), "nowhere".to_owned()];
        let seen = answer(&image, Some(NodeId(2)), Some(&names));
        assert_eq!(seen.nodes.iter().map(|node| node.id.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(seen.topics.len(), 1);
        let partition = &seen.topics[0].partitions[0];
        assert_eq!((partition.leader, partition.in_sync.len()), (Some(NodeId(2)), 2));
        assert_eq!(answer(&image, None, None).topics.len(), 2);
    }

    #[test]
    fn a_leader_that_has_restarted_does_not_lead() {
        let mut image = three();
        done(&mut image, Command::RegisterNode(registration(1, 2)));
        assert_eq!(answer(&image, None, None).topics[0].partitions[0].leader, None);
    }

    #[test]
    fn what_was_not_asked_for_makes_no_difference() {
        let old = three();
        let mut new = old.clone();
        done(&mut new, Command::AllocateProducerIds { count: 1 });
        assert!(!differs(&old, &new, None));
        done(&mut new, create(2, &[&[1]]));
        assert!(differs(&old, &new, None));
        assert!(!differs(&old, &new, Some(&["topic-1".to_owned()])));
        assert!(differs(&old, &new, Some(&["topic-2".to_owned()])));
        let mut more = live_nodes(&[1]);
        let before = more.clone();
        done(&mut more, fence(1, 1));
        assert!(differs(&before, &more, Some(&[])));
    }
}
