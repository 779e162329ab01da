//! What this member answers to the others.

use std::sync::Arc;

use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, VoteRequest};

use super::Shared;
use super::prevote::{Effect, Input};
use super::storage::lock;
use super::types::{LogId, TypeConfig, Vote, VoterId};
use super::wire::{Question, Reply, Request};
use crate::ids::NodeId;

pub(super) async fn answer(shared: &Arc<Shared>, from: NodeId, question: Question) -> Reply {
    if let Err(why) = shared.check_running() {
        return Reply::Silent(why);
    }
    if question.from.node != from {
        return Reply::Silent(format!("node {from} cannot speak for node {}", question.from.node));
    }
    if question.to.is_some_and(|to| to != shared.me) {
        return Reply::NotMe(shared.me);
    }
    let reply = match question.request {
        Request::Append(request) => append(shared, request).await,
        Request::Vote(request) => vote(shared, request).await,
        Request::PreVote(last_log) => Ok(Reply::PreVote(prevote(shared, question.from, last_log))),
        Request::Snapshot(request) => snapshot(shared, request).await,
        Request::Alive(vote) => Ok(Reply::Alive(shared.follows(vote))),
        Request::Introduce { address, founders: _ } => Ok(introduced(shared, question.from, &address)),
    };
    // A failure while the answer was made silences it: what it promises may not be on disk.
    match (reply, shared.check_running()) {
        (Ok(reply), Ok(())) => reply,
        (Err(why), _) | (_, Err(why)) => Reply::Silent(why),
    }
}

async fn append(shared: &Arc<Shared>, request: AppendEntriesRequest<TypeConfig>) -> Result<Reply, String> {
    let response = shared.raft.append_entries(request).await.map_err(|error| error.to_string())?;
    if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
        shared.heard();
    }
    Ok(Reply::Append(response))
}

async fn vote(shared: &Arc<Shared>, request: VoteRequest<VoterId>) -> Result<Reply, String> {
    let now = shared.world.clock.now();
    let (muted, heard) = shared.prevote(|prevote| (prevote.is_muted(now), prevote.heard()));
    if muted {
        return Err("started less than a lease ago".into());
    }
    // The same as openraft's own lease, and counts what was promised beside openraft.
    if heard.is_some_and(|at| now.duration_since(at) <= shared.settings.timings.lease()) {
        return Err("heard a leader less than a lease ago".into());
    }
    let _voting = Voting::begin(shared);
    let response = shared.raft.vote(request).await.map_err(|error| error.to_string())?;
    shared.voted(response.vote);
    Ok(Reply::Vote(response))
}

/// A vote that openraft thinks about; meanwhile nothing is promised to a present leader.
struct Voting<'a>(&'a Shared);

impl<'a> Voting<'a> {
    fn begin(shared: &'a Shared) -> Self {
        lock(&shared.promises).voting += 1;
        Self(shared)
    }
}

impl Drop for Voting<'_> {
    fn drop(&mut self) {
        lock(&self.0.promises).voting -= 1;
    }
}

/// What keeps this member from promising a leader another lease.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// Votes under way.
    voting: usize,
    /// The greatest vote that it gave or stood with, as far as openraft's state may not show it yet.
    highest: Option<Vote>,
}

impl Shared {
    /// Whether this member follows the leader of this vote. If so it votes for nobody else for a lease: asked beside
    /// openraft, whose task waits for every sync, so that a slow disk ends no leadership.
    fn follows(&self, vote: Vote) -> bool {
        let follows = {
            let promises = lock(&self.promises);
            let known = self.metrics.borrow().vote;
            vote.committed
                && known == vote
                && promises.voting == 0
                && promises.highest.is_none_or(|other| other <= vote)
        };
        if follows {
            self.heard();
        }
        follows
    }

    /// A vote was given, or is about to be.
    pub(super) fn voted(&self, vote: Vote) {
        let mut promises = lock(&self.promises);
        if promises.highest.is_none_or(|other| other < vote) {
            promises.highest = Some(vote);
        }
    }
}

fn prevote(shared: &Arc<Shared>, by: VoterId, last_log: Option<LogId>) -> bool {
    matches!(shared.step(Input::Asked { by, last_log }), Some(Effect::Answer(true)))
}

async fn snapshot(
    shared: &Arc<Shared>,
    request: InstallSnapshotRequest<TypeConfig>,
) -> Result<Reply, String> {
    let limit = shared.settings.limits.snapshot_max_bytes;
    if request.offset.saturating_add(request.data.len() as u64) > limit {
        return Err(format!("the snapshot is larger than the limit of {limit} bytes"));
    }
    let vote = request.vote;
    match shared.raft.install_snapshot(request).await {
        Ok(response) => {
            if response.vote <= vote {
                shared.heard();
            }
            Ok(Reply::Snapshot(response))
        }
        Err(RaftError::APIError(InstallSnapshotError::SnapshotMismatch(_))) => Ok(Reply::SnapshotMismatch),
        Err(RaftError::Fatal(error)) => Err(error.to_string()),
    }
}

fn introduced(shared: &Arc<Shared>, by: VoterId, address: &str) -> Reply {
    shared.newcomer(by, address);
    Reply::Introduced { me: shared.me, unborn: shared.is_unborn(), founders: shared.settings.founders() }
}
