//! The actors of nodes as JSON, over HTTP and from the command line.

use axum::extract::Query;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use millstream_actors::custom::named::{Listed, NoAnswer, NodeActors};
use millstream_actors::ids::NodeId;
use millstream_actors::supervision::listing::{ActorLine, ActorPage, KindLine, ListActors};
use serde::{Deserialize, Serialize};

/// How long another node may take to answer.
const ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(3);

/// Actors of one answer where nobody says how many.
const MOST: u32 = 200;

/// Lists actors.
pub trait Actors: Send + Sync {
    /// Those of this node, or of all nodes.
    fn list(&self, asked: ListActors, of_all: bool) -> BoxFuture<'static, Listed>;
}

impl Actors for NodeActors {
    fn list(&self, asked: ListActors, of_all: bool) -> BoxFuture<'static, Listed> {
        if !of_all {
            return ready(vec![(self.node(), Ok(self.page(&asked)))]).boxed();
        }
        let (node, calls) = (self.node(), self.calls().clone());
        async move {
            let listed = calls.list(&asked, ANSWER_WITHIN).await;
            listed.unwrap_or_else(|error| vec![(node, Err(NoAnswer::Unknown(error.to_string())))])
        }
        .boxed()
    }
}

/// What may be said behind the question mark.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    kind: Option<String>,
    after: Option<u64>,
    most: Option<u32>,
    nodes: Option<Nodes>,
}

/// Whose actors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Nodes {
    #[default]
    Here,
    All,
}

/// The answer to `GET /actors`.
pub(super) async fn answer(actors: &dyn Actors, Query(asked): Query<Asked>) -> Vec<NodeReport> {
    let Asked { kind, after, most, nodes } = asked;
    let asked = ListActors { kind, after, most: most.unwrap_or(MOST) };
    report(&actors.list(asked, nodes.unwrap_or_default() == Nodes::All).await)
}

/// The actors of one node, with names that stay.
#[derive(Debug, Serialize)]
pub(crate) struct NodeReport {
    node: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    kinds: Vec<KindReport>,
    actors: Vec<ActorReport>,
    next: Option<u64>,
}

#[derive(Debug, Serialize)]
struct KindReport {
    kind: String,
    #[serde(rename = "type")]
    type_name: Option<String>,
    supervisor: String,
    alive: u64,
    mailbox: Option<u64>,
    handled: u64,
    restarts: u64,
    running_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ActorReport {
    number: u64,
    kind: String,
    #[serde(rename = "type")]
    type_name: Option<String>,
    name: String,
    actor: Option<String>,
    groups: Vec<String>,
    mailbox: Option<u64>,
    handled: u64,
    restarts: u64,
    age_ms: u64,
    running_ms: Option<u64>,
    about: String,
}

/// What is told of these nodes.
pub(crate) fn report(listed: &Listed) -> Vec<NodeReport> {
    listed.iter().map(|(node, page)| of_node(*node, page)).collect()
}

fn of_node(node: NodeId, page: &Result<ActorPage, NoAnswer>) -> NodeReport {
    let (page, error) = match page {
        Ok(page) => (page.clone(), None),
        Err(error) => (ActorPage::default(), Some(error.to_string())),
    };
    NodeReport {
        node: node.0,
        error,
        kinds: page.kinds.into_iter().map(of_kind).collect(),
        actors: page.actors.into_iter().map(of_actor).collect(),
        next: page.next,
    }
}

fn of_kind(line: KindLine) -> KindReport {
    let KindLine { kind, type_name, supervisor, alive, mailbox, handled, restarts, running_ms } = line;
    KindReport { kind, type_name, supervisor, alive, mailbox, handled, restarts, running_ms }
}

fn of_actor(line: ActorLine) -> ActorReport {
    ActorReport {
        number: line.number,
        kind: line.kind,
        type_name: line.type_name,
        name: line.name,
        actor: line.actor.map(|actor| actor.to_string()),
        groups: line.groups,
        mailbox: line.mailbox,
        handled: line.handled,
        restarts: line.restarts,
        age_ms: line.age_ms,
        running_ms: line.running_ms,
        about: line.about,
    }
}

/// Always the same, for tests.
#[cfg(test)]
pub(super) struct Fixed(pub(super) Listed);

#[cfg(test)]
impl Actors for Fixed {
    fn list(&self, _: ListActors, _: bool) -> BoxFuture<'static, Listed> {
        ready(self.0.clone()).boxed()
    }
}
