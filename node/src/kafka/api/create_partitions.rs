//! CreatePartitions: gives topics more of them.

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::cluster::front::check_partitions_placed;
use millstream_actors::cluster::message::CreatePartitions;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::NodeId;
use millstream_actors::image::{Image, Topic};
use millstream_transport::kafka::messages::create_partitions::CreatePartitionsRequest;
use millstream_transport::kafka::messages::create_partitions::request::Topic as Wanted;
use millstream_transport::kafka::messages::create_partitions::response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};

use super::super::call::Call;
use super::super::error::number_of;
use super::super::replicas::named_nodes;
use super::super::service::Service;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read_of_operator::<CreatePartitionsRequest<'_>>(&body) else { return };
    let wishes: Vec<(String, Result<Wish, Refusal>)> = request
        .topics
        .iter()
        .map(|topic| {
            let allowed = call.rights().demand(Operation::Alter, ResourceType::Topic, &topic.name);
            (topic.name.to_string(), allowed.and_then(|()| wish(&topic)))
        })
        .collect();
    let (service, validate_only) = (Arc::clone(service), request.validate_only);
    actix_rt::spawn(async move {
        let mut results = Vec::with_capacity(wishes.len());
        for (name, wish) in wishes {
            let checked = wish.and_then(|wish| validate(&service.image(), &wish).map(|()| wish));
            let done = match checked {
                Ok(_) if validate_only => Ok(()),
                Ok(Wish { grown, placed: None }) => service.cluster.create_partitions(grown).await,
                Ok(Wish { grown, placed: Some(placed) }) => {
                    service.cluster.create_partitions_placed(grown, placed).await
                }
                Err(refusal) => Err(refusal),
            };
            results.push(CreatePartitionsTopicResult {
                name: name.into(),
                error_code: number_of(&done),
                error_message: done.err().map(|refusal| refusal.text.into()),
            });
        }
        call.answer(&CreatePartitionsResponse { results: results.into(), ..Default::default() });
    });
}

/// A topic to be given more partitions, and their replicas where the request places them.
struct Wish {
    grown: CreatePartitions,
    placed: Option<Vec<Vec<NodeId>>>,
}

fn wish(wanted: &Wanted<'_>) -> Result<Wish, Refusal> {
    let placed: Option<Result<Vec<_>, _>> = wanted.assignments.as_ref().map(|assignments| {
        assignments.iter().map(|assignment| named_nodes(&assignment.broker_ids)).collect()
    });
    let grown = CreatePartitions { name: wanted.name.to_string(), total: wanted.count };
    Ok(Wish { grown, placed: placed.transpose()? })
}

/// What would be refused at once.
fn validate(image: &Image, Wish { grown: wish, placed }: &Wish) -> Result<(), Refusal> {
    if Topic::is_internal_name(&wish.name) {
        let text = format!("{} is the cluster's own: its partitions say who coordinates what", wish.name);
        return Err(Refusal::new(ErrorCode::InvalidTopic, text));
    }
    let Some(topic) = image.topics().named(&wish.name) else {
        let text = format!("there is no topic {}", wish.name);
        return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, text));
    };
    let present = topic.partitions.len();
    if usize::try_from(wish.total).is_ok_and(|total| total > present) {
        return placed.as_ref().map_or(Ok(()), |placed| check_partitions_placed(image, wish, placed));
    }
    let text = format!("topic {} has {present} partitions, and can only be given more", wish.name);
    Err(Refusal::new(ErrorCode::InvalidPartitions, text))
}
