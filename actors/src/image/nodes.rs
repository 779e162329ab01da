//! The nodes: where they are, which life they are in, which disks they have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Features, HostedType, Registration};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{DirectoryId, Incarnation, Member, NodeId, PartitionId};

/// What may be expected of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// Registered in this life, not yet known to have the image that says so: keeps its memberships, leads nothing new.
    /// Goes to `Live` with the first heartbeat that shows the image, to `Fenced` when it falls silent.
    Starting,
    /// Heard of: may lead, may join in-sync sets, gets replicas.
    Live,
    /// Shutting down in order: leads only what nobody else can, joins nothing.
    Leaving,
    /// Not heard of for too long: leads nothing until it registers again or is heard again.
    Fenced,
}

/// A node as it registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredNode {
    /// Its present life.
    pub incarnation: Incarnation,
    /// `host:port` of its QUIC endpoint.
    pub address: String,
    /// Its log directories in use, never empty, in its own order.
    pub directories: Vec<DirectoryId>,
    /// What may be expected of it.
    pub state: NodeState,
    /// The highest feature level it understands.
    pub feature_level: u16,
    /// Wall time of its registration at the controller, milliseconds since 1970.
    pub registered_at_ms: i64,
    /// The version of the first image that has this registration.
    pub registered_version: u64,
    /// `broker.rack`, where it stands. Stored beside the nodes.
    #[serde(skip)]
    pub rack: Option<String>,
    /// The types of users' entities whose code it has. Stored beside the nodes.
    #[serde(skip)]
    pub entities: Vec<HostedType>,
}

impl RegisteredNode {
    /// The member that a replica of `partition` on this node is, where it lies nowhere yet.
    ///
    /// The node puts the replica into the directory named here.
    #[must_use]
    pub fn new_member(&self, node: NodeId, partition: PartitionId) -> Option<Member> {
        let index = usize::try_from(partition.index).ok()?.checked_rem(self.directories.len())?;
        let directory = *self.directories.get(index)?;
        Some(Member { node, directory, incarnation: self.incarnation })
    }
}

/// All nodes that have ever registered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nodes(BTreeMap<NodeId, RegisteredNode>);

impl Nodes {
    /// The most log directories of one node.
    pub const DIRECTORIES_MAX: usize = 64;
    /// The longest name of a rack.
    pub const RACK_BYTES_MAX: usize = 255;

    /// One node.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<&RegisteredNode> {
        self.0.get(&node)
    }

    pub(super) fn get_mut(&mut self, node: NodeId) -> Option<&mut RegisteredNode> {
        self.0.get_mut(&node)
    }

    /// All of them by id.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &RegisteredNode)> {
        self.0.iter().map(|(id, node)| (*id, node))
    }

    /// Those that may lead, by id.
    pub fn live(&self) -> impl Iterator<Item = (NodeId, &RegisteredNode)> {
        self.iter().filter(|(_, node)| node.state == NodeState::Live)
    }

    /// Whether this life of the node is the one registered, and is live.
    #[must_use]
    pub fn is_live(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.get(node).is_some_and(|known| known.state == NodeState::Live && known.incarnation == incarnation)
    }

    /// A refusal unless this life of the node is the one registered.
    pub fn in_life(&self, node: NodeId, incarnation: Incarnation) -> Result<&RegisteredNode, Refusal> {
        let Some(known) = self.get(node) else {
            let text = format!("node {node} is not registered; it registers at its start");
            return Err(Refusal::new(ErrorCode::StaleBrokerEpoch, text));
        };
        if known.incarnation != incarnation {
            let text = format!(
                "node {node} speaks from life {}, registered is {}; an old process, or two with one node id",
                incarnation.0, known.incarnation.0
            );
            return Err(Refusal::new(ErrorCode::StaleBrokerEpoch, text));
        }
        Ok(known)
    }

    /// Takes a registration; true if it begins a new life.
    pub(super) fn register(
        &mut self,
        version: u64,
        registration: &Registration,
        features: Features,
    ) -> Result<bool, Refusal> {
        let Registration { node, incarnation, address, directories, feature_level, .. } = registration;
        let known = self.0.get(node);
        if known.is_some_and(|known| known.incarnation > *incarnation) {
            return self.in_life(*node, *incarnation).map(|_| false);
        }
        if directories.is_empty() || directories.len() > Self::DIRECTORIES_MAX {
            let text = format!("node {node} registers {} log directories, not 1 to 64", directories.len());
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        if *feature_level < features.level {
            let text = format!(
                "node {node} understands feature level {feature_level}, the cluster is at {}; upgrade the node",
                features.level
            );
            return Err(Refusal::new(ErrorCode::UnsupportedVersion, text));
        }
        if let Some(taken) = self.directory_of_another(*node, directories) {
            let text =
                format!("node {node} registers a log directory of node {taken}; give each node its own");
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        // The same life again: a controller asked it to, or its first answer was lost. Its state stays.
        let again = known.filter(|known| known.incarnation == *incarnation);
        let state = again.map_or(NodeState::Starting, |known| known.state);
        let registered = RegisteredNode {
            incarnation: *incarnation,
            address: address.clone(),
            directories: directories.clone(),
            state,
            feature_level: *feature_level,
            registered_at_ms: again.map_or(registration.at_ms, |known| known.registered_at_ms),
            registered_version: again.map_or(version, |known| known.registered_version),
            // Until it says otherwise.
            rack: known.and_then(|known| known.rack.clone()),
            // A new life may have other code.
            entities: again.map(|known| known.entities.clone()).unwrap_or_default(),
        };
        let renewed = again.is_none();
        self.0.insert(*node, registered);
        Ok(renewed)
    }

    /// A directory belongs to one node for ever; two processes with a copy of one disk would both claim its records.
    fn directory_of_another(&self, node: NodeId, directories: &[DirectoryId]) -> Option<NodeId> {
        self.iter()
            .filter(|(id, _)| *id != node)
            .find(|(_, other)| other.directories.iter().any(|directory| directories.contains(directory)))
            .map(|(id, _)| id)
    }

    /// Forgets a node that is away.
    pub(super) fn forget(&mut self, node: NodeId) -> Result<(), Refusal> {
        let Some(known) = self.0.get(&node) else {
            let text = format!("node {node} is not registered");
            return Err(Refusal::new(ErrorCode::BrokerIdNotRegistered, text));
        };
        if known.state != NodeState::Fenced {
            let text = format!("node {node} is there and would register again; stop it first");
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        self.0.remove(&node);
        Ok(())
    }

    /// Notes the rack of a node of this life; false if it is known.
    pub(super) fn set_rack(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        rack: Option<&str>,
    ) -> Result<bool, Refusal> {
        self.in_life(node, incarnation)?;
        if rack.is_some_and(|rack| rack.is_empty() || rack.len() > Self::RACK_BYTES_MAX) {
            let text = format!("the rack of node {node} has not from 1 to {} bytes", Self::RACK_BYTES_MAX);
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        let Some(known) = self.0.get_mut(&node) else { return Ok(false) };
        let changes = known.rack.as_deref() != rack;
        known.rack = rack.map(ToOwned::to_owned);
        Ok(changes)
    }

    /// Puts racks back that are stored beside the nodes.
    pub(super) fn restore_racks(&mut self, racks: Vec<(NodeId, String)>) {
        for (node, rack) in racks {
            if let Some(known) = self.0.get_mut(&node) {
                known.rack = Some(rack);
            }
        }
    }

    /// Moves a node of this life into a state; false if it is there already.
    pub(super) fn set_state(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        state: NodeState,
    ) -> Result<bool, Refusal> {
        self.in_life(node, incarnation)?;
        let Some(known) = self.0.get_mut(&node) else { return Ok(false) };
        // Who is leaving comes back only by a new life.
        if known.state == NodeState::Leaving && state == NodeState::Live {
            let text = format!("node {node} is shutting down");
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        let changes = known.state != state;
        known.state = state;
        Ok(changes)
    }
}
