//! OffsetFetch: how far groups have read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_actors::error::Refusal;
use millstream_actors::group::message::{CommittedOffset, OffsetFetch};
use millstream_actors::ids::PartitionId;
use millstream_actors::image::Image;
use millstream_transport::kafka::messages::offset_fetch::OffsetFetchRequest;
use millstream_transport::kafka::messages::offset_fetch::response::{
    Group, GroupTopic, GroupTopicPartition, OffsetFetchResponse, Partition, Topic,
};

use super::super::call::Call;
use super::super::error::{NONE, of_groups};
use super::super::service::{Service, topic};

/// The first version that asks for several groups.
const GROUPS_FROM: i16 = 8;
/// The first version with an error of the whole group.
const ERROR_FROM: i16 = 2;
/// The offset that stands for none.
const NO_OFFSET: i64 = -1;

/// What is asked for of one group: these partitions by topic, or all.
struct Asked {
    group: String,
    topics: Option<Vec<(String, Vec<i32>)>>,
}

/// What a group has committed, by topic.
type Found = Vec<(String, Vec<(i32, Option<CommittedOffset>)>)>;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<OffsetFetchRequest<'_>>(&body) else { return };
    let asked = if call.version >= GROUPS_FROM { batched(&request) } else { vec![single(&request)] };
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let mut groups = Vec::with_capacity(asked.len());
        for asked in asked {
            let found = find(&service, &call, &asked).await;
            groups.push((asked.group, found));
        }
        respond(call, groups);
    });
}

fn batched(request: &OffsetFetchRequest<'_>) -> Vec<Asked> {
    let mut seen = BTreeSet::new();
    let once = request.groups.iter().filter(|group| seen.insert(group.group_id.to_string()));
    let groups = once.map(|group| Asked {
        topics: group.topics.as_ref().map(|topics| {
            let named = topics.iter();
            named.map(|topic| (topic.name.into_owned(), topic.partition_indexes.iter().collect())).collect()
        }),
        group: group.group_id.into_owned(),
    });
    groups.collect()
}

fn single(request: &OffsetFetchRequest<'_>) -> Asked {
    Asked {
        group: request.group_id.clone().into_owned(),
        topics: request.topics.as_ref().map(|topics| {
            let named = topics.iter();
            named.map(|topic| (topic.name.into_owned(), topic.partition_indexes.iter().collect())).collect()
        }),
    }
}

async fn find(service: &Service, call: &Call, asked: &Asked) -> Result<Found, Refusal> {
    let image = service.image();
    let ids = asked.topics.as_ref().map(|topics| {
        let known = topics.iter().filter_map(|(name, indexes)| {
            let id = topic(&image, name, uuid::Uuid::nil())?.id;
            Some(indexes.iter().map(move |index| PartitionId { topic: id, index: *index }))
        });
        known.flatten().collect()
    });
    let fetch = OffsetFetch { group: asked.group.clone(), partitions: ids };
    let committed = service.groups.handle(&call.peer.to_string(), fetch).await?;
    Ok(by_topic(&service.image(), asked, committed))
}

fn by_topic(image: &Image, asked: &Asked, committed: Vec<(PartitionId, CommittedOffset)>) -> Found {
    let committed: BTreeMap<PartitionId, CommittedOffset> = committed.into_iter().collect();
    let Some(topics) = &asked.topics else {
        let mut found: BTreeMap<String, Vec<(i32, Option<CommittedOffset>)>> = BTreeMap::new();
        for (id, offset) in committed {
            // Offsets of a topic that is gone are forgotten soon.
            let Some(known) = image.topics().get(id.topic) else { continue };
            found.entry(known.name.to_string()).or_default().push((id.index, Some(offset)));
        }
        return found.into_iter().collect();
    };
    let topics = topics.iter().map(|(name, indexes)| {
        let id = topic(image, name, uuid::Uuid::nil()).map(|topic| topic.id);
        let offset = |index: i32| committed.get(&PartitionId { topic: id?, index }).cloned();
        (name.clone(), indexes.iter().map(|index| (*index, offset(*index))).collect())
    });
    topics.collect()
}

fn respond(call: Call, groups: Vec<(String, Result<Found, Refusal>)>) {
    if call.version >= GROUPS_FROM {
        let groups = groups.into_iter().map(|(id, found)| group(id, found));
        return call.answer(&OffsetFetchResponse { groups: groups.collect(), ..Default::default() });
    }
    let Some((_, found)) = groups.into_iter().next() else { return };
    if call.version < ERROR_FROM
        && let Err(refusal) = &found
    {
        // It has no place for the error of a group; without one a client would take offsets for uncommitted.
        return call.end(format!("offsets cannot be fetched now: {refusal}"));
    }
    let error_code = found.as_ref().err().map_or(NONE, |refusal| of_groups(refusal.code));
    let topics = found.unwrap_or_default().into_iter().map(|(name, partitions)| Topic {
        name: name.into(),
        partitions: partitions
            .into_iter()
            .map(|(index, offset)| {
                let (committed_offset, committed_leader_epoch, metadata) = told(offset);
                Partition {
                    partition_index: index,
                    committed_offset,
                    committed_leader_epoch,
                    metadata: Some(metadata.into()),
                    error_code: NONE,
                }
            })
            .collect(),
    });
    call.answer(&OffsetFetchResponse { topics: topics.collect(), error_code, ..Default::default() });
}

fn group(id: String, found: Result<Found, Refusal>) -> Group<'static> {
    let error_code = found.as_ref().err().map_or(NONE, |refusal| of_groups(refusal.code));
    let topics = found.unwrap_or_default().into_iter().map(|(name, partitions)| GroupTopic {
        name: name.into(),
        partitions: partitions
            .into_iter()
            .map(|(index, offset)| {
                let (committed_offset, committed_leader_epoch, metadata) = told(offset);
                GroupTopicPartition {
                    partition_index: index,
                    committed_offset,
                    committed_leader_epoch,
                    metadata: Some(metadata.into()),
                    error_code: NONE,
                }
            })
            .collect(),
        ..Default::default()
    });
    Group { group_id: id.into(), topics: topics.collect(), error_code }
}

fn told(offset: Option<CommittedOffset>) -> (i64, i32, String) {
    match offset {
        Some(offset) => (offset.offset.0, offset.leader_epoch.map_or(-1, |epoch| epoch.0), offset.metadata),
        None => (NO_OFFSET, -1, String::new()),
    }
}
