//! AlterPartitionReassignments: gives partitions other replicas while they are in use, or gives that up (KIP-455).

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_actors::access::Operation;
use millstream_actors::cluster::message::reassignment::Wish;
use millstream_actors::error::Refusal;
use millstream_actors::ids::PartitionId;
use millstream_actors::image::Image;
use millstream_transport::kafka::messages::alter_partition_reassignments::AlterPartitionReassignmentsRequest;
use millstream_transport::kafka::messages::alter_partition_reassignments::request::Partition as Wanted;
use millstream_transport::kafka::messages::alter_partition_reassignments::response::{
    AlterPartitionReassignmentsResponse, Partition, ReassignableTopicResponse,
};

use super::super::call::Call;
use super::super::error::{NONE, number};
use super::super::replicas::named_nodes;
use super::super::service::{Service, partition, topic, within};

/// What became of each partition asked for, by topic.
type Results = BTreeMap<String, BTreeMap<i32, Result<(), Refusal>>>;

/// Partitions that there are, by name, and results of those that there are not.
#[derive(Default)]
struct Asked {
    wishes: Vec<Wish>,
    names: BTreeMap<PartitionId, String>,
    results: Results,
}

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read_of_operator::<AlterPartitionReassignmentsRequest<'_>>(&body) else {
        return;
    };
    if let Err(refusal) = call.rights().demand_of_cluster(Operation::Alter) {
        return call.answer(&AlterPartitionReassignmentsResponse {
            error_code: number(refusal.code),
            error_message: Some(refusal.text.into()),
            ..Default::default()
        });
    }
    let Asked { wishes, names, mut results } = asked(&service.image(), &request);
    let may_change_factor = request.allow_replication_factor_change;
    let (service, timeout_ms) = (Arc::clone(service), request.timeout_ms);
    actix_rt::spawn(async move {
        let done = async {
            if wishes.is_empty() {
                Ok(Vec::new())
            } else {
                service.cluster.reassign(wishes, may_change_factor).await
            }
        };
        let (error_code, error_message) = match within(timeout_ms, done).await {
            Ok(each) => {
                for (id, result) in each {
                    if let Some(name) = names.get(&id) {
                        results.entry(name.clone()).or_default().insert(id.index, result);
                    }
                }
                (NONE, None)
            }
            Err(refusal) => (number(refusal.code), Some(refusal.text.into())),
        };
        let responses = if error_code == NONE { results } else { Results::new() };
        call.answer(&AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: may_change_factor,
            error_code,
            error_message,
            responses: responses.into_iter().map(told).collect(),
            ..Default::default()
        });
    });
}

fn asked(image: &Image, request: &AlterPartitionReassignmentsRequest<'_>) -> Asked {
    let mut asked = Asked::default();
    for wanted in &request.topics {
        let found = topic(image, &wanted.name, uuid::Uuid::nil());
        for one in &wanted.partitions {
            let known = partition(found, false, one.partition_index);
            match known.and_then(|id| wish(id, &one)) {
                Ok(wish) => {
                    asked.names.insert(wish.partition, wanted.name.to_string());
                    asked.wishes.push(wish);
                }
                Err(refusal) => {
                    let results = asked.results.entry(wanted.name.to_string()).or_default();
                    results.insert(one.partition_index, Err(refusal));
                }
            }
        }
    }
    asked
}

fn wish(partition: PartitionId, wanted: &Wanted<'_>) -> Result<Wish, Refusal> {
    let Some(replicas) = &wanted.replicas else { return Ok(Wish { partition, replicas: None }) };
    Ok(Wish { partition, replicas: Some(named_nodes(replicas)?) })
}

fn told(
    (name, partitions): (String, BTreeMap<i32, Result<(), Refusal>>),
) -> ReassignableTopicResponse<'static> {
    let told = |(index, result): (i32, Result<(), Refusal>)| Partition {
        partition_index: index,
        error_code: result.as_ref().err().map_or(NONE, |refusal| number(refusal.code)),
        error_message: result.err().map(|refusal| refusal.text.into()),
    };
    ReassignableTopicResponse { name: name.into(), partitions: partitions.into_iter().map(told).collect() }
}
