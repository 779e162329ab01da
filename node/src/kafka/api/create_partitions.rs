//! CreatePartitions: gives topics more of them.

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::cluster::message::CreatePartitions;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::image::{Image, Topic};
use millstream_transport::kafka::messages::create_partitions::CreatePartitionsRequest;
use millstream_transport::kafka::messages::create_partitions::response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};

use super::super::call::Call;
use super::super::error::number_of;
use super::super::service::Service;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<CreatePartitionsRequest<'_>>(&body) else { return };
    let wishes = request.topics.iter().map(|topic| {
        let is_placed = topic.assignments.is_some();
        (CreatePartitions { name: topic.name.into_owned(), total: topic.count }, is_placed)
    });
    let wishes: Vec<(CreatePartitions, bool)> = wishes.collect();
    let (service, validate_only) = (Arc::clone(service), request.validate_only);
    actix_rt::spawn(async move {
        let mut results = Vec::with_capacity(wishes.len());
        for (wish, is_placed) in wishes {
            let name = wish.name.clone();
            let allowed = call.rights().demand(Operation::Alter, ResourceType::Topic, &name);
            let done = match allowed.and_then(|()| validate(&service.image(), &wish, is_placed)) {
                Ok(()) if !validate_only => service.cluster.create_partitions(wish).await,
                validated => validated,
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

/// What would be refused at once.
fn validate(image: &Image, wish: &CreatePartitions, is_placed: bool) -> Result<(), Refusal> {
    if is_placed {
        let text = "replicas are placed by the cluster; ask for a number of partitions only";
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
    }
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
        return Ok(());
    }
    let text = format!("topic {} has {present} partitions, and can only be given more", wish.name);
    Err(Refusal::new(ErrorCode::InvalidPartitions, text))
}
