//! What the entities of users see of the rest of the node.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use millstream_actors::client::NodeClient;
use millstream_actors::cluster::front::ClusterFront;
use millstream_actors::cluster::message::CreateTopic;
use millstream_actors::custom::entity::doors::{EntityDoors, EntityLanes};
use millstream_actors::custom::entity::following::follow;
use millstream_actors::custom::entity::front::EntityFront;
use millstream_actors::custom::entity::message::{
    Applied, AskEntity, DeliverToEntities, FeedEntities, PositionOfSource,
};
use millstream_actors::custom::entity::{EntityCaller, EntityReach, EntitySettings, EntityTypes, Place};
use millstream_actors::custom::{Answered, CallError, UserThreads};
use millstream_actors::error::ErrorCode;
use millstream_actors::ids::NodeId;
use millstream_actors::image::{ENTITY_BATCH_BYTES, Image, entity_topic};
use millstream_actors::record::key_hash::partition_for_key;
use millstream_transport::message::Message;
use millstream_transport::peer::{AskError, Endpoint, Lane};
use millstream_transport::world::watch;
use tokio::task::JoinHandle;

use super::coordination::CoordinatorParts;
use super::entity_log::ReplicaEntityLog;
use super::entity_topics::NodeTopics;
use super::error::StartError;
use super::output_transactions::NodeProducers;
use super::publications::LeaderTopics;

/// How long another node may take to apply a delivery.
const DELIVER_WITHIN: Duration = Duration::from_secs(5);

/// How long other nodes may take to say that they host a type, once this one has, before its topic is made without them.
/// Those that come later get replicas then.
const HOSTS_WITHIN: Duration = Duration::from_secs(3);

/// How long a topic that could not be made waits.
const MAKE_AGAIN: Duration = Duration::from_millis(500);

/// Replicas of a type's topic, as far as there are hosts.
const FACTOR: usize = 3;

type Images = watch::Receiver<Arc<Image>>;

/// Starts the node's entities: they follow the image, and the topics of their types are made.
pub(super) async fn start_entities(
    parts: &CoordinatorParts<'_>,
    types: EntityTypes,
    (threads, client): (UserThreads, &NodeClient),
    tasks: &mut Vec<JoinHandle<()>>,
) -> Result<(EntityFront, EntityCaller), StartError> {
    let CoordinatorParts { world, config, incarnation, endpoint, front, images, events, tree, .. } = *parts;
    let log = ReplicaEntityLog::new(parts.partitions.clone(), world.threads.cores());
    let log = log.ok_or(StartError::NoCores)?;
    let here = Arc::new(OnceLock::new());
    let reach = NodeReach {
        me: config.node_id,
        here: Arc::clone(&here),
        images: images.clone(),
        endpoint: endpoint.clone(),
    };
    let settings = EntitySettings {
        dedupe_ms: i64::try_from(config.entity_dedupe.as_millis()).unwrap_or(i64::MAX),
        idle_ms: i64::try_from(config.entity_idle.as_millis()).unwrap_or(i64::MAX),
        ..EntitySettings::default()
    };
    let message_max_bytes = settings.turn_max_bytes;
    let doors = EntityDoors {
        log: Arc::new(log),
        lanes: Arc::new(reach.clone()),
        sources: Arc::new(NodeTopics::new(
            config.node_id,
            images.clone(),
            parts.partitions.clone(),
            endpoint.clone(),
        )),
        topics: Arc::new(LeaderTopics {
            me: config.node_id,
            images: images.clone(),
            endpoint: endpoint.clone(),
            front: parts.partitions.clone(),
            cluster: front.clone(),
        }),
        producers: Arc::new(NodeProducers { client: client.clone(), images: images.clone() }),
        threads,
        settings: watch::channel(Arc::new(settings)).1,
        clock: world.clock.clone(),
        events: events.clone(),
    };
    let entities = EntityFront::start(types.clone(), images.clone(), doors, Some(tree.cell())).await?;
    // A node is put together once.
    let _first = here.set(entities.clone());
    let me = (config.node_id, incarnation);
    tasks.push(tokio::spawn(follow(
        entities.clone(),
        images.clone(),
        me,
        world.clock.clone(),
        parts.leases(),
    )));
    if !types.is_empty() {
        let making = Making {
            front: front.clone(),
            images: images.clone(),
            me: config.node_id,
            partitions: config.entity_partitions,
            voters: config.voters.len(),
        };
        tasks.push(tokio::spawn(making.run(types)));
    }
    let (clock, random) = (world.clock.clone(), world.random.clone());
    let caller = EntityCaller::new(Arc::new(reach), clock, random, message_max_bytes);
    Ok((entities, caller))
}

/// Makes the topics of the types hosted here.
struct Making {
    front: ClusterFront<Endpoint>,
    images: Images,
    me: NodeId,
    partitions: i32,
    voters: usize,
}

impl Making {
    async fn run(mut self, types: EntityTypes) {
        for kind in types.names() {
            let name = entity_topic(kind);
            let is_there = |image: &Image| image.topics().named(&name).is_some();
            let enough = self.voters.clamp(1, FACTOR);
            let is_time = |image: &Image, late: bool| {
                let hosts = image.nodes().live().filter(|(node, _)| image.nodes().may_host(*node, &name));
                let hosts: Vec<NodeId> = hosts.map(|(node, _)| node).collect();
                hosts.contains(&self.me) && (late || hosts.len() >= enough)
            };
            // However long the start of this one takes: its time begins when it hosts the type.
            if self.images.wait_for(|image| is_there(image) || is_time(image, true)).await.is_err() {
                return;
            }
            let soon = self.images.wait_for(|image| is_there(image) || is_time(image, false));
            if matches!(tokio::time::timeout(HOSTS_WITHIN, soon).await, Ok(Err(_))) {
                return;
            }
            loop {
                let waited = self.images.wait_for(|image| is_there(image) || is_time(image, true));
                match waited.await.map(|image| is_there(&image)) {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(_) => return,
                }
                if let Err(refusal) = self.front.create_topic(topic(&name, self.partitions)).await
                    && refusal.code != ErrorCode::TopicAlreadyExists
                {
                    tracing::warn!(%refusal, topic = name, "the topic of a type of entities was not made; trying again");
                }
                tokio::time::sleep(MAKE_AGAIN).await;
            }
        }
    }
}

/// What asks for the topic of a type.
fn topic(name: &str, partitions: i32) -> CreateTopic {
    let batch_bytes = ENTITY_BATCH_BYTES.to_string();
    let config = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "104857600"),
        ("retention.ms", "-1"),
        ("max.message.bytes", batch_bytes.as_str()),
    ];
    CreateTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replication_factor: None,
        config: config.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}

/// The way of a node's own code, and of its entities, to the leaders of entities' partitions.
#[derive(Clone, Debug)]
struct NodeReach {
    me: NodeId,
    here: Arc<OnceLock<EntityFront>>,
    images: Images,
    endpoint: Endpoint,
}

impl EntityReach for NodeReach {
    fn place(&self, kind: &str, key: &[u8]) -> Place {
        let image = self.images.borrow();
        let name = entity_topic(kind);
        let Some(topic) = image.topics().named(&name) else {
            return Place::NoHost;
        };
        let partitions = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        let index = i32::try_from(partition_for_key(key, partitions)).unwrap_or(i32::MAX);
        match topic.partition(index).and_then(|partition| partition.leader) {
            Some(leader) => Place::At(leader.node),
            None if image.nodes().live().any(|(node, _)| image.nodes().may_host(node, &name)) => {
                Place::Nowhere
            }
            None => Place::NoHost,
        }
    }

    fn news(&self) -> BoxFuture<'static, ()> {
        let mut images = self.images.clone();
        drop(images.borrow_and_update());
        // Images end with the node; what still waits ends by its time.
        async move { images.changed_or_never().await }.boxed()
    }

    fn ask(
        &self,
        node: NodeId,
        ask: AskEntity,
        within: Duration,
    ) -> BoxFuture<'static, Result<Result<Answered, CallError>, String>> {
        if node != self.me {
            let asked = self.endpoint.peer(node).ask(Lane::Data, ask, within);
            return async move { sorted(asked.await) }.boxed();
        }
        match self.here.get() {
            Some(here) => {
                let asked = here.ask(ask);
                async move {
                    let late = || "the entity has not answered in time".to_owned();
                    tokio::time::timeout(within, asked).await.map_err(|_| late())
                }
                .boxed()
            }
            None => std::future::ready(Ok(Err(starting()))).boxed(),
        }
    }
}

impl EntityLanes for NodeReach {
    fn partitions(&self, kind: &str) -> Option<u32> {
        let image = self.images.borrow();
        let topic = image.topics().named(&entity_topic(kind))?;
        u32::try_from(topic.partitions.len()).ok()
    }

    fn deliver(&self, delivery: DeliverToEntities) -> BoxFuture<'static, Result<(), CallError>> {
        let to = (delivery.kind.clone(), delivery.partition);
        self.at_leader(to, delivery, EntityFront::deliver)
    }

    fn feed(&self, feed: FeedEntities) -> BoxFuture<'static, Result<(), CallError>> {
        let to = (feed.kind.clone(), feed.partition);
        self.at_leader(to, feed, EntityFront::feed)
    }

    fn position(&self, asked: PositionOfSource) -> BoxFuture<'static, Result<Applied, CallError>> {
        let to = (asked.kind.clone(), asked.partition);
        self.at_leader(to, asked, EntityFront::position)
    }
}

impl NodeReach {
    /// Asks the leader of a partition once, in bounded time.
    fn at_leader<M: Message<Answer = Result<T, CallError>>, T: Send + 'static>(
        &self,
        (kind, partition): (String, u32),
        message: M,
        here: impl FnOnce(&EntityFront, M) -> BoxFuture<'static, Result<T, CallError>>,
    ) -> BoxFuture<'static, Result<T, CallError>> {
        match (self.leader(&kind, partition), self.here.get()) {
            (Some(leader), Some(front)) if leader == self.me => {
                let answered = here(front, message);
                let late = || CallError::Retry("the partition has not answered in time".to_owned());
                async move {
                    let in_time = tokio::time::timeout(DELIVER_WITHIN, answered);
                    in_time.await.unwrap_or_else(|_| Err(late()))
                }
                .boxed()
            }
            (Some(leader), _) => {
                let asked = self.endpoint.peer(leader).ask(Lane::Data, message, DELIVER_WITHIN);
                self.clone().while_led(kind, partition, leader, asked.boxed()).boxed()
            }
            (None, _) => std::future::ready(Err(moved())).boxed(),
        }
    }

    fn leader(&self, kind: &str, partition: u32) -> Option<NodeId> {
        let image = self.images.borrow();
        let topic = image.topics().named(&entity_topic(kind))?;
        Some(topic.partition(i32::try_from(partition).ok()?)?.leader?.node)
    }

    /// The answer of the leader, unless another leads before it comes: then that one is to be asked.
    async fn while_led<T>(
        self,
        kind: String,
        partition: u32,
        leader: NodeId,
        mut asked: BoxFuture<'static, Result<Result<T, CallError>, AskError>>,
    ) -> Result<T, CallError> {
        loop {
            let news = self.news();
            if self.leader(&kind, partition) != Some(leader) {
                return Err(moved());
            }
            match select(asked, news).await {
                Either::Left((answer, _)) => {
                    return sorted(answer).unwrap_or_else(|text| Err(CallError::Retry(text)));
                }
                Either::Right(((), pending)) => asked = pending,
            }
        }
    }
}

fn moved() -> CallError {
    CallError::Retry("the partition has another leader now, or none".to_owned())
}

/// An answer; what was certainly not sent may be tried elsewhere, and of the rest nobody knows.
fn sorted<T>(answer: Result<Result<T, CallError>, AskError>) -> Result<Result<T, CallError>, String> {
    match answer {
        Ok(result) => Ok(result),
        Err(error @ (AskError::Unreachable { .. } | AskError::Full { .. })) => {
            Ok(Err(CallError::Retry(error.to_string())))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn starting() -> CallError {
    CallError::Retry("the node is starting".to_owned())
}
