//! What nodes and the controller say to each other. Kinds 250 to 279.
//!
//! Only the controller grants any of these; another voter answers a heartbeat, so that it has been heard, and refuses
//! the rest with [`NotController`](crate::error::ErrorCode::NotController).

use millstream_transport::message::{Answer, Message};
use serde::{Deserialize, Serialize};

use super::reassignment::Wish;
use super::{AlterTopicConfig, CreatePartitions, CreateTopic, DeleteTopic, ElectReplica, ElectionKind};
use crate::access::{Acl, AclFilter, ScramChange};
use crate::error::Refusal;
use crate::ids::{DirectoryId, Incarnation, LeaderEpoch, NodeId, PartitionId, ProducerId, TopicId};
use crate::image::{HostedType, InSyncChange, QuotaAlteration, ReportedDoubt};

/// A node's process has started and has recovered its logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterNode {
    /// The node.
    pub node: NodeId,
    /// Its new life.
    pub incarnation: Incarnation,
    /// `host:port` of its QUIC endpoint.
    pub address: String,
    /// Its log directories in use.
    pub directories: Vec<DirectoryId>,
    /// Replicas whose log it doubts after recovery (rule 5).
    pub doubts: Vec<ReportedDoubt>,
    /// The highest feature level it understands.
    pub feature_level: u16,
}

impl Message for RegisterNode {
    const KIND: u16 = 250;
    type Answer = Result<(), Refusal>;
}

/// A node is there. Sent to every voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHeartbeat {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The version of the image it has.
    pub image_version: u64,
}

/// What a voter knows of the node that sent a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeStanding {
    /// This voter is not the controller, or not yet.
    NotController,
    /// The controller does not know this life of the node: it is to register.
    Unknown,
    /// A later life of the node has registered: this process is to stop.
    Superseded,
    /// Registered, and not to rely on anything: it is starting, or was not heard for too long.
    Fenced,
    /// Registered and live, or shutting down in order.
    Live,
}

/// The answer to a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// What the answerer knows.
    pub standing: NodeStanding,
    /// How long the node may rely on what it owns, counted from its sending; 0 for not at all.
    pub lease_ms: u32,
}

impl Message for NodeHeartbeat {
    const KIND: u16 = 251;
    type Answer = Result<HeartbeatAnswer, Refusal>;
}

impl Answer for HeartbeatAnswer {}

/// A leader changes in-sync sets; one request for all its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterInSync {
    /// The leader.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// One a partition.
    pub changes: Vec<InSyncChange>,
}

impl Message for AlterInSync {
    const KIND: u16 = 252;
    /// For each partition the set version that the change made.
    type Answer = Result<Vec<(PartitionId, Result<u32, Refusal>)>, Refusal>;
}

/// A node doubts some of its replicas: last epoch and end offset of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportDoubts {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// One a partition.
    pub doubts: Vec<ReportedDoubt>,
}

impl Message for ReportDoubts {
    const KIND: u16 = 253;
    type Answer = Result<(), Refusal>;
}

/// A leader gives leaderships up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resign {
    /// The leader.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// One a partition.
    pub partitions: Vec<Resignation>,
}

/// One leadership given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resignation {
    /// The partition.
    pub partition: PartitionId,
    /// The epoch in which it was led.
    pub epoch: LeaderEpoch,
    /// Whether the same replica may lead again, in a new epoch, where there is no other: after its actor was restarted,
    /// not when it is too slow.
    pub again: bool,
}

impl Message for Resign {
    const KIND: u16 = 254;
    type Answer = Result<(), Refusal>;
}

/// A node is about to stop: its leaders move and it leaves the in-sync sets, wherever another member stays.
///
/// Answered when that is decided; the node learns it with its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
}

impl Message for HandOver {
    const KIND: u16 = 255;
    type Answer = Result<(), Refusal>;
}

/// A node says where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRack {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// `broker.rack`, if it is set.
    pub rack: Option<String>,
}

impl Message for NodeRack {
    const KIND: u16 = 260;
    type Answer = Result<(), Refusal>;
}

/// A node says which types of users' entities it hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntities {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// All of them.
    pub types: Vec<HostedType>,
}

impl Message for NodeEntities {
    const KIND: u16 = 432;
    type Answer = Result<(), Refusal>;
}

/// A client's request as the node that got it passes it on. May be repeated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ClientRequest {
    /// With the id drawn by the node, so that a repeated request makes one topic.
    CreateTopic(TopicId, CreateTopic),
    /// As it came.
    DeleteTopic(DeleteTopic),
    /// As it came.
    CreatePartitions(CreatePartitions),
    /// As it came.
    AlterTopicConfig(AlterTopicConfig),
    /// A block of so many producer ids, for the node to give out.
    AllocateProducerIds(u32),
    /// As it came.
    ElectReplica(ElectReplica),
    /// Elections of this kind for these partitions.
    ElectLeaders(Vec<PartitionId>, ElectionKind),
    /// Changes of SCRAM credentials.
    AlterScram(Vec<ScramChange>),
    /// Entries to be added to access control lists.
    CreateAcls(Vec<Acl>),
    /// Entries to be removed from access control lists.
    DeleteAcls(Vec<AclFilter>),
    /// Reassignments of replicas; whether they may change how many there are.
    Reassign(Vec<Wish>, bool),
    /// Changes of clients' quotas, all of these or none.
    AlterQuotas(Vec<QuotaAlteration>),
    /// This node does not come back.
    ForgetNode(NodeId),
    /// The same as `CreateTopic`, with the replicas of each partition as its maker places them: partition and nodes, in
    /// the order in which they were named.
    CreateTopicPlaced(TopicId, CreateTopic, Vec<(i32, Vec<NodeId>)>),
    /// The same as `CreatePartitions`, with the replicas of each new partition.
    CreatePartitionsPlaced(CreatePartitions, Vec<Vec<NodeId>>),
}

/// What became of a [`ClientRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientAnswer {
    /// The topic made.
    Topic(TopicId),
    /// Done.
    Done,
    /// A block of producer ids.
    ProducerIds {
        /// The first.
        first: ProducerId,
        /// How many.
        count: u32,
    },
    /// What became of each election asked for.
    Elected(Vec<(PartitionId, Result<(), Refusal>)>),
    /// What became of each part of the request, in order.
    Each(Vec<Result<(), Refusal>>),
    /// The entries removed, for each filter in order.
    DeletedAcls(Vec<Vec<Acl>>),
    /// What became of each reassignment asked for.
    Reassigned(Vec<(PartitionId, Result<(), Refusal>)>),
}

impl Message for ClientRequest {
    const KIND: u16 = 256;
    type Answer = Result<ClientAnswer, Refusal>;
}

impl Answer for ClientAnswer {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::error::ErrorCode;
    use crate::image::fixture::{directory, doubt, member, partition, reported, topic};
    use crate::image::{DoubtCause, QuotaKind, QuotaValue};

    fn hex(value: &impl Serialize) -> String {
        postcard::to_stdvec(value).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn requests() -> Vec<String> {
        let (node, incarnation) = (NodeId(3), Incarnation(7));
        let doubts = vec![reported(partition(1, 0), doubt(DoubtCause::Cut, 2, 9))];
        let change = InSyncChange {
            partition: partition(1, 0),
            epoch: LeaderEpoch(2),
            set_version: 5,
            in_sync: vec![member(3, 7)],
        };
        let create = CreateTopic {
            name: "flights".to_owned(),
            partitions: Some(6),
            replication_factor: None,
            config: BTreeMap::from([("flush.policy".to_owned(), "os".to_owned())]),
        };
        let placed = CreateTopic { partitions: None, ..create.clone() };
        let register = RegisterNode {
            node,
            incarnation,
            address: "a:1".to_owned(),
            directories: vec![directory(3)],
            doubts: doubts.clone(),
            feature_level: 1,
        };
        let resignation = Resignation { partition: partition(1, 0), epoch: LeaderEpoch(2), again: true };
        let delete = DeleteTopic { name: "a".to_owned() };
        let grow = CreatePartitions { name: "a".to_owned(), total: 9 };
        let grow_placed = grow.clone();
        let alter =
            AlterTopicConfig { name: "a".to_owned(), changes: BTreeMap::from([("b".to_owned(), None)]) };
        let entity = [(QuotaKind::User, Some("a".to_owned())), (QuotaKind::ClientId, None)].into();
        let changes = [("b".to_owned(), QuotaValue::new(2.0)), ("c".to_owned(), None)].into();
        let quota = QuotaAlteration { entity, changes };
        let wish = |replicas| Wish { partition: partition(1, 0), replicas };
        let reassign = vec![wish(Some(vec![NodeId(3), NodeId(300)])), wish(None)];
        let elect = ElectReplica { topic: "a".to_owned(), partition: 2, node: NodeId(3), is_confirmed: true };
        vec![
            hex(&register),
            hex(&NodeHeartbeat { node, incarnation, image_version: 300 }),
            hex(&AlterInSync { node, incarnation, changes: vec![change] }),
            hex(&ReportDoubts { node, incarnation, doubts }),
            hex(&Resign { node, incarnation, partitions: vec![resignation] }),
            hex(&HandOver { node, incarnation }),
            hex(&NodeRack { node, incarnation, rack: Some("east".to_owned()) }),
            hex(&ClientRequest::CreateTopic(topic(1), create)),
            hex(&ClientRequest::DeleteTopic(delete)),
            hex(&ClientRequest::CreatePartitions(grow)),
            hex(&ClientRequest::AlterTopicConfig(alter)),
            hex(&ClientRequest::AllocateProducerIds(1000)),
            hex(&ClientRequest::ElectReplica(elect)),
            hex(&ClientRequest::ElectLeaders(vec![partition(1, 0)], ElectionKind::Unclean)),
            hex(&ClientRequest::Reassign(reassign, false)),
            hex(&ClientRequest::AlterQuotas(vec![quota])),
            hex(&ClientRequest::ForgetNode(NodeId(3))),
            hex(&ClientRequest::CreateTopicPlaced(topic(1), placed, vec![(0, vec![NodeId(3), NodeId(300)])])),
            hex(&ClientRequest::CreatePartitionsPlaced(grow_placed, vec![vec![NodeId(3)], vec![NodeId(1)]])),
        ]
    }

    fn answers() -> Vec<String> {
        let refusal = || Refusal::new(ErrorCode::InvalidTopic, "no");
        let standings = [
            NodeStanding::NotController,
            NodeStanding::Unknown,
            NodeStanding::Superseded,
            NodeStanding::Fenced,
            NodeStanding::Live,
        ];
        let heartbeats = standings.map(|standing| Ok(HeartbeatAnswer { standing, lease_ms: 300 }));
        let altered: <AlterInSync as Message>::Answer = Ok(vec![(partition(1, 0), Ok(6))]);
        let answers: [<ClientRequest as Message>::Answer; 6] = [
            Ok(ClientAnswer::Topic(topic(1))),
            Ok(ClientAnswer::Done),
            Ok(ClientAnswer::ProducerIds { first: ProducerId(4), count: 2 }),
            Ok(ClientAnswer::Elected(vec![(partition(1, 0), Ok(()))])),
            Ok(ClientAnswer::Reassigned(vec![(partition(1, 0), Ok(()))])),
            Err(refusal()),
        ];
        let heartbeats = heartbeats.iter().map(|answer: &<NodeHeartbeat as Message>::Answer| hex(answer));
        heartbeats.chain([hex(&altered)]).chain(answers.iter().map(hex)).collect()
    }

    #[test]
    fn the_bytes_of_version_1_stay() {
        let lines: Vec<String> = requests().into_iter().chain(answers()).collect();
        let golden: Vec<&str> = include_str!("golden/nodes-v1.hex").lines().collect();
        assert_eq!(lines, golden);
    }

    #[test]
    fn the_bytes_of_the_types_that_a_node_hosts_stay() {
        let types = vec![HostedType { kind: "a".to_owned(), first: 1, last: 2 }];
        let told = NodeEntities { node: NodeId(1), incarnation: Incarnation(2), types };
        assert_eq!(hex(&told), "01020101610102");
    }
}
