//! What the quorum decides: an entry of its log is a list of commands, and there is an outcome for each.
//!
//! Variants are only ever appended; their fields never change. A new form needs a new variant and a feature level.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Alteration, Doubt, HostedType, ImageError, NameAlteration, QuotaAlteration};
use crate::access::{Acl, AdvertisedListener, ScramChange};
use crate::error::Refusal;
use crate::ids::{DirectoryId, Incarnation, LeaderEpoch, Member, NodeId, PartitionId, ProducerId, TopicId};

/// A change of the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Gives the cluster its id, once.
    Found {
        /// The id.
        cluster: Uuid,
    },
    /// Raises the feature level.
    SetFeatureLevel {
        /// The new level.
        level: u16,
    },
    /// A node's process has started; or says again that it has.
    RegisterNode(Registration),
    /// The node is there and has the image of its registration.
    UnfenceNode {
        /// The node.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
    },
    /// The node has not been heard of for too long. What follows from it stands in [`Command::ElectLeaders`] of the same
    /// entry.
    FenceNode {
        /// The node.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
    },
    /// The node is about to stop. What follows from it stands in [`Command::ElectLeaders`] of the same entry.
    HandOver {
        /// The node.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
    },
    /// Makes a topic; every live replica is in sync, the first leads.
    CreateTopic {
        /// Drawn by the proposer.
        id: TopicId,
        /// The name.
        name: String,
        /// Settings that differ from the defaults.
        config: BTreeMap<String, String>,
        /// Made by the system.
        internal: bool,
        /// For each partition where it has replicas, the preferred leader first.
        replicas: Vec<Vec<NodeId>>,
    },
    /// Removes a topic.
    DeleteTopic {
        /// Which.
        id: TopicId,
    },
    /// Adds partitions to a topic.
    CreatePartitions {
        /// Which topic.
        id: TopicId,
        /// How many it has now; refused if it has another number.
        from: usize,
        /// For each new one where it has replicas.
        replicas: Vec<Vec<NodeId>>,
    },
    /// Changes a topic's settings; `None` goes back to the default.
    AlterTopicConfig {
        /// Which topic.
        id: TopicId,
        /// By name.
        changes: BTreeMap<String, Option<String>>,
    },
    /// A leader changes the in-sync sets of partitions it leads.
    AlterInSync {
        /// The leader.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
        /// One a partition.
        changes: Vec<InSyncChange>,
    },
    /// Elects leaders.
    ElectLeaders {
        /// One a partition.
        elections: Vec<Election>,
    },
    /// A node doubts some of its replicas (rule 5).
    ReportDoubts {
        /// The node.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
        /// One a partition.
        doubts: Vec<ReportedDoubt>,
    },
    /// Takes a block of producer ids.
    AllocateProducerIds {
        /// How many.
        count: u32,
    },
    /// A node tells where clients of Kafka's protocol find it, for as long as its life lasts.
    SetListeners {
        /// The node.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
        /// All of its listeners.
        listeners: Vec<AdvertisedListener>,
    },
    /// Gives a user a SCRAM credential, or takes it away.
    AlterScram(ScramChange),
    /// Adds entries of access control lists; those that are there stay.
    CreateAcls {
        /// Which.
        acls: Vec<Acl>,
    },
    /// Removes entries of access control lists; those that are not there need not be.
    DeleteAcls {
        /// Which.
        acls: Vec<Acl>,
    },
    /// Reassigns replicas. From feature level 2.
    AlterReassignments {
        /// One a partition.
        alterations: Vec<Alteration>,
    },
    /// Says in which rack a node stands. From feature level 2.
    SetRack {
        /// The node.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
        /// `broker.rack`, if it is set.
        rack: Option<String>,
    },
    /// Changes quotas of clients, all of these or none. From feature level 2.
    AlterQuotas {
        /// One an entity.
        alterations: Vec<QuotaAlteration>,
    },
    /// Forgets a node that is away and has no replicas. From feature level 2.
    ForgetNode {
        /// The node.
        node: NodeId,
    },
    /// Says which types of users' entities a node hosts. From feature level 3.
    HostEntities {
        /// The node.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
        /// All of them.
        types: Vec<HostedType>,
    },
    /// Changes names and groups of a node's actors. From feature level 3.
    AlterNames {
        /// The node.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
        /// The change.
        alteration: NameAlteration,
        /// So many names and memberships there may be.
        most: u32,
    },
}

/// A node's process as it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The node.
    pub node: NodeId,
    /// Its new life; greater than all before.
    pub incarnation: Incarnation,
    /// `host:port` of its QUIC endpoint.
    pub address: String,
    /// Its log directories in use.
    pub directories: Vec<DirectoryId>,
    /// Replicas whose log it doubts after recovery.
    pub doubts: Vec<ReportedDoubt>,
    /// The highest feature level it understands.
    pub feature_level: u16,
    /// Wall time at the controller, milliseconds since 1970.
    pub at_ms: i64,
}

/// The doubt of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedDoubt {
    /// Of which partition.
    pub partition: PartitionId,
    /// What is doubted.
    pub doubt: Doubt,
}

/// A leader's change of one in-sync set; refused unless it is based on the present state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InSyncChange {
    /// The partition.
    pub partition: PartitionId,
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
    /// The set version it is based on.
    pub set_version: u32,
    /// The new set, the leader in it.
    pub in_sync: Vec<Member>,
}

/// The election of one partition; refused unless it is based on the present state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Election {
    /// The partition.
    pub partition: PartitionId,
    /// The epoch it is based on.
    pub epoch: LeaderEpoch,
    /// The set version it is based on.
    pub set_version: u32,
    /// What was chosen.
    pub choice: Choice,
}

/// What an election chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Choice {
    /// The leader stays in its epoch; only these of the in-sync set stay.
    Keep {
        /// Nodes of the set that stay.
        in_sync: Vec<NodeId>,
    },
    /// A member of the set leads in the next epoch; only these of the set stay.
    Lead {
        /// Who leads.
        leader: NodeId,
        /// Nodes of the set that stay.
        in_sync: Vec<NodeId>,
    },
    /// Nobody can lead: the next epoch has no leader, the set stays.
    Nobody,
    /// One replica leads in the next epoch and is the whole set: the greatest of those in doubt, or an unclean election.
    Alone {
        /// Who leads, from which disk, in which life.
        leader: Member,
        /// The replica was not in the set, and the topic allows it.
        unclean: bool,
    },
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It changed the image, or the image was like that.
    Done,
    /// It changed nothing.
    Refused(Refusal),
    /// Of [`Command::AlterInSync`]: for each partition its new set version.
    InSync(Vec<(PartitionId, Result<u32, Refusal>)>),
    /// Of [`Command::ElectLeaders`]: those refused, because something had changed; all others are elected.
    Elected {
        /// Partition and reason.
        refused: Vec<(PartitionId, Refusal)>,
    },
    /// Of [`Command::AllocateProducerIds`].
    ProducerIds {
        /// The first of the block.
        first: ProducerId,
        /// How many.
        count: u32,
    },
    /// Of [`Command::AlterReassignments`]: those refused; all others are done.
    Reassigned {
        /// Partition and reason.
        refused: Vec<(PartitionId, Refusal)>,
    },
}

const VERSION: u8 = 1;

/// The commands of one entry as bytes: a byte of version, then postcard.
#[must_use]
pub fn encode_entry(commands: &[Command]) -> Vec<u8> {
    encode(&commands)
}

/// The commands of an entry.
pub fn decode_entry(bytes: &[u8]) -> Result<Vec<Command>, ImageError> {
    decode("an entry of the quorum's log", bytes)
}

/// Outcomes as bytes.
#[must_use]
pub fn encode_outcomes(outcomes: &[Outcome]) -> Vec<u8> {
    encode(&outcomes)
}

/// Outcomes from bytes.
pub fn decode_outcomes(bytes: &[u8]) -> Result<Vec<Outcome>, ImageError> {
    decode("the outcome of an entry", bytes)
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "plain data into memory: nothing in it can fail to serialize")]
    postcard::to_extend(value, vec![VERSION]).expect("plain data serializes")
}

fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, ImageError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest)
            .map_err(|error| ImageError::Malformed { what, reason: error.to_string() }),
        Some((&version, _)) => Err(ImageError::Newer { what, version, known: VERSION }),
        None => Err(ImageError::Malformed { what, reason: "it is empty".to_owned() }),
    }
}
