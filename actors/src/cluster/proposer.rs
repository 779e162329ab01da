//! The quorum as the controller sees it.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::ids::NodeId;
use crate::image::{Command, Outcome};

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
