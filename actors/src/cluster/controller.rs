//! The controller: on every voter, at work on the one that leads the quorum.
//!
//! Elsewhere it only listens, so that it knows who is there when its turn comes. At work it takes requests and
//! observations to its desk, proposes one entry at a time, and answers when the entry is decided. Before its first
//! it proposes an empty one: when that is decided, its image holds all that earlier controllers decided. The handler is
//! synchronous; the quorum's answer comes back as a message with the number of the attempt it belongs to.

mod desk;
mod handle;
mod health;
mod raising;
mod settings;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millstream_transport::world::watch;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::{Instant, MissedTickBehavior, timeout};

pub use super::plan::TopicDefaults;
pub use handle::ControllerHandle;
pub use settings::{ControllerParts, ControllerSettings};

use super::liveness::Liveness;
use super::message::nodes::{HeartbeatAnswer, NodeHeartbeat, NodeStanding};
use super::proposer::ProposeError;
use super::request::Request;
use crate::error::{ErrorCode, Refusal};
use crate::events::{ControllerChanged, PartitionHealth, ProposalFailed};
use crate::ids::{Incarnation, NodeId};
use crate::image::{Command, Image, NodeState, Outcome};
use crate::supervision::roster::{self, Seat};
use desk::{Desk, Entry};

/// The controller's actor.
#[derive(Debug)]
pub(super) struct Controller;

/// What the controller hears.
#[derive(Debug)]
pub(super) enum ControllerMessage {
    /// A request.
    Request(Request),
    /// Time has passed.
    Tick,
    /// Image or leadership changed.
    Wake,
    /// An entry was decided, or not.
    Proposed { attempt: u64, result: Result<Vec<Outcome>, ProposeError> },
}

impl ractor::Message for ControllerMessage {}

/// How far this node is on its way to deciding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Another node leads the quorum, or none. Leads out: this one leads.
    Listening,
    /// Leads the quorum; its image may lack what others decided. Leads out: the first entry was decided.
    CatchingUp,
    /// Decides.
    AtWork,
}

/// The controller's state.
#[derive(Debug)]
pub(super) struct State {
    parts: ControllerParts,
    leadership: watch::Receiver<Option<NodeId>>,
    role: Role,
    liveness: Liveness,
    desk: Desk,
    /// The entry under way: its number, and what waits for it (nothing waits for a first one).
    under_way: Option<(u64, Option<Entry>)>,
    attempts: u64,
    /// Nodes whose fence was proposed, until it is known what became of that: they are granted nothing meanwhile.
    fencing: BTreeSet<(NodeId, Incarnation)>,
    /// After an entry that came to nothing, the next waits a tick.
    not_before: Instant,
    gauged: Option<Arc<Image>>,
    seat: Seat,
}

impl Actor for Controller {
    type Msg = ControllerMessage;
    type State = State;
    type Arguments = (ControllerParts, roster::Entry);

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (parts, entry): (ControllerParts, roster::Entry),
    ) -> Result<State, ActorProcessingErr> {
        let now = parts.clock.now();
        let leadership = parts.proposer.leadership();
        tick(myself.clone(), parts.settings.timing.tick);
        wake(myself.clone(), leadership.clone());
        wake(myself, parts.images.clone());
        Ok(State {
            leadership,
            role: Role::Listening,
            liveness: Liveness::new(parts.settings.timing, now),
            desk: Desk::new(parts.settings, now),
            under_way: None,
            attempts: 0,
            fencing: BTreeSet::new(),
            not_before: now,
            gauged: None,
            seat: parts.events.seat(entry),
            parts,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: ControllerMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let _turn = state.seat.turn();
        state.follow_leadership();
        match message {
            ControllerMessage::Request(request) => state.take(request),
            ControllerMessage::Tick => state.tick(),
            ControllerMessage::Wake => {}
            ControllerMessage::Proposed { attempt, result } => state.decided(attempt, result),
        }
        state.propose_next(&myself);
        Ok(())
    }
}

/// Sends a tick at a time, until the actor is gone.
fn tick(actor: ActorRef<ControllerMessage>, every: Duration) {
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while actor.send_message(ControllerMessage::Tick).is_ok() {
            interval.tick().await;
        }
    });
}

/// Wakes the actor when a value changes; changes that come together wake it once.
fn wake<T: Send + Sync + 'static>(actor: ActorRef<ControllerMessage>, mut watched: watch::Receiver<T>) {
    tokio::spawn(async move {
        while watched.changed().await.is_ok() && actor.send_message(ControllerMessage::Wake).is_ok() {}
    });
}

impl State {
    fn now(&self) -> Instant {
        self.parts.clock.now()
    }

    fn image(&self) -> Arc<Image> {
        Arc::clone(&self.parts.images.borrow())
    }

    /// The image on which this node decides; `None` where it may not.
    fn deciding(&self) -> Option<Arc<Image>> {
        let may = self.role == Role::AtWork && !self.parts.proposer.lease_left().is_zero();
        may.then(|| self.image())
    }

    fn follow_leadership(&mut self) {
        let leads = *self.leadership.borrow_and_update() == Some(self.parts.settings.me);
        match (leads, self.role) {
            (true, Role::Listening) => self.role = Role::CatchingUp,
            (false, Role::CatchingUp | Role::AtWork) => {
                if self.role == Role::AtWork {
                    self.parts.events.emit(ControllerChanged { active: false });
                    self.parts.events.emit(PartitionHealth::default());
                }
                self.role = Role::Listening;
                self.gauged = None;
                let refusal = self.not_controller();
                self.desk.clear(&refusal);
            }
            (true, Role::CatchingUp | Role::AtWork) | (false, Role::Listening) => {}
        }
    }

    fn not_controller(&self) -> Refusal {
        let leader = *self.leadership.borrow();
        let text = match leader {
            Some(leader) if leader != self.parts.settings.me => {
                format!("node {} is not the controller; ask node {leader}", self.parts.settings.me)
            }
            _ => format!("node {} is not the controller, and knows none", self.parts.settings.me),
        };
        Refusal::new(ErrorCode::NotController, text)
    }

    fn take(&mut self, request: Request) {
        let now = self.now();
        match request {
            Request::Heartbeat(heartbeat, reply) => {
                self.liveness.heard(now, heartbeat.node, heartbeat.incarnation, heartbeat.image_version);
                reply.send(Ok(self.answer(heartbeat)));
            }
            request if self.role == Role::Listening => request.refuse(self.not_controller()),
            request if request.weight() > desk::REQUEST_WEIGHT_MAX => {
                let text = format!(
                    "a request of more than {} partitions is to be split",
                    desk::REQUEST_WEIGHT_MAX - 1
                );
                request.refuse(Refusal::new(ErrorCode::InvalidRequest, text));
            }
            request => {
                if let Some((node, incarnation)) = request.registering() {
                    self.liveness.heard(now, node, incarnation, 0);
                }
                self.desk.put(request);
            }
        }
    }

    fn answer(&self, heartbeat: NodeHeartbeat) -> HeartbeatAnswer {
        let standing = self.deciding().map_or(NodeStanding::NotController, |image| {
            match image.nodes().get(heartbeat.node) {
                Some(known) if known.incarnation > heartbeat.incarnation => NodeStanding::Superseded,
                Some(known) if known.incarnation < heartbeat.incarnation => NodeStanding::Unknown,
                Some(known) => match known.state {
                    NodeState::Live | NodeState::Leaving => NodeStanding::Live,
                    NodeState::Starting | NodeState::Fenced => NodeStanding::Fenced,
                },
                None => NodeStanding::Unknown,
            }
        });
        let is_fencing = self.fencing.contains(&(heartbeat.node, heartbeat.incarnation));
        let lease = match standing {
            NodeStanding::Live if !is_fencing => self.liveness.grant(self.parts.proposer.lease_left()),
            _ => Duration::ZERO,
        };
        HeartbeatAnswer { standing, lease_ms: u32::try_from(lease.as_millis()).unwrap_or(u32::MAX) }
    }

    fn tick(&mut self) {
        self.liveness.tick(self.now());
        let Some(image) = self.deciding() else {
            if self.role == Role::AtWork {
                // A majority has been out of reach for as long as the lease: who asks may find another controller.
                self.desk.clear(&self.not_controller());
            }
            return;
        };
        if self.gauged.as_ref().is_none_or(|gauged| !Arc::ptr_eq(gauged, &image)) {
            self.parts.events.emit(health::health(&image));
            self.gauged = Some(image);
        }
    }

    /// Proposes what there is to decide, unless an entry is under way.
    fn propose_next(&mut self, myself: &ActorRef<ControllerMessage>) {
        if self.under_way.is_some() || self.now() < self.not_before {
            return;
        }
        let (commands, entry) = match self.role {
            Role::Listening => return,
            Role::CatchingUp => (Vec::new(), None),
            Role::AtWork => {
                let Some(image) = self.deciding() else { return };
                let (now, now_ms) = (self.now(), self.parts.clock.wall_ms());
                self.liveness.see(&image);
                match self.desk.next_entry(now, now_ms, &image, &self.liveness) {
                    Some(entry) => (entry.commands.clone(), Some(entry)),
                    None if self.fencing.is_empty() => return,
                    // What was proposed before it is decided with it, or never.
                    None => (Vec::new(), None),
                }
            }
        };
        self.fencing.extend(commands.iter().filter_map(|command| match command {
            Command::FenceNode { node, incarnation } => Some((*node, *incarnation)),
            _ => None,
        }));
        self.attempts += 1;
        let attempt = self.attempts;
        self.under_way = Some((attempt, entry));
        let proposal = self.parts.proposer.propose(commands);
        let (most, myself) = (self.parts.settings.propose_timeout, myself.clone());
        tokio::spawn(async move {
            let result = timeout(most, proposal).await.unwrap_or(Err(ProposeError::TimedOut));
            // Where the actor is gone, its replies have refused already.
            let _ = myself.send_message(ControllerMessage::Proposed { attempt, result });
        });
    }

    fn decided(&mut self, attempt: u64, result: Result<Vec<Outcome>, ProposeError>) {
        let Some((_, entry)) = self.under_way.take_if(|(under_way, _)| *under_way == attempt) else { return };
        if result.is_ok() {
            self.fencing.clear();
        }
        match (result, entry) {
            (Ok(outcomes), Some(entry)) => {
                entry.tell(&outcomes, &self.parts.events);
                let stale = |outcome: &Outcome| match outcome {
                    Outcome::Elected { refused } | Outcome::Reassigned { refused } => !refused.is_empty(),
                    _ => false,
                };
                if outcomes.iter().any(stale) {
                    self.desk.forget();
                }
                entry.settle(&outcomes);
            }
            (Ok(_), None) => self.caught_up(),
            (Err(error), entry) => {
                self.parts.events.emit(ProposalFailed { reason: &error.to_string() });
                self.not_before = self.now() + self.parts.settings.timing.tick;
                self.desk.forget();
                let refusal = self.failed(&error);
                match entry {
                    Some(entry) => entry.refuse(&refusal),
                    None => self.desk.clear(&refusal),
                }
            }
        }
    }

    fn caught_up(&mut self) {
        if self.role != Role::CatchingUp {
            return;
        }
        self.role = Role::AtWork;
        self.parts.events.emit(ControllerChanged { active: true });
    }

    fn failed(&self, error: &ProposeError) -> Refusal {
        match error {
            ProposeError::NotLeader(_) => self.not_controller(),
            // It may still come to be: whoever asks again finds out.
            ProposeError::TimedOut => Refusal::new(ErrorCode::RequestTimedOut, error.to_string()),
            ProposeError::Failed(_) => Refusal::new(ErrorCode::NotController, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
