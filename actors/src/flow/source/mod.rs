//! A source: a consumer, and the actor in which a user's handler takes its records.

mod actor;
mod desk;
mod driver;
mod led;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use self::actor::SourceActor;
use self::desk::Desk;
use self::driver::{Driver, DriverParts};
use self::led::Led;
use super::handler::SourceHandler;
use super::lifeline::{Lifeline, Stop, lifeline};
use super::vessel::{Begin, Current, Vessel};
use super::{FlowError, FlowParts};
use crate::client::ClientError;
use crate::consumer::{Consumer, ConsumerSettings, IsolationLevel, OffsetReset};
use crate::custom::named::{ActorEnd, ActorSettings};
use crate::ids::ActorId;
use crate::kinds::{RestartBudget, USER_ACTOR};

/// Which partitions of its topics a source reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourcePartitions {
    /// Those that the group gives it: all sources of the group share them, on whichever nodes.
    OfGroup,
    /// Every partition that is led on this node, as long as it is: nothing is read over the network. Begin one on each node.
    ///
    /// Positions are kept in the group, so that a partition that moves goes on where the node before was. While it moves both
    /// may handle the same records for a moment. The group must have no members.
    LedHere,
}

/// How a source reads, and how its handler is run.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// `group.id`: the group in which positions are kept.
    pub group: String,
    /// Which partitions.
    pub partitions: SourcePartitions,
    /// `auto.offset.reset`: where to begin where no position is kept; `Earliest` by default. `None` is refused.
    pub offset_reset: OffsetReset,
    /// `isolation.level`; `ReadCommitted` by default.
    pub isolation: IsolationLevel,
    /// How often positions are committed; 1 s by default, from 10 ms to an hour. They are, too, when a partition is given up
    /// and when the source stops.
    pub commit_interval: Duration,
    /// Records between two calls of [`SourceHandler::flush`]; 500 by default, at least 1. So many may be handled again after
    /// a panic.
    pub chunk_max: usize,
    /// How often the handler is begun anew after a panic, and how long that waits. Then the source ends, and leaves its group.
    pub restarts: RestartBudget,
}

impl SourceSettings {
    /// Settings of a source that shares the partitions with all others of this group.
    #[must_use]
    pub fn group(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            partitions: SourcePartitions::OfGroup,
            offset_reset: OffsetReset::Earliest,
            isolation: IsolationLevel::ReadCommitted,
            commit_interval: Duration::from_secs(1),
            chunk_max: 500,
            restarts: USER_ACTOR.restarts,
        }
    }

    /// Settings of a source that reads every partition led on its node, and keeps positions in this group.
    #[must_use]
    pub fn led_here(group: impl Into<String>) -> Self {
        Self { partitions: SourcePartitions::LedHere, ..Self::group(group) }
    }

    fn check(&self) -> Result<(), ClientError> {
        if self.offset_reset == OffsetReset::None {
            return Err(ClientError::setting("auto.offset.reset", "must be earliest or latest for a source"));
        }
        let most = Duration::from_secs(60 * 60);
        if self.commit_interval < Duration::from_millis(10) || self.commit_interval > most {
            return Err(ClientError::setting("commit_interval", "must be from 10 ms to an hour"));
        }
        if self.chunk_max == 0 {
            return Err(ClientError::setting("chunk_max", "must be at least 1"));
        }
        Ok(())
    }

    fn consumer(&self) -> ConsumerSettings {
        ConsumerSettings {
            offset_reset: self.offset_reset,
            isolation: self.isolation,
            // Positions are committed behind what was handled, and not behind what was handed out.
            auto_commit: None,
            ..ConsumerSettings::group(self.group.clone())
        }
    }
}

/// A source that was begun here. Dropped, the source goes on.
#[derive(Clone, Debug)]
pub struct SourceHandle {
    actor: Current,
    pub(super) lifeline: Lifeline,
}

impl SourceHandle {
    /// The actor in which its handler runs. Where its node was taken for lost and was not, it runs in another one from then on.
    #[must_use]
    pub fn actor(&self) -> ActorId {
        self.actor.get().actor()
    }

    /// Ends it after the chunk that is handled now, commits what was handled, and leaves the group.
    pub async fn stop(&self) {
        self.lifeline.stop(Stop::Cleanly).await;
    }

    /// Waits for its end, and says why: it was stopped, or its handler panicked more often than its settings allow.
    pub async fn ended(&self) -> ActorEnd {
        self.lifeline.until_ended().await;
        self.actor.get().ended().await
    }
}

/// Begins one.
pub(super) async fn begin<H: SourceHandler>(
    parts: &FlowParts,
    topics: BTreeSet<String>,
    settings: SourceSettings,
    make: impl Fn() -> H + Send + Sync + 'static,
) -> Result<SourceHandle, FlowError> {
    settings.check()?;
    if topics.is_empty() {
        return Err(ClientError::setting("topics", "a source needs at least one").into());
    }
    let client = parts.client.get();
    // Before the actor: without a core nobody would end it.
    let core = client.some_core()?;
    let consumer = Consumer::new(&client, settings.consumer())?;
    let led = match settings.partitions {
        SourcePartitions::OfGroup => {
            consumer.subscribe(topics)?;
            None
        }
        SourcePartitions::LedHere => Some(Led::new(parts.images.clone(), parts.node, topics)),
    };
    let desk = Arc::new(Desk::new(settings.chunk_max, &parts.events, H::KIND));
    let (actors, make) = (parts.actors.clone(), Arc::new(make));
    let actor_settings = ActorSettings { restarts: settings.restarts, ..ActorSettings::default() };
    let begin: Begin<Arc<Desk>> = Box::new(move |desk| {
        let (actors, make) = (actors.clone(), Arc::clone(&make));
        let made = move || SourceActor { handler: make(), desk: Arc::clone(&desk) };
        Box::pin(async move { actors.spawn_unnamed(actor_settings, made).await })
    });
    let (events, kind) = (parts.events.clone(), H::KIND.into());
    let vessel = Vessel::begin(begin, Arc::clone(&desk), events, "source", kind).await?;
    let (lifeline, task) = lifeline();
    let handle = SourceHandle { actor: vessel.current(), lifeline };
    let driver = DriverParts {
        calls: parts.actors.calls().clone(),
        events: parts.events.clone(),
        kind: H::KIND,
        commit_interval: settings.commit_interval,
        consumer,
        desk,
        vessel,
        led,
        task,
    };
    if !core.spawn(move || Driver::new(driver).run()) {
        handle.actor.get().stop();
        return Err(ClientError::Closed.into());
    }
    Ok(handle)
}
