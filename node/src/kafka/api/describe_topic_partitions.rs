//! DescribeTopicPartitions: topics and their partitions a page at a time (KIP-966), from this node's image.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::ErrorCode;
use millstream_actors::image::{Image, Topic as Known};
use millstream_transport::kafka::Uuid;
use millstream_transport::kafka::messages::describe_topic_partitions::DescribeTopicPartitionsRequest;
use millstream_transport::kafka::messages::describe_topic_partitions::response::{
    DescribeTopicPartitionsResponse, NextCursor, Partition, Topic,
};

use super::super::call::Call;
use super::super::error::{NONE, number};
use super::super::service::{Service, Standing};
use super::super::session::Entrance;
use super::metadata::unknown;
use crate::security::authorize::Rights;

/// Partitions of one page at most, as Kafka has it by default (`max.request.partition.size.limit`).
const PAGE_MAX: usize = 2_000;

/// Where a page begins: a topic, and a partition of it.
type Place = (String, i32);

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<DescribeTopicPartitionsRequest<'_>>(&body) else { return };
    let image = service.image();
    let from: Option<Place> =
        request.cursor.as_ref().map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index));
    let names: BTreeSet<String> = request.topics.iter().map(|topic| topic.name.to_string()).collect();
    if from.as_ref().is_some_and(|(_, index)| *index < 0) {
        let refused = names.into_iter().map(|name| failed(name, ErrorCode::InvalidRequest));
        return call
            .answer(&DescribeTopicPartitionsResponse { topics: refused.collect(), ..Default::default() });
    }
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, PAGE_MAX);
    let (mut topics, next) = page(((&image, call.entrance()), call.rights()), &names, from.as_ref(), limit);
    for told in topics.iter_mut().filter(|told| told.error_code == NONE) {
        let name = told.name.as_deref().unwrap_or_default();
        told.topic_authorized_operations = call.rights().operations(ResourceType::Topic, name);
    }
    let next_cursor =
        next.map(|(topic, partition_index)| NextCursor { topic_name: topic.into(), partition_index });
    call.answer(&DescribeTopicPartitionsResponse {
        topics: topics.into(),
        next_cursor,
        ..Default::default()
    });
}

/// The topics of these names, or all where there is none, from a place on; and where the next page begins.
fn page<'a>(
    (seen, rights): ((&'a Image, &Entrance), &Rights),
    names: &BTreeSet<String>,
    from: Option<&Place>,
    limit: usize,
) -> (Vec<Topic<'a>>, Option<Place>) {
    let (image, _) = seen;
    let may = |name: &str| rights.may(Operation::Describe, ResourceType::Topic, name);
    let all = || {
        let names = image.topics().by_name().map(|topic| topic.name.to_string());
        names.filter(|name| may(name)).collect()
    };
    let wanted: BTreeSet<String> = if names.is_empty() { all() } else { names.clone() };
    let begins = from.map_or("", |(topic, _)| topic.as_str());
    let (mut topics, mut left) = (Vec::new(), limit);
    for name in wanted.into_iter().filter(|name| name.as_str() >= begins) {
        if left == 0 {
            return (topics, Some((name, 0)));
        }
        if !may(&name) {
            topics.push(failed(name, ErrorCode::TopicAuthorizationFailed));
            continue;
        }
        let Some(known) = image.topics().named(&name) else {
            topics.push(failed(name.clone(), unknown(&name)));
            continue;
        };
        let first = from.filter(|(topic, _)| *topic == name).map_or(0, |(_, index)| *index);
        let described = topic(seen, known, first, left);
        left -= described.partitions.len();
        let next = first.saturating_add(i32::try_from(described.partitions.len()).unwrap_or(i32::MAX));
        topics.push(described);
        if known.partition(next).is_some() {
            return (topics, Some((name, next)));
        }
    }
    (topics, None)
}

fn topic<'a>((image, entrance): (&Image, &Entrance), known: &'a Known, first: i32, most: usize) -> Topic<'a> {
    let from = usize::try_from(first).unwrap_or(usize::MAX);
    let partitions = (0..).zip(&known.partitions).skip(from).take(most).map(|(index, known)| {
        let Standing { leader, leader_epoch, replicas, in_sync, offline } =
            Standing::of(image, known, entrance);
        Partition {
            error_code: NONE,
            partition_index: index,
            leader_id: leader.unwrap_or(-1),
            leader_epoch,
            replica_nodes: replicas.into(),
            isr_nodes: in_sync.into(),
            // Members that left the set and still have everything are not remembered.
            eligible_leader_replicas: Some(Default::default()),
            last_known_elr: Some(Default::default()),
            offline_replicas: offline.into(),
        }
    });
    Topic {
        error_code: NONE,
        name: Some((&*known.name).into()),
        topic_id: Uuid(known.id.0.into_bytes()),
        is_internal: known.internal,
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn failed(name: String, code: ErrorCode) -> Topic<'static> {
    Topic { error_code: number(code), name: Some(name.into()), ..Default::default() }
}
