//! The sub-topologies of a graph: what is tied by records that pass or by stores that are shared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Graph, Role, StoreId, Vertex, VertexId};

/// A sub-topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its vertices; who sends is before who receives.
    pub(crate) vertices: Vec<VertexId>,
    /// The topics that it reads, in the order of their names.
    pub(crate) sources: Vec<Arc<str>>,
    /// Which of them each of its sources reads.
    pub(crate) readers: BTreeMap<VertexId, Vec<Arc<str>>>,
    /// The topics of the library that it writes and another one reads.
    pub(crate) repartitions: BTreeSet<Arc<str>>,
    /// Of those in which its own time would come back to it, by way of other sub-topologies: the places in `sources` whose
    /// records reach them. Only those say how far such a topic has come; otherwise each would wait for itself.
    pub(crate) in_circles: BTreeMap<Arc<str>, BTreeSet<usize>>,
    /// How far behind stream time what comes to its vertices may be: see [`Graph::delays`].
    pub(crate) lags_ms: BTreeMap<VertexId, i64>,
    /// Its stores; their places in a task are their places here.
    pub(crate) stores: Vec<StoreId>,
    /// Topics that must have as many partitions as one another.
    pub(crate) copartitioned: Vec<BTreeSet<Arc<str>>>,
}

/// The sub-topologies, in the order of their first vertices, over the topics that there are.
pub(crate) fn parts(graph: &Graph, topics: &[Arc<str>]) -> Vec<Part> {
    let mut groups = Groups::new(graph.vertices.len());
    let mut users: BTreeMap<StoreId, usize> = BTreeMap::new();
    for (number, vertex) in graph.vertices.iter().enumerate() {
        for parent in &vertex.parents {
            groups.join(number, parent.0);
        }
        for store in &vertex.stores {
            let first = *users.entry(*store).or_insert(number);
            groups.join(number, first);
        }
    }
    let mut parts: BTreeMap<usize, Vec<VertexId>> = BTreeMap::new();
    for number in 0..graph.vertices.len() {
        parts.entry(groups.first(number)).or_default().push(VertexId(number));
    }
    let mut parts: Vec<Part> = parts.into_values().map(|vertices| part(graph, vertices, topics)).collect();
    let circles: Vec<_> = parts.iter().map(|part| circles(graph, &parts, part)).collect();
    let lags_ms = graph.lags_ms();
    for (part, in_circles) in parts.iter_mut().zip(circles) {
        part.in_circles = in_circles;
        let of_part = lags_ms.iter().filter(|(vertex, _)| part.vertices.contains(vertex));
        part.lags_ms = of_part.map(|(vertex, lag_ms)| (*vertex, *lag_ms)).collect();
    }
    parts
}

fn part(graph: &Graph, vertices: Vec<VertexId>, topics: &[Arc<str>]) -> Part {
    let mut readers = BTreeMap::new();
    let mut repartitions: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut stores = BTreeSet::new();
    let mut copartitioned = Vec::new();
    for id in &vertices {
        let Some(vertex) = graph.vertices.get(id.0) else { continue };
        stores.extend(vertex.stores.iter().copied());
        match &vertex.role {
            Role::Source { topics: of } => {
                readers.insert(*id, of.among(&graph.application, topics));
            }
            Role::Sink { topic } if graph.repartitions.contains_key(topic) => {
                repartitions.insert(Arc::clone(topic));
            }
            Role::Sink { .. } | Role::Operator => {}
        }
        if vertex.needs_copartitioned {
            copartitioned.push(*id);
        }
    }
    let copartitioned = copartitioned.into_iter().map(|id| topics_before(graph, id, &readers)).collect();
    let sources: BTreeSet<Arc<str>> = readers.values().flatten().cloned().collect();
    let sources: Vec<Arc<str>> = sources.into_iter().collect();
    Part {
        vertices,
        in_circles: BTreeMap::new(),
        lags_ms: BTreeMap::new(),
        sources,
        readers,
        repartitions,
        stores: stores.into_iter().collect(),
        copartitioned,
    }
}

impl Part {
    /// How far behind stream time what it writes to a topic may be.
    pub(crate) fn topic_lag_ms(&self, graph: &Graph, topic: &str) -> i64 {
        let writes =
            |vertex: &Vertex| matches!(&vertex.role, Role::Sink { topic: other } if **other == *topic);
        let lags = self.lags_ms.iter();
        let of_topic = lags.filter(|(id, _)| graph.vertices.get(id.0).is_some_and(writes));
        of_topic.map(|(_, lag_ms)| *lag_ms).max().unwrap_or(0)
    }
}

/// The topics of a sub-topology whose time would come back to it, with what of its sources reaches them.
///
/// Time passes between sub-topologies as records do, but within one each topic waits for all sources. Where that closes a
/// circle (a join by foreign key sends to the other table and is sent answers) a topic waits for the sources of its records
/// alone. Records never go in circles, so neither does that.
fn circles(graph: &Graph, parts: &[Part], of: &Part) -> BTreeMap<Arc<str>, BTreeSet<usize>> {
    let mut circles: BTreeMap<Arc<str>, BTreeSet<usize>> = BTreeMap::new();
    for topic in of.repartitions.iter().filter(|topic| comes_back(parts, of, topic)) {
        let is_sink = |vertex: &Vertex| matches!(&vertex.role, Role::Sink { topic: other } if other == topic);
        for id in &of.vertices {
            if graph.vertices.get(id.0).is_some_and(is_sink) {
                let before = topics_before(graph, *id, &of.readers);
                let places = of.sources.iter().enumerate().filter(|(_, source)| before.contains(*source));
                circles.entry(Arc::clone(topic)).or_default().extend(places.map(|(place, _)| place));
            }
        }
    }
    circles
}

/// Whether the sub-topology reads a topic whose time depends on what it tells in this one.
fn comes_back(parts: &[Part], of: &Part, topic: &Arc<str>) -> bool {
    let (mut seen, mut ahead) = (BTreeSet::new(), vec![topic]);
    while let Some(topic) = ahead.pop() {
        if of.sources.contains(topic) {
            return true;
        }
        if seen.insert(topic) {
            let readers = parts.iter().filter(|part| part.sources.contains(topic));
            ahead.extend(readers.flat_map(|part| &part.repartitions));
        }
    }
    false
}

/// The topics whose records reach a vertex.
pub(super) fn topics_before(
    graph: &Graph,
    vertex: VertexId,
    readers: &BTreeMap<VertexId, Vec<Arc<str>>>,
) -> BTreeSet<Arc<str>> {
    let (mut topics, mut seen, mut ahead) = (BTreeSet::new(), BTreeSet::new(), vec![vertex]);
    while let Some(id) = ahead.pop() {
        let Some(vertex) = graph.vertices.get(id.0).filter(|_| seen.insert(id)) else { continue };
        topics.extend(readers.get(&id).into_iter().flatten().cloned());
        ahead.extend(&vertex.parents);
    }
    topics
}

/// Disjoint sets, each called after its least member.
struct Groups(Vec<usize>);

impl Groups {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn first(&self, mut member: usize) -> usize {
        while let Some(next) = self.0.get(member).copied().filter(|next| *next != member) {
            member = next;
        }
        member
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.first(one), self.first(other));
        if let Some(place) = self.0.get_mut(one.max(other)) {
            *place = one.min(other);
        }
    }
}
