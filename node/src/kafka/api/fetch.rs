//! Fetch: reads batches, as they were written, of partitions led here; and of partitions followed here, where readers may
//! read from a replica of their own rack (KIP-392).

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::{LeaderEpoch, NodeId, Offset, PartitionId, TopicId};
use millstream_actors::image::{Image, Topic};
use millstream_actors::partition::message::{Fetch, FetchAnswer, FetchPart, Fetched, Nearby};
use millstream_transport::kafka::messages::fetch::FetchRequest;
use millstream_transport::kafka::messages::fetch::response::{
    AbortedTransaction, CurrentLeader, DivergingEpoch, FetchResponse, FetchableTopicResponse, NodeEndpoint,
    Partition,
};
use millstream_transport::kafka::{ErrorCode as WireError, Records, Uuid};

use super::super::call::Call;
use super::super::error::{NONE, of_records};
use super::super::fetch_session::{Ask, Context, Key, TopicKey, Wanted};
use super::super::service::{Service, broker_of, leader_elsewhere, partition, topic, wire_id};
use super::super::session::Entrance;

/// The most that one answer holds, whatever is asked for: `fetch.max.bytes` as Kafka's brokers have it by default.
const BYTES_MAX: u32 = 55 << 20;

/// The first version that names topics by id.
const BY_ID_FROM: i16 = 13;

/// The first version in which readers say in which rack they are, and may be told a replica near them.
const NEARBY_FROM: i16 = 11;

/// The isolation level of clients that want nothing of open or aborted transactions.
const READ_COMMITTED: i8 = 1;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<FetchRequest<'_>>(&body) else { return };
    let context = match service.fetch_sessions.begin(ask(&request, call.version)) {
        Ok(context) => context,
        Err(error) => return refuse(call, error),
    };
    let committed_only = request.isolation_level == READ_COMMITTED;
    let rack = (call.version >= NEARBY_FROM).then_some(&*request.rack_id);
    let (places, parts) = split((service, &call), &context.parts, committed_only, rack);
    // What is wrong is told at once.
    let is_prompt = places.iter().any(Result::is_err);
    let positive = |number: i32| u32::try_from(number).unwrap_or(0);
    let fetch = Fetch {
        max_wait_ms: if is_prompt { 0 } else { positive(request.max_wait_ms) },
        min_bytes: positive(request.min_bytes),
        max_bytes: positive(request.max_bytes).min(BYTES_MAX),
        parts,
    };
    let answering = Arc::clone(service);
    service.partitions.fetch(fetch, move |answer| {
        respond(&answering, call, context, places, answer, committed_only);
    });
}

/// What the request says, as its session takes it.
fn ask(request: &FetchRequest<'_>, version: i16) -> Ask {
    let by_id = version >= BY_ID_FROM;
    let key = |name: &str, id: Uuid| match by_id {
        true => TopicKey::Id(uuid::Uuid::from_bytes(id.0)),
        false => TopicKey::Name(name.into()),
    };
    let mut wanted = Vec::new();
    for of_topic in &request.topics {
        let topic = key(&of_topic.topic, of_topic.topic_id);
        wanted.extend(of_topic.partitions.iter().map(|partition| {
            let wanted = Wanted {
                leader_epoch: partition.current_leader_epoch,
                last_epoch: partition.last_fetched_epoch,
                offset: partition.fetch_offset,
                max_bytes: partition.partition_max_bytes,
            };
            (Key { topic: topic.clone(), index: partition.partition }, wanted)
        }));
    }
    let mut forgotten = Vec::new();
    for of_topic in &request.forgotten_topics_data {
        let topic = key(&of_topic.topic, of_topic.topic_id);
        forgotten.extend(of_topic.partitions.iter().map(|index| Key { topic: topic.clone(), index }));
    }
    Ask { id: request.session_id, epoch: request.session_epoch, by_id, wanted, forgotten }
}

fn refuse(call: Call, error: WireError) {
    if call.version >= 7 {
        return call.answer(&FetchResponse { error_code: error.code(), ..Default::default() });
    }
    call.end(format!("a fetch was refused: {error:?}"));
}

fn find<'a>(image: &'a Image, key: &TopicKey) -> Option<&'a Arc<Topic>> {
    match key {
        TopicKey::Name(name) => topic(image, name, uuid::Uuid::nil()),
        TopicKey::Id(id) => image.topics().get(TopicId(*id)),
    }
}

/// The parts to be read, and for each partition wanted the place of its part, or what is wrong.
fn split(
    (service, call): (&Service, &Call),
    wanted: &[(Key, Wanted)],
    stable_only: bool,
    rack: Option<&str>,
) -> (Vec<Result<usize, Refusal>>, Vec<FetchPart>) {
    let (image, mut parts) = (&service.image(), Vec::new());
    let epoch = |number: i32| Some(number).filter(|epoch| *epoch >= 0).map(LeaderEpoch);
    let places = wanted.iter().map(|(key, wanted)| {
        let by_id = matches!(key.topic, TopicKey::Id(_));
        let found = find(image, &key.topic);
        let name = match (&key.topic, found) {
            (TopicKey::Name(name), _) => Some(&**name),
            (TopicKey::Id(_), found) => found.map(|topic| &*topic.name),
        };
        // What has an id that is not known has no name that it could be allowed by.
        name.map_or(Ok(()), |name| call.rights().demand(Operation::Read, ResourceType::Topic, name))?;
        let partition = partition(found, by_id, key.index)?;
        parts.push(FetchPart {
            partition,
            leader_epoch: epoch(wanted.leader_epoch),
            last_fetched_epoch: epoch(wanted.last_epoch),
            offset: Offset(wanted.offset),
            max_bytes: u32::try_from(wanted.max_bytes).unwrap_or(0),
            stable_only,
            nearby: rack
                .map(|rack| nearby((service, call.entrance()), image, partition, rack))
                .unwrap_or_default(),
        });
        Ok(parts.len() - 1)
    });
    (places.collect(), parts)
}

/// From where else a reader in this rack may read, as the image has it; nobody has an empty rack.
///
/// Whether a leader names others is its node's setting. A follower serves readers of its rack whatever that says: else one
/// would be sent to and fro while the setting goes from node to node.
fn nearby((service, entrance): (&Service, &Entrance), image: &Image, id: PartitionId, rack: &str) -> Nearby {
    let rack_of = |node: NodeId| image.nodes().get(node).and_then(|known| known.rack.as_deref());
    let is_near = |node: NodeId| rack_of(node) == Some(rack);
    let is_there = |node: NodeId| broker_of(image, node, entrance).is_some();
    let names = service.reads_nearby && !is_near(service.me);
    let preferred = image.partition(id).filter(|_| names).map(|known| {
        let near = known.replicas.iter().copied().filter(|node| is_near(*node) && is_there(*node));
        near.filter(|node| known.member(*node).is_some()).collect()
    });
    Nearby { from_follower: is_near(service.me), preferred: preferred.unwrap_or_default() }
}

fn respond(
    service: &Service,
    call: Call,
    context: Context,
    places: Vec<Result<usize, Refusal>>,
    answer: FetchAnswer,
    committed_only: bool,
) {
    let (image, version, entrance) = (service.image(), call.version, Arc::clone(call.entrance()));
    let mut fetched: Vec<Option<Result<Fetched, Refusal>>> =
        answer.parts.into_iter().map(|(_, part)| Some(part)).collect();
    let mut elsewhere: Vec<NodeId> = Vec::new();
    let read = context.parts.iter().zip(places).map(|((key, _), place)| {
        let part = place.and_then(|place| {
            fetched.get_mut(place).and_then(Option::take).unwrap_or_else(|| Err(missing()))
        });
        let partition = match part {
            Ok(fetched) => filled(key.index, fetched, committed_only),
            Err(refusal) => {
                let leader = leader((&image, &entrance), key, &refusal, &mut elsewhere);
                empty(key.index, &refusal, if version >= 12 { leader } else { CurrentLeader::default() })
            }
        };
        (key.clone(), partition)
    });
    let read = read.collect();
    let told = service.fetch_sessions.finish(context, read);
    let endpoint = |node: &NodeId| broker_of(&image, *node, &entrance);
    let endpoints = elsewhere.iter().filter_map(endpoint).map(|broker| NodeEndpoint {
        node_id: broker.id,
        host: broker.host.into(),
        port: broker.port,
        rack: broker.rack.map(Into::into),
    });
    let node_endpoints = if version >= 16 { endpoints.collect() } else { Default::default() };
    call.answer(&FetchResponse {
        error_code: told.error_code,
        session_id: told.session_id,
        responses: by_topic(told.partitions).into(),
        node_endpoints,
        ..Default::default()
    });
}

/// Partitions that stand behind each other and are of one topic, under it.
fn by_topic(partitions: Vec<(Key, Partition<'static>)>) -> Vec<FetchableTopicResponse<'static>> {
    let mut topics: Vec<(TopicKey, Vec<Partition<'static>>)> = Vec::new();
    for (key, partition) in partitions {
        match topics.last_mut().filter(|(topic, _)| *topic == key.topic) {
            Some((_, partitions)) => partitions.push(partition),
            None => topics.push((key.topic, vec![partition])),
        }
    }
    let told = topics.into_iter().map(|(topic, partitions)| {
        let (topic, topic_id) = match topic {
            TopicKey::Name(name) => (name.to_string(), Uuid::ZERO),
            TopicKey::Id(id) => (String::new(), Uuid(id.into_bytes())),
        };
        FetchableTopicResponse { topic: topic.into(), topic_id, partitions: partitions.into() }
    });
    told.collect()
}

fn missing() -> Refusal {
    Refusal::new(ErrorCode::UnknownServerError, "a part of the request was named twice")
}

fn leader(
    (image, entrance): (&Image, &Entrance),
    key: &Key,
    refusal: &Refusal,
    elsewhere: &mut Vec<NodeId>,
) -> CurrentLeader {
    let told = leader_elsewhere((image, entrance), find(image, &key.topic), key.index, refusal, elsewhere);
    told.map_or_else(CurrentLeader::default, |(leader_id, leader_epoch)| CurrentLeader {
        leader_id,
        leader_epoch,
    })
}

fn filled(index: i32, fetched: Fetched, committed_only: bool) -> Partition<'static> {
    let Fetched {
        high_watermark,
        log_start_offset,
        last_stable_offset,
        diverging,
        preferred,
        aborted,
        batches,
    } = fetched;
    let aborted = aborted.into_iter().map(|aborted| AbortedTransaction {
        producer_id: aborted.producer_id.0,
        first_offset: aborted.first.0,
    });
    Partition {
        partition_index: index,
        error_code: NONE,
        high_watermark: high_watermark.0,
        last_stable_offset: last_stable_offset.0,
        log_start_offset: log_start_offset.0,
        aborted_transactions: committed_only.then(|| aborted.collect()),
        diverging_epoch: diverging.map_or_else(Default::default, |found| DivergingEpoch {
            epoch: found.epoch.0,
            end_offset: found.end.0,
        }),
        preferred_read_replica: preferred.map_or(-1, wire_id),
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
