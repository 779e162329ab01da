//! How a controller works, and what with.

use std::sync::Arc;
use std::time::Duration;

use millstream_transport::world::Clock;
use millstream_transport::world::watch;
use uuid::Uuid;

use super::TopicDefaults;
use crate::cluster::liveness::Timing;
use crate::cluster::proposer::Proposer;
use crate::events::Events;
use crate::ids::NodeId;
use crate::image::Image;
use crate::kinds::CONTROLLER;

/// How a controller works.
#[derive(Clone, Copy, Debug)]
pub struct ControllerSettings {
    /// This node.
    pub me: NodeId,
    /// The cluster's id, given to it where it has none yet.
    pub cluster: Uuid,
    /// What topics get by default.
    pub topics: TopicDefaults,
    /// How fast deaths are noticed.
    pub timing: Timing,
    /// Between two steps of giving leaderships back to preferred leaders, each of a tenth of all at most.
    pub rebalance_interval: Duration,
    /// How long a node is live before it gets leaderships back.
    pub rebalance_after: Duration,
    /// How long the quorum may take to decide an entry.
    pub propose_timeout: Duration,
    /// Requests of clients open at a time, and as many of nodes; more are refused.
    pub open_requests_max: usize,
    /// `actors.names.max`: names and memberships of users' actors in the whole cluster.
    pub names_max: u32,
}

impl ControllerSettings {
    /// The default settings of a node in a cluster.
    #[must_use]
    pub fn new(me: NodeId, cluster: Uuid) -> Self {
        Self {
            me,
            cluster,
            topics: TopicDefaults::default(),
            timing: Timing::default(),
            rebalance_interval: Duration::from_secs(5),
            rebalance_after: Duration::from_secs(5),
            propose_timeout: Duration::from_secs(5),
            open_requests_max: CONTROLLER.mailbox_max,
            names_max: 10_000,
        }
    }
}

/// What a controller works with. Kept by who restarts it.
#[derive(Clone, Debug)]
pub struct ControllerParts {
    /// How.
    pub settings: ControllerSettings,
    /// The time.
    pub clock: Clock,
    /// The quorum.
    pub proposer: Arc<dyn Proposer>,
    /// This node's images.
    pub images: watch::Receiver<Arc<Image>>,
    /// Where events go.
    pub events: Events,
}
