//! ConsumerGroupHeartbeat (KIP-848): a member of a group tells and is told what it owns.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::Refusal;
use millstream_actors::group::message::{GroupHeartbeat, GroupHeartbeatAnswer};
use millstream_actors::group::topics::TopicRights;
use millstream_actors::ids::{PartitionId, TopicId};
use millstream_transport::kafka::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use millstream_transport::kafka::messages::consumer_group_heartbeat::request::TopicPartition as Owned;
use millstream_transport::kafka::messages::consumer_group_heartbeat::response::{
    Assignment, ConsumerGroupHeartbeatResponse, TopicPartition,
};
use millstream_transport::kafka::{Array, Uuid};

use super::super::call::Call;
use super::super::error::of_groups;
use super::super::service::Service;

/// The epoch of a member that joins.
const JOINING: i32 = 0;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<ConsumerGroupHeartbeatRequest<'_>>(&body) else { return };
    let member = if request.member_id.is_empty() && request.member_epoch == JOINING {
        // In version 0 the id of a new member was the coordinator's to choose.
        service.world.random.uuid().to_string()
    } else {
        request.member_id.into_owned()
    };
    let rights = call.rights();
    let topics = request.subscribed_topic_names.as_ref();
    let allowed = rights.demand(Operation::Read, ResourceType::Group, &request.group_id).and_then(|()| {
        let mut topics = topics.into_iter().flat_map(|topics| topics.iter());
        topics.try_for_each(|topic| rights.demand(Operation::Describe, ResourceType::Topic, &topic))
    });
    if let Err(refusal) = allowed {
        return respond(call, member, Err(refusal));
    }
    let heartbeat = GroupHeartbeat {
        group: request.group_id.into_owned(),
        member: member.clone(),
        member_epoch: request.member_epoch,
        instance: request.instance_id.map(Into::into),
        client_id: call.client_id.as_deref().unwrap_or_default().to_owned(),
        rebalance_timeout_ms: u32::try_from(request.rebalance_timeout_ms).unwrap_or(0),
        topics: request.subscribed_topic_names.map(|names| names.iter().map(Into::into).collect()),
        topic_pattern: request.subscribed_topic_regex.map(Into::into),
        assignor: request.server_assignor.map(Into::into),
        owned: request.topic_partitions.as_ref().map(owned),
    };
    let rights = call.rights().to_describe(&service.images).map(|rights| rights as Arc<dyn TopicRights>);
    let beating = service.groups.heartbeat(&call.peer.to_string(), heartbeat, rights);
    actix_rt::spawn(async move { respond(call, member, beating.await) });
}

fn owned(topics: &Array<'_, Owned<'_>>) -> Vec<PartitionId> {
    let mut partitions = Vec::new();
    for topic in topics {
        let id = TopicId(uuid::Uuid::from_bytes(topic.topic_id.0));
        partitions.extend(topic.partitions.iter().map(|index| PartitionId { topic: id, index }));
    }
    partitions
}

fn respond(call: Call, member: String, answer: Result<GroupHeartbeatAnswer, Refusal>) {
    let response = match answer {
        Ok(answer) => ConsumerGroupHeartbeatResponse {
            member_id: Some(member.into()),
            member_epoch: answer.member_epoch,
            heartbeat_interval_ms: i32::try_from(answer.heartbeat_interval_ms).unwrap_or(i32::MAX),
            assignment: answer.assigned.map(assignment),
            ..Default::default()
        },
        Err(refusal) => ConsumerGroupHeartbeatResponse {
            error_code: of_groups(refusal.code),
            error_message: Some(refusal.text.into()),
            ..Default::default()
        },
    };
    call.answer(&response);
}

fn assignment(assigned: Vec<PartitionId>) -> Assignment<'static> {
    let mut topics: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for partition in assigned {
        topics.entry(partition.topic).or_default().push(partition.index);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| TopicPartition {
        topic_id: Uuid(topic.0.into_bytes()),
        partitions: partitions.into(),
    });
    Assignment { topic_partitions: topics.collect() }
}
