//! How the replicas of a node reach the controller. Implemented by who talks to the quorum's leader.

use std::fmt::Debug;

use crate::error::Refusal;
use crate::ids::{LeaderEpoch, PartitionId};
use crate::image::{InSyncChange, ReportedDoubt};

/// For each partition the set version that its change made; `None` if nobody knows what became of the changes.
pub type Altered = Option<Vec<(PartitionId, Result<u32, Refusal>)>>;

/// A leadership given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// The partition.
    pub partition: PartitionId,
    /// The epoch in which it was led.
    pub epoch: LeaderEpoch,
    /// Whether the same replica may lead again, in a new epoch, where there is no other.
    pub again: bool,
}

/// The way to the controller. Calls never block; what cannot be sent now is sent again by the implementation, apart
/// from [`ControllerLink::alter_in_sync`], whose outcome is told.
pub trait ControllerLink: Debug + Send + Sync {
    /// Asks for changes of in-sync sets; `done` is called exactly once.
    fn alter_in_sync(&self, changes: Vec<InSyncChange>, done: Box<dyn FnOnce(Altered) + Send>);
    /// Gives leaderships up.
    fn resign(&self, given_up: Vec<GivenUp>);
    /// Says that the logs of these replicas are not to be trusted.
    fn report_doubts(&self, doubts: Vec<ReportedDoubt>);
}
