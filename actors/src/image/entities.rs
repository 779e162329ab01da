//! Which nodes host which types of users' entities.

use serde::{Deserialize, Serialize};

use super::{Features, Nodes};
use crate::error::{ErrorCode, Refusal};
use crate::ids::{Incarnation, NodeId};

/// What the topics of entities' types begin with.
const TOPIC_PREFIX: &str = "__entity_";

/// Bytes that a batch of entities may have: those of the largest turn with a snapshot, and tombstones.
pub const ENTITY_BATCH_BYTES: u32 = 2 << 20;

/// The longest name of a type.
pub const ENTITY_TYPE_BYTES_MAX: usize = 200;

/// The most types of one node.
pub const ENTITY_TYPES_MAX: usize = 1_000;

/// A type of entities whose code a node has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostedType {
    /// Its name.
    pub kind: String,
    /// The first version of a state that the node reads.
    pub first: u16,
    /// The last, which it writes.
    pub last: u16,
}

/// The internal topic of a type.
#[must_use]
pub fn entity_topic(kind: &str) -> String {
    format!("{TOPIC_PREFIX}{kind}")
}

/// The type whose internal topic this is.
#[must_use]
pub fn type_of_topic(topic: &str) -> Option<&str> {
    topic.strip_prefix(TOPIC_PREFIX)
}

/// Whether a name is one of a type: letters, digits, `-` and `_`.
#[must_use]
pub fn is_type_name(kind: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !kind.is_empty() && kind.len() <= ENTITY_TYPE_BYTES_MAX && kind.bytes().all(is_allowed)
}

impl Nodes {
    /// Whether a node may have replicas of a topic and lead them: of a type's topic, if it hosts the type.
    #[must_use]
    pub fn may_host(&self, node: NodeId, topic: &str) -> bool {
        let Some(kind) = type_of_topic(topic) else { return true };
        self.get(node).is_some_and(|known| known.entities.iter().any(|hosted| hosted.kind == kind))
    }

    /// Notes which types a node of this life hosts; false if they are known.
    pub(super) fn set_entities(
        &mut self,
        (node, incarnation): (NodeId, Incarnation),
        types: &[HostedType],
        features: Features,
    ) -> Result<bool, Refusal> {
        features.require(Features::ENTITIES)?;
        self.in_life(node, incarnation)?;
        let is_type = |hosted: &HostedType| is_type_name(&hosted.kind) && hosted.first <= hosted.last;
        if types.len() > ENTITY_TYPES_MAX || !types.iter().all(is_type) {
            let text = format!("node {node} registers types of entities that are none, or more than may be");
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        let Some(known) = self.get_mut(node) else { return Ok(false) };
        let changes = known.entities != types;
        known.entities = types.to_vec();
        Ok(changes)
    }

    /// Puts types back that are stored beside the nodes.
    pub(super) fn restore_entities(&mut self, hosted: Vec<(NodeId, Vec<HostedType>)>) {
        for (node, types) in hosted {
            if let Some(known) = self.get_mut(node) {
                known.entities = types;
            }
        }
    }
}
