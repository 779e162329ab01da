//! What a heartbeat has to look like, whoever it comes from.

use std::sync::Arc;

use super::{AWAY_EPOCH, Surroundings, pattern};
use crate::error::{ErrorCode, Refusal};
use crate::group::assignor::Assignor;
use crate::group::message::GroupHeartbeat;
use crate::group::records::{GroupRecord, MAX_RECORD_BYTES, MemberMetadata, encode};

/// The longest member, instance and client id, in bytes.
const MAX_ID_BYTES: usize = 255;

/// The longest name a topic may have.
const MAX_TOPIC_BYTES: usize = 249;

/// Refuses a heartbeat that no member may send.
pub(super) fn check(around: &Surroundings<'_>, request: &GroupHeartbeat) -> Result<(), Refusal> {
    check_ids(request)?;
    check_epoch(request)?;
    check_subscription(around, request)
}

fn invalid(request: &GroupHeartbeat, why: &str) -> Refusal {
    let text = format!("heartbeat of member {:?} in group {}: {why}", request.member, request.group);
    Refusal::new(ErrorCode::InvalidRequest, text)
}

fn check_ids(request: &GroupHeartbeat) -> Result<(), Refusal> {
    if request.group.is_empty() {
        return Err(Refusal::new(ErrorCode::InvalidGroupId, "a group has a name: group.id is empty"));
    }
    if request.member.is_empty() {
        return Err(invalid(request, "the member id is empty; a member draws one (a UUID) and keeps it"));
    }
    if request.instance.as_ref().is_some_and(String::is_empty) {
        return Err(invalid(request, "group.instance.id is set and empty; leave it out or give it a name"));
    }
    let ids = [Some(&request.member), request.instance.as_ref(), Some(&request.client_id)];
    if ids.into_iter().flatten().any(|id| id.len() > MAX_ID_BYTES) {
        return Err(invalid(request, "the member, instance or client id is longer than 255 bytes"));
    }
    Ok(())
}

/// Whether a member's id fits into the keys of its records: ids of the classic protocol are called after clients, which may
/// have long names.
pub(super) fn check_record_key(group: &str, member: &str) -> Result<(), Refusal> {
    if i16::try_from(member.len()).is_ok() {
        return Ok(());
    }
    let text = format!(
        "group {group}: the id of a member has {} bytes, at most {} fit; give the client a shorter client.id",
        member.len(),
        i16::MAX
    );
    Err(Refusal::new(ErrorCode::InvalidRequest, text))
}

fn check_epoch(request: &GroupHeartbeat) -> Result<(), Refusal> {
    match request.member_epoch {
        0 if request.owned.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            let why = "who joins (epoch 0) owns nothing and says so; give the partitions up, and send an empty list";
            Err(invalid(request, why))
        }
        0 if has_no_subscription(request) => {
            Err(invalid(request, "who joins (epoch 0) subscribes to topics or to a pattern"))
        }
        AWAY_EPOCH if request.instance.is_none() => {
            Err(invalid(request, "only a static member (group.instance.id) leaves with -2; others with -1"))
        }
        epoch if epoch < AWAY_EPOCH => {
            Err(invalid(request, "an epoch is 0 to join, -1 or -2 to leave, or the one last told"))
        }
        _ if request.rebalance_timeout_ms > i32::MAX.unsigned_abs() => {
            Err(invalid(request, "the rebalance timeout is longer than 24 days"))
        }
        _ => Ok(()),
    }
}

/// What is wrong with the topics that a member names.
fn check_topics<'t>(
    around: &Surroundings<'_>,
    topics: impl ExactSizeIterator<Item = &'t str>,
) -> Result<(), String> {
    let (named, most) = (topics.len(), around.settings.max_topics);
    if named > most {
        return Err(format!("it names {named} topics; at most {most}, or a pattern"));
    }
    for name in topics {
        if name.is_empty() || name.len() > MAX_TOPIC_BYTES {
            return Err("a name of a topic has between 1 and 249 bytes".to_owned());
        }
    }
    Ok(())
}

/// Refuses a member of the classic protocol of which no record can be written: in that protocol nothing bounds what members
/// say but the size of a request.
pub(super) fn check_hosted(
    around: &Surroundings<'_>,
    group: &Arc<str>,
    member: &Arc<str>,
    metadata: &MemberMetadata,
) -> Result<(), Refusal> {
    let refused = |why: String| {
        let text = format!("group {group}: what member {member:?} subscribes to cannot be kept: {why}");
        Refusal::new(ErrorCode::InvalidRequest, text)
    };
    check_topics(around, metadata.topics.iter().map(|name| &**name)).map_err(refused)?;
    let record = GroupRecord::Member { member: Arc::clone(member), value: Some(metadata.clone()) };
    let bytes = encode(0, group, &record).value.map_or(0, |value| value.len());
    if bytes <= MAX_RECORD_BYTES {
        return Ok(());
    }
    Err(refused(format!(
        "with its protocols it has {bytes} bytes, at most {MAX_RECORD_BYTES} fit into a record"
    )))
}

fn has_no_subscription(request: &GroupHeartbeat) -> bool {
    request.topics.as_ref().is_none_or(Vec::is_empty)
        && request.topic_pattern.as_ref().is_none_or(String::is_empty)
}

fn check_subscription(around: &Surroundings<'_>, request: &GroupHeartbeat) -> Result<(), Refusal> {
    let topics = request.topics.as_deref().unwrap_or_default();
    check_topics(around, topics.iter().map(String::as_str)).map_err(|why| invalid(request, &why))?;
    if let Some(expression) = request.topic_pattern.as_ref().filter(|expression| !expression.is_empty()) {
        pattern::compile(expression)?;
    }
    match &request.assignor {
        Some(name) if Assignor::named(name).is_none() => {
            let known = Assignor::ALL.map(Assignor::name).join(", ");
            let text = format!("group {}: no assignor is called {name:?}; there are {known}", request.group);
            Err(Refusal::new(ErrorCode::UnsupportedAssignor, text))
        }
        _ => Ok(()),
    }
}
