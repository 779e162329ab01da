//! The entrance: what is asked of entities whose partitions this node leads.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use millstream_transport::peer::{Answering, Handlers};
use millstream_transport::world::watch;
use ractor::{Actor, ActorCell, ActorRef, SpawnErr};
use tokio::sync::{Semaphore, oneshot};

use super::behaviour::Fault;
use super::doors::EntityDoors;
use super::formats::{Formats, HostVersions};
use super::host::HostMessage;
use super::message::{
    Applied, AskEntity, DeliverToEntities, Delivered, FeedEntities, PositionOfSource, TRY_WITHIN, stored,
};
use super::partition::Delivery;
use super::reader::{Assignment, ReaderKey, ReaderSupervisor, ReadersMessage};
use super::records::Source;
use super::supervisor::{EntitySupervisor, Hosts, SupervisorMessage};
use super::types::EntityTypes;
use crate::custom::{Answered, CallError};
use crate::events::Events;
use crate::group::doors::OwnershipLease;
use crate::group::request::Reply;
use crate::ids::{LeaderEpoch, PartitionId, TopicId};
use crate::image::{Image, entity_topic};
use crate::record::key_hash::partition_for_key;

/// The longest key of an entity, in bytes.
pub const KEY_BYTES_MAX: usize = 4_096;

/// Asks of other nodes and of clients open at a time: half of what one link may have unanswered, before it is not read on.
const OPEN_ASKS_MAX: usize = 512;

/// Deliveries of topics by other nodes open at a time.
const OPEN_FEEDS_MAX: usize = 256;

/// The entities of a node. Cheap to clone; any thread may ask.
#[derive(Clone, Debug)]
pub struct EntityFront {
    types: EntityTypes,
    images: watch::Receiver<Arc<Image>>,
    supervisor: ActorRef<SupervisorMessage>,
    readers: ActorRef<ReadersMessage>,
    hosts: Hosts,
    formats: Formats,
    events: Events,
    message_max_bytes: usize,
    /// Asks of other nodes and of clients that are open.
    open: Arc<Semaphore>,
    /// Deliveries of topics by other nodes that are open.
    feeds: Arc<Semaphore>,
}

impl EntityFront {
    /// Starts the supervisors of the node's entities and of the readers of their topics, under `parent` if there is one. On the control thread.
    pub async fn start(
        types: EntityTypes,
        images: watch::Receiver<Arc<Image>>,
        doors: EntityDoors,
        parent: Option<ActorCell>,
    ) -> Result<Self, SpawnErr> {
        let message_max_bytes = doors.settings.borrow().turn_max_bytes;
        let (hosts, formats, events) = (Hosts::default(), Formats::default(), doors.events.clone());
        let arguments = (types.clone(), doors.clone(), hosts.clone(), formats.clone());
        let supervisor = spawn(EntitySupervisor, arguments, parent.clone()).await?;
        let readers = spawn(ReaderSupervisor, doors, parent).await?;
        let open = Arc::new(Semaphore::new(OPEN_ASKS_MAX));
        let feeds = Arc::new(Semaphore::new(OPEN_FEEDS_MAX));
        Ok(Self {
            types,
            images,
            supervisor,
            readers,
            hosts,
            formats,
            events,
            message_max_bytes,
            open,
            feeds,
        })
    }

    /// The types hosted here.
    #[must_use]
    pub const fn types(&self) -> &EntityTypes {
        &self.types
    }

    /// States are written from now on in versions that these hosts read.
    pub(super) fn heed(&self, hosts: &HostVersions) {
        self.formats.heed(hosts, &self.types, &self.events);
    }

    /// This node leads a partition of a type in this epoch. A later epoch ends what an earlier one began.
    pub fn lead(
        &self,
        kind: Arc<str>,
        partition: PartitionId,
        epoch: LeaderEpoch,
        lease: Arc<dyn OwnershipLease>,
    ) {
        self.tell(SupervisorMessage::Lead { kind, partition, epoch, lease });
    }

    /// This node does not lead the partition any more, in this epoch or an earlier one.
    pub fn resign(&self, partition: PartitionId, epoch: LeaderEpoch) {
        self.tell(SupervisorMessage::Resign { partition, epoch });
    }

    /// A topic's partition is read here from now on, and in no other way.
    pub(super) fn read(&self, key: ReaderKey, assignment: Assignment) {
        // Fails only when the supervisor has ended, and then nothing is read.
        let _ended = self.readers.cast(ReadersMessage::Read { key, assignment });
    }

    /// It is read here no more.
    pub(super) fn leave_topic(&self, key: ReaderKey) {
        let _ended = self.readers.cast(ReadersMessage::Leave { key });
    }

    /// This node has a replica of a partition of a type hosted here that another leads: it keeps an index of it, for when it
    /// is to lead.
    pub fn follow(&self, partition: PartitionId) {
        self.tell(SupervisorMessage::Follow { partition });
    }

    /// It has none any more.
    pub fn leave(&self, partition: PartitionId) {
        self.tell(SupervisorMessage::Leave { partition });
    }

    /// Ends all; what waits is told to ask again.
    pub async fn stop(&self) {
        let _ended = self.readers.stop_and_wait(None, None).await;
        // It has ended already if this fails.
        let _ended = self.supervisor.stop_and_wait(None, None).await;
    }

    /// Asks an entity that is led here.
    pub fn ask(&self, asked: AskEntity) -> BoxFuture<'static, Result<Answered, CallError>> {
        let AskEntity { kind, request, message, key } = asked;
        let checked = message.check(self.message_max_bytes).and_then(|()| self.partition_of(&kind, &key));
        let partition = match checked {
            Ok(partition) => partition,
            Err(error) => return std::future::ready(Err(error)).boxed(),
        };
        let message = stored(&message);
        let wrap = |reply| HostMessage::Ask { entity: key, request, message, reply };
        let answered = self.place(partition, wrap);
        async move { Ok(Answered { body: answered.await? }) }.boxed()
    }

    /// Applies messages of other entities, in a partition that is led here.
    pub fn deliver(&self, delivery: DeliverToEntities) -> BoxFuture<'static, Result<(), CallError>> {
        let DeliverToEntities { kind, partition, source, messages } = delivery;
        self.apply((&kind, partition), source, None, messages)
    }

    /// Applies records of a topic, in a partition that is led here.
    pub fn feed(&self, feed: FeedEntities) -> BoxFuture<'static, Result<(), CallError>> {
        let FeedEntities { kind, partition, source, through, messages } = feed;
        self.apply((&kind, partition), source, Some(through), messages)
    }

    /// How far a source is applied, in a partition that is led here.
    pub fn position(&self, asked: PositionOfSource) -> BoxFuture<'static, Result<Applied, CallError>> {
        let PositionOfSource { kind, partition, source } = asked;
        match self.partition(&kind, partition) {
            Ok(partition) => {
                let told = self.place(partition, |reply| HostMessage::Position { source, reply });
                async move { told.await.map(Applied) }.boxed()
            }
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    fn apply(
        &self,
        (kind, partition): (&str, u32),
        source: Source,
        through: Option<u64>,
        messages: Vec<Delivered>,
    ) -> BoxFuture<'static, Result<(), CallError>> {
        let partition = match self.partition(kind, partition) {
            Ok(partition) => partition,
            Err(error) => return std::future::ready(Err(error)).boxed(),
        };
        let each = |Delivered { sequence, entity, message }| Delivery { sequence, entity, message };
        let messages = messages.into_iter().map(each).collect();
        let wrap = |reply| HostMessage::Deliver { source, through, messages, reply };
        let applied = self.place(partition, wrap);
        async move { applied.await.map(|_| ()) }.boxed()
    }

    fn partition(&self, kind: &str, partition: u32) -> Result<PartitionId, CallError> {
        let index = i32::try_from(partition).unwrap_or(i32::MAX);
        self.topic(kind, |topic, _| PartitionId { topic, index })
    }

    /// Serves nodes and clients.
    #[must_use]
    pub fn handlers(&self) -> Handlers {
        let (asked, delivered, fed, position) = (self.clone(), self.clone(), self.clone(), self.clone());
        Handlers::new()
            .on(move |_, ask: AskEntity, answering: Answering<AskEntity>| {
                let Ok(place) = Arc::clone(&asked.open).try_acquire_owned() else {
                    let text = "as many asks of entities are open on this node as may be".to_owned();
                    return answering.answer(Err(CallError::Busy(text)));
                };
                let answer = asked.ask(ask);
                tokio::spawn(async move {
                    // Nobody waits for longer, and a link is not read on while too much on it is unanswered.
                    let late = |_| Err(CallError::Retry("the entity has not answered yet".to_owned()));
                    answering.answer(tokio::time::timeout(TRY_WITHIN, answer).await.unwrap_or_else(late));
                    drop(place);
                });
            })
            .on_nodes(move |_, delivery: DeliverToEntities, answering: Answering<DeliverToEntities>| {
                let applied = delivered.deliver(delivery);
                tokio::spawn(async move { answering.answer(applied.await) });
            })
            .on_nodes(move |_, feed: FeedEntities, answering: Answering<FeedEntities>| {
                let Ok(place) = Arc::clone(&fed.feeds).try_acquire_owned() else {
                    let text = "as many deliveries of topics are open on this node as may be".to_owned();
                    return answering.answer(Err(CallError::Busy(text)));
                };
                let applied = fed.feed(feed);
                tokio::spawn(async move {
                    let late = |_| Err(CallError::Retry("not all is applied yet".to_owned()));
                    answering.answer(tokio::time::timeout(TRY_WITHIN, applied).await.unwrap_or_else(late));
                    drop(place);
                });
            })
            .on_nodes(move |_, asked: PositionOfSource, answering: Answering<PositionOfSource>| {
                let told = position.position(asked);
                tokio::spawn(async move {
                    let late = |_| Err(CallError::Retry("the partition has not answered yet".to_owned()));
                    answering.answer(tokio::time::timeout(TRY_WITHIN, told).await.unwrap_or_else(late));
                });
            })
    }

    fn partition_of(&self, kind: &str, key: &[u8]) -> Result<PartitionId, CallError> {
        if key.len() > KEY_BYTES_MAX {
            let text = format!("a key has at most {KEY_BYTES_MAX} bytes, this one {}", key.len());
            return Err(CallError::Malformed(text));
        }
        self.topic(kind, |topic, partitions| {
            let index = i32::try_from(partition_for_key(key, partitions)).unwrap_or(i32::MAX);
            PartitionId { topic, index }
        })
    }

    fn topic<T>(&self, kind: &str, of: impl FnOnce(TopicId, u32) -> T) -> Result<T, CallError> {
        if !self.types.contains(kind) {
            return Err(CallError::NoHost(format!("{kind:?} here")));
        }
        let image = self.images.borrow();
        let topic = image.topics().named(&entity_topic(kind));
        let topic = topic.ok_or_else(|| CallError::Retry(format!("the topic of {kind} is being made")))?;
        Ok(of(topic.id, u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX)))
    }

    /// Sends what `wrap` makes of the place for its answer, and waits for that.
    fn place<T: Send + 'static>(
        &self,
        partition: PartitionId,
        wrap: impl FnOnce(Reply<Result<T, Fault>>) -> HostMessage,
    ) -> BoxFuture<'static, Result<T, CallError>> {
        let Some(host) = self.hosts.get(partition) else {
            let text = "this node does not lead the entity's partition, or not yet".to_owned();
            return std::future::ready(Err(CallError::NotOwner(text))).boxed();
        };
        let Ok(place) = host.places.try_acquire_owned() else {
            host.series.refused.increment(1);
            let text = "as many requests wait for entities of this partition as may".to_owned();
            return std::future::ready(Err(CallError::Busy(text))).boxed();
        };
        let (to, from) = oneshot::channel();
        // One that has ended drops it, and with it its reply: the asker is told to try again.
        let _ended = host.actor.cast(wrap(Reply::new(to, place)));
        async move {
            let ended = "the entity's partition ended before it answered; the same request again finds out";
            let answer = from.await.unwrap_or_else(|_| Err(Fault::Retry(ended.to_owned())));
            answer.map_err(CallError::from)
        }
        .boxed()
    }

    fn tell(&self, message: SupervisorMessage) {
        // Fails only when the supervisor has ended, and then there is nothing to ask.
        let _ended = self.supervisor.cast(message);
    }
}

/// Begins a supervisor, under `parent` if there is one.
async fn spawn<A: Actor>(
    actor: A,
    arguments: A::Arguments,
    parent: Option<ActorCell>,
) -> Result<ActorRef<A::Msg>, SpawnErr> {
    let (actor, _) = match parent {
        Some(parent) => Actor::spawn_linked(None, actor, arguments, parent).await?,
        None => Actor::spawn(None, actor, arguments).await?,
    };
    Ok(actor)
}
