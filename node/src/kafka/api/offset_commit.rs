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
    let is_by_id = call.version >= TOPIC_IDS_FROM;
    let mut split = Split::new(&image, call.rights());
    for wanted in &request.topics {
        let partitions = wanted.partitions.iter().map(|partition| AskedOffset {
            index: partition.partition_index,
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: partition.committed_metadata.map(Into::into).unwrap_or_default(),
        });
        split.take(wanted.name.into_owned(), (wanted.topic_id, is_by_id), partitions);
    }
    let Split { offsets, asked, .. } = split;
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
