//! The actor that a source or a sink runs in: where only its node was taken for lost, the next one takes its place.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use millstream_transport::world::watch;

use super::lifeline::Stop;
use crate::custom::CallError;
use crate::custom::named::{ActorEnd, ActorHandle, StopReason};
use crate::events::{Events, FlowActorLost, FlowEnded};

/// The pause before an actor that could not be begun is tried again; it doubles up to [`PAUSE_MOST`].
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MOST: Duration = Duration::from_secs(1);

/// Begins an actor that works on this.
pub(super) type Begin<W> = Box<dyn Fn(W) -> BoxFuture<'static, Result<ActorHandle, CallError>> + Send + Sync>;

/// The actor there is now, as whoever began the source or the sink sees it.
#[derive(Clone, Debug)]
pub(super) struct Current(Arc<Mutex<ActorHandle>>);

impl Current {
    pub(super) fn get(&self) -> ActorHandle {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, actor: ActorHandle) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = actor;
    }
}

/// What it runs in.
pub(super) struct Vessel<W> {
    begin: Begin<W>,
    current: Current,
    events: Events,
    /// `source`, or `sink`.
    flow: &'static str,
    /// The kind of its handler, or its topic.
    name: Arc<str>,
}

impl<W> fmt::Debug for Vessel<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Vessel").field("flow", &self.flow).field("name", &self.name).finish()
    }
}

impl<W: Clone> Vessel<W> {
    /// Begins the first actor.
    pub(super) async fn begin(
        begin: Begin<W>,
        work: W,
        events: Events,
        flow: &'static str,
        name: Arc<str>,
    ) -> Result<Self, CallError> {
        let current = Current(Arc::new(Mutex::new(begin(work).await?)));
        Ok(Self { begin, current, events, flow, name })
    }

    pub(super) fn current(&self) -> Current {
        self.current.clone()
    }

    /// The actor there is now.
    pub(super) fn actor(&self) -> ActorHandle {
        self.current.get()
    }

    /// Its actor has ended so: whether another one works on, on `work`.
    ///
    /// Nobody else goes on with what has no name: where the quorum took the node for lost, and it was not, the next actor is
    /// begun as soon as the node begins any. Every other end is one for good, and told where nobody asked for it.
    pub(super) async fn goes_on(&self, end: &ActorEnd, work: &W, stop: &mut watch::Receiver<Stop>) -> bool {
        match end {
            ActorEnd::NodeLost(_) => {}
            ActorEnd::Stopped(StopReason::Asked | StopReason::NodeStopped) => return false,
            ActorEnd::Stopped(StopReason::GaveUp(_) | StopReason::Forgotten) | ActorEnd::Unsure => {
                self.ended(&format!("{end:?}"));
                return false;
            }
        }
        self.events.emit(FlowActorLost { flow: self.flow, name: &self.name });
        let mut pause = PAUSE;
        loop {
            match (self.begin)(work.clone()).await {
                Ok(actor) => {
                    self.current.set(actor);
                    return true;
                }
                Err(error @ CallError::Stopped(_)) => {
                    self.ended(&error.to_string());
                    return false;
                }
                // There are as many actors as may be, or it panicked as it was made.
                Err(error) => {
                    tracing::warn!(flow = self.flow, name = %self.name, %error, "an actor is begun again")
                }
            }
            // An error says that nobody can say it any more.
            if tokio::time::timeout(pause, stop.wait_for(|stop| *stop != Stop::No)).await.is_ok() {
                return false;
            }
            pause = pause.saturating_mul(2).min(PAUSE_MOST);
        }
    }

    fn ended(&self, why: &str) {
        self.events.emit(FlowEnded { flow: self.flow, name: &self.name, why });
    }
}
