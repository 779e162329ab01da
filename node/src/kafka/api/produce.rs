//! Produce: appends batches, as they came, to partitions led here.

use std::sync::Arc;

use bytes::Bytes;
use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::{NodeId, PartitionId, TopicId};
use millstream_actors::image::Image;
use millstream_actors::partition::message::{Acks, Produce, ProduceAnswer, ProducePart, Produced};
use millstream_actors::partition::verify::InTransaction;
use millstream_transport::kafka::messages::produce::ProduceRequest;
use millstream_transport::kafka::messages::produce::response::{
    CurrentLeader, NodeEndpoint, PartitionResponse, ProduceResponse, TopicProduceResponse,
};
use millstream_transport::kafka::{Records, Uuid};

use super::super::call::Call;
use super::super::error::{NONE, of_records};
use super::super::service::{Service, broker_of, leader_elsewhere, topic, unknown};
use super::super::session::Entrance;
use crate::security::authorize::Rights;

/// Records of fewer bytes are copied: they would keep the whole piece of memory that was read with them.
const COPIED_BELOW_BYTES: usize = 8 << 10;

/// The first version whose clients leave it to the broker to add a partition to the transaction (KIP-890).
const ADDS_FROM: i16 = 12;

/// The first version of producers that know TRANSACTION_ABORTABLE (KIP-890 part 1).
const KNOWS_ABORTABLE_FROM: i16 = 11;

/// A topic of the request, to be told in the answer.
struct Asked {
    name: String,
    id: Uuid,
    partitions: Vec<(i32, Fate)>,
}

/// What becomes of the records of one partition.
enum Fate {
    /// They are given to the partition, as this part of the request.
    Part(usize),
    /// They are refused.
    Refused(Refusal),
}

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<ProduceRequest<'_>>(&body) else { return };
    let acks = match request.acks {
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    };
    // What is part of a transaction is there when it ends.
    let acks = acks.filter(|acks| request.transactional_id.is_none() || *acks == Acks::All);
    let image = service.image();
    let (asked, parts) = split((&image, call.rights()), &request, &body, acks.is_some(), call.version);
    let timeout_ms = u32::try_from(request.timeout_ms).unwrap_or(0);
    let produce = Produce { acks: acks.unwrap_or(Acks::Leader), timeout_ms, parts };
    let answering = Arc::clone(service);
    service.partitions.produce(produce, move |answer| {
        if acks == Some(Acks::None) {
            // Nobody could be told what went wrong but by the end of the connection.
            return match first_refusal(&asked, &answer) {
                Some(refusal) => call.end(format!("records without acknowledgement were refused: {refusal}")),
                None => call.no_answer(),
            };
        }
        respond(&answering.image(), call, &asked, &answer);
    });
}

/// The parts of the request that can be given to partitions, and what becomes of each.
fn split(
    (image, rights): (&Image, &Rights),
    request: &ProduceRequest<'_>,
    body: &Bytes,
    acks_known: bool,
    version: i16,
) -> (Vec<Asked>, Vec<ProducePart>) {
    let mut parts = Vec::new();
    let transaction = request.transactional_id.as_deref().map(|id| InTransaction {
        id: Arc::from(id),
        adds: version >= ADDS_FROM,
        knows_abortable: version >= KNOWS_ABORTABLE_FROM,
        by_coordinator: false,
    });
    let transacts = request
        .transactional_id
        .as_deref()
        .map_or(Ok(()), |id| rights.demand(Operation::Write, ResourceType::TransactionalId, id));
    let asked = request.topic_data.iter().map(|data| {
        let id = uuid::Uuid::from_bytes(data.topic_id.0);
        let known = topic(image, &data.name, id);
        let (found, is_internal) = (known.map(|topic| topic.id), known.is_some_and(|topic| topic.internal));
        let allowed = transacts.clone().and_then(|()| match known {
            None if !id.is_nil() => Ok(()),
            known => {
                let name = known.map_or(&*data.name, |topic| &topic.name);
                rights.demand(Operation::Write, ResourceType::Topic, name)
            }
        });
        let partitions = data.partition_data.iter().map(|partition| {
            let topic = match found {
                _ if allowed.is_err() => allowed.clone().map(|()| TopicId(id)),
                _ if !acks_known => Err(Refusal::new(ErrorCode::InvalidRequiredAcks, "acks is 0, 1 or -1")),
                _ if is_internal => Err(internal(&data.name)),
                None => Err(unknown(!id.is_nil())),
                Some(topic) => Ok(topic),
            };
            let topic = match topic {
                Ok(topic) => topic,
                Err(refusal) => return (partition.index, Fate::Refused(refusal)),
            };
            let batches = partition.records.as_ref().map(|records| shared(records, body)).unwrap_or_default();
            let place = parts.len();
            parts.push(ProducePart {
                partition: PartitionId { topic, index: partition.index },
                leader_epoch: None,
                batches,
                transaction: transaction.clone(),
            });
            (partition.index, Fate::Part(place))
        });
        Asked { partitions: partitions.collect(), name: data.name.into_owned(), id: data.topic_id }
    });
    (asked.collect(), parts)
}

fn shared(records: &Records<'_>, body: &Bytes) -> Bytes {
    if records.len() < COPIED_BELOW_BYTES {
        return records.pieces().flatten().copied().collect();
    }
    records.to_shared(body)
}

fn internal(name: &str) -> Refusal {
    Refusal::new(ErrorCode::InvalidTopic, format!("{name:?} is written by coordinators only"))
}

/// `None` never: an answer has as many parts as its request.
fn outcome<'a>(fate: &'a Fate, answer: &'a ProduceAnswer) -> Option<Result<&'a Produced, &'a Refusal>> {
    match fate {
        Fate::Refused(refusal) => Some(Err(refusal)),
        Fate::Part(place) => answer.parts.get(*place).map(|(_, part)| part.as_ref()),
    }
}

fn first_refusal<'a>(asked: &'a [Asked], answer: &'a ProduceAnswer) -> Option<&'a Refusal> {
    let fates = asked.iter().flat_map(|topic| &topic.partitions);
    fates.filter_map(|(_, fate)| outcome(fate, answer)).find_map(Result::err)
}

fn respond(image: &Image, call: Call, asked: &[Asked], answer: &ProduceAnswer) {
    let (version, entrance) = (call.version, Arc::clone(call.entrance()));
    let mut elsewhere = Vec::new();
    let responses = asked.iter().map(|topic| {
        let partitions = topic.partitions.iter().filter_map(|(index, fate)| {
            Some(match outcome(fate, answer)? {
                Ok(produced) => accepted(*index, produced, version),
                Err(refusal) => {
                    let leader = leader((image, &entrance), topic, *index, refusal, &mut elsewhere);
                    refused(*index, refusal, leader, version)
                }
            })
        });
        TopicProduceResponse {
            partition_responses: partitions.collect(),
            name: topic.name.as_str().into(),
            topic_id: topic.id,
        }
    });
    let responses = responses.collect();
    let endpoint = |node: &NodeId| broker_of(image, *node, &entrance);
    let node_endpoints = elsewhere.iter().filter_map(endpoint).map(|broker| NodeEndpoint {
        node_id: broker.id,
        host: broker.host.into(),
        port: broker.port,
        rack: broker.rack.map(Into::into),
    });
    let node_endpoints = if version >= 10 { node_endpoints.collect() } else { Default::default() };
    call.answer(&ProduceResponse { responses, node_endpoints, ..Default::default() });
}

fn leader(
    (image, entrance): (&Image, &Entrance),
    asked: &Asked,
    index: i32,
    refusal: &Refusal,
    elsewhere: &mut Vec<NodeId>,
) -> CurrentLeader {
    let found = topic(image, &asked.name, uuid::Uuid::from_bytes(asked.id.0));
    let told = leader_elsewhere((image, entrance), found, index, refusal, elsewhere);
    told.map_or_else(CurrentLeader::default, |(leader_id, leader_epoch)| CurrentLeader {
        leader_id,
        leader_epoch,
    })
}

fn accepted(index: i32, produced: &Produced, version: i16) -> PartitionResponse<'static> {
    PartitionResponse {
        index,
        error_code: NONE,
        base_offset: produced.base_offset.0,
        log_append_time_ms: produced.log_append_time_ms.unwrap_or(-1),
        log_start_offset: if version >= 5 { produced.log_start_offset.0 } else { -1 },
        ..Default::default()
    }
}

fn refused(index: i32, refusal: &Refusal, leader: CurrentLeader, version: i16) -> PartitionResponse<'_> {
    PartitionResponse {
        index,
        error_code: of_records(refusal.code),
        base_offset: -1,
        error_message: (version >= 8).then(|| refusal.text.as_str().into()),
        current_leader: if version >= 10 { leader } else { CurrentLeader::default() },
        ..Default::default()
    }
}
