//! ListOffsets: the first offset, the last, or that of a time, of partitions led here.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::{LeaderEpoch, PartitionId};
use millstream_actors::partition::message::{ListOffsetsAnswer, ListPart, ListedOffset, OffsetSpec};
use millstream_transport::kafka::messages::list_offsets::ListOffsetsRequest;
use millstream_transport::kafka::messages::list_offsets::response::{ListOffsetsResponse, Partition, Topic};

use super::super::call::Call;
use super::super::error::{NONE, of_records};
use super::super::service::{Service, partition, topic};
use crate::security::authorize::Rights;

/// The timestamps that stand for something else, with the first version that has them.
const SPECIAL: [(i64, i16, OffsetSpec); 6] = [
    (-1, 1, OffsetSpec::Latest),
    (-2, 1, OffsetSpec::Earliest),
    (-3, 7, OffsetSpec::MaxTimestamp),
    // The first offset that lies here, not in tiered storage: here all do.
    (-4, 8, OffsetSpec::Earliest),
    (-5, 9, OffsetSpec::Tiered),
    // The first that is to be moved there.
    (-6, 11, OffsetSpec::Tiered),
];

/// The first version that knows of an offset that is not known yet.
const NOT_AVAILABLE_FROM: i16 = 5;

/// The isolation level of clients that want nothing of open or aborted transactions.
const READ_COMMITTED: i8 = 1;

/// A topic of the request, with the places of its parts, or what is wrong with them.
struct Asked {
    name: String,
    partitions: Vec<(i32, Result<usize, ErrorCode>)>,
}

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<ListOffsetsRequest<'_>>(&body) else { return };
    let (asked, parts) = split((service, call.rights()), &request, call.version);
    service.partitions.list_offsets_of(parts, move |answer| respond(call, &asked, &answer));
}

fn split(
    (service, rights): (&Service, &Rights),
    request: &ListOffsetsRequest<'_>,
    version: i16,
) -> (Vec<Asked>, Vec<ListPart>) {
    let image = service.image();
    let stable_only = request.isolation_level == READ_COMMITTED;
    let twice = named_twice(request);
    let mut parts = Vec::new();
    let asked = request.topics.iter().map(|wanted| {
        let found = topic(&image, &wanted.name, uuid::Uuid::nil());
        let allowed = rights.demand(Operation::Describe, ResourceType::Topic, &wanted.name);
        let partitions = wanted.partitions.iter().map(|asked| {
            let index = asked.partition_index;
            let place = || {
                allowed.as_ref().map_err(|refusal| refusal.code)?;
                if twice.contains(&(wanted.name.to_string(), index)) {
                    return Err(ErrorCode::InvalidRequest);
                }
                let spec = stable(spec(asked.timestamp, version)?, stable_only);
                let partition: PartitionId =
                    partition(found, false, index).map_err(|refusal| refusal.code)?;
                let leader_epoch =
                    Some(asked.current_leader_epoch).filter(|epoch| *epoch >= 0).map(LeaderEpoch);
                parts.push(ListPart { partition, leader_epoch, spec });
                Ok(parts.len() - 1)
            };
            (index, { place }())
        });
        Asked { partitions: partitions.collect(), name: wanted.name.to_string() }
    });
    (asked.collect(), parts)
}

/// Partitions that stand in a request more than once: which of the offsets asked for would be theirs, nobody can say.
fn named_twice(request: &ListOffsetsRequest<'_>) -> BTreeSet<(String, i32)> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let name = (topic.name.to_string(), partition.partition_index);
            if !seen.insert(name.clone()) {
                twice.insert(name);
            }
        }
    }
    twice
}

fn spec(timestamp: i64, version: i16) -> Result<OffsetSpec, ErrorCode> {
    if timestamp >= 0 {
        return Ok(OffsetSpec::Timestamp(timestamp));
    }
    let known = SPECIAL.iter().find(|(number, since, _)| *number == timestamp && *since <= version);
    known.map(|(_, _, spec)| *spec).ok_or(ErrorCode::UnsupportedVersion)
}

/// What readers of committed records are told instead.
fn stable(spec: OffsetSpec, stable_only: bool) -> OffsetSpec {
    match spec {
        OffsetSpec::Latest if stable_only => OffsetSpec::LastStable,
        OffsetSpec::Timestamp(timestamp_ms) if stable_only => OffsetSpec::StableTimestamp(timestamp_ms),
        other => other,
    }
}

fn respond(call: Call, asked: &[Asked], answer: &ListOffsetsAnswer) {
    let version = call.version;
    let topics = asked.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|(index, place)| match place {
            Ok(place) => told(*index, answer.parts.get(*place).map(|(_, part)| part), version),
            Err(code) => failed(*index, *code),
        });
        Topic { partitions: partitions.collect(), name: topic.name.as_str().into() }
    });
    call.answer(&ListOffsetsResponse { topics: topics.collect(), ..Default::default() });
}

fn told(index: i32, listed: Option<&Result<ListedOffset, Refusal>>, version: i16) -> Partition {
    match listed {
        Some(Ok(listed)) => Partition {
            partition_index: index,
            error_code: NONE,
            timestamp: listed.timestamp_ms.unwrap_or(-1),
            offset: listed.offset.map_or(-1, |offset| offset.0),
            leader_epoch: listed.leader_epoch.filter(|_| version >= 4).map_or(-1, |epoch| epoch.0),
        },
        Some(Err(refusal))
            if refusal.code == ErrorCode::OffsetNotAvailable && version < NOT_AVAILABLE_FROM =>
        {
            failed(index, ErrorCode::LeaderNotAvailable)
        }
        Some(Err(refusal)) => failed(index, refusal.code),
        None => failed(index, ErrorCode::UnknownServerError),
    }
}

fn failed(index: i32, code: ErrorCode) -> Partition {
    Partition { partition_index: index, error_code: of_records(code), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_timestamps_are_known_from_their_versions_on() {
        for (number, since, known) in SPECIAL {
            assert_eq!(spec(number, since), Ok(known));
            assert_eq!(spec(number, since - 1), Err(ErrorCode::UnsupportedVersion));
        }
        assert_eq!(spec(-7, 11), Err(ErrorCode::UnsupportedVersion));
        assert_eq!(spec(0, 1), Ok(OffsetSpec::Timestamp(0)));
    }
}
