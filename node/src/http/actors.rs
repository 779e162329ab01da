//! The actors of users on a node, as JSON.

use millstream_actors::custom::named::{ActorLine, NodeActors};
use serde::Serialize;

/// Lists the actors of users.
pub trait Actors: Send + Sync {
    /// Those of this node.
    fn lines(&self) -> Vec<ActorLine>;
}

impl Actors for NodeActors {
    fn lines(&self) -> Vec<ActorLine> {
        self.here()
    }
}

/// An actor, with names that stay.
#[derive(Debug, Serialize)]
pub(super) struct ActorReport {
    actor: String,
    node: u32,
    kind: String,
    name: Option<String>,
    groups: Vec<String>,
    mailbox: u64,
    handled: u64,
    restarts: u64,
    age_ms: u64,
}

/// What is told of these actors.
pub(super) fn report(lines: &[ActorLine]) -> Vec<ActorReport> {
    let line = |line: &ActorLine| ActorReport {
        actor: line.actor.to_string(),
        node: line.actor.node.0,
        kind: line.kind.clone(),
        name: line.name.clone(),
        groups: line.groups.clone(),
        mailbox: line.mailbox,
        handled: line.handled,
        restarts: line.restarts,
        age_ms: line.age_ms,
    };
    lines.iter().map(line).collect()
}

/// Always the same, for tests.
#[cfg(test)]
pub(super) struct Fixed(pub(super) Vec<ActorLine>);

#[cfg(test)]
impl Actors for Fixed {
    fn lines(&self) -> Vec<ActorLine> {
        self.0.clone()
    }
}
