//! OffsetCommit: how far a group has read.

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_transport::kafka::messages::offset_commit::OffsetCommitRequest;
use millstream_transport::kafka::messages::offset_commit::response::{
    OffsetCommitResponse, Partition, Topic,
};

use super::super::call::Call;
use super::super::commits::{AskedOffset, AskedTopic, Codes, Sender, Split, denied, told};
use super::super::service::Service;

/// The first version that names topics by id.
const TOPIC_IDS_FROM: i16 = 10;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<OffsetCommitRequest<'_>>(&body) else { return };
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
    if let Err(refusal) = call.rights().demand(Operation::Read, ResourceType::Group, &request.group_id) {
        return respond(call, denied(asked, refusal.code), &Codes::none());
    }
    let sender = Sender {
        version: call.version,
        group: &request.group_id,
        member: &request.member_id,
        generation: request.generation_id_or_member_epoch,
        instance: request.group_instance_id.as_deref(),
    };
    let (commit, committer) = sender.commit(offsets);
    let committing = service.groups.commit(commit, committer);
    actix_rt::spawn(async move { respond(call, asked, &Codes::of(committing.await)) });
}

fn respond(call: Call, asked: Vec<AskedTopic>, codes: &Codes) {
    let partition = |partition_index, error_code| Partition { partition_index, error_code };
    let topics = told(asked, codes, partition, |name, topic_id, partitions| Topic {
        name: name.into(),
        topic_id,
        partitions: partitions.into(),
    });
    call.answer(&OffsetCommitResponse { topics: topics.into(), ..Default::default() });
}
