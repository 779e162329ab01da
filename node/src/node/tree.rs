//! The root of a node's control plane: hears of the deaths of the actors on the control thread, begins the controller
//! anew, and ends the node where one died that it cannot do without.

use std::time::Duration;

use millstream_actors::cluster::controller::ControllerHandle;
use millstream_actors::events::{ActorRestarted, Events};
use millstream_actors::kinds::{CONTROLLER, NODE};
use millstream_actors::supervision::Deaths;
use millstream_actors::supervision::roster::{Entry, Seat};
use millstream_transport::world::Clock;
use millstream_transport::world::watch;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::time::Instant;

/// Why a node cannot go on, once it cannot.
pub(super) type Fatal = watch::Sender<Option<String>>;

/// The root.
#[derive(Debug)]
struct Root;

#[derive(Debug)]
enum RootMessage {
    /// Looks after this controller from now on.
    Keep(Box<ControllerHandle>),
    /// The wait after its death is over.
    Restart,
}

impl ractor::Message for RootMessage {}

struct State {
    controller: Option<(ControllerHandle, ActorId)>,
    deaths: Deaths,
    origin: Instant,
    clock: Clock,
    events: Events,
    fatal: Fatal,
    seat: Seat,
}

/// The root as the assembly sees it.
#[derive(Clone, Debug)]
pub(super) struct Tree(ActorRef<RootMessage>);

impl Tree {
    /// Starts the root on the control thread.
    pub(super) async fn start(clock: Clock, events: Events, fatal: Fatal) -> Result<Self, SpawnErr> {
        let origin = clock.now();
        let seat = events.seat(Entry::new(NODE, events.node().to_string()));
        let state = State { controller: None, deaths: Deaths::default(), origin, clock, events, fatal, seat };
        Actor::spawn(None, Root, state).await.map(|(root, _)| Self(root))
    }

    /// The supervisor of what is started next.
    pub(super) fn cell(&self) -> ActorCell {
        self.0.get_cell()
    }

    /// Begins this controller anew when it dies.
    pub(super) fn keep(&self, controller: &ControllerHandle) {
        // A root that is gone ends with the node.
        let _ = self.0.cast(RootMessage::Keep(Box::new(controller.clone())));
    }

    /// Hears of no more deaths.
    pub(super) fn stop(&self) {
        self.0.stop(None);
    }
}

impl Actor for Root {
    type Msg = RootMessage;
    type State = State;
    type Arguments = State;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, state: State) -> Result<State, ActorProcessingErr> {
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: RootMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let _turn = state.seat.turn();
        match message {
            RootMessage::Keep(controller) => {
                let id = controller.actor().get_id();
                state.controller = Some((*controller, id));
            }
            RootMessage::Restart => state.restart(myself.get_cell()).await,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        // An actor that ended in order was told to.
        if let SupervisionEvent::ActorFailed(actor, cause) = event
            && let Some(wait) = state.died(actor.get_id(), &cause.to_string())
        {
            myself.send_after(wait, || RootMessage::Restart);
        }
        Ok(())
    }
}

impl State {
    /// How long to wait before the dead actor is begun anew; `None` if it is not.
    fn died(&mut self, actor: ActorId, cause: &str) -> Option<Duration> {
        let is_controller = self.controller.as_ref().is_some_and(|(_, id)| *id == actor);
        if !is_controller {
            self.end(format!(
                "an actor of the control plane died, without which the node cannot be: {cause}"
            ));
            return None;
        }
        let now = self.clock.now().saturating_duration_since(self.origin);
        let wait = self.deaths.died(now, &CONTROLLER.restarts);
        match wait {
            Some(after) => {
                let cause = cause.to_owned();
                self.events.emit(ActorRestarted { kind: CONTROLLER.name, name: "", cause, after });
            }
            None => self.end(format!("the controller died too often: {cause}")),
        }
        wait
    }

    async fn restart(&mut self, root: ActorCell) {
        let Some((controller, id)) = &mut self.controller else { return };
        match controller.restart(Some(root)).await {
            Ok(()) => *id = controller.actor().get_id(),
            Err(error) => {
                let text = format!("the controller cannot be begun anew: {error}");
                self.end(text);
            }
        }
    }

    fn end(&self, why: String) {
        tracing::error!(node = %self.events.node(), why, "the node ends");
        self.fatal.send_if_modified(|known| {
            let is_first = known.is_none();
            known.get_or_insert(why);
            is_first
        });
    }
}
