//! A node's part in the cluster: registers, sends heartbeats, keeps the lease.
//!
//! It registers once its logs are recovered, and again when a controller does not know it. A heartbeat goes to every
//! voter, so that each knows who is there when it becomes the controller; only the controller's answer carries a lease.
//! As soon as the image shows the registration, a heartbeat says so, and the node is live.

mod state;

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millstream_transport::peer::AskError;
use millstream_transport::world::Clock;
use millstream_transport::world::watch;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use tokio::time::{Instant, MissedTickBehavior};

use super::controller::ControllerHandle;
use super::front::ClusterFront;
use super::lease::Lease;
use super::liveness::Timing;
use super::message::nodes::{HeartbeatAnswer, NodeStanding};
use super::peers::Peers;
use crate::access::AdvertisedListener;
use crate::error::Refusal;
use crate::events::Events;
use crate::ids::{DirectoryId, Incarnation, NodeId};
use crate::image::{HostedType, Image, ReportedDoubt};
use state::State;

/// What a node registers with.
#[derive(Clone, Debug)]
pub struct NodeIdentity {
    /// The node.
    pub node: NodeId,
    /// Its present life.
    pub incarnation: Incarnation,
    /// `host:port` at which others reach its QUIC endpoint.
    pub address: String,
    /// Its log directories in use.
    pub directories: Vec<DirectoryId>,
    /// Replicas whose log it doubts after recovery.
    pub doubts: Vec<ReportedDoubt>,
    /// Where clients of Kafka's protocol find it; empty where they are not served.
    pub listeners: Vec<AdvertisedListener>,
    /// Where it stands (`broker.rack`), if that is set.
    pub rack: Option<String>,
    /// The types of users' entities that it hosts.
    pub entities: Vec<HostedType>,
}

/// What an agent works with. Kept by who restarts it.
#[derive(Debug)]
pub struct AgentParts<P> {
    /// Who the node is.
    pub identity: NodeIdentity,
    /// How often, how long.
    pub timing: Timing,
    /// Silence of all controllers after which the quorum counts as lost.
    pub quorum_lost_after: Duration,
    /// The time.
    pub clock: Clock,
    /// This node's images.
    pub images: watch::Receiver<Arc<Image>>,
    /// The voters.
    pub voters: watch::Receiver<Vec<NodeId>>,
    /// This node's own controller.
    pub controller: ControllerHandle,
    /// The way to the controller at work.
    pub front: ClusterFront<P>,
    /// The other nodes.
    pub peers: P,
    /// Where events go.
    pub events: Events,
}

/// How a node stands to its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeHealth {
    /// What the controller said last.
    pub standing: NodeStanding,
    /// A controller has answered since the node's start: it has followed the quorum once.
    pub quorum_seen: bool,
    /// A controller has counted the node among the live ones since its start: it has been given replicas, or could be.
    pub was_live: bool,
    /// A controller has answered once, and for too long none has.
    pub quorum_lost: bool,
}

/// The agent as others see it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AgentHandle {
    actor: ActorRef<AgentMessage>,
    lease: Lease,
    health: watch::Receiver<NodeHealth>,
    directories: Latest<Vec<DirectoryId>>,
}

/// A value that its reader has not seen yet: the latest, however many were put.
#[derive(Debug)]
struct Latest<T>(Arc<Mutex<Option<T>>>);

impl<T> Clone for Latest<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Latest<T> {
    /// True if the reader is to be told: it has seen all before.
    fn put(&self, value: T) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(value).is_none()
    }

    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl AgentHandle {
    /// Starts an agent, under `supervisor` where there is one. To be called on the control thread.
    pub async fn start<P: Peers>(
        parts: AgentParts<P>,
        supervisor: Option<ActorCell>,
    ) -> Result<Self, SpawnErr> {
        let lease = Lease::new(parts.clock.now());
        let health = NodeHealth {
            standing: NodeStanding::NotController,
            quorum_seen: false,
            was_live: false,
            quorum_lost: false,
        };
        let (told, health) = watch::channel(health);
        let directories = Latest::default();
        let arguments = (parts, lease.clone(), told, directories.clone());
        let agent = NodeAgent(PhantomData);
        let (actor, _) = match supervisor {
            Some(supervisor) => Actor::spawn_linked(None, agent, arguments, supervisor).await?,
            None => Actor::spawn(None, agent, arguments).await?,
        };
        Ok(Self { actor, lease, health, directories })
    }

    /// The actor, to be supervised or stopped.
    #[must_use]
    pub fn actor(&self) -> ActorCell {
        self.actor.get_cell()
    }

    /// The node's lease.
    #[must_use]
    pub const fn lease(&self) -> &Lease {
        &self.lease
    }

    /// How the node stands.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<NodeHealth> {
        self.health.clone()
    }

    /// The log directories in use have changed: one has failed. The node registers again.
    pub fn set_directories(&self, directories: Vec<DirectoryId>) {
        if self.directories.put(directories) {
            // An agent that has stopped needs to know no directories.
            drop(self.actor.send_message(AgentMessage::Directories));
        }
    }
}

/// The agent's actor.
#[derive(Debug)]
struct NodeAgent<P>(PhantomData<fn() -> P>);

/// What an agent hears.
#[derive(Debug)]
enum AgentMessage {
    /// Time for heartbeats.
    Tick,
    /// There is a newer image.
    Image,
    /// A voter answered a heartbeat, or not.
    Answered { voter: NodeId, asked_at: Instant, answer: Result<HeartbeatAnswer, String> },
    /// The controller took a registration, or not.
    Registered(Result<(), Refusal>),
    /// The controller has noted the rack, or not.
    RackNoted(Result<(), Refusal>),
    /// The controller has noted the types of entities, or not.
    EntitiesNoted(Result<(), Refusal>),
    /// The log directories in use have changed.
    Directories,
}

impl ractor::Message for AgentMessage {}

impl<P: Peers> Actor for NodeAgent<P> {
    type Msg = AgentMessage;
    type State = State<P>;
    type Arguments = (AgentParts<P>, Lease, watch::Sender<NodeHealth>, Latest<Vec<DirectoryId>>);

    async fn pre_start(
        &self,
        myself: ActorRef<AgentMessage>,
        (parts, lease, health, directories): Self::Arguments,
    ) -> Result<State<P>, ActorProcessingErr> {
        let (every, mut images, ticks) = (parts.timing.heartbeat, parts.images.clone(), myself.clone());
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(every);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while ticks.send_message(AgentMessage::Tick).is_ok() {
                interval.tick().await;
            }
        });
        tokio::spawn(async move {
            while images.changed().await.is_ok() && myself.send_message(AgentMessage::Image).is_ok() {}
        });
        Ok(State::new(parts, lease, health, directories))
    }

    async fn handle(
        &self,
        myself: ActorRef<AgentMessage>,
        message: AgentMessage,
        state: &mut State<P>,
    ) -> Result<(), ActorProcessingErr> {
        let _turn = state.turn();
        match message {
            AgentMessage::Tick => state.tick(&myself),
            AgentMessage::Image => state.follow_image(&myself),
            AgentMessage::Answered { voter, asked_at, answer } => state.answered(voter, asked_at, answer),
            AgentMessage::Registered(result) => state.registered(result),
            AgentMessage::RackNoted(result) => state.rack_noted(&result),
            AgentMessage::EntitiesNoted(result) => state.entities_noted(&result),
            AgentMessage::Directories => state.follow_directories(),
        }
        state.register_if_needed(&myself);
        state.tell_rack_if_needed(&myself);
        state.tell_entities_if_needed(&myself);
        Ok(())
    }
}

/// What became of a heartbeat to another voter.
fn flatten(answer: Result<Result<HeartbeatAnswer, Refusal>, AskError>) -> Result<HeartbeatAnswer, String> {
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(refusal)) => Err(refusal.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
