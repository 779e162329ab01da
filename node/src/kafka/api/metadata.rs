//! Metadata: the nodes, the topics, who leads what. Answered from this node's image.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millstream_actors::access::acl::CLUSTER_NAME;
use millstream_actors::access::{Operation, ResourceType};
use millstream_actors::cluster::message::CreateTopic;
use millstream_actors::error::ErrorCode;
use millstream_actors::image::{Image, Partition as Known, Topic as KnownTopic, check_name};
use millstream_transport::kafka::messages::metadata::MetadataRequest;
use millstream_transport::kafka::messages::metadata::response::{Broker, MetadataResponse, Partition, Topic};
use millstream_transport::kafka::{ErrorCode as WireError, Uuid};

use super::super::call::Call;
use super::super::error::{NONE, number};
use super::super::service::{NoLeader, Service, Standing, brokers};
use super::super::session::Entrance;
use crate::security::authorize::{OPERATIONS_NOT_ASKED, Rights};

/// How long a topic made here may take to be known here.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// The first version in which no topics are asked for by an empty list, and all by null.
const EMPTY_IS_NONE_FROM: i16 = 1;

/// The first version whose clients know that a leader has no listener of the name by which they came.
const LISTENER_ERROR_FROM: i16 = 6;

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
    let asked = Asked {
        wanted,
        creates: request.allow_auto_topic_creation && service.auto_create_topics,
        of_cluster: request.include_cluster_authorized_operations,
        of_topics: request.include_topic_authorized_operations,
    };
    let mut missing = missing(&service.image(), asked.wanted.as_ref());
    missing
        .retain(|name| asked.creates && may_describe(call.rights(), name) && may_create(call.rights(), name));
    if missing.is_empty() {
        return answer(service, &service.image(), call, &asked);
    }
    let service = Arc::clone(service);
    actix_rt::spawn(async move {
        let image = create(&service, missing).await;
        answer(&service, &image, call, &asked);
    });
}

/// What is asked for.
struct Asked {
    /// The topics; `None` for all.
    wanted: Option<BTreeSet<Wanted>>,
    /// Topics that there are not are made.
    creates: bool,
    /// What the sender may do with the cluster.
    of_cluster: bool,
    /// What the sender may do with each topic.
    of_topics: bool,
}

fn may_describe(rights: &Rights, topic: &str) -> bool {
    rights.may(Operation::Describe, ResourceType::Topic, topic)
}

fn may_create(rights: &Rights, topic: &str) -> bool {
    rights.may_with_cluster(Operation::Create) || rights.may(Operation::Create, ResourceType::Topic, topic)
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

fn answer(service: &Service, image: &Image, call: Call, asked: &Asked) {
    let (version, rights) = (call.version, call.rights());
    let entrance = Arc::clone(call.entrance());
    let to = To { image, entrance: &entrance, version };
    let mut topics: Vec<Topic<'_>> = match &asked.wanted {
        None => {
            let all = image.topics().by_name().filter(|found| may_describe(rights, &found.name));
            all.map(|found| topic(to, found)).collect()
        }
        Some(wanted) => {
            let told = |wanted| asked_for(to, wanted, (rights, asked.creates));
            wanted.iter().map(told).collect()
        }
    };
    for told in topics.iter_mut().filter(|told| asked.of_topics && told.error_code == NONE) {
        let name = told.name.as_deref().unwrap_or_default();
        told.topic_authorized_operations = rights.operations(ResourceType::Topic, name);
    }
    let of_cluster = asked.of_cluster.then(|| {
        let may = rights.may_with_cluster(Operation::Describe);
        if may { rights.operations(ResourceType::Cluster, CLUSTER_NAME) } else { 0 }
    });
    let cluster_id = image.cluster().map(|id| id.to_string());
    call.answer(&MetadataResponse {
        brokers: brokers(image, &entrance)
            .map(|broker| Broker {
                node_id: broker.id,
                host: broker.host.into(),
                port: broker.port,
                rack: broker.rack.map(Into::into),
            })
            .collect(),
        cluster_id: cluster_id.map(Into::into),
        controller_id: service.controller_id(image, &entrance),
        topics: topics.into(),
        cluster_authorized_operations: of_cluster.unwrap_or(OPERATIONS_NOT_ASKED),
        ..Default::default()
    });
}

/// To whom the image is shown.
#[derive(Clone, Copy)]
struct To<'a> {
    image: &'a Image,
    entrance: &'a Entrance,
    version: i16,
}

fn asked_for<'a>(
    to @ To { image, version, .. }: To<'a>,
    wanted: &'a Wanted,
    (rights, creates): (&Rights, bool),
) -> Topic<'a> {
    match wanted {
        // Whether there is such a topic is nothing that everybody is told.
        Wanted::Name(name) if !may_describe(rights, name) => denied(name),
        Wanted::Name(name) => match image.topics().named(name) {
            Some(found) => topic(to, found),
            None if creates && !may_create(rights, name) => denied(name),
            None => Topic {
                error_code: number(unknown(name)),
                name: Some(name.as_str().into()),
                ..Default::default()
            },
        },
        Wanted::Id(id) => match image.topics().get(millstream_actors::ids::TopicId(*id)) {
            Some(found) if may_describe(rights, &found.name) => topic(to, found),
            // As with Kafka: an id is no secret, its name is.
            Some(_) => nameless(*id, ErrorCode::TopicAuthorizationFailed, version),
            None => nameless(*id, ErrorCode::UnknownTopicId, version),
        },
    }
}

fn nameless(id: uuid::Uuid, error: ErrorCode, version: i16) -> Topic<'static> {
    Topic {
        error_code: number(error),
        // Versions before 12 have no null here.
        name: if version >= 12 { None } else { Some("".into()) },
        topic_id: Uuid(id.into_bytes()),
        ..Default::default()
    }
}

fn denied(name: &str) -> Topic<'_> {
    let error_code = number(ErrorCode::TopicAuthorizationFailed);
    Topic { error_code, name: Some(name.into()), ..Default::default() }
}

/// What is said of a name that no topic has.
pub(super) fn unknown(name: &str) -> ErrorCode {
    check_name(name).err().map_or(ErrorCode::UnknownTopicOrPartition, |refusal| refusal.code)
}

fn topic<'a>(to: To<'_>, found: &'a KnownTopic) -> Topic<'a> {
    Topic {
        error_code: NONE,
        name: Some((&*found.name).into()),
        topic_id: Uuid(found.id.0.into_bytes()),
        is_internal: found.internal,
        partitions: (0..).zip(&found.partitions).map(|(index, known)| partition(to, index, known)).collect(),
        ..Default::default()
    }
}

fn partition(To { image, entrance, version }: To<'_>, index: i32, known: &Known) -> Partition<'static> {
    let Standing { leader, leader_epoch, replicas, in_sync, offline } = Standing::of(image, known, entrance);
    let error = match leader {
        Ok(_) => WireError::None,
        Err(NoLeader::NoListener) if version >= LISTENER_ERROR_FROM => WireError::ListenerNotFound,
        Err(_) => WireError::LeaderNotAvailable,
    };
    Partition {
        error_code: error.code(),
        partition_index: index,
        leader_id: leader.unwrap_or(-1),
        leader_epoch,
        replica_nodes: replicas.into(),
        isr_nodes: in_sync.into(),
        offline_replicas: if version >= 5 { offline.into() } else { Default::default() },
    }
}
