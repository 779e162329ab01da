//! The coordinators of a node: those of groups and those of transactions, each following the leaderships of its topic.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use millstream_actors::cluster::agent::AgentHandle;
use millstream_actors::cluster::front::ClusterFront;
use millstream_actors::cluster::message::CreateTopic;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::events::Events;
use millstream_actors::group::doors::{GroupDoors, OwnershipLease};
use millstream_actors::group::following::{ImageCoordinators, ImageTopics, OFFSETS_TOPIC, follow};
use millstream_actors::group::front::GroupFront;
use millstream_actors::group::settings::GroupSettings;
use millstream_actors::group::streams::StreamsGroupSettings;
use millstream_actors::group::topics::TopicsView;
use millstream_actors::ids::{Incarnation, LeaderEpoch, PartitionId};
use millstream_actors::image::Image;
use millstream_actors::partition::front::Front;
use millstream_actors::streams::query::desk::StreamsDesk;
use millstream_actors::transaction::doors::TransactionDoors;
use millstream_actors::transaction::following::{TRANSACTIONS_TOPIC, follow as follow_transactions};
use millstream_actors::transaction::front::TransactionFront;
use millstream_actors::transaction::settings::TransactionSettings;
use millstream_transport::peer::Endpoint;
use millstream_transport::world::{World, watch};
use tokio::task::JoinHandle;

use super::coordinator_log::ReplicaLog;
use super::error::StartError;
use super::groups::{LeaderEnds, PartitionLease, offsets_topic};
use super::transactions::{ClusterIds, LeaderMarks, Marks, transactions_topic};
use super::tree::Tree;
use crate::config::NodeConfig;

/// What the coordinators, and the actors of users, need of the other parts.
pub(super) struct CoordinatorParts<'a> {
    pub(super) world: &'a World,
    pub(super) config: &'a NodeConfig,
    pub(super) incarnation: Incarnation,
    pub(super) endpoint: &'a Endpoint,
    pub(super) front: &'a ClusterFront<Endpoint>,
    pub(super) partitions: &'a Front,
    pub(super) images: &'a watch::Receiver<Arc<Image>>,
    pub(super) agent: &'a AgentHandle,
    pub(super) events: &'a Events,
    pub(super) tree: &'a Tree,
}

pub(super) async fn start_groups(
    parts: &CoordinatorParts<'_>,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Result<GroupFront, StartError> {
    let CoordinatorParts { world, config, incarnation, endpoint, images, events, tree, .. } = *parts;
    let view: Arc<dyn TopicsView> = Arc::new(ImageTopics::of(&images.borrow()));
    let (topics, seen) = watch::channel(view);
    let as_told = |interval| u32::try_from(as_ms(interval)).unwrap_or(u32::MAX);
    let settings = GroupSettings {
        session_timeout_ms: as_ms(config.session_timeout),
        heartbeat_interval_ms: as_told(config.group_heartbeat_interval),
        offsets_retention_ms: as_ms(config.offsets_retention),
        migration: config.group_migration,
        streams: StreamsGroupSettings {
            session_timeout_ms: as_ms(config.streams_session_timeout),
            heartbeat_interval_ms: as_told(config.streams_heartbeat_interval),
            ..StreamsGroupSettings::default()
        },
        has_authorizer: config.kafka.authorizer.is_on,
        ..GroupSettings::default()
    };
    let count = config.offsets_partitions;
    let groups = GroupFront::start(
        GroupDoors {
            log: Arc::new(parts.log(OFFSETS_TOPIC)?),
            coordinators: parts.coordinators(OFFSETS_TOPIC, move || offsets_topic(count)),
            ends: Arc::new(LeaderEnds { images: images.clone(), endpoint: endpoint.clone() }),
            topics: seen,
            settings: watch::channel(Arc::new(settings)).1,
            clock: world.clock.clone(),
            events: events.clone(),
        },
        Some(tree.cell()),
    )
    .await?;
    let following =
        follow(groups.clone(), images.clone(), topics, (config.node_id, incarnation), parts.leases());
    tasks.push(tokio::spawn(following));
    Ok(groups)
}

/// Where members of applications of streams fetch questions to their stores.
pub(super) fn start_desk(parts: &CoordinatorParts<'_>) -> StreamsDesk {
    let count = parts.config.offsets_partitions;
    let coordinators = parts.coordinators(OFFSETS_TOPIC, move || offsets_topic(count));
    StreamsDesk::new(coordinators, parts.config.node_id, parts.world.clock.clone())
}

pub(super) async fn start_transactions(
    parts: &CoordinatorParts<'_>,
    marks: &Marks,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Result<TransactionFront, StartError> {
    let CoordinatorParts { world, config, incarnation, endpoint, front, images, events, tree, .. } = *parts;
    let settings = TransactionSettings {
        timeout_max_ms: i32::try_from(config.transaction_timeout_max.as_millis()).unwrap_or(i32::MAX),
        id_expiration_ms: i64::try_from(config.transactional_id_expiration.as_millis()).unwrap_or(i64::MAX),
        ..TransactionSettings::default()
    };
    let count = config.transactions_partitions;
    let transactions = TransactionFront::start(
        TransactionDoors {
            log: Arc::new(parts.log(TRANSACTIONS_TOPIC)?),
            coordinators: parts.coordinators(TRANSACTIONS_TOPIC, move || transactions_topic(count)),
            producer_ids: Arc::new(ClusterIds(front.clone())),
            markers: Arc::new(LeaderMarks {
                me: config.node_id,
                here: marks.clone(),
                endpoint: endpoint.clone(),
            }),
            settings: watch::channel(Arc::new(settings)).1,
            clock: world.clock.clone(),
            events: events.clone(),
        },
        Some(tree.cell()),
    )
    .await?;
    let me = (config.node_id, incarnation);
    let following = follow_transactions(transactions.clone(), images.clone(), me, parts.leases());
    tasks.push(tokio::spawn(following));
    Ok(transactions)
}

/// Makes a coordinators' topic; that it exists already is no error.
fn creating(
    front: &ClusterFront<Endpoint>,
    topic: impl Fn() -> CreateTopic + Send + Sync + 'static,
) -> impl Fn() -> BoxFuture<'static, Result<(), Refusal>> + Send + Sync + 'static {
    let creating = front.clone();
    move || {
        let (front, topic) = (creating.clone(), topic());
        Box::pin(async move {
            match front.create_topic(topic).await {
                Err(refusal) if refusal.code != ErrorCode::TopicAlreadyExists => Err(refusal),
                _ => Ok(()),
            }
        })
    }
}

impl CoordinatorParts<'_> {
    /// The logs of a coordinators' topic, read and written on the first core.
    fn log(&self, topic: &'static str) -> Result<ReplicaLog, StartError> {
        let core = self.world.threads.cores().first().cloned().ok_or(StartError::NoCores)?;
        Ok(ReplicaLog { front: self.partitions.clone(), images: self.images.clone(), topic, core })
    }

    /// Who coordinates by a topic, which is made when somebody first asks.
    fn coordinators(
        &self,
        topic: &'static str,
        made: impl Fn() -> CreateTopic + Send + Sync + 'static,
    ) -> Arc<ImageCoordinators> {
        Arc::new(ImageCoordinators::new(self.images.clone(), topic, creating(self.front, made)))
    }

    /// Gives the leases on partitions that are led here.
    pub(super) fn leases(
        &self,
    ) -> impl Fn(PartitionId, LeaderEpoch) -> Arc<dyn OwnershipLease> + Send + 'static {
        let (me, lease, clock) = (self.config.node_id, self.agent.lease().clone(), self.world.clock.clone());
        let (images, endpoint) = (self.images.clone(), self.endpoint.clone());
        move |partition, epoch| -> Arc<dyn OwnershipLease> {
            Arc::new(PartitionLease {
                me,
                partition,
                epoch,
                lease: lease.clone(),
                clock: clock.clone(),
                images: images.clone(),
                endpoint: endpoint.clone(),
            })
        }
    }
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
