//! CreateTopics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::cluster::front::check_topic_placed;
use millstream_actors::cluster::message::CreateTopic;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::ids::NodeId;
use millstream_actors::image::{self, Image};
use millstream_actors::topic_config::TopicConfig;
use millstream_transport::kafka::messages::create_topics::CreateTopicsRequest;
use millstream_transport::kafka::messages::create_topics::request::Topic as Wanted;
use millstream_transport::kafka::messages::create_topics::response::{Config, CreateTopicsResponse, Topic};
use millstream_transport::kafka::{Array, Uuid};

use super::super::call::Call;
use super::super::configs::{OF_TOPIC, invalid_setting};
use super::super::error::{NONE, number};
use super::super::replicas::named_nodes;
use super::super::service::Service;
use crate::security::authorize::Rights;

/// The number that leaves the choice to the cluster.
const DEFAULT: i32 = -1;

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read_of_operator::<CreateTopicsRequest<'_>>(&body) else { return };
    let mut seen = BTreeSet::new();
    let names = request.topics.iter().map(|topic| topic.name.into_owned());
    let twice: BTreeSet<String> = names.filter(|name| !seen.insert(name.clone())).collect();
    let wishes: Vec<(String, Result<Wish, Refusal>)> = request
        .topics
        .iter()
        .map(|topic| {
            let allowed = may_create(call.rights(), &topic.name);
            (topic.name.clone().into_owned(), allowed.and_then(|()| wish(service, &topic, &twice)))
        })
        .collect();
    let (service, validate_only) = (Arc::clone(service), request.validate_only);
    actix_rt::spawn(async move {
        let mut topics = Vec::with_capacity(wishes.len());
        for (name, wish) in wishes {
            let made = match wish {
                Ok(wish) if validate_only => validate(&service.image(), &wish),
                Ok(Wish { topic, placed: None }) => service.cluster.create_topic(topic).await.map(|id| id.0),
                Ok(Wish { topic, placed: Some(placed) }) => {
                    service.cluster.create_topic_placed(topic, placed).await.map(|id| id.0)
                }
                Err(refusal) => Err(refusal),
            };
            topics.push(told((&service.image(), call.rights()), name, made));
        }
        call.answer(&CreateTopicsResponse { topics: topics.into(), ..Default::default() });
    });
}

fn may_create(rights: &Rights, name: &str) -> Result<(), Refusal> {
    if rights.may_with_cluster(Operation::Create) {
        return Ok(());
    }
    rights.demand(Operation::Create, ResourceType::Topic, name)
}

/// A topic to be made, and its partitions' replicas where the request places them.
struct Wish {
    topic: CreateTopic,
    placed: Option<Vec<(i32, Vec<NodeId>)>>,
}

fn wish(service: &Service, topic: &Wanted<'_>, twice: &BTreeSet<String>) -> Result<Wish, Refusal> {
    if twice.contains(&*topic.name) {
        let text = format!("topic {} stands twice in the request", topic.name);
        return Err(Refusal::new(ErrorCode::InvalidRequest, text));
    }
    if image::Topic::is_internal_name(&topic.name) {
        let text = format!("{} is made by the cluster when it is needed", topic.name);
        return Err(Refusal::new(ErrorCode::InvalidTopic, text));
    }
    let named = topic.assignments.iter().map(|assignment| {
        named_nodes(&assignment.broker_ids).map(|nodes| (assignment.partition_index, nodes))
    });
    let named: Vec<_> = named.collect::<Result<_, _>>()?;
    let mut config = service.topic_defaults.clone();
    for given in topic.configs.iter() {
        let Some(value) = given.value else {
            let text = format!("{} has no value", given.name);
            return Err(Refusal::new(ErrorCode::InvalidConfig, text));
        };
        config.insert(given.name.into_owned(), value.into_owned());
    }
    let partitions = match topic.num_partitions {
        DEFAULT => None,
        count => Some(count),
    };
    let replication_factor = match i32::from(topic.replication_factor) {
        DEFAULT => None,
        _ => Some(topic.replication_factor),
    };
    let topic = CreateTopic { name: topic.name.to_string(), partitions, replication_factor, config };
    Ok(Wish { topic, placed: Some(named).filter(|named| !named.is_empty()) })
}

/// What would be refused at once.
fn validate(image: &Image, Wish { topic: wish, placed }: &Wish) -> Result<uuid::Uuid, Refusal> {
    image::check_name(&wish.name)?;
    if image.topics().named(&wish.name).is_some() {
        let text = format!("topic {} exists", wish.name);
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, text));
    }
    TopicConfig::parse(&wish.config).map_err(invalid_setting)?;
    if let Some(placed) = placed {
        check_topic_placed(image, wish, placed)?;
    }
    Ok(uuid::Uuid::nil())
}

fn told(
    (image, rights): (&Image, &Rights),
    name: String,
    made: Result<uuid::Uuid, Refusal>,
) -> Topic<'static> {
    match made {
        Ok(id) => {
            let known = image.topics().named(&name);
            let partitions = known.map(|topic| topic.partitions.len());
            let replicas = known.and_then(|topic| topic.partitions.first()).map(|first| first.replicas.len());
            let is_shown = rights.may(Operation::DescribeConfigs, ResourceType::Topic, &name);
            let denied = number(ErrorCode::TopicAuthorizationFailed);
            if !is_shown {
                return Topic {
                    name: name.into(),
                    topic_id: Uuid(id.into_bytes()),
                    topic_config_error_code: denied,
                    num_partitions: DEFAULT,
                    replication_factor: -1,
                    configs: None,
                    ..Default::default()
                };
            }
            Topic {
                name: name.into(),
                topic_id: Uuid(id.into_bytes()),
                error_code: NONE,
                num_partitions: partitions.and_then(|count| i32::try_from(count).ok()).unwrap_or(DEFAULT),
                replication_factor: replicas.and_then(|count| i16::try_from(count).ok()).unwrap_or(-1),
                configs: Some(configs(known.map(|topic| &topic.overrides))),
                ..Default::default()
            }
        }
        Err(refusal) => Topic {
            name: name.into(),
            error_code: number(refusal.code),
            error_message: Some(refusal.text.into()),
            configs: None,
            ..Default::default()
        },
    }
}

fn configs(overrides: Option<&BTreeMap<String, String>>) -> Array<'static, Config<'static>> {
    let told = |(name, value): (&String, &String)| Config {
        name: name.clone().into(),
        value: Some(value.clone().into()),
        config_source: OF_TOPIC,
        ..Default::default()
    };
    overrides.into_iter().flatten().map(told).collect()
}
