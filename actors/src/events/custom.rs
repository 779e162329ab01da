//! Actors of users.

use std::time::Duration;

use metrics::Label;

use super::{Event, Events};
use crate::kinds::USER_ACTOR;

/// A handler of a user's runs for long: nothing else of its actor is handled meanwhile. Told when it is seen, and when it
/// has ended at last.
#[derive(Debug)]
pub struct HandlerRunsLong<'a> {
    /// The kind of the actor.
    pub kind: &'a str,
    /// The actor.
    pub actor: &'a str,
    /// What it handles.
    pub message: &'static str,
    /// For how long, so far.
    pub running_for: Duration,
    /// Whether it has ended.
    pub has_ended: bool,
}

impl Event for HandlerRunsLong<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, actor, message, running_for, has_ended } = self;
        if *has_ended {
            tracing::info!(node = %events.node(), kind, actor, message, ?running_for, "the handler of a user's actor ended after a long time");
            return;
        }
        let labels = vec![Label::new("kind", (*kind).to_owned())];
        events.counter("millstream_user_handlers_slow_total", labels).increment(1);
        tracing::warn!(node = %events.node(), kind, actor, message, ?running_for, "the handler of a user's actor runs for long; its mailbox waits");
    }
}

/// The handler of a user's actor panicked.
#[derive(Debug)]
pub struct UserActorPanicked<'a> {
    /// The kind of the actor.
    pub kind: &'a str,
    /// The actor.
    pub actor: &'a str,
    /// What it handled.
    pub message: &'static str,
    /// What the panic said.
    pub panic: &'a str,
    /// It is begun anew after so long; `None` where it is not.
    pub after: Option<Duration>,
}

impl Event for UserActorPanicked<'_> {
    fn tell(&self, events: &Events) {
        let Self { kind, actor, message, panic, after } = self;
        let labels = vec![Label::new("kind", (*kind).to_owned())];
        events.counter("millstream_user_actor_panics_total", labels).increment(1);
        match after {
            Some(after) => {
                events.count_restart(USER_ACTOR.name);
                tracing::warn!(node = %events.node(), kind, actor, message, panic, ?after, "the handler of a user's actor panicked; it is begun anew");
            }
            None => {
                tracing::error!(node = %events.node(), kind, actor, message, panic, "the handler of a user's actor panicked more often than its settings allow; it stops");
            }
        }
    }
}
