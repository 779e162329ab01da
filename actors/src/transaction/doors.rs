//! What transaction coordinators need of the rest of the node, as traits. Log, lease and place are those of groups.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use millstream_transport::world::{Clock, watch};

use super::records::TransactionReplay;
use super::settings::TransactionSettings;
use super::state::TopicPartition;
use crate::error::Refusal;
use crate::events::Events;
use crate::group::doors::{CoordinatorLog, Coordinators};
use crate::ids::ProducerId;
use crate::record::EndMarker;

/// Gives producer ids that nobody had.
pub trait ProducerIds: fmt::Debug + Send + Sync {
    /// One of them.
    fn fresh(&self) -> BoxFuture<'static, Result<ProducerId, Refusal>>;
}

/// What became of a marker in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marked {
    /// It is committed there, or the partition is past it.
    Done,
    /// No such topic or partition is known.
    Unknown,
    /// A newer coordinator has written there.
    Fenced,
    /// To be tried again.
    Again(Refusal),
}

/// Writes markers to the leaders of partitions.
pub trait MarkerWriter: fmt::Debug + Send + Sync {
    /// Tries once, in bounded time. One answer for each partition. `bumps` if the end gave the producer another epoch.
    fn write(
        &self,
        marker: EndMarker,
        bumps: bool,
        partitions: Vec<TopicPartition>,
    ) -> BoxFuture<'static, Vec<(TopicPartition, Marked)>>;
}

/// The doors of a node's coordinators. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TransactionDoors {
    /// The log: `__transaction_state`.
    pub log: Arc<dyn CoordinatorLog<TransactionReplay>>,
    /// Who leads it.
    pub coordinators: Arc<dyn Coordinators>,
    /// Where producer ids come from.
    pub producer_ids: Arc<dyn ProducerIds>,
    /// How markers get to their partitions.
    pub markers: Arc<dyn MarkerWriter>,
    /// How transactions are coordinated; changes count from the next decision on.
    pub settings: watch::Receiver<Arc<TransactionSettings>>,
    /// The time.
    pub clock: Clock,
    /// Where events go.
    pub events: Events,
}
