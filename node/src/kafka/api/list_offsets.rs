//! ListOffsets: the first offset, the last, or that of a time, of partitions led here.

use std::sync::Arc;

use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::PartitionId;
use millstream_actors::partition::message::{ListOffsets, ListOffsetsAnswer, ListedOffset, OffsetSpec};
use millstream_transport::kafka::messages::list_offsets::ListOffsetsRequest;
use millstream_transport::kafka::messages::list_offsets::response::{ListOffsetsResponse, Partition, Topic};

use super::super::call::Call;
use super::super::error::{NONE, of_records};
use super::super::service::{Service, topic};

/// The timestamp that asks for the end of what may be read.
const LATEST: i64 = -1;
/// The timestamp that asks for the first offset still there.
const EARLIEST: i64 = -2;

/// A topic of the request, with the places of its parts, or what is wrong with them.
struct Asked {
    name: String,
    partitions: Vec<(i32, Result<usize, ErrorCode>)>,
}

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<ListOffsetsRequest<'_>>(&body) else { return };
    let image = service.image();
    let mut parts = Vec::new();
    let asked = request.topics.iter().map(|wanted| {
        let found = topic(&image, &wanted.name, uuid::Uuid::nil()).map(|topic| topic.id);
        let partitions = wanted.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let place = found.ok_or(ErrorCode::UnknownTopicOrPartition).and_then(|topic| {
                parts.push((PartitionId { topic, index }, spec(partition.timestamp)?));
                Ok(parts.len() - 1)
            });
            (index, place)
        });
        Asked { partitions: partitions.collect(), name: wanted.name.into_owned() }
    });
    let asked: Vec<Asked> = asked.collect();
    service.partitions.list_offsets(ListOffsets { parts }, move |answer| respond(call, &asked, &answer));
}

fn spec(timestamp: i64) -> Result<OffsetSpec, ErrorCode> {
    match timestamp {
        LATEST => Ok(OffsetSpec::Latest),
        EARLIEST => Ok(OffsetSpec::Earliest),
        0.. => Ok(OffsetSpec::Timestamp(timestamp)),
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

fn respond(call: Call, asked: &[Asked], answer: &ListOffsetsAnswer) {
    let topics = asked.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|(index, place)| match place {
            Ok(place) => partition(*index, answer.parts.get(*place).map(|(_, part)| part)),
            Err(code) => failed(*index, *code),
        });
        Topic { partitions: partitions.collect(), name: topic.name.as_str().into() }
    });
    call.answer(&ListOffsetsResponse { topics: topics.collect(), ..Default::default() });
}

fn partition(index: i32, listed: Option<&Result<ListedOffset, Refusal>>) -> Partition {
    match listed {
        Some(Ok(listed)) => Partition {
            partition_index: index,
            error_code: NONE,
            timestamp: listed.timestamp_ms.unwrap_or(-1),
            offset: listed.offset.map_or(-1, |offset| offset.0),
            ..Default::default()
        },
        Some(Err(refusal)) => failed(index, refusal.code),
        None => failed(index, ErrorCode::UnknownServerError),
    }
}

fn failed(index: i32, code: ErrorCode) -> Partition {
    Partition { partition_index: index, error_code: of_records(code), ..Default::default() }
}
