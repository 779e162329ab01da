//! OffsetCommit: how far a group has read.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::classic::Committer;
use millstream_actors::group::message::{CommittedOffset, OffsetCommit};
use millstream_actors::ids::{LeaderEpoch, Offset, PartitionId};
use millstream_transport::kafka::Uuid;
use millstream_transport::kafka::messages::offset_commit::OffsetCommitRequest;
use millstream_transport::kafka::messages::offset_commit::response::{
    OffsetCommitResponse, Partition, Topic,
};

use super::super::call::Call;
use super::super::error::{NONE, of_groups};
use super::super::service::{Service, topic};

/// A topic of the request; partitions are without an id where there is no such topic.
struct Asked {
    name: String,
    id: Uuid,
    /// What is said of partitions without an id.
    unknown: ErrorCode,
    partitions: Vec<(i32, Option<PartitionId>)>,
}

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<OffsetCommitRequest<'_>>(&body) else { return };
    let image = service.image();
    let mut offsets = Vec::new();
    let asked = request.topics.iter().map(|wanted| {
        let is_by_id = wanted.topic_id != Uuid::ZERO;
        let found = topic(&image, &wanted.name, uuid::Uuid::from_bytes(wanted.topic_id.0));
        let partitions = wanted.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let known = found.filter(|topic| topic.partition(index).is_some());
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
        Asked {
            partitions: partitions.collect(),
            name: wanted.name.into_owned(),
            id: wanted.topic_id,
            unknown: match found {
                None if is_by_id => ErrorCode::UnknownTopicId,
                _ => ErrorCode::UnknownTopicOrPartition,
            },
        }
    });
    let asked: Vec<Asked> = asked.collect();
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
    actix_rt::spawn(async move { respond(call, asked, committing.await) });
}

type Committed = Result<Vec<(PartitionId, Result<(), Refusal>)>, Refusal>;

fn respond(call: Call, asked: Vec<Asked>, committed: Committed) {
    let (results, all): (BTreeMap<_, _>, _) = match committed {
        Ok(results) => (results.into_iter().collect(), None),
        Err(refusal) => (BTreeMap::new(), Some(refusal.code)),
    };
    let code = |id: Option<PartitionId>, unknown: ErrorCode| {
        let Some(id) = id else { return of_groups(unknown) };
        match (all, results.get(&id)) {
            (Some(code), _) => of_groups(code),
            (None, Some(Err(refusal))) => of_groups(refusal.code),
            (None, Some(Ok(()))) => NONE,
            (None, None) => of_groups(ErrorCode::UnknownServerError),
        }
    };
    let topics = asked.into_iter().map(|topic| Topic {
        partitions: topic
            .partitions
            .iter()
            .map(|(index, id)| Partition { partition_index: *index, error_code: code(*id, topic.unknown) })
            .collect(),
        name: topic.name.into(),
        topic_id: topic.id,
    });
    call.answer(&OffsetCommitResponse { topics: topics.collect(), ..Default::default() });
}
