//! The graph of a topology: its operators, and who sends to whom. Pure data, and how each operator is made.

mod asked;
mod describe;
mod partitions;
mod parts;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

pub(crate) use partitions::PartitionCounts;
pub(crate) use parts::{Part, parts};
pub(crate) use sources::FromSource;

use super::global::{GlobalId, GlobalSpec};
use super::operator::Assembly;
use super::poison::Poison;
use super::query::Forms;
use super::scope::StreamError;
use super::store::Shape;
use super::topics::Topics;
use super::window::Closes;

/// A vertex of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VertexId(pub(crate) usize);

/// A state store of the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StoreId(pub(crate) usize);

/// What a vertex is to the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Reads topics.
    Source { topics: Topics },
    /// Writes a topic.
    Sink { topic: Arc<str> },
    /// Neither.
    Operator,
}

impl Role {
    /// The topics that it reads by their names.
    pub(crate) fn named(&self) -> &[Arc<str>] {
        match self {
            Self::Source { topics: Topics::Named(topics) } => topics,
            _ => &[],
        }
    }
}

/// A topic that the library makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repartition {
    pub(crate) partitions: Partitions,
}

/// How many partitions a topic of the library's own has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Partitions {
    /// As many as the most that flow into it.
    AsWriters,
    /// So many.
    Of(i32),
    /// As many as the topics whose records reach this vertex, to be joined with them.
    As(VertexId),
}

/// Where the changes of a store go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changelog {
    /// Nowhere.
    None,
    /// Into a topic of its own.
    Topic(Arc<str>),
    /// They came from this topic, which holds the same.
    Source(Arc<str>),
}

/// A state store.
#[derive(Clone, Debug)]
pub(crate) struct StoreSpec {
    pub(crate) name: Arc<str>,
    pub(crate) changelog: Changelog,
    /// How long an entry is of use after its time, for stores by time.
    pub(crate) retention_ms: Option<i64>,
}

type Build = Arc<dyn Fn(VertexId, &mut Assembly<'_>) -> Result<(), StreamError> + Send + Sync>;

pub(crate) struct Vertex {
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    pub(crate) parents: Vec<VertexId>,
    pub(crate) stores: Vec<StoreId>,
    /// Whether what its parents bring must be of as many partitions, cut alike.
    pub(crate) needs_copartitioned: bool,
    pub(crate) build: Build,
}

impl Vertex {
    /// An operator between its parents and whoever comes after it.
    pub(crate) fn operator(
        name: Arc<str>,
        parents: Vec<VertexId>,
        stores: Vec<StoreId>,
        build: impl Fn(VertexId, &mut Assembly<'_>) -> Result<(), StreamError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            role: Role::Operator,
            parents,
            stores,
            needs_copartitioned: false,
            build: Arc::new(build),
        }
    }

    /// An operator whose parents have to be cut alike.
    pub(crate) fn join(
        name: Arc<str>,
        parents: Vec<VertexId>,
        stores: Vec<StoreId>,
        build: impl Fn(VertexId, &mut Assembly<'_>) -> Result<(), StreamError> + Send + Sync + 'static,
    ) -> Self {
        Self { needs_copartitioned: true, ..Self::operator(name, parents, stores, build) }
    }
}

/// A graph that is being written.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) application: Arc<str>,
    pub(crate) vertices: Vec<Vertex>,
    pub(crate) stores: Vec<StoreSpec>,
    pub(crate) repartitions: BTreeMap<Arc<str>, Repartition>,
    pub(crate) poison: Poison,
    pub(crate) globals: Vec<GlobalSpec>,
    /// Of operators that hold records back: how far behind stream time what they send may be.
    delays_ms: BTreeMap<VertexId, i64>,
    /// Of windowed aggregates: when a window's result is final.
    pub(crate) closes: BTreeMap<VertexId, Closes>,
    /// Of stores of windows: how those lie.
    pub(crate) windows: BTreeMap<StoreId, Shape>,
    /// Of stores and global tables that can be asked, by their names: the forms of what is in them.
    pub(crate) forms: BTreeMap<Arc<str>, Forms>,
    /// Of stores whose changelog is a source: how its records lie in them.
    pub(crate) from_sources: BTreeMap<StoreId, FromSource>,
    /// Changelogs of tables that are read from topics which they are not the same as, with those.
    pub(crate) beside_sources: BTreeMap<Arc<str>, Arc<str>>,
    names: BTreeSet<Arc<str>>,
    problems: Vec<String>,
}

/// A topology cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the topology of {application:?} cannot be run: {}", problems.join("; "))]
pub struct TopologyError {
    /// The application.
    pub application: String,
    /// All that is wrong with it.
    pub problems: Vec<String>,
}

impl Graph {
    pub(crate) fn new(application: &str) -> Self {
        Self { application: Arc::from(application), ..Self::default() }
    }

    /// A name that nothing else has: that which is wished, or one after what it is and how many there are.
    pub(crate) fn name(&mut self, wished: Option<&str>, kind: &str) -> Arc<str> {
        let name: Arc<str> = match wished {
            Some(name) => Arc::from(name),
            None => format!("{kind}-{}", self.vertices.len()).into(),
        };
        if !self.names.insert(Arc::clone(&name)) {
            self.problem(format!("the name {name:?} is given twice"));
        }
        name
    }

    pub(crate) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    pub(crate) fn add(&mut self, vertex: Vertex) -> VertexId {
        self.vertices.push(vertex);
        VertexId(self.vertices.len() - 1)
    }

    pub(crate) fn add_store(&mut self, store: StoreSpec) -> StoreId {
        if !is_name(&store.name) {
            let text = "has not 1 to 200 letters, digits, '-', '_' or '.', as the name of its changelog topic must have";
            self.problem(format!("the store name {:?} {text}", store.name));
        }
        self.calls_store(&store.name);
        self.stores.push(store);
        StoreId(self.stores.len() - 1)
    }

    /// An operator holds records back: what it sends may be this far behind the time that it sees.
    pub(crate) fn delays(&mut self, vertex: VertexId, delay_ms: i64) {
        self.delays_ms.insert(vertex, delay_ms);
    }

    /// How far behind stream time what comes to each vertex may be, for what was held back before it; 0 where none is given.
    fn lags_ms(&self) -> BTreeMap<VertexId, i64> {
        let mut lags: BTreeMap<VertexId, i64> = BTreeMap::new();
        // Who sends is before who receives.
        for (number, vertex) in self.vertices.iter().enumerate() {
            let of = |lags: &BTreeMap<VertexId, i64>, parent: &VertexId| {
                let delay_ms = self.delays_ms.get(parent).copied().unwrap_or(0);
                lags.get(parent).copied().unwrap_or(0).saturating_add(delay_ms)
            };
            let lag_ms = vertex.parents.iter().map(|parent| of(&lags, parent)).max().unwrap_or(0);
            if lag_ms > 0 {
                lags.insert(VertexId(number), lag_ms);
            }
        }
        lags
    }

    pub(crate) fn add_global(&mut self, global: GlobalSpec) -> GlobalId {
        self.calls_store(&global.name);
        self.reads(&global.topic);
        self.globals.push(global);
        GlobalId(self.globals.len() - 1)
    }

    fn calls_store(&mut self, name: &Arc<str>) {
        let names = self.stores.iter().map(|store| &store.name);
        if names.chain(self.globals.iter().map(|global| &global.name)).any(|other| other == name) {
            self.problem(format!("two stores are called {name:?}"));
        }
    }

    /// A topic is read here; it may be read nowhere else.
    pub(crate) fn reads(&mut self, topic: &Arc<str>) {
        let is_it = |vertex: &Vertex| vertex.role.named().contains(topic);
        if self.vertices.iter().any(is_it) || self.globals.iter().any(|global| global.topic == *topic) {
            self.problem(format!(
                "the topic {topic:?} is read twice; read it once and use that stream twice"
            ));
        }
    }

    /// A store of an operator of this name, with a changelog of its own where it is logged.
    pub(crate) fn add_kept(&mut self, (name, is_logged): (&str, bool), retention_ms: Option<i64>) -> StoreId {
        let changelog = match is_logged {
            true => Changelog::Topic(self.internal_topic(name, "changelog")),
            false => Changelog::None,
        };
        self.add_store(StoreSpec { name: Arc::from(name), changelog, retention_ms })
    }

    /// A stream is to be used by its key, which has to be the one by which its records lie in partitions.
    pub(crate) fn needs_key_of_partition(&mut self, is_scattered: bool, vertex: VertexId, to: &str) {
        let Some(name) = self.vertices.get(vertex.0).map(|vertex| Arc::clone(&vertex.name)) else { return };
        if is_scattered {
            self.problem(format!(
                "the stream of {name:?} cannot be {to}: its key was changed, so that records of a key are in any \
                 partition; call repartition() on it first"
            ));
        }
    }

    /// The topic of the library's own for a name.
    pub(crate) fn internal_topic(&self, name: &str, kind: &str) -> Arc<str> {
        format!("{}-{name}-{kind}", self.application).into()
    }
}

fn is_name(name: &str) -> bool {
    let is_of_topics = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=200).contains(&name.len()) && name.chars().all(is_of_topics)
}

/// A topology that can be run. Cheap to clone.
#[derive(Clone)]
pub struct Topology {
    pub(crate) graph: Arc<Graph>,
    pub(crate) parts: Arc<Vec<Part>>,
}

impl Topology {
    pub(crate) fn new(mut graph: Graph) -> Result<Self, TopologyError> {
        if !is_name(&graph.application) {
            let text = "the application's id has not 1 to 200 letters, digits, '-', '_' or '.'";
            graph.problem(text.to_owned());
        }
        graph.part_tables_from_sources();
        let parts = parts(&graph, &[]);
        if parts.is_empty() {
            graph.problem("it reads no topic".to_owned());
        }
        if graph.problems.is_empty() {
            return Ok(Self { graph: Arc::new(graph), parts: Arc::new(parts) });
        }
        Err(TopologyError { application: graph.application.to_string(), problems: graph.problems })
    }

    /// The same over the topics that there are, of which its patterns take theirs. Again, when there are others: its
    /// sub-topologies and their stores stay what they are, and their topics have other places.
    pub(crate) fn over(&self, topics: &[Arc<str>]) -> Result<Self, TopologyError> {
        let parts = parts(&self.graph, topics);
        let mut problems = Vec::new();
        let mut read: BTreeSet<&Arc<str>> = BTreeSet::new();
        for (vertex, topics) in parts.iter().flat_map(|part| &part.readers) {
            if let Some(Role::Source { topics: Topics::Matching(pattern) }) =
                self.graph.vertices.get(vertex.0).map(|vertex| &vertex.role)
                && topics.is_empty()
            {
                problems.push(format!("no topic matches {pattern:?}; make one first"));
            }
            let twice = topics.iter().filter(|topic| !read.insert(topic));
            problems.extend(twice.map(|topic| format!("the topic {topic:?} is read by two sources")));
        }
        match problems.is_empty() {
            true => Ok(Self { graph: Arc::clone(&self.graph), parts: Arc::new(parts) }),
            false => Err(TopologyError { application: self.application().to_owned(), problems }),
        }
    }

    /// The application's id.
    #[must_use]
    pub fn application(&self) -> &str {
        &self.graph.application
    }
}

impl fmt::Debug for Topology {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.describe())
    }
}
