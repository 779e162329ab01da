//! What voters say to each other, and the door through which they say it.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

use super::types::{LogId, TypeConfig, VoterId};
use crate::ids::NodeId;

/// How a quorum reaches the others.
pub trait QuorumWire: fmt::Debug + Send + Sync + 'static {
    /// Asks a node; an error says why there is no answer. The future may be dropped at any time.
    fn ask(
        &self,
        node: NodeId,
        question: Question,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Reply, Unanswered>>;

    /// Says where a node is reached (`host:port`), as the membership has it.
    fn learn(&self, node: NodeId, address: &str);
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub String);

/// A question from one member to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// Who asks.
    pub from: VoterId,
    /// Who is meant; `None` for whoever keeps the quorum's directory there.
    pub to: Option<VoterId>,
    /// What is asked.
    pub request: Request,
}

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(private_interfaces, reason = "what is inside is between voters; others pass it on")]
pub enum Request {
    /// Take these entries, and hear that I lead.
    Append(AppendEntriesRequest<TypeConfig>),
    /// Vote for me.
    Vote(VoteRequest<VoterId>),
    /// Would you vote for me, whose log ends here?
    PreVote(Option<LogId>),
    /// Take this piece of a snapshot.
    Snapshot(InstallSnapshotRequest<TypeConfig>),
    /// Who are you, what do you know? I am to be reached at this address, and was told of these first voters.
    Introduce {
        /// `host:port` of the asker.
        address: String,
        /// The first voters that the asker was told of.
        founders: Vec<NodeId>,
    },
    /// I still lead by this vote; do you follow, and will you for a lease?
    Alive(openraft::Vote<VoterId>),
}

impl Request {
    /// A short name, for traces.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Append(_) => "append",
            Self::Vote(_) => "vote",
            Self::PreVote(_) => "pre-vote",
            Self::Snapshot(_) => "snapshot",
            Self::Introduce { .. } => "introduce",
            Self::Alive(_) => "alive",
        }
    }
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Request::Append`].
    Append(AppendEntriesResponse<VoterId>),
    /// To [`Request::Vote`].
    Vote(VoteResponse<VoterId>),
    /// To [`Request::PreVote`].
    PreVote(bool),
    /// To [`Request::Snapshot`].
    Snapshot(InstallSnapshotResponse<VoterId>),
    /// To [`Request::Snapshot`] of which the beginning is not there: start again.
    SnapshotMismatch,
    /// To [`Request::Introduce`].
    Introduced {
        /// Who answers.
        me: VoterId,
        /// Never held an entry or a snapshot of a cluster.
        unborn: bool,
        /// The first voters that the one asked was told of.
        founders: Vec<NodeId>,
    },
    /// Another member than the one meant: its directory is a new one.
    NotMe(VoterId),
    /// No answer can be given; why.
    Silent(String),
    /// To [`Request::Alive`].
    Alive(bool),
}
