//! Every log line and every metric. An event is a struct; emitting it writes the line and moves the series.
//!
//! A file of this folder per area holds its events. Series are named as Prometheus asks: `millstream_…_total`,
//! `_seconds`, `_bytes`; all stand in [`catalogue`]. Each node has its own recorder, because several nodes live in one process.

mod actors;
pub mod catalogue;
mod cluster;
mod custom;
mod entity;
mod entity_input;
mod flow;
mod group;
mod invariants;
pub mod kafka;
mod log;
pub mod partition;
mod quorum;
mod replication;
mod streams;
mod transaction;

use std::fmt;
use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, NoopRecorder, Recorder};

use crate::ids::NodeId;
use crate::supervision::roster::Roster;

pub use actors::ActorRestarted;
pub use cluster::{
    ControllerChanged, InDoubtBecause, LeaderElectedInDoubt, LeadersElected, NodeDied, NodeLive,
    NodeRegistered, PartitionHealth, ProposalFailed, QuorumSeen, ReplicasReassigned,
};
pub use custom::{HandlerRunsLong, UserActorPanicked};
pub use entity::{
    DeadLetterWritten, EntitiesBroken, EntitiesLoaded, EntityFormatChanged, EntityIndex, EntityIndexOf,
    PublicationRefused, PublicationsDelayed, PublicationsDropped, PublicationsLost, PublicationsSent,
};
pub use entity_input::{
    EntityInputBegan, EntityInputLeftOut, EntityInputMetrics, EntityInputMissed, EntityInputStands,
};
pub use flow::{FlowActorLost, FlowEnded, SinkFailed, SourceFailed, SourceHindered};
pub use group::{
    CoordinatorPanicked, GroupBroken, GroupConverted, GroupLag, GroupLoadFailed, GroupNotDowngraded,
    GroupOwnership, GroupRetargeted, GroupsLoaded, MemberJoined, MemberLeft, OffsetsForgotten,
};
pub use invariants::InvariantBroken;
pub use log::{
    CleaningFailed, CorruptionFound, DirectoryFailed, LogCleaned, LogMetrics, LogRecovered, LogTruncated,
};
pub use quorum::{QuorumFailed, QuorumLeaderChanged, QuorumLeaderSlow, QuorumMetrics};
pub use replication::{ReplicationMetrics, SessionLost, SessionNotOpened, SessionSide};
pub use streams::{
    StreamsBeginAgain, StreamsBegunAgain, StreamsCounted, StreamsMetrics, StreamsRestoreMetrics,
    StreamsTaskMetrics,
};
pub use transaction::{
    MarkersDelayed, TransactionMetrics, TransactionTimedOut, TransactionsBroken, TransactionsLoaded,
};

/// Something that happened, worth a line or a number.
pub trait Event: fmt::Debug {
    /// Writes the log line, where there is one, and moves the series.
    fn tell(&self, events: &Events);
}

/// Where a node's events go. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    node: NodeId,
    recorder: Arc<dyn Recorder + Send + Sync>,
    /// Who tells them.
    roster: Roster,
}

impl Events {
    /// Events of `node`, counted by `recorder`.
    #[must_use]
    pub fn new(node: NodeId, recorder: Arc<dyn Recorder + Send + Sync>) -> Self {
        Self { node, recorder, roster: Roster::default() }
    }

    /// Events that are logged and not counted: for clients and tests.
    #[must_use]
    pub fn uncounted() -> Self {
        Self::new(NodeId(0), Arc::new(NoopRecorder))
    }

    /// The node whose events these are; 0 outside a node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The live actors of the node.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Tells an event.
    pub fn emit(&self, event: impl Event) {
        event.tell(self);
    }

    /// A counter's handle. Keep it where it moves often.
    pub fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
    }

    /// A gauge's handle.
    pub fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        self.recorder.register_gauge(&Key::from_parts(name, labels), &METADATA)
    }

    /// A histogram's handle.
    pub fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        self.recorder.register_histogram(&Key::from_parts(name, labels), &METADATA)
    }
}

const METADATA: Metadata<'static> = Metadata::new("millstream", Level::INFO, None);

impl fmt::Debug for Events {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Events").field("node", &self.node).finish_non_exhaustive()
    }
}
