//! The ractor actor under an actor of a user's: takes deliveries, calls the handler, begins it anew after a panic.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;

use super::actor::{ActorContext, Handled, NamedActor};
use super::beginning::Ending;
use super::cell::{Cell, Gate};
use super::mailbox::Delivery;
use super::message::{ActorEnd, StopReason};
use crate::custom::call::{CallError, TEXT_BYTES_MAX, beginning};
use crate::custom::envelope::{ActorMessage, Answered, seal_answer};
use crate::custom::threads::UserThreads;
use crate::events::{Events, UserActorPanicked};
use crate::kinds::RestartBudget;
use crate::supervision::Deaths;
use crate::supervision::roster::Seat;

/// Makes the user's actor, at its start and after each panic.
pub(super) type Factory<A> = Arc<dyn Fn() -> A + Send + Sync>;

/// What a runner works with.
pub(super) struct RunnerParts<A> {
    pub(super) factory: Factory<A>,
    pub(super) restarts: RestartBudget,
    pub(super) context: ActorContext,
    pub(super) gate: Gate,
    pub(super) cell: Arc<Cell>,
    pub(super) threads: UserThreads,
    pub(super) answer_bytes_max: usize,
    pub(super) events: Events,
    pub(super) origin: Instant,
    /// Left before whoever waits for the end is told.
    pub(super) seat: Seat,
    /// Dropped with the actor, however it ends.
    pub(super) _ending: Ending,
}

/// The actor.
pub(super) struct Runner<A>(pub(super) PhantomData<fn() -> A>);

/// Its state: the user's, and what goes with it.
pub(super) struct Running<A> {
    parts: RunnerParts<A>,
    actor: A,
    deaths: Deaths,
}

impl<A> fmt::Debug for Running<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Running").field("cell", &self.parts.cell).finish_non_exhaustive()
    }
}

impl<A: NamedActor> Actor for Runner<A> {
    type Msg = Delivery;
    type State = Running<A>;
    type Arguments = RunnerParts<A>;

    async fn pre_start(
        &self,
        myself: ActorRef<Delivery>,
        parts: RunnerParts<A>,
    ) -> Result<Running<A>, ActorProcessingErr> {
        let actor = made(&parts).await.map_err(|panic| format!("it panicked as it started: {panic}"))?;
        // Set once, here. Whoever ends it from now on finds it; who did before has left word.
        let _ = parts.cell.runner.set(myself.clone());
        if parts.cell.has_ended() {
            myself.stop(None);
        }
        Ok(Running { parts, actor, deaths: Deaths::default() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Delivery>,
        delivery: Delivery,
        state: &mut Running<A>,
    ) -> Result<(), ActorProcessingErr> {
        let goes_on = state.take(delivery).await;
        if !goes_on {
            myself.stop(None);
        }
        Ok(())
    }
}

impl<A: NamedActor> Running<A> {
    /// Handles a message; whether the actor goes on.
    async fn take(&mut self, delivery: Delivery) -> bool {
        let Delivery { envelope, mut reply, deadline, place } = delivery;
        drop(place);
        if self.parts.cell.has_ended() {
            return false;
        }
        let now = self.parts.gate.now();
        if deadline.is_some_and(|deadline| deadline.is_over(now)) {
            let text = "it waited in the mailbox for longer than its sender, and was not handled";
            reply.send(Err(CallError::Retry(text.to_owned())));
            return true;
        }
        if let Err(error) = self.parts.gate.check() {
            self.parts.cell.refused();
            reply.send(Err(error));
            return true;
        }
        // Whoever sends may send bytes on which the user's own reading of them panics.
        let opened = guarded(|| {
            let message = envelope.open::<A::Message>()?;
            let label = message.label();
            Ok((message, label))
        });
        let panicked = |panic| Err(CallError::Malformed(format!("reading it panicked: {panic}")));
        let (message, label) = match opened.unwrap_or_else(panicked) {
            Ok(opened) => opened,
            Err(error) => {
                self.parts.cell.refused();
                reply.send(Err(error));
                return true;
            }
        };
        reply.begun();
        let handled = self.call(message, label).await;
        match handled {
            Ok(handled) => {
                if reply.is_awaited() {
                    reply.send(self.sealed(handled));
                }
                self.goes_on()
            }
            Err(panic) => {
                reply.send(Err(CallError::Stopped(format!("its handler of {label} panicked: {panic}"))));
                self.begin_anew(label, panic).await
            }
        }
    }

    async fn call(
        &mut self,
        message: A::Message,
        label: &'static str,
    ) -> Result<Handled<A::Message>, String> {
        let parts = &self.parts;
        let turn = parts.threads.turn(&parts.cell.kind, &parts.cell.label, label);
        let _measured = parts.seat.turn();
        let handling = AssertUnwindSafe(self.actor.handle(message, &parts.context)).catch_unwind();
        let handled = handling.await.map_err(|panic| text(&*panic));
        parts.cell.took(turn.elapsed());
        handled
    }

    /// The answer, if the actor is still the owner of its name: what it says rests on its memory.
    fn sealed(&self, handled: Handled<A::Message>) -> Result<Answered, CallError> {
        self.parts.gate.check().map_err(|error| CallError::Unsure(error.to_string()))?;
        let answer = handled.map_err(of_handler)?;
        let panicked = |panic| Err(CallError::Stopped(format!("writing its answer panicked: {panic}")));
        guarded(|| seal_answer(&answer, self.parts.answer_bytes_max)).unwrap_or_else(panicked)
    }

    fn goes_on(&self) -> bool {
        let stops = self.parts.context.stop.load(Ordering::Relaxed);
        if stops {
            self.parts.cell.end(ActorEnd::Stopped(StopReason::Asked));
        }
        !stops
    }

    /// After a panic: waits, and makes the user's actor anew; or gives up, and says so.
    async fn begin_anew(&mut self, message: &'static str, mut panic: String) -> bool {
        loop {
            let now = self.parts.gate.now().saturating_duration_since(self.parts.origin);
            let after = self.deaths.died(now, &self.parts.restarts);
            self.tell(message, &panic, after);
            let Some(after) = after else {
                self.parts.cell.end(ActorEnd::Stopped(StopReason::GaveUp(panic)));
                return false;
            };
            tokio::time::sleep(after).await;
            if self.parts.cell.has_ended() {
                return false;
            }
            match made(&self.parts).await {
                Ok(actor) => {
                    self.actor = actor;
                    self.parts.seat.pulse().begun_anew();
                    return true;
                }
                Err(again) => panic = again,
            }
        }
    }

    fn tell(&self, message: &'static str, panic: &str, after: Option<Duration>) {
        let (kind, actor) = (&*self.parts.cell.kind, &*self.parts.cell.label);
        self.parts.events.emit(UserActorPanicked { kind, actor, message, panic, after });
    }
}

/// The user's actor, made and started; what its panic said where that panicked.
async fn made<A: NamedActor>(parts: &RunnerParts<A>) -> Result<A, String> {
    let making = async {
        let mut actor = (parts.factory)();
        actor.started(&parts.context).await;
        actor
    };
    let turn = parts.threads.turn(&parts.cell.kind, &parts.cell.label, "started");
    let made = AssertUnwindSafe(making).catch_unwind().await;
    drop(turn);
    made.map_err(|panic| text(&*panic))
}

/// What a handler says of its message, with an error of a call of its own perhaps: its caller must not take that for "not
/// carried out" and ask again.
fn of_handler(error: CallError) -> CallError {
    match error {
        CallError::Refused(_) | CallError::Unsure(_) => error,
        CallError::Timeout { .. } => CallError::Unsure(error.to_string()),
        other => CallError::Refused(other.to_string()),
    }
}

/// Runs what users wrote beside their handlers; what its panic said where it panicked.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| text(&*panic))
}

/// What a panic says, as much of it as may be told.
fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words");
    beginning(text, TEXT_BYTES_MAX).to_owned()
}
