//! ConsumerGroupDescribe: groups of KIP-848 and their members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::front::Described;
use millstream_actors::group::message::MemberDescription;
use millstream_actors::ids::{PartitionId, TopicId};
use millstream_actors::image::Image;
use millstream_transport::kafka::Uuid;
use millstream_transport::kafka::messages::consumer_group_describe::ConsumerGroupDescribeRequest;
use millstream_transport::kafka::messages::consumer_group_describe::response::{
    Assignment, ConsumerGroupDescribeResponse, Group, Member, TopicPartition,
};

use super::super::call::Call;
use super::super::error::of_groups;
use super::super::service::Service;
use super::list_groups::state_name;
use crate::security::authorize::{OPERATIONS_NOT_ASKED, Rights};

/// The types of members, told from version 1.
const CLASSIC: i8 = 0;
const MODERN: i8 = 1;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<ConsumerGroupDescribeRequest<'_>>(&body) else { return };
    let groups: BTreeSet<String> = request.group_ids.iter().map(Into::into).collect();
    let (service, includes) = (Arc::clone(service), request.include_authorized_operations);
    actix_rt::spawn(async move {
        let mut described = Vec::with_capacity(groups.len());
        for group in groups {
            let rights = call.rights();
            let answer = match rights.demand(Operation::Describe, ResourceType::Group, &group) {
                Ok(()) => service.groups.describe(&group).await,
                Err(refusal) => Err(refusal),
            };
            let answer = answer.and_then(|described| see_topics(&service.image(), rights, described));
            let is_told = includes && answer.is_ok();
            let operations =
                if is_told { rights.operations(ResourceType::Group, &group) } else { OPERATIONS_NOT_ASKED };
            described
                .push(Group { authorized_operations: operations, ..told(&service.image(), group, answer) });
        }
        call.answer(&ConsumerGroupDescribeResponse { groups: described.into(), ..Default::default() });
    });
}

/// A group whose members read a topic is shown to those only who may describe that.
fn see_topics(image: &Image, rights: &Rights, described: Described) -> Result<Described, Refusal> {
    if !rights.are_asked() {
        return Ok(described);
    }
    let group = &described.group;
    let known = group.members.values().flat_map(|member| member.assigned.iter().chain(&member.target));
    let known = known.filter_map(|partition| image.topics().get(partition.topic));
    let mut names: BTreeSet<String> = known.map(|topic| topic.name.to_string()).collect();
    names.extend(group.members.values().flat_map(|member| member.topics.iter().cloned()));
    let may = |name: &String| rights.may(Operation::Describe, ResourceType::Topic, name);
    if names.iter().all(may) {
        return Ok(described);
    }
    let text = "members of the group read topics that the sender may not describe";
    Err(Refusal::new(ErrorCode::TopicAuthorizationFailed, text))
}

fn told(image: &Image, id: String, answer: Result<Described, Refusal>) -> Group<'static> {
    match answer {
        Ok(Described { group: described, classic }) => Group {
            group_id: id.into(),
            group_state: state_name(described.state).into(),
            group_epoch: described.epoch,
            assignment_epoch: described.epoch,
            assignor_name: described.assignor.into(),
            members: described
                .members
                .into_iter()
                .map(|(id, known)| {
                    let member_type = if classic.contains(&id) { CLASSIC } else { MODERN };
                    Member { member_type, ..member(image, id, known) }
                })
                .collect(),
            ..Default::default()
        },
        Err(refusal) => Group {
            error_code: of_groups(refusal.code),
            error_message: Some(refusal.text.into()),
            group_id: id.into(),
            group_state: "Dead".into(),
            ..Default::default()
        },
    }
}

fn member(image: &Image, id: String, known: MemberDescription) -> Member<'static> {
    Member {
        member_id: id.into(),
        instance_id: known.instance.map(Into::into),
        member_epoch: known.epoch,
        client_id: known.client_id.into(),
        subscribed_topic_names: known.topics.into_iter().map(Into::into).collect(),
        assignment: assignment(image, &known.assigned),
        target_assignment: assignment(image, &known.target),
        ..Default::default()
    }
}

fn assignment(image: &Image, partitions: &[PartitionId]) -> Assignment<'static> {
    let mut topics: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(partition.topic).or_default().push(partition.index);
    }
    let topics = topics.into_iter().map(|(id, partitions)| TopicPartition {
        topic_id: Uuid(id.0.into_bytes()),
        topic_name: image
            .topics()
            .get(id)
            .map_or_else(Default::default, |topic| topic.name.to_string().into()),
        partitions: partitions.into(),
    });
    Assignment { topic_partitions: topics.collect() }
}
