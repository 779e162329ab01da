//! What native clients and other nodes are served: by message, handed to the actor that answers it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use millstream_actors::cluster::front::ClusterFront;
use millstream_actors::cluster::message::CreateTopic;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::front::{GroupFront, GroupMessage};
use millstream_actors::group::message::streams::{DescribeStreamsGroup, StreamsHeartbeat};
use millstream_actors::group::message::{
    DeleteGroup, DescribeGroup, FindCoordinator, GroupHeartbeat, ListGroups, OffsetCommit, OffsetDelete,
    OffsetFetch,
};
use millstream_actors::ids::PartitionId;
use millstream_actors::image::Image;
use millstream_actors::partition::front::Front;
use millstream_actors::partition::message::{
    DeleteRecords, Fetch, ListOffsets, Produce, ProduceAnswer, ProducePart,
};
use millstream_transport::frame::Frame;
use millstream_transport::peer::{
    Answering, Caller, ChannelOffer, Endpoint, Fault, FaultCode, Handlers, Request, Service,
};
use millstream_transport::world::watch;

use crate::config::NodeConfig;

/// What an endpoint serves before and after its node is whole: an endpoint must be there before the parts that speak
/// through it.
#[derive(Debug, Default)]
pub(super) struct LateService(OnceLock<Handlers>);

impl LateService {
    /// From now on these serve.
    pub(super) fn open(&self, handlers: Handlers) {
        // A node is put together once.
        let _ = self.0.set(handlers);
    }
}

fn starting() -> Fault {
    Fault::new(FaultCode::Dropped, "the node is starting; try again")
}

impl Service for LateService {
    fn request(&self, caller: &Caller, request: Request) {
        match self.0.get() {
            Some(handlers) => handlers.request(caller, request),
            None => request.responder.refuse(starting()),
        }
    }

    fn channel(&self, caller: &Caller, opening: Frame, offer: ChannelOffer) {
        match self.0.get() {
            Some(handlers) => handlers.channel(caller, opening, offer),
            None => offer.refuse(starting()),
        }
    }
}

/// All that clients ask.
pub(super) fn all(
    cluster: &ClusterFront<Endpoint>,
    config: &NodeConfig,
    images: &watch::Receiver<Arc<Image>>,
    front: &Front,
    groups_front: &GroupFront,
) -> Handlers {
    cluster
        .handlers()
        .and(topics(cluster, config.topic_defaults.clone()))
        .and(partitions(images.clone(), front))
        .and(groups(groups_front))
}

/// Produce, fetch, list offsets and delete records, of partitions led here.
fn partitions(images: watch::Receiver<Arc<Image>>, front: &Front) -> Handlers {
    let (produce, fetch, list, delete) = (front.clone(), front.clone(), front.clone(), front.clone());
    Handlers::new()
        .on(move |_, mut message: Produce, answering: Answering<Produce>| {
            let refused = take_internal(&images.borrow(), &mut message);
            produce.produce(message, move |answer| answering.answer(with_refused(refused, answer)));
        })
        .on(move |_, message: Fetch, answering: Answering<Fetch>| {
            fetch.fetch(message, move |answer| answering.answer(answer));
        })
        .on(move |_, message: ListOffsets, answering: Answering<ListOffsets>| {
            list.list_offsets(message, move |answer| answering.answer(answer));
        })
        .on(move |_, message: DeleteRecords, answering: Answering<DeleteRecords>| {
            delete.delete_records(message, move |answer| answering.answer(answer));
        })
}

/// The refusal for a part whose topic holds what coordinators write, and nothing else.
pub(super) fn internal(image: &Image, part: &ProducePart) -> Option<Refusal> {
    let topic = image.topics().get(part.partition.topic).filter(|topic| topic.internal)?;
    let text = format!("{}-{} is written by coordinators only", topic.name, part.partition.index);
    Some(Refusal::new(ErrorCode::InvalidTopic, text))
}

/// Takes the parts out that are coordinators' only: what each part of the request is refused with, in its place. Empty
/// where none is.
fn take_internal(image: &Image, message: &mut Produce) -> Vec<Option<(PartitionId, Refusal)>> {
    if message.parts.iter().all(|part| internal(image, part).is_none()) {
        return Vec::new();
    }
    let mut refused = Vec::new();
    message.parts.retain(|part| {
        let refusal = internal(image, part);
        let is_allowed = refusal.is_none();
        refused.push(refusal.map(|refusal| (part.partition, refusal)));
        is_allowed
    });
    refused
}

/// The answer to the whole request, in its order.
fn with_refused(refused: Vec<Option<(PartitionId, Refusal)>>, answer: ProduceAnswer) -> ProduceAnswer {
    if refused.is_empty() {
        return answer;
    }
    let mut answered = answer.parts.into_iter();
    let parts = refused.into_iter().filter_map(|refused| match refused {
        Some((partition, refusal)) => Some((partition, Err(refusal))),
        None => answered.next(),
    });
    ProduceAnswer { parts: parts.collect() }
}

/// Everything about groups.
fn groups(front: &GroupFront) -> Handlers {
    let handlers = Handlers::new();
    let handlers = group::<FindCoordinator>(handlers, front);
    let handlers = group::<GroupHeartbeat>(handlers, front);
    let handlers = group::<OffsetCommit>(handlers, front);
    let handlers = group::<OffsetFetch>(handlers, front);
    let handlers = group::<OffsetDelete>(handlers, front);
    let handlers = group::<StreamsHeartbeat>(handlers, front);
    let handlers = group::<DescribeStreamsGroup>(handlers, front);
    let handlers = group::<ListGroups>(handlers, front);
    let handlers = group::<DescribeGroup>(handlers, front);
    group::<DeleteGroup>(handlers, front)
}

/// A message to groups, served.
pub(super) fn group<M: GroupMessage>(handlers: Handlers, front: &GroupFront) -> Handlers {
    let front = front.clone();
    handlers.on(move |caller: &Caller, message: M, answering: Answering<M>| {
        let answer = front.handle(&caller.address.ip().to_string(), message);
        tokio::spawn(async move { answering.answer(answer.await) });
    })
}

/// Makes topics with this node's defaults under what the client asks for.
fn topics(front: &ClusterFront<Endpoint>, defaults: BTreeMap<String, String>) -> Handlers {
    let (front, defaults) = (front.clone(), Arc::new(defaults));
    Handlers::new().on(move |_, mut message: CreateTopic, answering: Answering<CreateTopic>| {
        for (name, value) in defaults.iter() {
            message.config.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let front = front.clone();
        tokio::spawn(async move { answering.answer(front.create_topic(message).await) });
    })
}
