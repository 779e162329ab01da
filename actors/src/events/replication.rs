//! Fetch sessions between followers and leaders.

use std::fmt;

use metrics::{Counter, Gauge, Histogram, Label};

use super::{Event, Events};
use crate::ids::NodeId;

/// Which end of a fetch session this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionSide {
    /// It feeds.
    Leader,
    /// It is fed.
    Follower,
}

impl SessionSide {
    /// Its label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
        }
    }

    fn labels(self) -> Vec<Label> {
        vec![Label::new("side", self.name())]
    }
}

/// The series of one side of replication that move often.
#[derive(Clone)]
pub struct ReplicationMetrics {
    /// Bytes of batches sent to followers.
    pub sent_bytes: Counter,
    /// Bytes of batches received from leaders.
    pub received_bytes: Counter,
    /// Time from sending a batch to a follower until the follower has reported it durable; one batch at a time is
    /// measured for each partition and follower.
    pub durable_seconds: Histogram,
    /// Fetch sessions open on this side.
    pub sessions: Gauge,
}

impl ReplicationMetrics {
    /// The handles of this node's series.
    #[must_use]
    pub fn new(events: &Events, side: SessionSide) -> Self {
        Self {
            sent_bytes: events.counter("millstream_replication_sent_bytes_total", Vec::new()),
            received_bytes: events.counter("millstream_replication_received_bytes_total", Vec::new()),
            durable_seconds: events.histogram("millstream_replication_durable_seconds", Vec::new()),
            sessions: events.gauge("millstream_replication_sessions", side.labels()),
        }
    }
}

impl fmt::Debug for ReplicationMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ReplicationMetrics").finish_non_exhaustive()
    }
}

/// A fetch session ended otherwise than in order: its partitions are not replicated until the follower opens another.
#[derive(Debug)]
pub struct SessionLost<'a> {
    /// Which end this node is.
    pub side: SessionSide,
    /// The other end.
    pub peer: NodeId,
    /// Partitions that were subscribed or being asked for.
    pub partitions: usize,
    /// Why.
    pub reason: &'a str,
}

impl Event for SessionLost<'_> {
    fn tell(&self, events: &Events) {
        events.counter("millstream_replication_sessions_lost_total", self.side.labels()).increment(1);
        tracing::warn!(
            node = %events.node(), side = self.side.name(), peer = %self.peer, partitions = self.partitions,
            reason = self.reason, "fetch session lost"
        );
    }
}

/// A fetch session could not be opened; it is tried again when a replica asks.
#[derive(Debug)]
pub struct SessionNotOpened<'a> {
    /// The leader's node.
    pub peer: NodeId,
    /// Partitions that wait for it.
    pub partitions: usize,
    /// Why.
    pub reason: &'a str,
}

impl Event for SessionNotOpened<'_> {
    fn tell(&self, events: &Events) {
        events.counter("millstream_replication_sessions_not_opened_total", Vec::new()).increment(1);
        tracing::info!(
            node = %events.node(), peer = %self.peer, partitions = self.partitions, reason = self.reason,
            "fetch session not opened"
        );
    }
}
