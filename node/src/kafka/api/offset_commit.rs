//! OffsetCommit: how far a group has read.

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::ErrorCode;
use millstream_actors::group::classic::Committer;
use millstream_actors::group::message::OffsetCommit;
use millstream_transport::kafka::messages::offset_commit::OffsetCommitRequest;
use millstream_transport::kafka::messages::offset_commit::response::{
    OffsetCommitResponse, Partition, Topic,
};

use super::super::call::Call;
use super::super::commits::{AskedOffset, AskedTopic, Codes, Split};
use super::super::service::Service;

/// The first version that names topics by id.
const TOPIC_IDS_FROM: i16 = 10;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<OffsetCommitRequest<'_>>(&body) else { return };
    if let Err(refusal) = call.rights().demand(Operation::Read, ResourceType::Group, &request.group_id) {
        let asked = refused(&request, refusal.code);
        return respond(call, asked, &Codes::of(Ok(Vec::new())));
    }
    let image = service.image();
    let mut offsets = Vec::new();
    let asked = request.topics.iter().map(|wanted| {
        let is_by_id = call.version >= TOPIC_IDS_FROM;
        let found = topic(&image, &wanted.name, uuid::Uuid::from_bytes(wanted.topic_id.0));
        let name = found.map_or(&*wanted.name, |topic| &topic.name);
        let is_unknown_id = is_by_id && found.is_none();
        let may = is_unknown_id || call.rights().may(Operation::Read, ResourceType::Topic, name);
        let partitions = wanted.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let known = found.filter(|topic| may && topic.partition(index).is_some());
            let id = known.map(|topic| PartitionId { topic: topic.id, index });
            let epoch = Some(partition.committed_leader_epoch).filter(|epoch| *epoch >= 0);
            let committed = CommittedOffset {
                offset: Offset(partition.committed_offset),
                leader_epoch: epoch.map(LeaderEpoch),
                metadata: partition.committed_metadata.map(Into::into).unwrap_or_default(),
            };
            offsets.extend(id.map(|id| (id, committed)));
            (index, id)
        });
        AskedTopic {
            partitions: partitions.collect(),
            name: wanted.name.into_owned(),
            id: wanted.topic_id,
            unknown: match found {
                _ if !may => ErrorCode::TopicAuthorizationFailed,
                None if is_by_id => ErrorCode::UnknownTopicId,
                _ => ErrorCode::UnknownTopicOrPartition,
            },
        }
    });
    let asked: Vec<AskedTopic> = asked.collect();
    let is_by_id = call.version >= TOPIC_IDS_FROM;
    let mut split = Split::default();
    for wanted in &request.topics {
        let partitions = wanted.partitions.iter().map(|partition| AskedOffset {
            index: partition.partition_index,
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: partition.committed_metadata.map(Into::into).unwrap_or_default(),
        });
        split.take(&image, wanted.name.into_owned(), (wanted.topic_id, is_by_id), partitions);
    }
    let Split { offsets, asked } = split;
    let committer = Committer {
        version: call.version,
        member: Arc::from(&*request.member_id),
        generation: request.generation_id_or_member_epoch,
        instance: request.group_instance_id.as_deref().map(Arc::from),
    };
    let commit = OffsetCommit {
        group: request.group_id.into_owned(),
        member: request.member_id.into_owned(),
        member_epoch: request.generation_id_or_member_epoch,
        offsets,
    };
    let committing = service.groups.commit(commit, committer);
    actix_rt::spawn(async move { respond(call, asked, &Codes::of(committing.await)) });
}

/// All partitions of the request, with what is said of each.
fn refused(request: &OffsetCommitRequest<'_>, code: ErrorCode) -> Vec<AskedTopic> {
    let topics = request.topics.iter().map(|topic| AskedTopic {
        partitions: topic.partitions.iter().map(|partition| (partition.partition_index, None)).collect(),
        name: topic.name.into_owned(),
        id: topic.topic_id,
        unknown: code,
    });
    topics.collect()
}

fn respond(call: Call, asked: Vec<AskedTopic>, codes: &Codes) {
    let topics = asked.into_iter().map(|topic| Topic {
        partitions: topic
            .partitions
            .iter()
            .map(|(index, id)| Partition {
                partition_index: *index,
                error_code: codes.of_partition(*id, topic.unknown),
            })
            .collect(),
        name: topic.name.into(),
        topic_id: topic.id,
    });
    call.answer(&OffsetCommitResponse { topics: topics.collect(), ..Default::default() });
}
