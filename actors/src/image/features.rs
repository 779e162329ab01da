//! What every node of the cluster understands: new forms are written only after the level allows them.

use serde::{Deserialize, Serialize};

use super::Nodes;
use crate::error::{ErrorCode, Refusal};

/// The cluster's feature level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// Only grows. 1 is the first.
    pub level: u16,
}

impl Default for Features {
    fn default() -> Self {
        Self { level: Self::FIRST }
    }
}

impl Features {
    /// The level at which a cluster is founded.
    pub const FIRST: u16 = 1;
    /// The level from which on the image holds what [`access`](crate::access) describes.
    pub const ACCESS: u16 = 2;
    /// From this level on there are reassignments of replicas, racks of nodes, and quotas of clients.
    pub const ADMINISTRATION: u16 = 2;
    /// From this level on images are written with sections.
    pub const SECTIONED: u16 = 2;
    /// From this level on the image knows which replicas of the system's topics are somebody's choice.
    pub const CHOSEN_REPLICAS: u16 = 3;
    /// From this level on every node takes requests for partitions whose replicas their maker places.
    pub const PLACED: u16 = 3;
    /// From this level on nodes say which types of users' entities they host.
    pub const ENTITIES: u16 = 3;
    /// The level from which on actors of users have names.
    pub const NAMES: u16 = 3;
    /// The highest level that this program understands.
    pub const HIGHEST: u16 = 3;

    /// A refusal while the level does not allow what came with `level`.
    pub fn require(self, level: u16) -> Result<(), Refusal> {
        if self.level >= level {
            return Ok(());
        }
        let text = format!(
            "the cluster is at feature level {}, this needs {level}; upgrade all nodes, it is raised then",
            self.level
        );
        Err(Refusal::new(ErrorCode::UnsupportedVersion, text))
    }

    /// The level to which all of these nodes could go, if it is higher.
    #[must_use]
    pub fn next(self, nodes: &Nodes) -> Option<u16> {
        let all = nodes.iter().map(|(_, node)| node.feature_level).min()?.min(Self::HIGHEST);
        (all > self.level).then_some(all)
    }

    /// Raises the level, if all registered nodes understand it.
    pub(super) fn raise(&mut self, level: u16, nodes: &Nodes) -> Result<(), Refusal> {
        if level < self.level {
            let text = format!("the feature level is {} and never goes back to {level}", self.level);
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        if let Some((id, node)) = nodes.iter().find(|(_, node)| node.feature_level < level) {
            let highest = node.feature_level;
            let text = format!(
                "node {id} understands feature level {highest} at most, not {level}; upgrade it first"
            );
            return Err(Refusal::new(ErrorCode::UnsupportedVersion, text));
        }
        self.level = level;
        Ok(())
    }
}
