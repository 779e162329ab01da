//! What the supervisor of a node's coordinators is told: by the front, by its timers and loads, and by coordinators.

use std::fmt;
use std::sync::Arc;

use ractor::ActorId;

use super::coordinator::ShownGroup;
use super::doors::{OwnershipLease, Replay};
use super::pending::OfProducer;
use super::request::{GroupRequest, Reply};
use crate::error::Refusal;
use crate::ids::{LeaderEpoch, ProducerId};
use crate::record::EndMarker;

/// What the supervisor is told.
pub(super) enum SupervisorMessage {
    /// This node leads the partition in this epoch.
    Lead { partition: i32, epoch: LeaderEpoch, lease: Arc<dyn OwnershipLease> },
    /// It leads it in this epoch no more.
    Resign { partition: i32, epoch: LeaderEpoch },
    /// A request, and the group's partition.
    Request { partition: i32, request: Box<GroupRequest> },
    /// Lists the groups.
    List { reply: Reply<Listed> },
    /// A producer's transaction ended in the partition.
    TransactionEnded { partition: i32, marker: EndMarker },
    /// Offsets of a group become part of a producer's transaction.
    Pending { partition: i32, group: Arc<str>, of: OfProducer },
    /// Nobody knows whether a producer's transaction ended in the partition.
    TransactionUnknown { partition: i32, producer: ProducerId },
    /// Topics came, went or grew.
    TopicsChanged,
    /// Groups were read from the log, or could not be.
    Loaded { partition: i32, load: u64, result: Result<Replay, Refusal> },
    /// It is time to try to read them again.
    LoadAgain { partition: i32, load: u64 },
    /// A group wants to be woken.
    Deadline { partition: i32, group: Arc<str>, at_ms: u64 },
    /// A deadline has come.
    Due { partition: i32, epoch: LeaderEpoch },
    /// Nothing is left of a group, which has taken so many requests.
    Vacant { partition: i32, group: Arc<str>, actor: ActorId, taken: u64 },
    /// A group could not commit a decision.
    Broken { partition: i32, group: Arc<str>, actor: ActorId },
}

impl ractor::Message for SupervisorMessage {}

impl fmt::Debug for SupervisorMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SupervisorMessage")
    }
}

/// Groups, and how each stands.
pub(super) type Listed = Result<Vec<(String, ShownGroup)>, Refusal>;
