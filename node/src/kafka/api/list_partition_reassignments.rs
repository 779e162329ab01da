//! ListPartitionReassignments: which partitions are getting other replicas (KIP-455). Answered from this node's image.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_actors::access::Operation;
use millstream_actors::ids::NodeId;
use millstream_actors::image::{Image, Partition as Known, Topic as KnownTopic};
use millstream_transport::kafka::Array;
use millstream_transport::kafka::messages::list_partition_reassignments::ListPartitionReassignmentsRequest;
use millstream_transport::kafka::messages::list_partition_reassignments::response::{
    ListPartitionReassignmentsResponse, Partition, Topic,
};

use super::super::call::Call;
use super::super::error::number;
use super::super::service::{Service, wire_id};

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<ListPartitionReassignmentsRequest<'_>>(&body) else { return };
    if let Err(refusal) = call.rights().demand_of_cluster(Operation::Describe) {
        return call.answer(&ListPartitionReassignmentsResponse {
            error_code: number(refusal.code),
            error_message: Some(refusal.text.into()),
            ..Default::default()
        });
    }
    let image = service.image();
    let topics: Vec<Topic<'_>> = match &request.topics {
        None => image.topics().by_name().filter_map(|found| under_way(found, None)).collect(),
        Some(topics) => {
            let named = topics.iter().filter_map(|wanted| {
                let indexes = wanted.partition_indexes.iter().collect();
                under_way(known(&image, &wanted.name)?, Some(&indexes))
            });
            named.collect()
        }
    };
    call.answer(&ListPartitionReassignmentsResponse { topics: topics.into(), ..Default::default() });
}

fn known<'a>(image: &'a Image, name: &str) -> Option<&'a Arc<KnownTopic>> {
    image.topics().named(name)
}

/// A topic with those of its partitions whose replicas are being reassigned; `None` if there are none.
fn under_way<'a>(topic: &'a KnownTopic, wanted: Option<&BTreeSet<i32>>) -> Option<Topic<'a>> {
    let is_wanted = |index: i32| wanted.is_none_or(|wanted| wanted.contains(&index));
    let partitions = topic.ids().filter(|(id, known)| known.reassignment.is_some() && is_wanted(id.index));
    let partitions: Array<'_, Partition<'_>> = partitions.map(|(id, known)| told(id.index, known)).collect();
    (!partitions.is_empty()).then(|| Topic { name: (&*topic.name).into(), partitions })
}

fn told(partition_index: i32, known: &Known) -> Partition<'static> {
    let ids = |nodes: &[NodeId]| nodes.iter().copied().map(wire_id).collect::<Vec<_>>().into();
    Partition {
        partition_index,
        replicas: ids(&known.replicas),
        adding_replicas: ids(&known.adding()),
        removing_replicas: ids(&known.removing()),
    }
}
