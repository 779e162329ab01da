//! One actor as its node sees it, whatever its type.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Histogram, Label};
use millstream_transport::world::{Clock, watch};
use ractor::ActorRef;
use tokio::time::Instant;

use super::mailbox::{CallReply, Delivery, Mailbox};
use super::message::ActorEnd;
use crate::cluster::lease::Lease;
use crate::custom::call::{CallError, Deadline};
use crate::custom::envelope::Envelope;
use crate::events::Events;
use crate::ids::ActorId;
use crate::image::Image;

/// Says whether an actor may answer from its memory now.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) actor: ActorId,
    pub(super) name: Option<Arc<str>>,
    pub(super) lease: Lease,
    pub(super) clock: Clock,
    pub(super) images: watch::Receiver<Arc<Image>>,
    /// The node has given up waiting for its actors, and hands over what it has: whatever they still say comes too late.
    pub(super) is_too_late: Arc<AtomicBool>,
}

impl Gate {
    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// A refusal where it may not: its node's lease has run out, so that the quorum may have given its name away; or the
    /// quorum has.
    pub(super) fn check(&self) -> Result<(), CallError> {
        if self.is_too_late.load(Ordering::Acquire) {
            let text = format!("node {} stops, and has handed over the names of its actors", self.actor.node);
            return Err(CallError::NotOwner(text));
        }
        if !self.lease.holds(self.clock.now()) {
            return Err(CallError::NoQuorum(format!(
                "node {} has heard of no controller for longer than its lease: it may have been taken for dead, and its \
                 actors' names given to others",
                self.actor.node
            )));
        }
        let Some(name) = &self.name else { return Ok(()) };
        let image = self.images.borrow();
        match image.names().owner(name) {
            Some(owner) if owner.actor == self.actor => Ok(()),
            Some(owner) => Err(CallError::NotOwner(format!(
                "{name:?} belongs to actor {}, not to {}",
                owner.actor, self.actor
            ))),
            None => Err(CallError::NotOwner(format!("{name:?} was taken from actor {}", self.actor))),
        }
    }
}

/// The series of actors of one kind.
#[derive(Clone)]
pub(super) struct KindSeries {
    handled: Counter,
    refused: Counter,
    seconds: Histogram,
}

impl KindSeries {
    pub(super) fn new(events: &Events, kind: &str) -> Self {
        let labels = || vec![Label::new("kind", kind.to_owned())];
        Self {
            handled: events.counter("millstream_user_messages_handled_total", labels()),
            refused: events.counter("millstream_user_messages_refused_total", labels()),
            seconds: events.histogram("millstream_user_handler_seconds", labels()),
        }
    }
}

/// The place of an ask among those of its actor.
#[derive(Debug)]
pub(super) struct AskPlace(Arc<AtomicUsize>);

impl Drop for AskPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An actor.
pub(super) struct Cell {
    pub(super) actor: ActorId,
    pub(super) kind: Arc<str>,
    pub(super) name: Option<Arc<str>>,
    /// What it is called in logs: its name, or its id.
    pub(super) label: Arc<str>,
    /// The version of the image at its start: a loss of its node after that is its own.
    pub(super) since: u64,
    pub(super) mailbox: Mailbox,
    /// Asks of other nodes and of clients that it has not answered.
    pub(super) asks: Arc<AtomicUsize>,
    pub(super) series: KindSeries,
    pub(super) gate: Gate,
    /// Set once, as soon as it runs.
    pub(super) runner: OnceLock<ActorRef<Delivery>>,
    pub(super) ended: watch::Sender<Option<ActorEnd>>,
}

impl Cell {
    /// Puts a message into the mailbox.
    pub(super) fn deliver(
        &self,
        envelope: Envelope,
        deadline: Option<Deadline>,
        reply: CallReply,
    ) -> Result<(), (CallReply, CallError)> {
        let place = match self.gate.check().and_then(|()| self.mailbox.take(&envelope)) {
            Ok(place) => place,
            Err(error) => {
                self.refused();
                return Err((reply, error));
            }
        };
        let Some(runner) = self.runner.get() else {
            return Err((reply, CallError::NotOwner(format!("{} is about to start", self.label))));
        };
        // One that has just stopped drops it, and its reply says so.
        drop(runner.send_message(Delivery { envelope, reply, deadline, place }));
        Ok(())
    }

    /// A place for an ask of another node or of a client, while `free` of the node's are: an actor may hold as many as are
    /// free, so that one that hangs leaves some to the others whatever is asked of it (dynamic thresholds, Choudhury and
    /// Hahne 1998).
    pub(super) fn place(&self, free: usize) -> Option<AskPlace> {
        let before = self.asks.fetch_add(1, Ordering::Relaxed);
        // Given back by its drop where there was none left.
        let place = AskPlace(Arc::clone(&self.asks));
        (before < free).then_some(place)
    }

    /// A message was refused.
    pub(super) fn refused(&self) {
        self.series.refused.increment(1);
    }

    /// A handler has ended.
    pub(super) fn took(&self, took: Duration) {
        self.series.handled.increment(1);
        self.series.seconds.record(took);
    }

    /// It has ended, or is about to: the first reason counts.
    pub(super) fn end(&self, end: ActorEnd) {
        self.ended.send_if_modified(|known| {
            let is_first = known.is_none();
            known.get_or_insert(end);
            is_first
        });
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Ends it after the message that it handles now.
    pub(super) fn stop(&self, end: ActorEnd) {
        self.end(end);
        if let Some(runner) = self.runner.get() {
            runner.stop(None);
        }
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Cell")
            .field("actor", &self.actor)
            .field("label", &self.label)
            .field("ended", &*self.ended.borrow())
            .finish_non_exhaustive()
    }
}
