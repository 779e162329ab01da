//! What an agent knows and does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_transport::world::watch;
use ractor::ActorRef;
use tokio::time::Instant;

use super::{AgentMessage, AgentParts, Latest, NodeHealth, flatten};
use crate::access::AdvertisedListener;
use crate::cluster::front::ClusterFront;
use crate::cluster::lease::Lease;
use crate::cluster::message::access::RegisterListeners;
use crate::cluster::message::nodes::{
    HeartbeatAnswer, NodeEntities, NodeHeartbeat, NodeRack, NodeStanding, RegisterNode,
};
use crate::cluster::peers::Peers;
use crate::error::{ErrorCode, Refusal};
use crate::events::{NodeRegistered, QuorumSeen};
use crate::ids::{DirectoryId, NodeId};
use crate::image::{Features, Image, NodeState, Nodes};
use crate::kinds::NODE_AGENT;
use crate::supervision::roster::{Entry, Seat, Turn};

/// Heartbeats to one voter that wait for their answer at a time: one that hangs is not asked ever more.
const UNANSWERED_MAX: u8 = 4;

/// Whether this life of the node is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registration {
    /// Not yet, or no longer. Leads out: a registration is sent.
    Needed,
    /// Sent. Leads out: its answer.
    Asked,
    /// Taken. Leads out: a controller that does not know us, or other directories.
    Done,
    /// A later life has registered: this one is over.
    Superseded,
}

#[derive(Debug)]
pub(super) struct State<P> {
    parts: AgentParts<P>,
    lease: Lease,
    health: watch::Sender<NodeHealth>,
    registration: Registration,
    /// A refused registration is tried again from here on.
    register_after: Instant,
    unanswered: BTreeMap<NodeId, u8>,
    /// When a controller answered last.
    controller_at: Option<Instant>,
    /// The version of the image that a heartbeat has shown out of turn.
    shown: u64,
    /// The nodes whose addresses are known to the peers.
    nodes: Arc<Nodes>,
    directories: Latest<Vec<DirectoryId>>,
    /// The rack is told again from here on, where the image has another; `None` while the controller is asked.
    tell_rack_after: Option<Instant>,
    /// The same of the types of entities.
    tell_entities_after: Option<Instant>,
    seat: Seat,
}

impl<P: Peers> State<P> {
    pub(super) fn new(
        parts: AgentParts<P>,
        lease: Lease,
        health: watch::Sender<NodeHealth>,
        directories: Latest<Vec<DirectoryId>>,
    ) -> Self {
        Self {
            registration: Registration::Needed,
            register_after: parts.clock.now(),
            tell_rack_after: Some(parts.clock.now()),
            tell_entities_after: Some(parts.clock.now()),
            unanswered: BTreeMap::new(),
            controller_at: None,
            shown: 0,
            nodes: Arc::default(),
            directories,
            seat: parts.events.seat(Entry::new(NODE_AGENT, "")),
            parts,
            lease,
            health,
        }
    }

    /// A message is handled from now on, until what this gives is dropped.
    pub(super) fn turn(&self) -> Option<Turn> {
        self.seat.turn()
    }

    fn image(&self) -> Arc<Image> {
        Arc::clone(&self.parts.images.borrow())
    }

    pub(super) fn tick(&mut self, myself: &ActorRef<AgentMessage>) {
        if self.registration == Registration::Superseded {
            return;
        }
        self.beat(myself);
        let now = self.parts.clock.now();
        let silent = self
            .controller_at
            .is_some_and(|at| now.saturating_duration_since(at) >= self.parts.quorum_lost_after);
        if silent && !self.health.borrow().quorum_lost {
            self.parts.events.emit(QuorumSeen { seen: false });
            self.health.send_modify(|health| health.quorum_lost = true);
        }
    }

    /// A heartbeat to every voter.
    fn beat(&mut self, myself: &ActorRef<AgentMessage>) {
        let heartbeat = NodeHeartbeat {
            node: self.parts.identity.node,
            incarnation: self.parts.identity.incarnation,
            image_version: self.image().version(),
        };
        let voters = self.parts.voters.borrow().clone();
        self.unanswered.retain(|voter, _| voters.contains(voter));
        for voter in voters {
            let unanswered = self.unanswered.entry(voter).or_default();
            if *unanswered >= UNANSWERED_MAX {
                continue;
            }
            *unanswered += 1;
            let (myself, asked_at) = (myself.clone(), self.parts.clock.now());
            let tell = move |answer: Result<HeartbeatAnswer, String>| {
                // An agent that has stopped needs no answer.
                drop(myself.send_message(AgentMessage::Answered { voter, asked_at, answer }));
            };
            if voter == self.parts.identity.node {
                let controller = self.parts.controller.clone();
                tokio::spawn(async move {
                    tell(controller.call(heartbeat).await.map_err(|refusal| refusal.to_string()));
                });
            } else {
                let (peers, most) = (self.parts.peers.clone(), self.parts.timing.dead_after);
                tokio::spawn(async move { tell(flatten(peers.ask(voter, heartbeat, most).await)) });
            }
        }
    }

    /// Once the image shows the registration, the controller is told at once; and peers learn where nodes are.
    pub(super) fn follow_image(&mut self, myself: &ActorRef<AgentMessage>) {
        let image = self.image();
        if !Arc::ptr_eq(&self.nodes, image.nodes()) {
            self.nodes = Arc::clone(image.nodes());
            for (node, known) in self.nodes.iter().filter(|(node, _)| *node != self.parts.identity.node) {
                self.parts.peers.found_at(node, &known.address);
            }
        }
        self.tell_listeners_if_missing(&image);
        let Some(known) = image.nodes().get(self.parts.identity.node) else { return };
        let waits = matches!(known.state, NodeState::Starting | NodeState::Fenced);
        let mine = known.incarnation == self.parts.identity.incarnation;
        if mine && waits && self.shown < known.registered_version {
            self.shown = image.version();
            self.beat(myself);
        }
    }

    /// A cluster whose last node was upgraded only now takes what this node could not tell before.
    fn tell_listeners_if_missing(&mut self, image: &Image) {
        let identity = &self.parts.identity;
        let understands = image.nodes().iter().all(|(_, known)| known.feature_level >= Features::ACCESS);
        let is_told = !has_listeners_to_tell(&identity.listeners, image)
            || image.listeners().of_node(identity.node).is_some();
        let is_registered =
            image.nodes().get(identity.node).is_some_and(|known| known.incarnation == identity.incarnation);
        if understands && is_registered && !is_told && self.registration == Registration::Done {
            self.registration = Registration::Needed;
        }
    }

    pub(super) fn answered(
        &mut self,
        voter: NodeId,
        asked_at: Instant,
        answer: Result<HeartbeatAnswer, String>,
    ) {
        if let Some(unanswered) = self.unanswered.get_mut(&voter) {
            *unanswered = unanswered.saturating_sub(1);
        }
        let Ok(answer) = answer else { return };
        if answer.standing == NodeStanding::NotController {
            return;
        }
        self.controller_at = self.controller_at.max(Some(asked_at));
        let health = *self.health.borrow();
        if health.quorum_lost || !health.quorum_seen {
            self.parts.events.emit(QuorumSeen { seen: true });
        }
        let was_live = health.was_live || answer.standing == NodeStanding::Live;
        let next = NodeHealth { standing: answer.standing, quorum_seen: true, was_live, quorum_lost: false };
        self.health.send_if_modified(|health| {
            let changes = *health != next;
            *health = next;
            changes
        });
        match answer.standing {
            NodeStanding::Live => {
                self.lease.granted(asked_at, Duration::from_millis(answer.lease_ms.into()));
            }
            NodeStanding::Unknown if self.registration == Registration::Done => {
                self.registration = Registration::Needed;
            }
            NodeStanding::Superseded => self.superseded(),
            NodeStanding::Unknown | NodeStanding::Fenced | NodeStanding::NotController => {}
        }
    }

    pub(super) fn register_if_needed(&mut self, myself: &ActorRef<AgentMessage>) {
        let now = self.parts.clock.now();
        if self.registration != Registration::Needed || now < self.register_after {
            return;
        }
        self.registration = Registration::Asked;
        let identity = self.parts.identity.clone();
        let listeners = identity.listeners;
        let register = RegisterNode {
            node: identity.node,
            incarnation: identity.incarnation,
            address: identity.address,
            directories: identity.directories,
            doubts: identity.doubts,
            feature_level: Features::HIGHEST,
        };
        let tells = has_listeners_to_tell(&listeners, &self.image());
        let (front, myself) = (self.parts.front.clone(), myself.clone());
        tokio::spawn(async move {
            let deadline = now + REGISTER_WITHIN;
            let result = if tells {
                register_both(&front, RegisterListeners { register, listeners }, deadline).await
            } else {
                front.ask_controller(register, deadline).await
            };
            // An agent that has stopped needs no answer.
            drop(myself.send_message(AgentMessage::Registered(result)));
        });
    }

    pub(super) fn registered(&mut self, result: Result<(), Refusal>) {
        if self.registration != Registration::Asked {
            return;
        }
        match result {
            Ok(()) => {
                self.registration = Registration::Done;
                self.parts.events.emit(NodeRegistered { refused: None });
            }
            Err(refusal) if refusal.code == ErrorCode::StaleBrokerEpoch => self.superseded(),
            Err(refusal) => {
                self.registration = Registration::Needed;
                self.register_after = self.parts.clock.now() + self.parts.timing.heartbeat;
                // Without a quorum there is nothing to tell that the loss of the quorum does not.
                if refusal.code != ErrorCode::RequestTimedOut {
                    self.register_after += REFUSED_WAIT;
                    self.parts.events.emit(NodeRegistered { refused: Some(&refusal.text) });
                }
            }
        }
    }

    /// Has the image say where this node stands.
    pub(super) fn tell_rack_if_needed(&mut self, myself: &ActorRef<AgentMessage>) {
        let (now, identity) = (self.parts.clock.now(), &self.parts.identity);
        if self.registration != Registration::Done || self.tell_rack_after.is_none_or(|after| now < after) {
            return;
        }
        let image = self.image();
        let known =
            image.nodes().get(identity.node).filter(|known| known.incarnation == identity.incarnation);
        let differs = known.is_some_and(|known| known.rack != identity.rack);
        if !differs || image.features().require(Features::ADMINISTRATION).is_err() {
            return;
        }
        self.tell_rack_after = None;
        let (node, incarnation, rack) = (identity.node, identity.incarnation, identity.rack.clone());
        let (front, myself) = (self.parts.front.clone(), myself.clone());
        tokio::spawn(async move {
            let told = NodeRack { node, incarnation, rack };
            let result = front.ask_controller(told, now + REGISTER_WITHIN).await;
            // An agent that has stopped needs no answer.
            drop(myself.send_message(AgentMessage::RackNoted(result)));
        });
    }

    pub(super) fn rack_noted(&mut self, result: &Result<(), Refusal>) {
        // The image shows it soon; if not, it is told again.
        self.tell_rack_after = Some(self.parts.clock.now() + REFUSED_WAIT);
        if let Err(refusal) = result {
            tracing::warn!(node = %self.parts.identity.node, %refusal, "the controller did not note broker.rack");
        }
    }

    /// Has the image say which types of entities this node hosts.
    pub(super) fn tell_entities_if_needed(&mut self, myself: &ActorRef<AgentMessage>) {
        let (now, identity) = (self.parts.clock.now(), &self.parts.identity);
        if self.registration != Registration::Done || self.tell_entities_after.is_none_or(|after| now < after)
        {
            return;
        }
        let image = self.image();
        let known =
            image.nodes().get(identity.node).filter(|known| known.incarnation == identity.incarnation);
        let differs = known.is_some_and(|known| known.entities != identity.entities);
        if !differs || image.features().require(Features::ENTITIES).is_err() {
            return;
        }
        self.tell_entities_after = None;
        let (node, incarnation, types) = (identity.node, identity.incarnation, identity.entities.clone());
        let (front, myself) = (self.parts.front.clone(), myself.clone());
        tokio::spawn(async move {
            let told = NodeEntities { node, incarnation, types };
            let result = front.ask_controller(told, now + REGISTER_WITHIN).await;
            // An agent that has stopped needs no answer.
            drop(myself.send_message(AgentMessage::EntitiesNoted(result)));
        });
    }

    pub(super) fn entities_noted(&mut self, result: &Result<(), Refusal>) {
        // The image shows them soon; if not, they are told again.
        self.tell_entities_after = Some(self.parts.clock.now() + REFUSED_WAIT);
        if let Err(refusal) = result {
            tracing::warn!(node = %self.parts.identity.node, %refusal, "the controller did not note the types of entities");
        }
    }

    fn superseded(&mut self) {
        if self.registration != Registration::Superseded {
            self.registration = Registration::Superseded;
            self.lease.revoke();
            let text = "a later life of this node has registered: two processes with one node id; this one is to stop";
            self.parts.events.emit(NodeRegistered { refused: Some(text) });
            self.health.send_modify(|health| health.standing = NodeStanding::Superseded);
        }
    }

    pub(super) fn follow_directories(&mut self) {
        let Some(directories) = self.directories.take() else { return };
        if self.parts.identity.directories != directories && !directories.is_empty() {
            self.parts.identity.directories = directories;
            if self.registration != Registration::Superseded {
                self.registration = Registration::Needed;
            }
        }
    }
}

/// Whether there is anything to tell of listeners: that there are none is told where the cluster understands it. Who has
/// told nothing would be taken for a node of an earlier version, which serves Kafka's clients where it serves QUIC.
fn has_listeners_to_tell(listeners: &[AdvertisedListener], image: &Image) -> bool {
    !listeners.is_empty() || image.features().level >= Features::ACCESS
}

/// Registers with listeners; without, where a controller does not know that message yet.
async fn register_both<P: Peers>(
    front: &ClusterFront<P>,
    both: RegisterListeners,
    deadline: Instant,
) -> Result<(), Refusal> {
    let register = both.register.clone();
    match front.ask_controller(both, deadline).await {
        // It never answers what it does not know.
        Err(refusal) if refusal.code == ErrorCode::RequestTimedOut => {
            front.ask_controller(register, deadline + REGISTER_WITHIN).await
        }
        answer => answer,
    }
}

/// How long a registration is tried before it is made anew.
const REGISTER_WITHIN: Duration = Duration::from_secs(5);

/// How long a refused registration waits: an operator has to do something first.
const REFUSED_WAIT: Duration = Duration::from_secs(1);
