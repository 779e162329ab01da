//! What a heartbeat has to look like, whoever it comes from.

use std::collections::BTreeSet;

use crate::error::{ErrorCode, Refusal};
use crate::group::message::streams::{StreamsHeartbeat, StreamsTasks, StreamsTopology};

/// The epoch of who joins.
pub(super) const JOINING: i32 = 0;

/// The epoch of who leaves.
pub(super) const LEAVING: i32 = -1;

/// The longest member, instance, client and transactional id, in bytes.
const MAX_ID_BYTES: usize = 255;

/// The most tasks of an application.
const MAX_TASKS: u64 = 10_000;

/// The most parts of a topology.
const MAX_PARTS: usize = 1_000;

/// The most bytes that the names of the topics of a topology may have together: it is one record.
const MAX_SOURCES_BYTES: usize = 256 << 10;

/// Refuses a heartbeat that no member may send.
pub(super) fn check(request: &StreamsHeartbeat) -> Result<(), Refusal> {
    if request.group.is_empty() {
        return Err(Refusal::new(ErrorCode::InvalidGroupId, "an application has a name: its id is empty"));
    }
    if request.member.is_empty() {
        return Err(invalid(request, "the member id is empty; a member draws one (a UUID) and keeps it"));
    }
    if request.transactional_id.as_ref().is_some_and(String::is_empty) {
        return Err(invalid(request, "the transactional id is set and empty"));
    }
    let ids = [&request.member, &request.instance, &request.client_id];
    if ids.into_iter().chain(&request.transactional_id).any(|id| id.len() > MAX_ID_BYTES) {
        return Err(invalid(
            request,
            "the member, instance, client or transactional id is longer than 255 bytes",
        ));
    }
    if request.epoch < LEAVING {
        return Err(invalid(request, "an epoch is 0 to join, -1 to leave, or the one last told"));
    }
    if request.rebalance_timeout_ms > i32::MAX.unsigned_abs() {
        return Err(invalid(request, "the rebalance timeout is longer than 24 days"));
    }
    if request.epoch == JOINING {
        check_joining(request)?;
    }
    let told = request.running.as_ref().map_or(0, StreamsTasks::len).max(request.lags.len());
    if u64::try_from(told).unwrap_or(u64::MAX) > MAX_TASKS {
        return Err(invalid(request, "it names more than 10,000 tasks"));
    }
    request.topology.as_ref().map_or(Ok(()), |topology| check_topology(request, topology))
}

fn check_joining(request: &StreamsHeartbeat) -> Result<(), Refusal> {
    if request.topology.is_none() {
        return Err(invalid(request, "who joins (epoch 0) says what the application consists of"));
    }
    if request.running.as_ref().is_some_and(|running| !running.is_empty()) {
        return Err(invalid(request, "who joins (epoch 0) runs nothing; stop all tasks before"));
    }
    Ok(())
}

fn check_topology(request: &StreamsHeartbeat, topology: &StreamsTopology) -> Result<(), Refusal> {
    let parts: BTreeSet<u32> = topology.parts.iter().map(|part| part.part).collect();
    if parts.len() != topology.parts.len() {
        return Err(invalid(request, "two parts of its topology have one number"));
    }
    if parts.len() > MAX_PARTS {
        return Err(invalid(request, "its topology has more than 1,000 parts"));
    }
    if topology.parts.iter().any(|part| part.tasks == 0) {
        return Err(invalid(request, "a part of its topology has no task; each has one for each partition"));
    }
    if topology.parts.iter().map(|part| u64::from(part.tasks)).sum::<u64>() > MAX_TASKS {
        return Err(invalid(request, "its topology has more than 10,000 tasks"));
    }
    let sources = topology.parts.iter().flat_map(|part| &part.sources);
    if sources.map(|source| source.len() + 1).sum::<usize>() > MAX_SOURCES_BYTES {
        return Err(invalid(request, "the topics of its topology have more than 256 KiB of names"));
    }
    Ok(())
}

pub(super) fn invalid(request: &StreamsHeartbeat, why: &str) -> Refusal {
    let text = format!("heartbeat of member {:?} of application {}: {why}", request.member, request.group);
    Refusal::new(ErrorCode::InvalidRequest, text)
}
