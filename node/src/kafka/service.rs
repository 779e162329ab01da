//! What Kafka's requests are carried out with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_actors::cluster::front::ClusterFront;
use millstream_actors::cluster::quorum::Quorum;
use millstream_actors::error::{ErrorCode, Refusal};
use millstream_actors::events::kafka::AdmissionSeries;
use millstream_actors::group::front::GroupFront;
use millstream_actors::ids::{Incarnation, Member, NodeId, PartitionId};
use millstream_actors::image::{Features, Image, NodeState, Partition, RegisteredNode, Topic};
use millstream_actors::log::LogDirectory;
use millstream_actors::partition::front::Front;
use millstream_actors::transaction::front::TransactionFront;
use millstream_transport::intake::{Intake, Shortage};
use millstream_transport::peer::Endpoint;
use millstream_transport::world::{World, watch};

use super::fetch_session::FetchSessions;
use super::session::Entrance;
use crate::config::{AuthorizerConfig, SecurityProtocol};
use crate::node::Marks;
use crate::security::sasl::Sasl;
use crate::security::tls::Tls;

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenerLimits {
    /// The longest request.
    pub(crate) request_bytes: usize,
    /// A connection that says nothing for so long is closed.
    pub(crate) idle: Duration,
    /// Connections in all.
    pub(crate) connections: usize,
    /// Connections from one address.
    pub(crate) connections_per_address: usize,
}

/// The parts of the node that answer.
#[derive(Debug)]
pub(crate) struct Service {
    /// This node.
    pub(crate) me: NodeId,
    /// Its present life.
    pub(crate) incarnation: Incarnation,
    /// Its settings in force.
    pub(crate) settings: Vec<(&'static str, String)>,
    pub(crate) world: World,
    pub(crate) limits: ListenerLimits,
    /// What requests of clients may occupy together.
    pub(crate) intake: Intake,
    /// What requests of clients that have not logged in yet may: they take no place from those that have.
    pub(crate) strangers: Intake,
    pub(crate) partitions: Front,
    /// When clients that do not take their answers are let go.
    pub(crate) shortage: Shortage,
    pub(crate) cluster: ClusterFront<Endpoint>,
    pub(crate) groups: GroupFront,
    pub(crate) transactions: TransactionFront,
    /// Ends transactions in partitions led here.
    pub(crate) marks: Marks,
    pub(crate) images: watch::Receiver<Arc<Image>>,
    /// Settings of topics that differ from the program's own, for topics made here.
    pub(crate) topic_defaults: BTreeMap<String, String>,
    /// Whether a topic that is asked for and is not there is made.
    pub(crate) auto_create_topics: bool,
    /// Whether readers are told a replica of their own rack, and followers serve them.
    pub(crate) reads_nearby: bool,
    pub(crate) fetch_sessions: FetchSessions,
    pub(crate) quorum: Quorum,
    /// Where the logs lie.
    pub(crate) directory: Arc<LogDirectory>,
    /// What clients may do.
    pub(crate) policy: Arc<AuthorizerConfig>,
    /// How clients log in.
    pub(crate) sasl: Sasl,
    /// Of listeners with TLS.
    pub(crate) tls: Option<Tls>,
    /// Counts who comes in.
    pub(crate) admissions: AdmissionSeries,
}

/// What clients are told of a partition beside its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Who leads it, or why nobody is told.
    pub(super) leader: Result<i32, NoLeader>,
    pub(super) leader_epoch: i32,
    pub(super) replicas: Vec<i32>,
    pub(super) in_sync: Vec<i32>,
    /// Replicas on nodes that are away.
    pub(super) offline: Vec<i32>,
}

/// Why a client is told no leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoLeader {
    /// There is none.
    Nobody,
    /// It has no listener of the name by which the client came.
    NoListener,
}

impl Standing {
    /// As this image has it, for a client that came in here.
    pub(super) fn of(image: &Image, known: &Partition, entrance: &Entrance) -> Self {
        // Between a leader's restart and the next election nobody leads, whatever the name in the image.
        let lives = |member: &Member| {
            image.nodes().get(member.node).is_some_and(|node| node.incarnation == member.incarnation)
        };
        let is_away = |node: &&NodeId| !is_there(image, **node);
        Self {
            leader: match known.leader.filter(lives) {
                None => Err(NoLeader::Nobody),
                // One that is away may come back where it was: only what it is known not to have is not told.
                Some(leader)
                    if is_there(image, leader.node) && broker_of(image, leader.node, entrance).is_none() =>
                {
                    Err(NoLeader::NoListener)
                }
                Some(leader) => Ok(wire_id(leader.node)),
            },
            leader_epoch: known.leader_epoch.0,
            replicas: known.replicas.iter().copied().map(wire_id).collect(),
            in_sync: known.in_sync.iter().map(|member| wire_id(member.node)).collect(),
            offline: known.replicas.iter().filter(is_away).copied().map(wire_id).collect(),
        }
    }
}

/// A node as Kafka's clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broker {
    pub(super) id: i32,
    pub(super) host: String,
    pub(super) port: i32,
    /// Where it stands, if it says so.
    pub(super) rack: Option<String>,
}

impl Service {
    /// The node that has the controller, if it is known and the client can reach it; else any that it can reach, for each
    /// passes on what the controller is asked; -1 if there is none.
    pub(super) fn controller_id(&self, image: &Image, entrance: &Entrance) -> i32 {
        let controller = self.cluster.controller().and_then(|node| broker_of(image, node, entrance));
        controller.or_else(|| brokers(image, entrance).next()).map_or(-1, |broker| broker.id)
    }

    /// The cluster as this node knows it now.
    pub(super) fn image(&self) -> Arc<Image> {
        Arc::clone(&self.images.borrow())
    }
}

/// What comes of this within the time that a request gives it; Kafka's refusal if nothing does, after which it may still
/// be carried out.
pub(super) async fn within<T>(
    timeout_ms: i32,
    done: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let most = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    tokio::time::timeout(most, done).await.unwrap_or_else(|_| {
        let text = format!("not done within the {timeout_ms} ms of the request; it may still be");
        Err(Refusal::new(ErrorCode::RequestTimedOut, text))
    })
}

/// The number of a node on the wire.
pub(super) fn wire_id(node: NodeId) -> i32 {
    i32::try_from(node.0).unwrap_or(i32::MAX)
}

/// Whether a node is there.
pub(super) fn is_there(image: &Image, node: NodeId) -> bool {
    image.nodes().get(node).is_some_and(|known| known.state != NodeState::Fenced)
}

/// The nodes that are there and have a listener of the same name as this one, with the address of that.
pub(super) fn brokers(image: &Image, entrance: &Entrance) -> impl Iterator<Item = Broker> {
    image.nodes().iter().filter_map(move |(id, _)| broker_of(image, id, entrance))
}

/// One node, if it is there and has a listener of the same name as this one.
pub(super) fn broker_of(image: &Image, node: NodeId, entrance: &Entrance) -> Option<Broker> {
    let known = image.nodes().get(node).filter(|known| known.state != NodeState::Fenced)?;
    broker(image, node, known, entrance)
}

/// A node, whether it is there or not, if it has a listener of the same name as this one.
///
/// A node that has not told its listeners, as those of earlier versions do not, serves Kafka's clients where it serves QUIC,
/// and asks nobody who they are. From the level on that all nodes tell theirs, it is one that is about to.
pub(super) fn broker(
    image: &Image,
    id: NodeId,
    known: &RegisteredNode,
    entrance: &Entrance,
) -> Option<Broker> {
    let (host, port) = match image.listeners().of_node(id) {
        Some(told) => {
            let same = told.iter().find(|told| told.name == *entrance.name);
            same.map(|told| (told.host.clone(), told.port))?
        }
        None => {
            let is_earlier = image.features().level < Features::ACCESS;
            let is_open = entrance.protocol == SecurityProtocol::Plaintext;
            host_and_port(&known.address).filter(|_| is_earlier && is_open)?
        }
    };
    Some(Broker { id: wire_id(id), host, port: port.into(), rack: known.rack.clone() })
}

/// The parts of a `host:port`, the host without the brackets of IPv6.
pub(super) fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some((host, port.parse().ok()?))
}

/// Where records of a partition belong that is not led here (KIP-951): the leader and its epoch. It is noted among those
/// that the answer tells the addresses of.
pub(super) fn leader_elsewhere(
    (image, entrance): (&Image, &Entrance),
    topic: Option<&Arc<Topic>>,
    index: i32,
    refusal: &Refusal,
    elsewhere: &mut Vec<NodeId>,
) -> Option<(i32, i32)> {
    if !matches!(refusal.code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
        return None;
    }
    let partition = topic?.partition(index)?;
    let leader = partition.leader.filter(|leader| broker_of(image, leader.node, entrance).is_some())?;
    if !elsewhere.contains(&leader.node) {
        elsewhere.push(leader.node);
    }
    Some((wire_id(leader.node), partition.leader_epoch.0))
}

/// The refusal of a topic that is not known.
pub(super) fn unknown(by_id: bool) -> Refusal {
    let code = if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
    Refusal::new(code, "no such topic is known here; refresh metadata and try again")
}

/// A partition as a request names it, or Kafka's refusal of one that is not there.
pub(super) fn partition(found: Option<&Arc<Topic>>, by_id: bool, index: i32) -> Result<PartitionId, Refusal> {
    let topic = found.ok_or_else(|| unknown(by_id))?;
    if topic.partition(index).is_none() {
        let text = format!("topic {} has no partition {index}; refresh metadata and try again", topic.name);
        return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, text));
    }
    Ok(PartitionId { topic: topic.id, index })
}

/// A topic as a request names it: by name in old versions, by id in new ones.
pub(super) fn topic<'a>(image: &'a Image, name: &str, id: uuid::Uuid) -> Option<&'a Arc<Topic>> {
    if id.is_nil() {
        image.topics().named(name)
    } else {
        image.topics().get(millstream_actors::ids::TopicId(id))
    }
}
