//! What this member answers to the others.

use std::sync::Arc;

use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, VoteRequest};

use super::Shared;
use super::prevote::{Effect, Input};
use super::types::{LogId, TypeConfig, VoterId};
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
    if shared.prevote(|prevote| prevote.is_muted(shared.world.clock.now())) {
        return Err("started less than a lease ago".into());
    }
    shared.raft.vote(request).await.map(Reply::Vote).map_err(|error| error.to_string())
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
