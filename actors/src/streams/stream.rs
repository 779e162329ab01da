//! A stream: records that each stand for themselves.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::builder::{Grouped, Produced, SharedGraph, of_one_builder, repartition, sink};
use super::event::{Data, Event};
use super::graph::{Role, Vertex, VertexId};
use super::grouped::GroupedStream;
use super::operator::{Assembly, entered};
use super::scope::Scope;

/// A stream of records. A handle: what is called on it adds to the topology.
///
/// ```
/// use millstream_actors::streams::{StreamBuilder, TopologyDriver};
///
/// let builder = StreamBuilder::new("orders");
/// let orders = builder.stream::<String, i64>("orders");
/// let (large, small) = orders.filter(|_, cents| *cents > 0).branch(|_, cents| *cents >= 10_000);
/// large.map_values(|customer, cents| format!("{customer}: {cents}")).to("large-orders");
/// small.to("small-orders");
/// let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
/// for cents in [5_i64, 0, 20_000] {
///     driver.send("orders", &"ann".to_owned(), &cents, 0).unwrap();
/// }
/// let large = driver.read::<String, String>("large-orders").unwrap();
/// assert_eq!(large[0].value, "ann: 20000");
/// assert_eq!(driver.read::<String, i64>("small-orders").unwrap().len(), 1);
/// ```
pub struct Stream<K, V> {
    pub(crate) graph: SharedGraph,
    pub(crate) vertex: VertexId,
    /// Whether records of a key may be in any partition: the key was changed since they were read.
    pub(crate) is_scattered: bool,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Stream<K, V> {
    fn clone(&self) -> Self {
        let graph = Arc::clone(&self.graph);
        Self { graph, vertex: self.vertex, is_scattered: self.is_scattered, of: PhantomData }
    }
}

impl<K, V> fmt::Debug for Stream<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stream").field("vertex", &self.vertex.0).finish_non_exhaustive()
    }
}

impl<K: Data, V: Data> Stream<K, V> {
    pub(crate) const fn new(graph: SharedGraph, vertex: VertexId, is_scattered: bool) -> Self {
        Self { graph, vertex, is_scattered, of: PhantomData }
    }

    /// Another record for each.
    pub fn map<K2: Data, V2: Data>(
        &self,
        with: impl Fn(K, V) -> (K2, V2) + Send + Sync + 'static,
    ) -> Stream<K2, V2> {
        self.each("map", true, move |event: Event<K, V>, give| {
            let (key, value) = with(event.key, event.value);
            give(Event { key, value, timestamp_ms: event.timestamp_ms })
        })
    }

    /// Another value for each.
    pub fn map_values<V2: Data>(&self, with: impl Fn(&K, V) -> V2 + Send + Sync + 'static) -> Stream<K, V2> {
        self.each("map-values", false, move |event: Event<K, V>, give| {
            let value = with(&event.key, event.value);
            give(Event { key: event.key, value, timestamp_ms: event.timestamp_ms })
        })
    }

    /// Any number of records for each, in this order, at its time.
    pub fn flat_map<K2: Data, V2: Data, I: IntoIterator<Item = (K2, V2)>>(
        &self,
        with: impl Fn(K, V) -> I + Send + Sync + 'static,
    ) -> Stream<K2, V2> {
        self.each("flat-map", true, move |event: Event<K, V>, give| {
            let mut made = with(event.key, event.value).into_iter();
            let timestamp_ms = event.timestamp_ms;
            made.try_for_each(|(key, value)| give(Event { key, value, timestamp_ms }))
        })
    }

    /// Any number of values for each, in this order, under its key.
    pub fn flat_map_values<V2: Data, I: IntoIterator<Item = V2>>(
        &self,
        with: impl Fn(&K, V) -> I + Send + Sync + 'static,
    ) -> Stream<K, V2> {
        self.each("flat-map-values", false, move |event: Event<K, V>, give| {
            let (key, timestamp_ms) = (event.key, event.timestamp_ms);
            let mut made = with(&key, event.value).into_iter();
            made.try_for_each(|value| give(Event { key: key.clone(), value, timestamp_ms }))
        })
    }

    /// Those for which this is true.
    pub fn filter(&self, keep: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.each("filter", false, move |event: Event<K, V>, give| match keep(&event.key, &event.value) {
            true => give(event),
            false => Ok(()),
        })
    }

    /// The same with another key.
    pub fn select_key<K2: Data>(&self, of: impl Fn(&K, &V) -> K2 + Send + Sync + 'static) -> Stream<K2, V> {
        self.each("select-key", true, move |event: Event<K, V>, give| {
            let key = of(&event.key, &event.value);
            give(Event { key, value: event.value, timestamp_ms: event.timestamp_ms })
        })
    }

    /// The same; each is looked at as it passes. What is done there may be done twice.
    pub fn peek(&self, look: impl Fn(&K, &V) + Send + Sync + 'static) -> Self {
        self.each("peek", false, move |event: Event<K, V>, give| {
            look(&event.key, &event.value);
            give(event)
        })
    }

    /// Two streams: of the records for which this is true, and of the others. Called on the second of them it gives as many
    /// branches as one likes.
    pub fn branch(&self, is: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> (Self, Self) {
        let is = Arc::new(is);
        let side = |wanted: bool| {
            let is = Arc::clone(&is);
            self.each("branch", false, move |event: Event<K, V>, give| {
                match is(&event.key, &event.value) == wanted {
                    true => give(event),
                    false => Ok(()),
                }
            })
        };
        (side(true), side(false))
    }

    /// The records of both, in no certain order between them.
    pub fn merge(&self, other: &Self) -> Self {
        of_one_builder(&self.graph, &other.graph);
        let mut graph = entered(&self.graph);
        let name = graph.name(None, "merge");
        let parents = vec![self.vertex, other.vertex];
        let build = {
            let parents = parents.clone();
            move |id: VertexId, assembly: &mut Assembly<'_>| {
                let outlet = assembly.outlet::<K, V>(id)?;
                let port = move |event: Event<K, V>, scope: &mut Scope| outlet.give(event, scope);
                let port: super::operator::Port<K, V> = Arc::new(std::sync::Mutex::new(port));
                for parent in &parents {
                    assembly.attach(*parent, Arc::clone(&port));
                }
                Ok(())
            }
        };
        let vertex = graph.add(Vertex {
            name,
            role: Role::Operator,
            parents,
            stores: Vec::new(),
            needs_copartitioned: false,
            build: Arc::new(build),
        });
        drop(graph);
        Self::new(Arc::clone(&self.graph), vertex, self.is_scattered || other.is_scattered)
    }

    /// Writes it to a topic.
    pub fn to(&self, topic: impl Into<Produced<K, V>>) {
        sink(&self.graph, self.vertex, &Arc::new(topic.into()));
    }

    /// Through a topic of the library's own, so that the records of a key come to one task, in their order.
    pub fn repartition(&self, grouped: impl Into<Grouped<K, V>>) -> Self {
        let vertex = repartition(&self.graph, self.vertex, &Arc::new(grouped.into()));
        Self::new(Arc::clone(&self.graph), vertex, false)
    }

    /// Grouped by its key. Goes through a topic of the library's own where the key was changed.
    pub fn group_by_key(&self, grouped: impl Into<Grouped<K, V>>) -> GroupedStream<K, V> {
        let grouped = Arc::new(grouped.into());
        let vertex = match self.is_scattered {
            true => repartition(&self.graph, self.vertex, &grouped),
            false => self.vertex,
        };
        GroupedStream::new(Arc::clone(&self.graph), vertex)
    }

    /// Grouped by what this makes of each record: [`Self::select_key`] and [`Self::group_by_key`].
    pub fn group_by<K2: Data>(
        &self,
        of: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
        grouped: impl Into<Grouped<K2, V>>,
    ) -> GroupedStream<K2, V> {
        self.select_key(of).group_by_key(grouped)
    }

    /// An operator without state: `with` gives on what it makes of an event.
    pub(crate) fn each<K2: Data, V2: Data>(
        &self,
        kind: &str,
        scatters: bool,
        with: impl Fn(Event<K, V>, &mut Give<'_, K2, V2>) -> super::operator::Outcome + Send + Sync + 'static,
    ) -> Stream<K2, V2> {
        let mut graph = entered(&self.graph);
        let name = graph.name(None, kind);
        let (from, with) = (self.vertex, Arc::new(with));
        let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
            let (outlet, with) = (assembly.outlet::<K2, V2>(id)?, Arc::clone(&with));
            assembly.attach_operator(from, move |event: Event<K, V>, scope: &mut Scope| {
                with(event, &mut |event| outlet.give(event, scope))
            });
            Ok(())
        };
        let vertex = graph.add(Vertex {
            name,
            role: Role::Operator,
            parents: vec![from],
            stores: Vec::new(),
            needs_copartitioned: false,
            build: Arc::new(build),
        });
        drop(graph);
        Stream::new(Arc::clone(&self.graph), vertex, self.is_scattered || scatters)
    }
}

/// Where an operator puts what it makes.
pub(crate) type Give<'a, K, V> = dyn FnMut(Event<K, V>) -> super::operator::Outcome + 'a;
