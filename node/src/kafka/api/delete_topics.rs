//! DeleteTopics, by name or by id.

use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::cluster::message::DeleteTopic;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::TopicId;
use millstream_actors::image::Topic;
use millstream_transport::kafka::Uuid;
use millstream_transport::kafka::messages::delete_topics::DeleteTopicsRequest;
use millstream_transport::kafka::messages::delete_topics::response::{
    DeletableTopicResult, DeleteTopicsResponse,
};

use super::super::call::Call;
use super::super::error::number_of;
use super::super::service::Service;
use crate::security::authorize::Rights;

/// The first version that names topics by id, too.
const BY_ID_FROM: i16 = 6;

/// A topic as the request names it.
struct Wanted {
    name: Option<String>,
    id: uuid::Uuid,
}

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<DeleteTopicsRequest<'_>>(&body) else { return };
    let wanted: Vec<Wanted> = if call.version >= BY_ID_FROM {
        let by_either = request.topics.iter();
        by_either
            .map(|topic| Wanted {
                name: topic.name.map(Into::into),
                id: uuid::Uuid::from_bytes(topic.topic_id.0),
            })
            .collect()
    } else {
        let named =
            |name: std::borrow::Cow<'_, str>| Wanted { name: Some(name.into()), id: uuid::Uuid::nil() };
        request.topic_names.iter().map(named).collect()
    };
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let mut responses = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            let deleted = delete(&service, call.rights(), &wanted).await;
            let error_code = number_of(&deleted);
            let (name, id) = match &deleted {
                Ok((name, id)) => (Some(name.clone()), id.0),
                Err(_) => (told_name(&service, call.rights(), &wanted), wanted.id),
            };
            responses.push(DeletableTopicResult {
                name: name.map(Into::into),
                topic_id: Uuid(id.into_bytes()),
                error_code,
                error_message: deleted.err().map(|refusal| refusal.text.into()),
            });
        }
        call.answer(&DeleteTopicsResponse { responses: responses.into(), ..Default::default() });
    });
}

async fn delete(service: &Service, rights: &Rights, wanted: &Wanted) -> Result<(String, TopicId), Refusal> {
    let image = service.image();
    if let Some(name) = &wanted.name {
        rights.demand(Operation::Delete, ResourceType::Topic, name)?;
    }
    let known = match &wanted.name {
        Some(name) => image.topics().named(name).ok_or_else(|| {
            Refusal::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic {name}"))
        }),
        None => image.topics().get(TopicId(wanted.id)).ok_or_else(|| {
            Refusal::new(ErrorCode::UnknownTopicId, format!("there is no topic with the id {}", wanted.id))
        }),
    }?;
    rights.demand(Operation::Delete, ResourceType::Topic, &known.name)?;
    let (name, id) = (known.name.to_string(), known.id);
    service.cluster.delete_topic(DeleteTopic { name: name.clone() }).await?;
    Ok((name, id))
}

/// The name of a topic that was not deleted: as it was asked for, or that of its id to who may know it.
fn told_name(service: &Service, rights: &Rights, wanted: &Wanted) -> Option<String> {
    let may = |topic: &&Arc<Topic>| rights.may(Operation::Describe, ResourceType::Topic, &topic.name);
    let known =
        || service.image().topics().get(TopicId(wanted.id)).filter(may).map(|topic| topic.name.to_string());
    wanted.name.clone().or_else(known)
}
