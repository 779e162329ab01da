//! Metadata: the nodes, the topics, who leads what. Answered from this node's image.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millstream_actors::cluster::message::CreateTopic;
use millstream_actors::error::ErrorCode;
use millstream_actors::image::{Image, Partition as Known, Topic as KnownTopic, check_name};
use millstream_transport::kafka::Uuid;
use millstream_transport::kafka::messages::metadata::MetadataRequest;
use millstream_transport::kafka::messages::metadata::response::{Broker, MetadataResponse, Partition, Topic};

use super::super::call::Call;
use super::super::error::{NONE, number};
use super::super::service::{Service, Standing, brokers};

/// How long a topic made here may take to be known here.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// The first version in which no topics are asked for by an empty list, and all by null.
const EMPTY_IS_NONE_FROM: i16 = 1;

/// What is asked for of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Name(String),
    Id(uuid::Uuid),
}

pub(in super::super) fn serve(service: &Arc<Service>, call: Call) {
    let body = call.body();
    let Some((request, call)) = call.read::<MetadataRequest<'_>>(&body) else { return };
    let wanted = wanted(&request, call.version);
    let missing = missing(&service.image(), wanted.as_ref());
    if missing.is_empty() || !request.allow_auto_topic_creation || !service.auto_create_topics {
        return answer(service, &service.image(), call, wanted.as_ref());
    }
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let image = create(&service, missing).await;
        answer(&service, &image, call, wanted.as_ref());
    });
}

/// The topics asked for; `None` for all.
fn wanted(request: &MetadataRequest<'_>, version: i16) -> Option<BTreeSet<Wanted>> {
    let topics = request.topics.as_ref()?;
    if topics.is_empty() && version < EMPTY_IS_NONE_FROM {
        return None;
    }
    let wanted = topics.iter().map(|topic| match topic.name {
        Some(name) => Wanted::Name(name.into_owned()),
        None => Wanted::Id(uuid::Uuid::from_bytes(topic.topic_id.0)),
    });
    Some(wanted.collect())
}

fn missing(image: &Image, wanted: Option<&BTreeSet<Wanted>>) -> Vec<String> {
    let names = wanted.into_iter().flatten().filter_map(|wanted| match wanted {
        Wanted::Name(name) => Some(name),
        Wanted::Id(_) => None,
    });
    names.filter(|name| image.topics().named(name).is_none()).cloned().collect()
}

/// Makes topics, and waits until they are known here and led; the image then, whatever came of it.
async fn create(service: &Service, names: Vec<String>) -> Arc<Image> {
    let mut made = Vec::new();
    for name in names.into_iter().filter(|name| !KnownTopic::is_internal_name(name)) {
        let config = service.topic_defaults.clone();
        let topic = CreateTopic { name: name.clone(), partitions: None, replication_factor: None, config };
        match service.cluster.create_topic(topic).await {
            Ok(_) => made.push(name),
            Err(refusal) if refusal.code == ErrorCode::TopicAlreadyExists => made.push(name),
            Err(refusal) => tracing::info!(name, %refusal, "a topic that was asked for was not made"),
        }
    }
    let is_led = |image: &Image, name: &String| {
        image.topics().named(name).is_some_and(|topic| topic.partitions.iter().all(|p| p.leader.is_some()))
    };
    let mut images = service.images.clone();
    let all_led = async {
        while !made.iter().all(|name| is_led(&images.borrow_and_update(), name)) {
            if images.changed().await.is_err() {
                return;
            }
        }
    };
    // What is not known by then is answered as it is, and asked for again.
    let _ = tokio::time::timeout(KNOWN_WITHIN, all_led).await;
    service.image()
}

fn answer(service: &Service, image: &Image, call: Call, wanted: Option<&BTreeSet<Wanted>>) {
    let version = call.version;
    let topics = match wanted {
        None => image.topics().by_name().map(|found| topic(image, found, version)).collect(),
        Some(wanted) => wanted.iter().map(|wanted| asked_for(image, wanted, version)).collect(),
    };
    let cluster_id = image.cluster().map(|id| id.to_string());
    call.answer(&MetadataResponse {
        brokers: brokers(image)
            .map(|broker| Broker {
                node_id: broker.id,
                host: broker.host.into(),
                port: broker.port,
                rack: None,
            })
            .collect(),
        cluster_id: cluster_id.map(Into::into),
        controller_id: service.controller_id(image),
        topics,
        ..Default::default()
    });
}

fn asked_for<'a>(image: &'a Image, wanted: &'a Wanted, version: i16) -> Topic<'a> {
    match wanted {
        Wanted::Name(name) => match image.topics().named(name) {
            Some(found) => topic(image, found, version),
            None => Topic {
                error_code: number(unknown(name)),
                name: Some(name.as_str().into()),
                ..Default::default()
            },
        },
        Wanted::Id(id) => match image.topics().get(millstream_actors::ids::TopicId(*id)) {
            Some(found) => topic(image, found, version),
            None => Topic {
                error_code: number(ErrorCode::UnknownTopicId),
                // Versions before 12 have no null here.
                name: if version >= 12 { None } else { Some("".into()) },
                topic_id: Uuid(id.into_bytes()),
                ..Default::default()
            },
        },
    }
}

/// What is said of a name that no topic has.
pub(super) fn unknown(name: &str) -> ErrorCode {
    check_name(name).err().map_or(ErrorCode::UnknownTopicOrPartition, |refusal| refusal.code)
}

fn topic<'a>(image: &Image, found: &'a KnownTopic, version: i16) -> Topic<'a> {
    Topic {
        error_code: NONE,
        name: Some((&*found.name).into()),
        topic_id: Uuid(found.id.0.into_bytes()),
        is_internal: found.internal,
        partitions: (0..)
            .zip(&found.partitions)
            .map(|(index, known)| partition(image, index, known, version))
            .collect(),
        ..Default::default()
    }
}

fn partition(image: &Image, index: i32, known: &Known, version: i16) -> Partition<'static> {
    let Standing { leader, leader_epoch, replicas, in_sync, offline } = Standing::of(image, known);
    Partition {
        error_code: leader.map_or(number(ErrorCode::LeaderNotAvailable), |_| NONE),
        partition_index: index,
        leader_id: leader.unwrap_or(-1),
        leader_epoch,
        replica_nodes: replicas.into(),
        isr_nodes: in_sync.into(),
        offline_replicas: if version >= 5 { offline.into() } else { Default::default() },
    }
}
