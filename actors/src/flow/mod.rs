//! Sources and sinks: actors that stand between topics and what users write.
//!
//! ```text
//! topics ─▶ consumer ─▶ source (one chunk of records at a time) ─▶ the user's handler ─▶ a named actor, an entity, a sink
//!                │ positions, committed behind what was handled
//!                ▼
//!              group                          sink (bounded mailbox) ─▶ idempotent producer ─▶ topic
//! ```
//!
//! - Delivery: at least once. A position is committed only when all before it was handled; what was handled and not yet
//!   committed comes again after a panic, an error, a rebalance, a move, or the death of a node. [`SourceRecord::request_id`]
//!   is the same each time, so that an entity that is asked under it applies a record once.
//! - Order: records of a partition are handled one after the other, in the order of the log. Nothing is skipped: a record that
//!   its handler does not take is handed to it again, and its source stands still meanwhile. What retention deletes before it
//!   was read is not handed out.
//! - Back-pressure: nothing is queued before a handler but one chunk; a consumer reads ahead within its own bound. A sink that
//!   has no place makes its sender wait.

mod chunks;
mod handler;
mod lifeline;
mod record;
mod sink;
mod source;
mod vessel;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use millstream_transport::world::watch;

pub use handler::{Each, HandTo, SourceHandler, each, hand_to};
pub use record::SourceRecord;
pub use sink::{Publishing, Sink, SinkRecord, SinkSettings};
pub use source::{SourceHandle, SourcePartitions, SourceSettings};

use self::lifeline::{Lifeline, Stop};
use crate::client::{ClientError, NodeClient};
use crate::custom::CallError;
use crate::custom::named::NodeActors;
use crate::events::Events;
use crate::ids::NodeId;
use crate::image::Image;

/// Why a source or a sink cannot be begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// A setting cannot be taken, or the topic of a sink is not there.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The node runs no more actors.
    #[error(transparent)]
    Actor(#[from] CallError),
}

/// What sources and sinks of a node work with.
#[derive(Clone, Debug)]
pub struct FlowParts {
    /// The node.
    pub node: NodeId,
    /// The actors of users: handlers run as such.
    pub actors: NodeActors,
    /// The way to the topics.
    pub client: NodeClient,
    /// Who leads what.
    pub images: watch::Receiver<Arc<Image>>,
    /// Where events go.
    pub events: Events,
}

/// The sources and sinks of a node. Cheap to clone; any thread may use it.
#[derive(Clone, Debug)]
pub struct Flows {
    parts: Arc<FlowParts>,
    running: Arc<Mutex<Running>>,
}

/// Those that have been begun and have not ended. There are no more than actors of users.
#[derive(Debug, Default)]
struct Running {
    sources: Vec<Lifeline>,
    sinks: Vec<Lifeline>,
}

impl Flows {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(parts: FlowParts) -> Self {
        Self { parts: Arc::new(parts), running: Arc::default() }
    }

    /// Begins a source on this node: hands each record of these topics to the handler that `make` makes, now and after each
    /// panic.
    ///
    /// The handler runs as an actor of users, without a name: on the users' threads, begun anew as the settings say, seen in
    /// lists and metrics by its kind. An error names a setting that cannot be taken, or the bound of actors.
    pub async fn source<H: SourceHandler>(
        &self,
        topics: impl IntoIterator<Item = impl Into<String>>,
        settings: SourceSettings,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Result<SourceHandle, FlowError> {
        let topics = topics.into_iter().map(Into::into).collect();
        let source = source::begin(&self.parts, topics, settings, make).await?;
        self.keep(|running| &mut running.sources, source.lifeline.clone());
        Ok(source)
    }

    /// Begins a sink on this node: an actor with a bounded mailbox that publishes what it is sent to this topic.
    ///
    /// An error where the topic is not there, a setting cannot be taken, or the node runs no more actors.
    pub async fn sink(&self, topic: &str, settings: SinkSettings) -> Result<Sink, FlowError> {
        let (sink, lifeline) = sink::begin(&self.parts, topic, settings).await?;
        self.keep(|running| &mut running.sinks, lifeline);
        Ok(sink)
    }

    fn keep(&self, place: impl FnOnce(&mut Running) -> &mut Vec<Lifeline>, begun: Lifeline) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let lifelines = place(&mut running);
        lifelines.retain(|lifeline| !lifeline.has_ended());
        lifelines.push(begun);
    }

    /// Ends all in order: sources commit what was handled and leave their groups, then sinks publish what waits. What has not
    /// ended in time is left.
    pub async fn stop(&self, within: Duration) {
        let Running { sources, sinks } = self.take();
        let ending = async {
            for lifelines in [sources, sinks] {
                join_all(lifelines.iter().map(|lifeline| lifeline.stop(Stop::Cleanly))).await;
            }
        };
        // A handler that does not end is told by the watch on long handlers.
        drop(tokio::time::timeout(within, ending).await);
    }

    /// Ends all at once, as a kill would.
    pub fn abandon(&self) {
        let Running { sources, sinks } = self.take();
        for lifeline in sources.iter().chain(&sinks) {
            lifeline.say(Stop::AtOnce);
        }
    }

    fn take(&self) -> Running {
        std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
