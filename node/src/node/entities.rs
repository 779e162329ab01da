//! What the entities of users see of the rest of the node.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use millstream_actors::client::NodeClient;
use millstream_actors::cluster::front::ClusterFront;
use millstream_actors::cluster::message::CreateTopic;
use millstream_actors::custom::entity::doors::{EntityDoors, EntityLanes, EntityLog};
use millstream_actors::custom::entity::following::follow;
use millstream_actors::custom::entity::front::EntityFront;
use millstream_actors::custom::entity::message::{
    Applied, AskEntity, DeliverToEntities, FeedEntities, PositionOfSource,
};
use millstream_actors::custom::entity::table::Table;
use millstream_actors::custom::entity::{EntityCaller, EntityReach, EntitySettings, EntityTypes, Place};
use millstream_actors::custom::{Answered, CallError, UserThreads};
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::group::records::LogRecord;
use millstream_actors::ids::{LeaderEpoch, NodeId, Offset, PartitionId};
use millstream_actors::image::{Image, entity_topic};
use millstream_actors::partition::front::Front;
use millstream_actors::partition::message::{Acks, Produce, ProducePart};
use millstream_actors::record::key_hash::partition_for_key;
use millstream_actors::record::{
    BatchBuilder, BatchError, Compression, MAX_UNPACKED_BYTES, records, whole_batches,
};
use millstream_transport::message::Message;
use millstream_transport::peer::{AskError, Endpoint, Lane};
use millstream_transport::world::{Core, watch};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::coordination::CoordinatorParts;
use super::coordinator_log::{fetch, read_batches};
use super::entity_topics::NodeTopics;
use super::error::StartError;
use super::output_transactions::NodeProducers;
use super::publications::LeaderTopics;

/// How long turns may wait to be committed before those who wait are told to ask again.
const COMMIT_WITHIN: Duration = Duration::from_secs(5);

/// Bytes of one batch: those of the largest turn, and tombstones.
const BATCH_BYTES: usize = 2 << 20;

/// How long another node may take to apply a delivery.
const DELIVER_WITHIN: Duration = Duration::from_secs(5);

/// How long other nodes may take to say that they host a type before its topic is made without them.
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
    let core = world.threads.cores().first().cloned().ok_or(StartError::NoCores)?;
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
        log: Arc::new(ReplicaEntityLog { front: parts.partitions.clone(), core }),
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
    tasks.push(tokio::spawn(follow(entities.clone(), images.clone(), me, parts.leases())));
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
        let patience = tokio::time::Instant::now() + HOSTS_WITHIN;
        for kind in types.names() {
            let name = entity_topic(kind);
            let is_there = |image: &Image| image.topics().named(&name).is_some();
            let enough = self.voters.clamp(1, FACTOR);
            let is_time = |image: &Image, late: bool| {
                let hosts = image.nodes().live().filter(|(node, _)| image.nodes().may_host(*node, &name));
                let hosts: Vec<NodeId> = hosts.map(|(node, _)| node).collect();
                hosts.contains(&self.me) && (late || hosts.len() >= enough)
            };
            let soon = self.images.wait_for(|image| is_there(image) || is_time(image, false));
            if matches!(tokio::time::timeout_at(patience, soon).await, Ok(Err(_))) {
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
    let config = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "104857600"),
        ("retention.ms", "-1"),
        ("max.message.bytes", "2097152"),
    ];
    CreateTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replication_factor: None,
        config: config.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}

/// The log of partitions of entities that this node leads.
#[derive(Debug)]
struct ReplicaEntityLog {
    front: Front,
    /// Logs are read on this core, not on the users' threads.
    core: Core,
}

impl ReplicaEntityLog {
    /// Runs on the core.
    fn on_core<T: Send + 'static, F>(
        &self,
        work: impl FnOnce(Front) -> F + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Refusal>>
    where
        F: Future<Output = Result<T, Refusal>> + 'static,
    {
        let (front, (tell, told)) = (self.front.clone(), oneshot::channel());
        self.core.spawn(move || async move {
            // Who does not wait any more needs no answer.
            let _ = tell.send(work(front).await);
        });
        async move { told.await.unwrap_or_else(|_| Err(gone())) }.boxed()
    }
}

impl EntityLog for ReplicaEntityLog {
    fn append(
        &self,
        partition: PartitionId,
        epoch: LeaderEpoch,
        records: Vec<LogRecord>,
    ) -> BoxFuture<'static, Result<Offset, Refusal>> {
        let batches = match pack(&records) {
            Ok(batches) => batches,
            Err(refusal) => return std::future::ready(Err(refusal)).boxed(),
        };
        let part = ProducePart { partition, leader_epoch: Some(epoch), batches, transaction: None };
        let timeout_ms = u32::try_from(COMMIT_WITHIN.as_millis()).unwrap_or(u32::MAX);
        let (tell, told) = oneshot::channel();
        // Handed in now, not when the future is first polled: that is what keeps the order.
        self.front.produce(Produce { acks: Acks::All, timeout_ms, parts: vec![part] }, move |answer| {
            // Who does not wait any more needs no answer.
            let _ = tell.send(answer);
        });
        async move {
            let answer = told.await.map_err(|_| gone())?;
            let (_, produced) = answer.parts.into_iter().next().ok_or_else(gone)?;
            produced.map(|produced| produced.base_offset)
        }
        .boxed()
    }

    fn read(
        &self,
        partition: PartitionId,
        epoch: LeaderEpoch,
        offsets: Vec<Offset>,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, Refusal>> {
        self.on_core(move |front| async move { read_at(&front, partition, epoch, &offsets).await })
    }

    fn replay(
        &self,
        partition: PartitionId,
        epoch: LeaderEpoch,
        mut table: Table,
    ) -> BoxFuture<'static, (Table, Result<(), Refusal>)> {
        // The end is asked for now: it lies behind every append made before this call.
        let end = self.front.log_end(partition, epoch);
        let replayed = self.on_core(move |front| async move {
            let shown = match end.await {
                Ok(end) => show(&front, partition, epoch, end, &mut table).await,
                Err(refusal) => Err(refusal),
            };
            Ok((table, shown))
        });
        // Without the core the table is gone, and all is read again.
        async move { replayed.await.unwrap_or_else(|refusal| (Table::default(), Err(refusal))) }.boxed()
    }
}

/// Shows a table what the log has from its end to `end`.
async fn show(
    front: &Front,
    partition: PartitionId,
    epoch: LeaderEpoch,
    end: Offset,
    table: &mut Table,
) -> Result<(), Refusal> {
    read_batches(front, partition, epoch, (table.end(), end), |batch| {
        for record in records(batch, MAX_UNPACKED_BYTES)? {
            let record = record?;
            table.take(record.offset, record.key.as_deref(), record.value.as_deref());
        }
        table.skip_to(batch.header.next_offset());
        Ok(())
    })
    .await
}

/// One batch of these records.
fn pack(all: &[LogRecord]) -> Result<Bytes, Refusal> {
    let mut builder = BatchBuilder::new(BATCH_BYTES, Compression::NONE);
    for record in all {
        let pushed = builder.push(record.timestamp_ms, Some(&record.key), record.value.as_deref(), &[]);
        // Turns are held to their bound before: they may not be split.
        pushed.map_err(|full| Refusal::new(ErrorCode::MessageTooLarge, full.to_string()))?;
    }
    Ok(builder.finish(None))
}

/// The values of the records at these offsets. A batch that holds several is read once.
async fn read_at(
    front: &Front,
    partition: PartitionId,
    epoch: LeaderEpoch,
    offsets: &[Offset],
) -> Result<Vec<Bytes>, Refusal> {
    let damaged =
        |error: BatchError| Refusal::new(ErrorCode::CorruptMessage, format!("{partition}: {error}"));
    let mut known = Vec::new();
    let mut values = Vec::with_capacity(offsets.len());
    for offset in offsets {
        if !known.iter().any(|(at, _)| at == offset) {
            let (bytes, _) = fetch(front, partition, epoch, *offset, 1).await?;
            if let Some(batch) = whole_batches(&bytes).next() {
                for record in records(&batch.map_err(damaged)?, MAX_UNPACKED_BYTES).map_err(damaged)? {
                    let record = record.map_err(damaged)?;
                    known.push((record.offset, record.value));
                }
            }
        }
        let value = known.iter().find(|(at, _)| at == offset).and_then(|(_, value)| value.clone());
        let missing =
            || Refusal::new(ErrorCode::CorruptMessage, format!("{partition}: no record at offset {offset}"));
        values.push(value.ok_or_else(missing)?);
    }
    Ok(values)
}

fn gone() -> Refusal {
    Refusal::new(ErrorCode::NotLeaderOrFollower, "the partition's replica has stopped")
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
