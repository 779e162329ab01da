//! Small clusters for tests.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::ids::{DirectoryId, Incarnation, LeaderEpoch, Member, NodeId, Offset, PartitionId, TopicId};
use crate::image::{
    Choice, Command, Doubt, DoubtCause, Election, Image, InSyncChange, Outcome, Partition, Registration,
    ReportedDoubt,
};

pub(crate) fn topic(number: u128) -> TopicId {
    TopicId(Uuid::from_u128(0xa000 + number))
}

pub(crate) fn partition(number: u128, index: i32) -> PartitionId {
    PartitionId { topic: topic(number), index }
}

pub(crate) fn directory(node: u32) -> DirectoryId {
    DirectoryId(Uuid::from_u128(0xd000 + u128::from(node)))
}

/// The member on `node` in its life number `life`, on its first disk.
pub(crate) fn member(node: u32, life: u64) -> Member {
    Member { node: NodeId(node), directory: directory(node), incarnation: Incarnation(life) }
}

pub(crate) fn registration(node: u32, life: u64) -> Registration {
    Registration {
        node: NodeId(node),
        incarnation: Incarnation(life),
        address: format!("node{node}.example:9092"),
        directories: vec![directory(node)],
        doubts: Vec::new(),
        feature_level: 1,
        at_ms: 1_700_000_000_000,
    }
}

pub(crate) fn unfence(node: u32, life: u64) -> Command {
    Command::UnfenceNode { node: NodeId(node), incarnation: Incarnation(life) }
}

pub(crate) fn fence(node: u32, life: u64) -> Command {
    Command::FenceNode { node: NodeId(node), incarnation: Incarnation(life) }
}

pub(crate) fn create(number: u128, replicas: &[&[u32]]) -> Command {
    create_with(number, replicas, &[])
}

pub(crate) fn create_with(number: u128, replicas: &[&[u32]], config: &[(&str, &str)]) -> Command {
    Command::CreateTopic {
        id: topic(number),
        name: format!("topic-{number}"),
        config: config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        internal: false,
        replicas: replicas.iter().map(|nodes| nodes.iter().map(|node| NodeId(*node)).collect()).collect(),
    }
}

pub(crate) fn doubt(cause: DoubtCause, last_epoch: i32, end: i64) -> Doubt {
    Doubt { cause, last_epoch: LeaderEpoch(last_epoch), end: Offset(end) }
}

pub(crate) fn reported(partition: PartitionId, doubt: Doubt) -> ReportedDoubt {
    ReportedDoubt { partition, doubt }
}

/// An image with these nodes live in life 1.
pub(crate) fn live_nodes(nodes: &[u32]) -> Image {
    let mut image = Image::default();
    for node in nodes {
        done(&mut image, Command::RegisterNode(registration(*node, 1)));
        done(&mut image, unfence(*node, 1));
    }
    image
}

/// Three live nodes and topic 1 with one partition on all of them, led by node 1.
pub(crate) fn three() -> Image {
    let mut image = live_nodes(&[1, 2, 3]);
    done(&mut image, create(1, &[&[1, 2, 3]]));
    image
}

/// Applies a command as the next entry.
pub(crate) fn apply(image: &mut Image, command: Command) -> Outcome {
    let index = image.version() + 1;
    image.apply(index, &command)
}

/// Applies a command that must succeed.
pub(crate) fn done(image: &mut Image, command: Command) {
    match apply(image, command) {
        Outcome::Refused(refusal) => panic!("{refusal}"),
        Outcome::Elected { refused } | Outcome::Reassigned { refused } => assert_eq!(refused, []),
        Outcome::InSync(results) => assert!(results.iter().all(|(_, result)| result.is_ok()), "{results:?}"),
        Outcome::Done | Outcome::ProducerIds { .. } => {}
    }
}

pub(crate) fn state(image: &Image, id: PartitionId) -> Partition {
    image.partition(id).unwrap().clone()
}

/// An election based on the partition's present state.
pub(crate) fn election(image: &Image, id: PartitionId, choice: Choice) -> Command {
    let now = state(image, id);
    let election = Election { partition: id, epoch: now.leader_epoch, set_version: now.set_version, choice };
    Command::ElectLeaders { elections: vec![election] }
}

pub(crate) fn lead(leader: u32, in_sync: &[u32]) -> Choice {
    Choice::Lead { leader: NodeId(leader), in_sync: in_sync.iter().map(|node| NodeId(*node)).collect() }
}

/// A change of the in-sync set by the partition's leader, based on its present state.
pub(crate) fn alter(image: &Image, id: PartitionId, in_sync: &[Member]) -> Command {
    let now = state(image, id);
    let leader = now.leader.unwrap();
    Command::AlterInSync {
        node: leader.node,
        incarnation: leader.incarnation,
        changes: vec![InSyncChange {
            partition: id,
            epoch: now.leader_epoch,
            set_version: now.set_version,
            in_sync: in_sync.to_vec(),
        }],
    }
}

pub(crate) fn settings(pairs: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
}
