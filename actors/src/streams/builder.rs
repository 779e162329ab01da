//! Where a topology begins.

use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::codec::{Coded, SharedCodec};
use super::event::{Change, Data, Event};
use super::graph::{
    Changelog, FromSource, Graph, Partitions, Repartition, Role, StoreId, StoreSpec, Topology, TopologyError,
    Vertex, VertexId,
};
use super::operator::{Assembly, Outcome, Outlet, RawRecord, Read, entered};
use super::poison::Poison;
use super::scope::{Scope, StreamError};
use super::store::{KeyValue, Stored};
use super::stream::Stream;
use super::table::{Getter, Table};
use super::topics::Topics;

/// A graph that several handles write.
pub(crate) type SharedGraph = Arc<Mutex<Graph>>;

/// What is put together must be of one builder: both are told otherwise.
pub(crate) fn of_one_builder(one: &SharedGraph, other: &SharedGraph) {
    if !Arc::ptr_eq(one, other) {
        let text = "streams and tables of two builders are put together; a topology is of one";
        [one, other].into_iter().for_each(|graph| entered(graph).problem(text.to_owned()));
    }
}

type Extract<K, V> = Arc<dyn Fn(&Event<K, V>) -> i64 + Send + Sync>;

/// How a topic is read.
pub struct Consumed<K, V> {
    topics: Topics,
    pub(crate) key: SharedCodec<K>,
    pub(crate) value: SharedCodec<V>,
    timestamp: Option<Extract<K, V>>,
}

impl<K: Data, V: Data> Consumed<K, V> {
    /// The records of a topic, whose keys and values are in these forms.
    #[must_use]
    pub fn with(topic: impl AsRef<str>, key: SharedCodec<K>, value: SharedCodec<V>) -> Self {
        Self::of(Topics::named([topic.as_ref()]), key, value)
    }

    /// The records of several topics. Those of a key are in order in each of them, and by their times between them.
    #[must_use]
    pub fn topics(names: &[&str], key: SharedCodec<K>, value: SharedCodec<V>) -> Self {
        Self::of(Topics::named(names.iter().copied()), key, value)
    }

    /// The records of all topics whose whole names match a regular expression, those that are made later included. The
    /// library's own are not among them.
    #[must_use]
    pub fn matching(pattern: impl AsRef<str>, key: SharedCodec<K>, value: SharedCodec<V>) -> Self {
        Self::of(Topics::Matching(Arc::from(pattern.as_ref())), key, value)
    }

    /// The topic of a table, which is read from one.
    pub(crate) fn one_topic(&self, graph: &mut Graph) -> Arc<str> {
        match &self.topics {
            Topics::Named(names) if let [topic] = names.as_slice() => Arc::clone(topic),
            topics => {
                graph.problem(format!("a table is read from one topic, not from {topics}"));
                Arc::from("")
            }
        }
    }

    fn of(topics: Topics, key: SharedCodec<K>, value: SharedCodec<V>) -> Self {
        Self { topics, key, value, timestamp: None }
    }

    /// The event time of a record, in milliseconds since 1970, where that is not its timestamp.
    #[must_use]
    pub fn timestamp(mut self, of: impl Fn(&Event<K, V>) -> i64 + Send + Sync + 'static) -> Self {
        self.timestamp = Some(Arc::new(of));
        self
    }
}

impl<K: Coded, V: Coded> From<&str> for Consumed<K, V> {
    fn from(topic: &str) -> Self {
        Self::with(topic, K::codec(), V::codec())
    }
}

impl<K: Coded, V: Coded, const N: usize> From<[&str; N]> for Consumed<K, V> {
    fn from(names: [&str; N]) -> Self {
        Self::topics(&names, K::codec(), V::codec())
    }
}

impl<K: Coded, V: Coded> Consumed<K, V> {
    /// [`Self::matching`] in the forms of the types.
    #[must_use]
    pub fn pattern(pattern: impl AsRef<str>) -> Self {
        Self::matching(pattern, K::codec(), V::codec())
    }
}

impl<K, V> fmt::Debug for Consumed<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Consumed").field("topics", &self.topics).finish_non_exhaustive()
    }
}

/// How a topic is written.
#[derive(Debug)]
pub struct Produced<K, V> {
    pub(crate) topic: Arc<str>,
    pub(crate) key: SharedCodec<K>,
    pub(crate) value: SharedCodec<V>,
}

impl<K: Data, V: Data> Produced<K, V> {
    /// Records of a topic, whose keys and values are in these forms.
    #[must_use]
    pub fn with(topic: impl AsRef<str>, key: SharedCodec<K>, value: SharedCodec<V>) -> Self {
        Self { topic: Arc::from(topic.as_ref()), key, value }
    }
}

impl<K: Coded, V: Coded> From<&str> for Produced<K, V> {
    fn from(topic: &str) -> Self {
        Self::with(topic, K::codec(), V::codec())
    }
}

/// What a stream is grouped by, and how its records lie in the topic that brings those of a key together, where one is
/// needed.
#[derive(Debug)]
pub struct Grouped<K, V> {
    pub(crate) name: String,
    pub(crate) key: SharedCodec<K>,
    pub(crate) value: SharedCodec<V>,
    pub(crate) partitions: Option<i32>,
}

impl<K: Data, V: Data> Grouped<K, V> {
    /// Of this name (the topic is called after it), in these forms.
    #[must_use]
    pub fn with(name: impl Into<String>, key: SharedCodec<K>, value: SharedCodec<V>) -> Self {
        Self { name: name.into(), key, value, partitions: None }
    }

    /// Over so many partitions, where a topic is needed.
    #[must_use]
    pub const fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = Some(partitions);
        self
    }
}

impl<K: Coded, V: Coded> From<&str> for Grouped<K, V> {
    fn from(name: &str) -> Self {
        Self::with(name, K::codec(), V::codec())
    }
}

/// Where a topology is written: what it reads.
pub struct StreamBuilder {
    pub(crate) graph: SharedGraph,
}

impl StreamBuilder {
    /// A topology of the application of this id, which names its consumer group, its transactions and its topics.
    #[must_use]
    pub fn new(application: &str) -> Self {
        Self { graph: Arc::new(Mutex::new(Graph::new(application))) }
    }

    /// The records of a topic, of several (`["one", "two"]`), or of a pattern ([`Consumed::pattern`]), each by itself.
    pub fn stream<K: Data, V: Data>(&self, topic: impl Into<Consumed<K, V>>) -> Stream<K, V> {
        let vertex = source(&self.graph, &Arc::new(topic.into()), None);
        Stream::new(Arc::clone(&self.graph), vertex, false)
    }

    /// The newest record of each key of a topic, kept in a store. A record without a value deletes its key; the topic
    /// should be compacted. It is the store's changelog, too, unless records may be left out ([`Self::on_poison`]).
    pub fn table<K: Data, V: Data>(
        &self,
        topic: impl Into<Consumed<K, V>>,
        stored: impl Into<Stored<K, V>>,
    ) -> Table<K, V> {
        let (consumed, stored) = (Arc::new(topic.into()), Arc::new(stored.into()));
        let mut graph = entered(&self.graph);
        let changelog = Changelog::Source(consumed.one_topic(&mut graph));
        let name = Arc::from(stored.name.as_str());
        let store = graph.add_store(StoreSpec { name, changelog, retention_ms: None });
        graph.can_be_asked(&stored.name, &stored.key, &stored.value);
        graph.from_sources.insert(store, from_source(&consumed, &stored));
        drop(graph);
        let vertex = source(&self.graph, &consumed, Some((store, Arc::clone(&stored))));
        Table::new(Arc::clone(&self.graph), vertex, Getter::of_store(store, &stored), vec![store])
    }

    /// What becomes of records that cannot be processed; the task fails, where nothing is said. Where they are left out, tables
    /// that are read from topics have changelogs of their own, as their topics hold what was left out, too: an application that
    /// has run with such tables and is to leave records out from now on is to be reset first.
    pub fn on_poison(&self, policy: Poison) {
        entered(&self.graph).poison = policy;
    }

    /// The topology, or all that is wrong with it.
    pub fn build(self) -> Result<Topology, TopologyError> {
        let graph = std::mem::take(&mut *entered(&self.graph));
        Topology::new(graph)
    }
}

impl fmt::Debug for StreamBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let application = Arc::clone(&entered(&self.graph).application);
        formatter.debug_struct("StreamBuilder").field("application", &application).finish_non_exhaustive()
    }
}

/// How a record of a table's topic lies in the table's store: others may write a key or a value in bytes that the codecs
/// read and would not write.
fn from_source<K: Data, V: Data>(consumed: &Arc<Consumed<K, V>>, stored: &Arc<Stored<K, V>>) -> FromSource {
    let (consumed, stored) = (Arc::clone(consumed), Arc::clone(stored));
    Arc::new(move |key, value| {
        let view = KeyValue::new(0, Arc::clone(&stored.key), Arc::clone(&stored.value));
        let key = view.key(&consumed.key.decode(Some(key))?)?;
        let value = value.map(|value| consumed.value.decode(Some(value))).transpose()?;
        let value = value.map(|value| stored.value.encode(&value)).transpose()?.flatten();
        Ok((key, value))
    })
}

pub(crate) type Table_<K, V> = (StoreId, Arc<Stored<K, V>>);

/// A vertex that reads a topic, into a store where one is given.
pub(crate) fn source<K: Data, V: Data>(
    graph: &SharedGraph,
    consumed: &Arc<Consumed<K, V>>,
    table: Option<Table_<K, V>>,
) -> VertexId {
    let mut graph = entered(graph);
    let topics = consumed.topics.clone();
    if let Some(problem) = topics.problem() {
        graph.problem(problem);
    }
    let role = Role::Source { topics };
    for topic in role.named() {
        graph.reads(topic);
    }
    let name = graph.name(None, "source");
    let stores = table.iter().map(|(store, _)| *store).collect();
    let consumed = Arc::clone(consumed);
    let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
        let consumed = &consumed;
        match &table {
            None => {
                let outlet = assembly.outlet::<K, V>(id)?;
                assembly.read(id, || {
                    Box::new(StreamSource { consumed: Arc::clone(consumed), outlet: outlet.clone() })
                });
            }
            Some((store, stored)) => {
                let place = assembly.place(*store)?;
                let outlet = assembly.outlet::<K, Change<V>>(id)?;
                assembly.read(id, || {
                    let store = KeyValue::new(place, Arc::clone(&stored.key), Arc::clone(&stored.value));
                    Box::new(TableSource { consumed: Arc::clone(consumed), store, outlet: outlet.clone() })
                });
            }
        }
        Ok(())
    };
    graph.add(Vertex {
        name,
        role,
        parents: Vec::new(),
        stores,
        needs_copartitioned: false,
        build: Arc::new(build),
    })
}

/// A topic between two sub-topologies, that brings the records of a key together.
pub(crate) fn repartition<K: Data, V: Data>(
    graph: &SharedGraph,
    from: VertexId,
    grouped: &Arc<Grouped<K, V>>,
) -> VertexId {
    let topic = {
        let mut graph = entered(graph);
        let topic = graph.internal_topic(&grouped.name, "repartition");
        let wanted =
            Repartition { partitions: grouped.partitions.map_or(Partitions::AsWriters, Partitions::Of) };
        graph.repartitions.insert(Arc::clone(&topic), wanted);
        topic
    };
    let (key, value) = (Arc::clone(&grouped.key), Arc::clone(&grouped.value));
    let produced = Produced { topic: Arc::clone(&topic), key: Arc::clone(&key), value: Arc::clone(&value) };
    sink(graph, from, &Arc::new(produced));
    source(graph, &Arc::new(Consumed::with(topic, key, value)), None)
}

/// A vertex that writes a topic.
pub(crate) fn sink<K: Data, V: Data>(graph: &SharedGraph, from: VertexId, produced: &Arc<Produced<K, V>>) {
    let mut graph = entered(graph);
    let name = graph.name(None, "sink");
    let topic = Arc::clone(&produced.topic);
    let produced = Arc::clone(produced);
    let build = move |_: VertexId, assembly: &mut Assembly<'_>| {
        let produced = Arc::clone(&produced);
        assembly.attach_operator(from, move |event: Event<K, V>, scope: &mut Scope| {
            let key = produced.key.encode(&event.key)?;
            let value = produced.value.encode(&event.value)?;
            send(scope, &produced.topic, key, value, event.timestamp_ms);
            Ok(())
        });
        Ok(())
    };
    graph.add(Vertex {
        name,
        role: Role::Sink { topic },
        parents: vec![from],
        stores: Vec::new(),
        needs_copartitioned: false,
        build: Arc::new(build),
    });
}

fn send(scope: &mut Scope, topic: &Arc<str>, key: Option<Bytes>, value: Option<Bytes>, timestamp_ms: i64) {
    let headers = Arc::clone(&scope.origin.headers);
    scope.sent.push(super::scope::Outgoing {
        topic: Arc::clone(topic),
        partition: None,
        key,
        value,
        timestamp_ms,
        headers,
    });
}

struct StreamSource<K, V> {
    consumed: Arc<Consumed<K, V>>,
    outlet: Outlet<K, V>,
}

impl<K: Data, V: Data> Consumed<K, V> {
    fn event(&self, record: &RawRecord) -> Result<Event<K, V>, StreamError> {
        let key = self.key.decode(record.key.as_ref())?;
        let value = self.value.decode(record.value.as_ref())?;
        let mut event = Event { key, value, timestamp_ms: record.timestamp_ms };
        if let Some(extract) = &self.timestamp {
            event.timestamp_ms = extract(&event);
        }
        Ok(event)
    }
}

impl<K: Data, V: Data> Read for StreamSource<K, V> {
    fn timestamp_ms(&self, record: &RawRecord) -> Result<i64, StreamError> {
        match &self.consumed.timestamp {
            Some(_) => Ok(self.consumed.event(record)?.timestamp_ms),
            None => Ok(record.timestamp_ms),
        }
    }

    fn read(&mut self, record: &RawRecord, timestamp_ms: i64, scope: &mut Scope) -> Outcome {
        let key = self.consumed.key.decode(record.key.as_ref())?;
        let value = self.consumed.value.decode(record.value.as_ref())?;
        self.outlet.give(Event { key, value, timestamp_ms }, scope)
    }
}

struct TableSource<K, V> {
    consumed: Arc<Consumed<K, V>>,
    store: KeyValue<K, V>,
    outlet: Outlet<K, Change<V>>,
}

impl<K: Data, V: Data> Read for TableSource<K, V> {
    fn timestamp_ms(&self, record: &RawRecord) -> Result<i64, StreamError> {
        match &self.consumed.timestamp {
            Some(_) if record.value.is_some() => Ok(self.consumed.event(record)?.timestamp_ms),
            _ => Ok(record.timestamp_ms),
        }
    }

    fn read(&mut self, record: &RawRecord, timestamp_ms: i64, scope: &mut Scope) -> Outcome {
        let key = self.consumed.key.decode(record.key.as_ref())?;
        let value = record.value.as_ref().map(|value| self.consumed.value.decode(Some(value)));
        let (new, at) = (value.transpose()?, self.store.key(&key)?);
        let old = self.store.get_at(scope, &at)?;
        self.store.put_at(scope, at, new.as_ref())?;
        self.outlet.give(Event { key, value: Change { new, old }, timestamp_ms }, scope)
    }
}
