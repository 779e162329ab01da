//! Fetch: reads batches, as they were written, of partitions led here.
//!
//! Fetch sessions (KIP-227) are not kept: every answer says so by session 0, and clients then name all partitions each
//! time.

use std::sync::Arc;

use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::{LeaderEpoch, NodeId, Offset, PartitionId};
use millstream_actors::image::Image;
use millstream_actors::partition::message::{Fetch, FetchAnswer, FetchPart, Fetched};
use millstream_transport::kafka::messages::fetch::FetchRequest;
use millstream_transport::kafka::messages::fetch::response::{
    CurrentLeader, FetchResponse, FetchableTopicResponse, NodeEndpoint, Partition,
};
use millstream_transport::kafka::{ErrorCode as WireError, Records, Uuid};

use super::super::call::Call;
use super::super::error::{NONE, of_records};
use super::super::service::{Service, broker_of, leader_elsewhere, topic, unknown};

/// The most that one answer holds, whatever is asked for: `fetch.max.bytes` as Kafka's brokers have it by default.
const BYTES_MAX: u32 = 55 << 20;

/// A topic of the request, to be told in the answer.
struct Asked {
    name: String,
    id: Uuid,
    /// With the place of its part of the request, or what is wrong.
    partitions: Vec<(i32, Result<usize, Refusal>)>,
}

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<FetchRequest<'_>>(&body) else { return };
    if request.session_epoch > 0 {
        return refuse(call, WireError::FetchSessionIdNotFound);
    }
    if request.session_epoch < -1 {
        return refuse(call, WireError::InvalidFetchSessionEpoch);
    }
    let image = service.image();
    let (asked, parts) = split(&image, &request);
    // What is wrong is told at once.
    let is_prompt = asked.iter().flat_map(|topic| &topic.partitions).any(|(_, place)| place.is_err());
    let positive = |number: i32| u32::try_from(number).unwrap_or(0);
    let fetch = Fetch {
        max_wait_ms: if is_prompt { 0 } else { positive(request.max_wait_ms) },
        min_bytes: positive(request.min_bytes),
        max_bytes: positive(request.max_bytes).min(BYTES_MAX),
        parts,
    };
    let answering = Arc::clone(service);
    let committed_only = request.isolation_level == 1;
    service.partitions.fetch(fetch, move |answer| {
        respond(&answering.image(), call, asked, answer, committed_only);
    });
}

fn refuse(call: Call, error: WireError) {
    if call.version >= 7 {
        return call.answer(&FetchResponse { error_code: error.code(), ..Default::default() });
    }
    call.end(format!("a fetch was refused: {error:?}"));
}

fn split(image: &Image, request: &FetchRequest<'_>) -> (Vec<Asked>, Vec<FetchPart>) {
    let mut parts = Vec::new();
    let asked = request.topics.iter().map(|wanted| {
        let id = uuid::Uuid::from_bytes(wanted.topic_id.0);
        let found = topic(image, &wanted.topic, id).map(|topic| topic.id);
        let partitions = wanted.partitions.iter().map(|partition| {
            let Some(topic) = found else { return (partition.partition, Err(unknown(!id.is_nil()))) };
            parts.push(FetchPart {
                partition: PartitionId { topic, index: partition.partition },
                leader_epoch: Some(partition.current_leader_epoch)
                    .filter(|epoch| *epoch >= 0)
                    .map(LeaderEpoch),
                offset: Offset(partition.fetch_offset),
                max_bytes: u32::try_from(partition.partition_max_bytes).unwrap_or(0),
            });
            (partition.partition, Ok(parts.len() - 1))
        });
        Asked { partitions: partitions.collect(), name: wanted.topic.into_owned(), id: wanted.topic_id }
    });
    (asked.collect(), parts)
}

fn respond(image: &Image, call: Call, asked: Vec<Asked>, answer: FetchAnswer, committed_only: bool) {
    let version = call.version;
    let mut fetched: Vec<Option<Result<Fetched, Refusal>>> =
        answer.parts.into_iter().map(|(_, part)| Some(part)).collect();
    let mut elsewhere: Vec<NodeId> = Vec::new();
    let responses = asked.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|(index, place)| {
            let part = match place {
                Ok(place) => fetched.get_mut(*place).and_then(Option::take).unwrap_or_else(|| Err(missing())),
                Err(refusal) => Err(refusal.clone()),
            };
            match part {
                Ok(fetched) => filled(*index, fetched, committed_only),
                Err(refusal) => {
                    let leader = leader(image, &topic, *index, &refusal, &mut elsewhere);
                    empty(*index, &refusal, if version >= 12 { leader } else { CurrentLeader::default() })
                }
            }
        });
        FetchableTopicResponse {
            partitions: partitions.collect(),
            topic: topic.name.into(),
            topic_id: topic.id,
        }
    });
    let responses = responses.collect();
    let endpoints = elsewhere.iter().filter_map(|node| broker_of(image, *node)).map(|broker| NodeEndpoint {
        node_id: broker.id,
        host: broker.host.into(),
        port: broker.port,
        rack: None,
    });
    let node_endpoints = if version >= 16 { endpoints.collect() } else { Default::default() };
    call.answer(&FetchResponse { responses, node_endpoints, ..Default::default() });
}

fn missing() -> Refusal {
    Refusal::new(ErrorCode::UnknownServerError, "a part of the request was named twice")
}

fn leader(
    image: &Image,
    asked: &Asked,
    index: i32,
    refusal: &Refusal,
    elsewhere: &mut Vec<NodeId>,
) -> CurrentLeader {
    let found = topic(image, &asked.name, uuid::Uuid::from_bytes(asked.id.0));
    let told = leader_elsewhere(image, found, index, refusal, elsewhere);
    told.map_or_else(CurrentLeader::default, |(leader_id, leader_epoch)| CurrentLeader {
        leader_id,
        leader_epoch,
    })
}

fn filled(index: i32, fetched: Fetched, committed_only: bool) -> Partition<'static> {
    let Fetched { high_watermark, log_start_offset, batches } = fetched;
    Partition {
        partition_index: index,
        error_code: NONE,
        high_watermark: high_watermark.0,
        // Without transactions all that is replicated is stable.
        last_stable_offset: high_watermark.0,
        log_start_offset: log_start_offset.0,
        aborted_transactions: committed_only.then(Default::default),
        records: Some(Records::Shared(batches)),
        ..Default::default()
    }
}

fn empty(index: i32, refusal: &Refusal, current_leader: CurrentLeader) -> Partition<'static> {
    Partition {
        partition_index: index,
        error_code: of_records(refusal.code),
        high_watermark: -1,
        current_leader,
        aborted_transactions: None,
        records: Some(Records::default()),
        ..Default::default()
    }
}
