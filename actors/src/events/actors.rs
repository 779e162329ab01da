//! The actors of a node, of all kinds.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::Label;

use super::{Event, Events};
use crate::kinds::KINDS;
use crate::supervision::roster::{Entry, Seat};

/// An actor died, or could not be started, and is begun anew.
#[derive(Debug)]
pub struct ActorRestarted<'a> {
    /// Which kind.
    pub kind: &'static str,
    /// Which of them, as the roster has it.
    pub name: &'a str,
    /// What became of it, for people.
    pub cause: String,
    /// Until then it waits.
    pub after: Duration,
}

impl Event for ActorRestarted<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, name, cause, after } = self;
        events.count_restart(kind);
        events.roster().begun_anew(kind, name);
        tracing::error!(node = %events.node(), kind, name, cause, ?after, "an actor died and is begun anew");
    }
}

/// What the actors of one kind do now.
#[derive(Clone, Copy, Debug, Default)]
struct OfKind {
    alive: u32,
    handled: u64,
    waiting_max: usize,
    running_max: Duration,
}

impl Events {
    /// An actor of a kind is begun anew.
    pub(super) fn count_restart(&self, kind: &'static str) {
        self.counter("millstream_actor_restarts_total", vec![Label::new("kind", kind)]).increment(1);
    }

    /// An actor begins: it lives until the seat is dropped.
    #[must_use]
    pub fn seat(&self, entry: Entry) -> Seat {
        let labels = vec![Label::new("kind", entry.kind().name)];
        let seconds = self.histogram("millstream_actor_handler_seconds", labels);
        self.roster.enter(entry, seconds)
    }

    /// Moves the series that tell of the actors by kind: looked at when somebody reads the metrics.
    pub fn tell_actors(&self) {
        let mut kinds: BTreeMap<&str, OfKind> = BTreeMap::new();
        for (kind, handled) in self.roster.handled_by_ended() {
            kinds.entry(kind).or_default().handled = handled;
        }
        for seen in self.roster.look() {
            let of_kind = kinds.entry(seen.kind.name).or_default();
            of_kind.alive = of_kind.alive.saturating_add(1);
            of_kind.handled = of_kind.handled.saturating_add(seen.handled);
            of_kind.waiting_max = of_kind.waiting_max.max(seen.waiting.unwrap_or(0));
            of_kind.running_max = of_kind.running_max.max(seen.running_for.unwrap_or_default());
        }
        for kind in KINDS {
            let OfKind { alive, handled, waiting_max, running_max } =
                kinds.get(kind.name).copied().unwrap_or_default();
            let labels = || vec![Label::new("kind", kind.name)];
            let waiting_max = u32::try_from(waiting_max).unwrap_or(u32::MAX);
            self.gauge("millstream_actor_alive", labels()).set(alive);
            self.counter("millstream_actor_handled_total", labels()).absolute(handled);
            self.gauge("millstream_actor_mailbox_messages_max", labels()).set(waiting_max);
            self.gauge("millstream_actor_running_max_seconds", labels()).set(running_max);
        }
    }
}
