//! How this node's replicas reach the controller, whoever it is.

use std::time::Duration;

use millstream_actors::cluster::front::ClusterFront;
use millstream_actors::cluster::message::nodes::{AlterInSync, ReportDoubts, Resign, Resignation};
use millstream_actors::ids::{Incarnation, NodeId};
use millstream_actors::image::{InSyncChange, ReportedDoubt};
use millstream_actors::partition::controller_link::{Altered, ControllerLink, GivenUp};
use millstream_transport::peer::Endpoint;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::config::NodeConfig;

/// How long a change of in-sync sets is tried; the replica then proposes anew.
const ALTER_WITHIN: Duration = Duration::from_secs(3);

/// How long a resignation or doubt is tried: longer than any quorum should be away.
const TELL_WITHIN: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct NodeControllerLink {
    front: ClusterFront<Endpoint>,
    node: NodeId,
    incarnation: Incarnation,
    control: Handle,
}

impl NodeControllerLink {
    /// To be called on the control thread, where everything is then sent from.
    pub(super) fn new(front: ClusterFront<Endpoint>, config: &NodeConfig, incarnation: Incarnation) -> Self {
        Self { front, node: config.node_id, incarnation, control: Handle::current() }
    }
}

impl ControllerLink for NodeControllerLink {
    fn alter_in_sync(&self, changes: Vec<InSyncChange>, done: Box<dyn FnOnce(Altered) + Send>) {
        let message = AlterInSync { node: self.node, incarnation: self.incarnation, changes };
        let front = self.front.clone();
        self.control.spawn(async move {
            let asked = front.ask_controller(message, Instant::now() + ALTER_WITHIN).await;
            done(asked.ok());
        });
    }

    fn resign(&self, given_up: Vec<GivenUp>) {
        let resignation = |given_up: GivenUp| Resignation {
            partition: given_up.partition,
            epoch: given_up.epoch,
            again: given_up.again,
        };
        let partitions = given_up.into_iter().map(resignation).collect();
        let message = Resign { node: self.node, incarnation: self.incarnation, partitions };
        let front = self.front.clone();
        self.control.spawn(async move {
            if let Err(refusal) = front.ask_controller(message, Instant::now() + TELL_WITHIN).await {
                tracing::warn!(%refusal, "leaderships were not given up");
            }
        });
    }

    fn report_doubts(&self, doubts: Vec<ReportedDoubt>) {
        let message = ReportDoubts { node: self.node, incarnation: self.incarnation, doubts };
        let front = self.front.clone();
        self.control.spawn(async move {
            if let Err(refusal) = front.ask_controller(message, Instant::now() + TELL_WITHIN).await {
                tracing::warn!(%refusal, "doubts about logs were not reported");
            }
        });
    }
}
