//! The metadata quorum.

use std::time::Duration;

use metrics::{Gauge, Histogram};

use super::{Event, Events};
use crate::ids::NodeId;

/// Another node leads the quorum, or nobody does.
#[derive(Debug)]
pub struct QuorumLeaderChanged {
    /// Who leads now, as this node sees it.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: u64,
}

impl Event for QuorumLeaderChanged {
    fn tell(&self, events: &Events) {
        events.counter("millstream_quorum_leader_changes_total", Vec::new()).increment(1);
        match self.leader {
            Some(leader) => {
                tracing::info!(node = %events.node(), %leader, term = self.term, "the quorum has a leader");
            }
            None => {
                tracing::warn!(node = %events.node(), term = self.term, "no leader of the quorum is known")
            }
        }
    }
}

/// This node leads the quorum, its disk is much slower than those of the other voters, and it lets one of them lead.
#[derive(Debug)]
pub struct QuorumLeaderSlow {
    /// What a write usually took.
    pub usual: Duration,
    /// The term that ends.
    pub term: u64,
}

impl Event for QuorumLeaderSlow {
    fn tell(&self, events: &Events) {
        events.counter("millstream_quorum_slow_leaders_total", Vec::new()).increment(1);
        tracing::warn!(node = %events.node(), usual_ms = self.usual.as_millis(), term = self.term,
            "the quorum's directory is much slower here than at the other voters: one of them is to lead");
    }
}

/// The quorum's directory has failed: this node takes no part in the quorum until its process is started again.
#[derive(Debug)]
pub struct QuorumFailed<'a> {
    /// What failed.
    pub error: &'a str,
}

impl Event for QuorumFailed<'_> {
    fn tell(&self, events: &Events) {
        tracing::error!(node = %events.node(), error = self.error,
            "the quorum's directory has failed; see to the disk, then start the node again");
    }
}

/// The quorum's series; kept where they move.
pub struct QuorumMetrics {
    commit: Histogram,
    term: Gauge,
    log_bytes: Gauge,
    applied: Gauge,
    failed: Gauge,
}

impl QuorumMetrics {
    /// The series of a node.
    #[must_use]
    pub fn new(events: &Events) -> Self {
        let failed = events.gauge("millstream_quorum_failed", Vec::new());
        failed.set(0.0);
        Self {
            commit: events.histogram("millstream_quorum_commit_seconds", Vec::new()),
            term: events.gauge("millstream_quorum_term", Vec::new()),
            log_bytes: events.gauge("millstream_quorum_log_bytes", Vec::new()),
            applied: events.gauge("millstream_quorum_applied_index", Vec::new()),
            failed,
        }
    }

    /// An entry proposed here was committed and applied after this long.
    pub fn committed(&self, after: Duration) {
        self.commit.record(after.as_secs_f64());
    }

    /// The directory has failed.
    pub fn failed(&self) {
        self.failed.set(1.0);
    }

    /// Where the log is.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; these stay far below 2^53")]
    pub fn look(&self, term: u64, log_bytes: u64, applied: u64) {
        self.term.set(term as f64);
        self.log_bytes.set(log_bytes as f64);
        self.applied.set(applied as f64);
    }
}

impl std::fmt::Debug for QuorumMetrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("QuorumMetrics").finish_non_exhaustive()
    }
}
