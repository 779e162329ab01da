//! ElectLeaders: gives partitions back to their preferred leaders, or a leader to those that have none.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_actors::access::Operation;
use millstream_actors::cluster::message::ElectionKind;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::PartitionId;
use millstream_actors::image::Image;
use millstream_transport::kafka::messages::elect_leaders::ElectLeadersRequest;
use millstream_transport::kafka::messages::elect_leaders::response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

use super::super::call::Call;
use super::super::error::{NONE, number};
use super::super::service::{Service, partition, topic, within};

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

/// The first version with an error of the whole; before, each partition has it.
const ERROR_FROM: i16 = 1;

/// What became of each partition asked for, by topic.
type Results = BTreeMap<String, BTreeMap<i32, Result<(), Refusal>>>;

/// What is asked for: partitions that there are, and results of those that there are not.
struct Asked {
    partitions: Vec<PartitionId>,
    results: Results,
    /// All partitions were meant: those that need nothing are not told.
    is_all: bool,
}

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read_of_operator::<ElectLeadersRequest<'_>>(&body) else { return };
    let kind = match request.election_type {
        PREFERRED => ElectionKind::Preferred,
        UNCLEAN => ElectionKind::Unclean,
        _ => return fail(call, ErrorCode::InvalidRequest),
    };
    // Before anything is looked at: which topics there are is nothing that everybody is told.
    if let Err(refusal) = call.rights().demand_of_cluster(Operation::Alter) {
        if call.version >= ERROR_FROM {
            return fail(call, refusal.code);
        }
        return tell(call, denied(&request, &refusal));
    }
    let asked = asked(&service.image(), &request);
    let (service, timeout_ms) = (Arc::clone(service), request.timeout_ms);
    actix_rt::spawn(async move {
        let Asked { partitions, results, is_all } = asked;
        match within(timeout_ms, service.cluster.elect_leaders(partitions.clone(), kind)).await {
            Ok(elected) => respond(&service.image(), call, results, elected, is_all),
            Err(refusal) if call.version < ERROR_FROM => {
                let each = partitions.into_iter().map(|id| (id, Err(refusal.clone()))).collect();
                respond(&service.image(), call, results, each, is_all);
            }
            Err(refusal) => fail(call, refusal.code),
        }
    });
}

fn fail(call: Call, code: ErrorCode) {
    call.answer(&ElectLeadersResponse { error_code: number(code), ..Default::default() });
}

/// The refusal for each partition that the request names.
fn denied(request: &ElectLeadersRequest<'_>, refusal: &Refusal) -> Results {
    let mut results = Results::new();
    for wanted in request.topic_partitions.as_ref().into_iter().flatten() {
        let of_topic = results.entry(wanted.topic.to_string()).or_default();
        of_topic.extend(wanted.partitions.iter().map(|index| (index, Err(refusal.clone()))));
    }
    results
}

fn asked(image: &Image, request: &ElectLeadersRequest<'_>) -> Asked {
    let Some(topics) = &request.topic_partitions else {
        let all = image.topics().iter().flat_map(|topic| topic.ids()).map(|(id, _)| id);
        return Asked { partitions: all.collect(), results: Results::new(), is_all: true };
    };
    let (mut partitions, mut results) = (Vec::new(), Results::new());
    for wanted in topics {
        let found = topic(image, &wanted.topic, uuid::Uuid::nil());
        for index in &wanted.partitions {
            match partition(found, false, index) {
                Ok(id) => partitions.push(id),
                Err(refusal) => {
                    results.entry(wanted.topic.to_string()).or_default().insert(index, Err(refusal));
                }
            }
        }
    }
    Asked { partitions, results, is_all: false }
}

fn respond(
    image: &Image,
    call: Call,
    mut results: Results,
    elected: Vec<(PartitionId, Result<(), Refusal>)>,
    is_all: bool,
) {
    for (id, result) in elected {
        let is_nothing = result.as_ref().is_err_and(|refusal| refusal.code == ErrorCode::ElectionNotNeeded);
        // A topic that was removed meanwhile has no name any more.
        if let Some(known) = image.topics().get(id.topic).filter(|_| !(is_all && is_nothing)) {
            results.entry(known.name.to_string()).or_default().insert(id.index, result);
        }
    }
    tell(call, results);
}

fn tell(call: Call, results: Results) {
    let told = |(index, result): (i32, Result<(), Refusal>)| PartitionResult {
        partition_id: index,
        error_code: result.as_ref().err().map_or(NONE, |refusal| number(refusal.code)),
        error_message: result.err().map(|refusal| refusal.text.into()),
    };
    let topics = results.into_iter().map(|(topic, partitions)| ReplicaElectionResult {
        topic: topic.into(),
        partition_result: partitions.into_iter().map(told).collect(),
    });
    call.answer(&ElectLeadersResponse { replica_election_results: topics.collect(), ..Default::default() });
}
