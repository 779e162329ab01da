//! What consumers of the classic protocol say in it (Kafka's `ConsumerProtocol` schemas): in joins what they subscribe to
//! and own, in assignments what they are to read.
//!
//! A coordinator reads it only where it assigns for them: in a group that has members of KIP-848 beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use millstream_transport::kafka::Message as _;
use millstream_transport::kafka::messages::consumer_protocol::{
    AssignedPartition, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
};

use super::topics::TopicsView;
use crate::ids::PartitionId;

/// The last version of an assignment that is written.
const NEWEST: i16 = 3;

/// A topic's name and the index of a partition.
type Named = (Arc<str>, i32);

/// What a member says when it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    /// The topics that it wants, by name.
    pub(super) topics: BTreeSet<Arc<str>>,
    /// What it still owns; members of eager protocols, and of versions before 1, own nothing when they join.
    pub(super) owned: BTreeSet<Named>,
    /// The generation in which it got that; -1 where it does not say.
    pub(super) generation: i32,
    /// `client.rack`.
    pub(super) rack: Option<String>,
}

/// Reads a subscription; `None` where it is none.
pub(super) fn subscription(metadata: &[u8]) -> Option<Subscription> {
    let read = ConsumerProtocolSubscription::decode_versioned_or_newer(metadata).ok()?;
    let mut owned = BTreeSet::new();
    for topic in &read.owned_partitions {
        let name: Arc<str> = Arc::from(&*topic.topic);
        owned.extend(topic.partitions.iter().map(|index| (Arc::clone(&name), index)));
    }
    Some(Subscription {
        topics: read.topics.iter().map(|topic| Arc::from(&*topic)).collect(),
        owned,
        generation: read.generation_id,
        rack: read.rack_id.map(Into::into),
    })
}

/// What a leader gave a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Assignment {
    /// What it is to read.
    pub(super) partitions: BTreeSet<Named>,
    /// Whether the assignor said more than that, which no other would know how to say.
    pub(super) has_user_data: bool,
}

/// Reads an assignment; no bytes are one of nothing, and `None` is where they are none.
pub(super) fn assignment(bytes: &[u8]) -> Option<Assignment> {
    if bytes.is_empty() {
        return Some(Assignment::default());
    }
    let read = ConsumerProtocolAssignment::decode_versioned_or_newer(bytes).ok()?;
    let mut partitions = BTreeSet::new();
    for topic in &read.assigned_partitions {
        let name: Arc<str> = Arc::from(&*topic.topic);
        partitions.extend(topic.partitions.iter().map(|index| (Arc::clone(&name), index)));
    }
    Some(Assignment {
        partitions,
        has_user_data: read.user_data.as_ref().is_some_and(|said| !said.is_empty()),
    })
}

/// An assignment of these partitions, in the version in which the member speaks. Partitions of topics that are no more
/// are left out.
pub(super) fn assign(
    metadata: &[u8],
    partitions: impl Iterator<Item = PartitionId>,
    topics: &dyn TopicsView,
) -> Bytes {
    let mut named: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        if let Some((name, _)) = topics.identified(partition.topic) {
            named.entry(name).or_default().push(partition.index);
        }
    }
    let assigned: Vec<_> = named
        .iter()
        .map(|(name, indexes)| AssignedPartition {
            topic: (&**name).into(),
            partitions: indexes.clone().into(),
        })
        .collect();
    let message = ConsumerProtocolAssignment { assigned_partitions: assigned.into(), user_data: None };
    // Every version tells all of it, and a name of a topic fits: nothing here can fail to be written.
    message.encode_versioned(version(metadata)).map(Bytes::from).unwrap_or_default()
}

fn version(metadata: &[u8]) -> i16 {
    metadata.first_chunk().map_or(0, |bytes| i16::from_be_bytes(*bytes)).clamp(0, NEWEST)
}

/// The partitions of these names that there are.
pub(super) fn identified<'a>(
    named: impl IntoIterator<Item = &'a Named>,
    topics: &dyn TopicsView,
) -> BTreeSet<PartitionId> {
    let found = named.into_iter().filter_map(|(name, index)| {
        let shape = topics.named(name)?;
        (0..shape.partitions).contains(index).then_some(PartitionId { topic: shape.id, index: *index })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::fakes::FakeTopics;

    #[test]
    fn an_assignment_is_written_in_the_version_in_which_the_member_speaks() {
        let topics = FakeTopics::of(&[("t", 3), ("u", 1)]);
        let partitions = [topics.partition("t", 2), topics.partition("t", 0), topics.partition("u", 0)];
        for (said, written) in [(b"\x00\x00", 0), (b"\x00\x01", 1), (b"\x00\x03", 3), (b"\x00\x09", 3)] {
            let bytes = assign(said, partitions.into_iter(), &topics);
            assert_eq!(bytes.first_chunk(), Some(&i16::to_be_bytes(written)));
            let read = assignment(&bytes).unwrap();
            assert_eq!(identified(&read.partitions, &topics), partitions.into());
            assert!(!read.has_user_data);
        }
        let bytes = assign(b"\x00\x00", [topics.partition("u", 0)].into_iter(), &topics);
        assert_eq!(
            &bytes[..],
            b"\x00\x00\x00\x00\x00\x01\x00\x01u\x00\x00\x00\x01\x00\x00\x00\x00\xff\xff\xff\xff"
        );
    }

    #[test]
    fn what_is_no_subscription_and_no_assignment_is_told_from_one() {
        assert_eq!(subscription(b"what it reads"), None);
        assert_eq!(assignment(b"all"), None);
        assert_eq!(assignment(b""), Some(Assignment::default()));
        let old = subscription(b"\x00\x00\x00\x00\x00\x01\x00\x01t\xff\xff\xff\xff").unwrap();
        assert_eq!((old.topics.len(), old.owned.len(), old.generation), (1, 0, -1));
        let custom = assignment(b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01x").unwrap();
        assert!(custom.has_user_data);
    }
}
