//! The cluster as the controller sees it, and as a node finds itself in it.

use std::time::Duration;

use metrics::Label;

use super::{Event, Events};
use crate::ids::{NodeId, PartitionId};

/// This node has become the controller, or is it no longer.
#[derive(Debug)]
pub struct ControllerChanged {
    /// Whether it is now.
    pub active: bool,
}

impl Event for ControllerChanged {
    fn tell(&self, events: &Events) {
        events.gauge("millstream_controller_active", vec![]).set(if self.active { 1.0 } else { 0.0 });
        let what =
            if self.active { "this node is the controller" } else { "this node is no longer the controller" };
        tracing::info!(node = %events.node(), "{what}");
    }
}

/// A node was not heard of for too long: the controller has moved on without it.
#[derive(Debug)]
pub struct NodeDied {
    /// Which.
    pub died: NodeId,
    /// How long it had been silent.
    pub silent: Duration,
}

impl Event for NodeDied {
    fn tell(&self, events: &Events) {
        events.counter("millstream_nodes_died_total", vec![]).increment(1);
        let silent_ms = self.silent.as_millis();
        tracing::warn!(node = %events.node(), died = %self.died, silent_ms, "a node died");
    }
}

/// A node is live: after its start, or heard again.
#[derive(Debug)]
pub struct NodeLive {
    /// Which.
    pub live: NodeId,
}

impl Event for NodeLive {
    fn tell(&self, events: &Events) {
        tracing::info!(node = %events.node(), live = %self.live, "a node is live");
    }
}

/// Leaders were elected by one entry of the quorum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeadersElected {
    /// From the in-sync set.
    pub clean: u64,
    /// Partitions left without a leader.
    pub nobody: u64,
    /// Asked for in vain, because something had changed; they are elected anew.
    pub stale: u64,
}

impl Event for LeadersElected {
    fn tell(&self, events: &Events) {
        let count = |kind: &'static str, by: u64| {
            events.counter("millstream_elections_total", vec![Label::new("kind", kind)]).increment(by);
        };
        count("clean", self.clean);
        count("nobody", self.nobody);
        count("stale", self.stale);
        let Self { clean, nobody, stale } = *self;
        if clean + nobody + stale > 0 {
            tracing::info!(node = %events.node(), clean, nobody, stale, "leaders elected");
        }
    }
}

/// A replica was elected that may lack records that had been acknowledged.
#[derive(Debug)]
pub struct LeaderElectedInDoubt {
    /// Of which partition.
    pub partition: PartitionId,
    /// Who leads.
    pub leader: NodeId,
    /// Why it.
    pub why: InDoubtBecause,
}

/// Why a replica was elected that may lack acknowledged records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InDoubtBecause {
    /// It was the greatest of those in doubt.
    Greatest,
    /// It was outside the in-sync set or had lost records, and the topic allows it.
    Unclean,
    /// An operator decided so.
    Operator,
}

impl Event for LeaderElectedInDoubt {
    fn tell(&self, events: &Events) {
        let kind = match self.why {
            InDoubtBecause::Greatest => "in_doubt",
            InDoubtBecause::Unclean => "unclean",
            InDoubtBecause::Operator => "operator",
        };
        events.counter("millstream_elections_total", vec![Label::new("kind", kind)]).increment(1);
        tracing::warn!(
            node = %events.node(), partition = %self.partition, leader = %self.leader, kind,
            "elected a leader that may lack acknowledged records"
        );
    }
}

/// Steps of reassignments that one entry of the quorum took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicasReassigned {
    /// Partitions that are to get other replicas from now on.
    pub begun: usize,
    /// Partitions that have them.
    pub completed: usize,
    /// Partitions that keep those that they had.
    pub cancelled: usize,
    /// Of all of these, those in vain, because something had changed.
    pub stale: usize,
}

impl Event for ReplicasReassigned {
    fn tell(&self, events: &Events) {
        let Self { begun, completed, cancelled, stale } = *self;
        tracing::info!(node = %events.node(), begun, completed, cancelled, stale, "replicas reassigned");
    }
}

/// How the partitions of the cluster are; told by the controller, and with zeros by who no longer is it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionHealth {
    /// All of them.
    pub partitions: usize,
    /// Without a leader.
    pub offline: usize,
    /// With fewer in-sync members than replicas.
    pub under_replicated: usize,
    /// Led by another than their preferred leader.
    pub not_preferred: usize,
    /// Nodes that are live.
    pub live_nodes: usize,
}

impl Event for PartitionHealth {
    fn tell(&self, events: &Events) {
        let set = |name: &'static str, value: usize| {
            events.gauge(name, vec![]).set(f64::from(u32::try_from(value).unwrap_or(u32::MAX)));
        };
        set("millstream_cluster_partitions", self.partitions);
        set("millstream_cluster_offline_partitions", self.offline);
        set("millstream_cluster_under_replicated_partitions", self.under_replicated);
        set("millstream_cluster_not_preferred_leaders", self.not_preferred);
        set("millstream_cluster_live_nodes", self.live_nodes);
    }
}

/// The controller proposed an entry and the quorum did not take it.
#[derive(Debug)]
pub struct ProposalFailed<'a> {
    /// Why.
    pub reason: &'a str,
}

impl Event for ProposalFailed<'_> {
    fn tell(&self, events: &Events) {
        events.counter("millstream_controller_proposals_failed_total", vec![]).increment(1);
        tracing::warn!(node = %events.node(), reason = self.reason, "the quorum did not take an entry");
    }
}

/// This node follows the quorum again, or has lost it: it goes on with what it has (rule 8).
#[derive(Debug)]
pub struct QuorumSeen {
    /// Whether a controller answers.
    pub seen: bool,
}

impl Event for QuorumSeen {
    fn tell(&self, events: &Events) {
        events.gauge("millstream_node_quorum_lost", vec![]).set(if self.seen { 0.0 } else { 1.0 });
        if self.seen {
            tracing::info!(node = %events.node(), "the controller answers");
        } else {
            tracing::warn!(
                node = %events.node(),
                "no controller answers: data goes on; elections and changes of topics wait until a majority of voters is back"
            );
        }
    }
}

/// This node's registration.
#[derive(Debug)]
pub struct NodeRegistered<'a> {
    /// Why it was refused, if it was.
    pub refused: Option<&'a str>,
}

impl Event for NodeRegistered<'_> {
    fn tell(&self, events: &Events) {
        match self.refused {
            None => tracing::info!(node = %events.node(), "registered with the controller"),
            Some(reason) => {
                tracing::error!(node = %events.node(), reason, "the controller refuses this node")
            }
        }
    }
}
