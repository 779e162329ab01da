//! The listeners for Kafka's clients, and what they are served with.

use std::sync::Arc;

use millstream_actors::cluster::front::ClusterFront;
use millstream_actors::cluster::quorum::Quorum;
use millstream_actors::events::Events;
use millstream_actors::events::kafka::{AdmissionSeries, FetchSessionSeries};
use millstream_actors::group::front::GroupFront;
use millstream_actors::ids::Incarnation;
use millstream_actors::image::Image;
use millstream_actors::log::LogDirectory;
use millstream_actors::partition::front::Front;
use millstream_actors::transaction::front::TransactionFront;
use millstream_transport::intake::{Intake, Shortage};
use millstream_transport::peer::Endpoint;
use millstream_transport::world::{World, watch};

use super::error::StartError;
use super::transactions::Marks;
use crate::config::NodeConfig;
use crate::kafka::fetch_session::FetchSessions;
use crate::kafka::listener::KafkaListeners;
use crate::kafka::service::{ListenerLimits, Service};
use crate::kafka::session::Entrance;
use crate::security::sasl::Sasl;
use crate::security::tls::Tls;

/// What requests of Kafka's clients that have not logged in yet may occupy together.
const STRANGERS_BYTES: u32 = 16 << 20;

/// What requests of Kafka's clients are served with.
pub(super) struct KafkaParts<'a> {
    pub(super) world: &'a World,
    pub(super) config: &'a NodeConfig,
    pub(super) incarnation: Incarnation,
    pub(super) intake: Intake,
    pub(super) tls: Option<Tls>,
    pub(super) partitions: &'a Front,
    pub(super) cluster: &'a ClusterFront<Endpoint>,
    pub(super) groups: &'a GroupFront,
    pub(super) transactions: &'a TransactionFront,
    pub(super) marks: &'a Marks,
    pub(super) images: &'a watch::Receiver<Arc<Image>>,
    pub(super) events: &'a Events,
    pub(super) directory: &'a Arc<LogDirectory>,
    pub(super) quorum: &'a Quorum,
}

/// Starts the listeners of the configuration on these sockets, which are in their order.
pub(super) fn start_kafka(
    sockets: Vec<std::net::TcpListener>,
    parts: KafkaParts<'_>,
) -> Result<KafkaListeners, StartError> {
    let KafkaParts { world, config, partitions, cluster, groups, transactions, marks, images, .. } = parts;
    let KafkaParts { incarnation, intake, tls, events, directory, quorum, .. } = parts;
    let limits = ListenerLimits {
        request_bytes: config.kafka.request_max_bytes,
        idle: config.kafka.connections_idle_max,
        connections: config.kafka.connections_max,
        connections_per_address: config.kafka.connections_per_ip_max,
    };
    let answering = partitions.clone();
    let shortage = Shortage::when(move || answering.is_short_of_memory());
    let series = FetchSessionSeries::of(events);
    let sasl = Sasl::new(config.kafka.sasl.clone(), images.clone(), world.threads.clone());
    let service = Service {
        me: config.node_id,
        incarnation,
        settings: config.kafka.told.clone(),
        world: world.clone(),
        limits,
        intake,
        strangers: Intake::new(STRANGERS_BYTES),
        partitions: partitions.clone(),
        shortage,
        cluster: cluster.clone(),
        groups: groups.clone(),
        transactions: transactions.clone(),
        marks: marks.clone(),
        images: images.clone(),
        topic_defaults: config.topic_defaults.clone(),
        auto_create_topics: config.kafka.auto_create_topics,
        reads_nearby: config.kafka.reads_nearby,
        quorum: quorum.clone(),
        directory: Arc::clone(directory),
        policy: Arc::new(config.kafka.authorizer.clone()),
        sasl: sasl.map_err(|error| StartError::Security(error.to_string()))?,
        tls,
        admissions: AdmissionSeries::of(events),
        fetch_sessions: FetchSessions::new(config.kafka.fetch_session_slots, series, world.clone()),
    };
    let entrances = config
        .kafka
        .listeners
        .iter()
        .map(|listener| Entrance { name: Arc::from(listener.name.as_str()), protocol: listener.protocol });
    let address = config.kafka.listeners.first().map_or(config.quic_listen, |listener| listener.address);
    KafkaListeners::start(sockets.into_iter().zip(entrances).collect(), service)
        .map_err(|error| StartError::Kafka { address, error })
}
