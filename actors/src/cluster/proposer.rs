//! The quorum as the controller sees it.

use std::fmt;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_transport::world::Clock;
use millstream_transport::world::watch;

use super::quorum::{self, Quorum};
use crate::ids::NodeId;
use crate::image::{Command, Outcome, decode_outcomes, encode_entry};

/// Why an entry has no outcome here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead the quorum; perhaps that one does.
    #[error("this node does not lead the quorum")]
    NotLeader(Option<NodeId>),
    /// No outcome in time; the entry may still come to be.
    #[error("the quorum has not answered in time")]
    TimedOut,
    /// The quorum cannot go on.
    #[error("the quorum failed: {0}")]
    Failed(String),
}

/// Puts entries into the quorum's log, and knows who leads it.
pub trait Proposer: fmt::Debug + Send + Sync {
    /// Proposes one entry. Its outcomes come after the image with the entry has been published on this node.
    fn propose(&self, commands: Vec<Command>) -> BoxFuture<'static, Result<Vec<Outcome>, ProposeError>>;

    /// Who leads the quorum, as far as this node knows.
    fn leadership(&self) -> watch::Receiver<Option<NodeId>>;

    /// For how long from now this node surely still leads the quorum: zero if it does not, or was not acknowledged by a
    /// majority lately.
    fn lease_left(&self) -> Duration;
}

/// The part of its lease that a leader does not use, for clocks that drift: one in twenty.
const DRIFT_SHARE: u32 = 20;

/// A quorum whose machine is an [`ImageMachine`](super::machine::ImageMachine), with the time its lease is measured by.
#[derive(Clone)]
pub struct QuorumProposer {
    quorum: Quorum,
    clock: Clock,
}

impl QuorumProposer {
    /// Proposes to this quorum.
    #[must_use]
    pub fn new(quorum: Quorum, clock: Clock) -> Self {
        Self { quorum, clock }
    }
}

impl fmt::Debug for QuorumProposer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("QuorumProposer").field("me", &self.quorum.me()).finish_non_exhaustive()
    }
}

impl Proposer for QuorumProposer {
    fn propose(&self, commands: Vec<Command>) -> BoxFuture<'static, Result<Vec<Outcome>, ProposeError>> {
        let quorum = self.quorum.clone();
        async move {
            let outcomes = quorum.propose(encode_entry(&commands)).await?;
            decode_outcomes(&outcomes).map_err(|error| ProposeError::Failed(error.to_string()))
        }
        .boxed()
    }

    fn leadership(&self) -> watch::Receiver<Option<NodeId>> {
        self.quorum.leader()
    }

    fn lease_left(&self) -> Duration {
        let left = self.quorum.lease_until().map(|until| until.saturating_duration_since(self.clock.now()));
        left.map_or(Duration::ZERO, |left| left - left / DRIFT_SHARE)
    }
}

impl From<quorum::ProposeError> for ProposeError {
    fn from(error: quorum::ProposeError) -> Self {
        match error {
            quorum::ProposeError::NotLeader(leader) => Self::NotLeader(leader),
            quorum::ProposeError::Uncertain => Self::TimedOut,
            quorum::ProposeError::TooLarge { .. }
            | quorum::ProposeError::Busy
            | quorum::ProposeError::Stopped(_) => Self::Failed(error.to_string()),
        }
    }
}
