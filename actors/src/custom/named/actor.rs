//! What a user writes: a struct and its handler.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::calls::ActorCalls;
use crate::custom::call::CallError;
use crate::custom::envelope::ActorMessage;
use crate::custom::metrics::UserMetrics;
use crate::ids::ActorId;
use crate::kinds::{RestartBudget, USER_ACTOR};

/// What a handler gives back: the answer to its message, or a refusal that the sender is told.
pub type Handled<M> = Result<<M as ActorMessage>::Answer, CallError>;

/// An actor of a user's: one message at a time, in the order in which they came in.
///
/// Its state is in memory, and gone when it is begun anew after a panic, or elsewhere after the death of its node.
pub trait NamedActor: Send + 'static {
    /// What it is called in lists, logs and metrics: one word for all actors of this type.
    const KIND: &'static str;
    /// What it understands.
    type Message: ActorMessage;

    /// Called before the first message, and again after every restart.
    fn started(&mut self, context: &ActorContext) -> impl Future<Output = ()> + Send {
        let _ = context;
        std::future::ready(())
    }

    /// Handles a message. A panic ends this state of the actor: whoever sent the message is told, and the actor is begun
    /// anew as its settings say.
    fn handle(
        &mut self,
        message: Self::Message,
        context: &ActorContext,
    ) -> impl Future<Output = Handled<Self::Message>> + Send;
}

/// How an actor is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActorSettings {
    /// Messages that may wait for it; one more is refused. `None` for the node's `actors.mailbox.max`.
    pub mailbox_max: Option<usize>,
    /// How often it is begun anew after a panic, and how long that waits.
    pub restarts: RestartBudget,
}

impl ActorSettings {
    /// An actor that stops at its first panic.
    #[must_use]
    pub fn never_restarted() -> Self {
        let restarts =
            RestartBudget { deaths: 0, within: Duration::from_secs(60), first_wait: Duration::ZERO };
        Self { restarts, ..Self::default() }
    }
}

impl Default for ActorSettings {
    /// Begun anew up to five times a minute, first after a tenth of a second.
    fn default() -> Self {
        Self { mailbox_max: None, restarts: USER_ACTOR.restarts }
    }
}

/// What a handler has beside its state.
#[derive(Clone, Debug)]
pub struct ActorContext {
    pub(super) actor: ActorId,
    pub(super) name: Option<Arc<str>>,
    pub(super) calls: ActorCalls,
    pub(super) metrics: UserMetrics,
    pub(super) stop: Arc<std::sync::atomic::AtomicBool>,
}

impl ActorContext {
    /// Which actor this is.
    #[must_use]
    pub const fn actor(&self) -> ActorId {
        self.actor
    }

    /// Its name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Calls to other actors. Who asks itself waits for itself: until the deadline, and in vain.
    #[must_use]
    pub const fn calls(&self) -> &ActorCalls {
        &self.calls
    }

    /// Metrics of the user's own, in the node's scrape.
    #[must_use]
    pub const fn metrics(&self) -> &UserMetrics {
        &self.metrics
    }

    /// The actor stops after this message.
    pub fn stop(&self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
