//! OffsetFetch: how far groups have read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::message::{CommittedOffset, OffsetFetch};
use millstream_actors::ids::{PartitionId, TopicId};
use millstream_actors::image::Image;
use millstream_transport::kafka::Uuid;
use millstream_transport::kafka::messages::offset_fetch::OffsetFetchRequest;
use millstream_transport::kafka::messages::offset_fetch::response::{
    Group, GroupTopic, GroupTopicPartition, OffsetFetchResponse, Partition, Topic,
};

use super::super::call::Call;
use super::super::error::{NONE, number, of_groups};
use super::super::service::{Service, topic};
use crate::security::authorize::Rights;

/// The first version that asks for several groups.
const GROUPS_FROM: i16 = 8;
/// The first version that names topics by id.
const TOPIC_IDS_FROM: i16 = 10;
/// The first version with an error of the whole group.
const ERROR_FROM: i16 = 2;
/// The offset that stands for none.
const NO_OFFSET: i64 = -1;

/// What is asked for of one group: these partitions by topic, or all.
struct Asked {
    group: String,
    /// The member that asks, with its epoch, if it says that it is one.
    reader: Option<(String, i32)>,
    topics: Option<Vec<AskedTopic>>,
}

/// A topic by name, or by id.
struct AskedTopic {
    name: String,
    id: uuid::Uuid,
    is_by_id: bool,
    partitions: Vec<i32>,
}

/// What a group has committed, by topic.
type Found = Vec<FoundTopic>;

struct FoundTopic {
    name: String,
    id: uuid::Uuid,
    /// Of all of its partitions.
    error_code: i16,
    partitions: Vec<(i32, Each)>,
}

/// What is committed for a partition, if that is known for good.
type Each = Result<Option<CommittedOffset>, ErrorCode>;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<OffsetFetchRequest<'_>>(&body) else { return };
    let is_stable = request.require_stable;
    let asked =
        if call.version >= GROUPS_FROM { batched(&request, call.version) } else { vec![single(&request)] };
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let mut groups = Vec::with_capacity(asked.len());
        for asked in asked {
            let mut found = find((&service, call.rights()), &asked, is_stable).await;
            if call.version < ERROR_FROM {
                found = found.or_else(|refusal| Ok(refused(&asked, of_groups(refusal.code))));
            }
            groups.push((asked.group, found));
        }
        respond(call, groups);
    });
}

fn batched(request: &OffsetFetchRequest<'_>, version: i16) -> Vec<Asked> {
    let mut seen = BTreeSet::new();
    let once = request.groups.iter().filter(|group| seen.insert(group.group_id.to_string()));
    let groups = once.map(|group| {
        let is_member = group.member_id.is_some() || group.member_epoch >= 0;
        let member = group.member_id.as_deref().unwrap_or_default().to_owned();
        Asked {
            reader: is_member.then_some((member, group.member_epoch)),
            topics: group.topics.as_ref().map(|topics| {
                let asked = topics.iter().map(|topic| AskedTopic {
                    name: topic.name.into_owned(),
                    id: uuid::Uuid::from_bytes(topic.topic_id.0),
                    is_by_id: version >= TOPIC_IDS_FROM,
                    partitions: topic.partition_indexes.iter().collect(),
                });
                asked.collect()
            }),
            group: group.group_id.into_owned(),
        }
    });
    groups.collect()
}

fn single(request: &OffsetFetchRequest<'_>) -> Asked {
    Asked {
        group: request.group_id.clone().into_owned(),
        reader: None,
        topics: request.topics.as_ref().map(|topics| {
            let asked = topics.iter().map(|topic| AskedTopic {
                name: topic.name.into_owned(),
                id: uuid::Uuid::nil(),
                is_by_id: false,
                partitions: topic.partition_indexes.iter().collect(),
            });
            asked.collect()
        }),
    }
}

async fn find(
    (service, rights): (&Service, &Rights),
    asked: &Asked,
    is_stable: bool,
) -> Result<Found, Refusal> {
    rights.demand(Operation::Describe, ResourceType::Group, &asked.group)?;
    let image = service.image();
    let ids = asked.topics.as_ref().map(|topics| {
        let known = topics.iter().filter_map(|asked| {
            let id = topic(&image, &asked.name, asked.id)?.id;
            Some(asked.partitions.iter().map(move |index| PartitionId { topic: id, index: *index }))
        });
        known.flatten().collect()
    });
    // Asked before: what becomes part of a transaction after this does not concern the answer.
    let unstable = if is_stable { service.groups.unstable(&asked.group).await? } else { BTreeSet::new() };
    let fetch = OffsetFetch { group: asked.group.clone(), partitions: ids };
    let committed = service.groups.fetch_as(fetch, asked.reader.clone()).await?;
    Ok(by_topic((&service.image(), rights), asked, committed, &unstable))
}

fn by_topic(
    (image, rights): (&Image, &Rights),
    asked: &Asked,
    committed: Vec<(PartitionId, CommittedOffset)>,
    unstable: &BTreeSet<PartitionId>,
) -> Found {
    let committed: BTreeMap<PartitionId, CommittedOffset> = committed.into_iter().collect();
    let each = |id: PartitionId| {
        if unstable.contains(&id) {
            Err(ErrorCode::UnstableOffsetCommit)
        } else {
            Ok(committed.get(&id).cloned())
        }
    };
    let may = |name: &str| rights.may(Operation::Describe, ResourceType::Topic, name);
    let Some(topics) = &asked.topics else {
        let known: BTreeSet<PartitionId> = committed.keys().chain(unstable).copied().collect();
        let mut found = all(image, known.into_iter().map(|id| (id, each(id))));
        found.retain(|topic| may(&topic.name));
        return found;
    };
    let topics = topics.iter().map(|asked| {
        let known = topic(image, &asked.name, asked.id);
        let is_hidden = asked.is_by_id && known.is_none();
        let is_denied = !is_hidden && !may(known.map_or(&asked.name, |topic| &topic.name));
        let id = known.filter(|_| !is_denied).map(|topic| topic.id);
        let offset = |index: i32| id.map_or(Ok(None), |topic| each(PartitionId { topic, index }));
        let error_code = if is_denied {
            of_groups(ErrorCode::TopicAuthorizationFailed)
        } else if id.is_none() && asked.is_by_id {
            of_groups(ErrorCode::UnknownTopicId)
        } else {
            NONE
        };
        FoundTopic {
            name: asked.name.clone(),
            id: asked.id,
            error_code,
            partitions: asked.partitions.iter().map(|index| (*index, offset(*index))).collect(),
        }
    });
    topics.collect()
}

/// The error of a group for each partition asked for: the first versions have no other place for it.
fn refused(asked: &Asked, error_code: i16) -> Found {
    let topics = asked.topics.iter().flatten().map(|asked| FoundTopic {
        name: asked.name.clone(),
        id: asked.id,
        error_code,
        partitions: asked.partitions.iter().map(|index| (*index, Ok(None))).collect(),
    });
    topics.collect()
}

/// Everything committed; without that of topics that are gone, which is forgotten soon.
fn all(image: &Image, known: impl Iterator<Item = (PartitionId, Each)>) -> Found {
    let mut found: BTreeMap<TopicId, FoundTopic> = BTreeMap::new();
    for (id, offset) in known {
        let Some(known) = image.topics().get(id.topic) else { continue };
        let new = || FoundTopic {
            name: known.name.to_string(),
            id: id.topic.0,
            error_code: NONE,
            partitions: Vec::new(),
        };
        found.entry(id.topic).or_insert_with(new).partitions.push((id.index, offset));
    }
    found.into_values().collect()
}

fn respond(call: Call, groups: Vec<(String, Result<Found, Refusal>)>) {
    if call.version >= GROUPS_FROM {
        let groups = groups.into_iter().map(|(id, found)| group(id, found));
        return call.answer(&OffsetFetchResponse { groups: groups.collect(), ..Default::default() });
    }
    let Some((_, found)) = groups.into_iter().next() else { return };
    let error_code = found.as_ref().err().map_or(NONE, |refusal| of_groups(refusal.code));
    let topics = found.unwrap_or_default().into_iter().map(|topic| Topic {
        name: topic.name.into(),
        partitions: topic
            .partitions
            .into_iter()
            .map(|(index, offset)| {
                let (error_code, committed_offset, committed_leader_epoch, metadata) = told(offset);
                Partition {
                    partition_index: index,
                    committed_offset,
                    committed_leader_epoch,
                    metadata: Some(metadata.into()),
                    error_code: if topic.error_code == NONE { error_code } else { topic.error_code },
                }
            })
            .collect(),
    });
    call.answer(&OffsetFetchResponse { topics: topics.collect(), error_code, ..Default::default() });
}

fn group(id: String, found: Result<Found, Refusal>) -> Group<'static> {
    let error_code = found.as_ref().err().map_or(NONE, |refusal| of_groups(refusal.code));
    let topics = found.unwrap_or_default().into_iter().map(|topic| GroupTopic {
        name: topic.name.into(),
        topic_id: Uuid(topic.id.into_bytes()),
        partitions: topic
            .partitions
            .into_iter()
            .map(|(index, offset)| {
                let (error_code, committed_offset, committed_leader_epoch, metadata) = told(offset);
                GroupTopicPartition {
                    partition_index: index,
                    committed_offset,
                    committed_leader_epoch,
                    metadata: Some(metadata.into()),
                    error_code: if topic.error_code == NONE { error_code } else { topic.error_code },
                }
            })
            .collect(),
    });
    Group { group_id: id.into(), topics: topics.collect(), error_code }
}

fn told(offset: Each) -> (i16, i64, i32, String) {
    match offset {
        Ok(Some(offset)) => {
            (NONE, offset.offset.0, offset.leader_epoch.map_or(-1, |epoch| epoch.0), offset.metadata)
        }
        Ok(None) => (NONE, NO_OFFSET, -1, String::new()),
        Err(code) => (number(code), NO_OFFSET, -1, String::new()),
    }
}
