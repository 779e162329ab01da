//! Watches what ends a node or takes its disk away: a later life of the same node, and a failed log directory.

use std::sync::Arc;
use std::time::Duration;

use millstream_actors::cluster::agent::AgentHandle;
use millstream_actors::cluster::front::ClusterFront;
use millstream_actors::cluster::message::nodes::{NodeStanding, ReportDoubts};
use millstream_actors::ids::{Incarnation, LeaderEpoch, NodeId, Offset};
use millstream_actors::image::{Doubt, DoubtCause, Image, ReportedDoubt, assignments};
use millstream_actors::log::DirectoryHealth;
use millstream_transport::peer::Endpoint;
use millstream_transport::world::watch;
use tokio::time::Instant;

use super::tree::Fatal;

/// How long the report of a failed directory is tried: longer than any quorum should be away.
const REPORT_WITHIN: Duration = Duration::from_secs(600);

/// Ends the node when a later life of it has registered: two processes run under one number.
pub(super) async fn superseded(agent: AgentHandle, fatal: Fatal) {
    let mut health = agent.health();
    let later = health.wait_for(|health| health.standing == NodeStanding::Superseded).await.is_ok();
    if later {
        let why =
            "another process has registered under this node.id: give each node its own, or end the other";
        fatal.send_replace(Some(why.to_owned()));
    }
}

/// What the report of a failed directory needs.
pub(super) struct DirectoryVigil {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) health: watch::Receiver<DirectoryHealth>,
    pub(super) images: watch::Receiver<Arc<Image>>,
    pub(super) agent: AgentHandle,
    pub(super) front: ClusterFront<Endpoint>,
}

impl DirectoryVigil {
    /// Tells the controller once the directory has failed: its replicas cannot lead, whatever they hold (rule 3).
    pub(super) async fn run(mut self) {
        let failed = |health: &DirectoryHealth| matches!(health, DirectoryHealth::Failed(_));
        if self.health.wait_for(failed).await.is_err() {
            return;
        }
        let image = Arc::clone(&self.images.borrow());
        let cause = DoubtCause::DirectoryFailed;
        let doubt = Doubt { cause, last_epoch: LeaderEpoch(-1), end: Offset::ZERO };
        let mine = assignments(&image, self.node);
        let doubts = mine.iter().map(|mine| ReportedDoubt { partition: mine.partition, doubt }).collect();
        let report = ReportDoubts { node: self.node, incarnation: self.incarnation, doubts };
        if let Err(refusal) = self.front.ask_controller(report, Instant::now() + REPORT_WITHIN).await {
            tracing::error!(node = %self.node, %refusal, "a failed log directory was not reported");
        }
        self.agent.set_directories(Vec::new());
    }
}
