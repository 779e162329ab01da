//! Tells the controller how far this node's logs reach, where it waits for that: after an operator's recovery of the
//! quorum no in-sync set is believed before its members have said so, and a log that could not be opened at the start
//! reaches nobody knows how far until it can.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millstream_actors::cluster::front::ClusterFront;
use millstream_actors::cluster::message::nodes::ReportDoubts;
use millstream_actors::ids::{Incarnation, LeaderEpoch, NodeId, Offset, PartitionId};
use millstream_actors::image::{Doubt, DoubtCause, Image, ReportedDoubt};
use millstream_actors::log::LogDirectory;
use millstream_transport::peer::Endpoint;
use millstream_transport::world::watch;
use tokio::time::{Instant, timeout};

/// Partitions of one report.
const REPORTED_MAX: usize = 10_000;

/// How long a report is tried.
const REPORT_WITHIN: Duration = Duration::from_secs(10);

/// How long the image may take to show a report before it is made again.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

/// What the report of how far logs reach needs.
pub(super) struct ReachReport {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) directory: Arc<LogDirectory>,
    pub(super) images: watch::Receiver<Arc<Image>>,
    pub(super) front: ClusterFront<Endpoint>,
}

impl ReachReport {
    /// Runs until the node ends.
    pub(super) async fn run(mut self) {
        loop {
            let image = Arc::clone(&self.images.borrow_and_update());
            let untold = self.untold(&image);
            if untold.is_empty() && image.untold(self.node, self.incarnation).next().is_none() {
                if self.images.changed().await.is_err() {
                    return;
                }
                continue;
            }
            for doubts in untold.chunks(REPORTED_MAX) {
                self.report(doubts.to_vec()).await;
            }
            if matches!(timeout(SHOWN_WITHIN, self.images.changed()).await, Ok(Err(_))) {
                return;
            }
        }
    }

    /// What this node has of the partitions that are asked for.
    fn untold(&self, image: &Image) -> Vec<ReportedDoubt> {
        let mut asked = image.untold(self.node, self.incarnation).peekable();
        if asked.peek().is_none() {
            return Vec::new();
        }
        let reaches = self.directory.reaches();
        let unopened: BTreeSet<PartitionId> =
            self.directory.logs().into_iter().filter(|partition| !reaches.contains_key(partition)).collect();
        let nothing = (LeaderEpoch(-1), Offset::ZERO);
        asked
            .filter(|partition| !unopened.contains(partition))
            .map(|partition| {
                let (last_epoch, end) = reaches.get(&partition).copied().unwrap_or(nothing);
                ReportedDoubt { partition, doubt: Doubt { cause: DoubtCause::Cut, last_epoch, end } }
            })
            .collect()
    }

    async fn report(&self, doubts: Vec<ReportedDoubt>) {
        let report = ReportDoubts { node: self.node, incarnation: self.incarnation, doubts };
        if let Err(refusal) = self.front.ask_controller(report, Instant::now() + REPORT_WITHIN).await {
            tracing::warn!(node = %self.node, %refusal, "how far the logs reach was not reported; trying again");
        }
    }
}
