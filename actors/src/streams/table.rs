//! A table: of each key the value that it has now.

use std::fmt;
use std::sync::Arc;

use super::builder::SharedGraph;
use super::event::{Change, Data, Event};
use super::graph::{Role, StoreId, Vertex, VertexId};
use super::operator::{Assembly, entered};
use super::scope::{Scope, StreamError};
use super::store::{KeyValue, Stored};
use super::stream::Stream;

/// Looks up what a table has of a key.
pub(crate) trait Get<K, V>: Send {
    fn get(&self, scope: &Scope, key: &K) -> Result<Option<V>, StreamError>;
}

type MakeGet<K, V> = dyn Fn(&Assembly<'_>) -> Result<Box<dyn Get<K, V>>, StreamError> + Send + Sync;

/// How a task looks a table up: in its store, or through what made it of one that has a store.
pub(crate) struct Getter<K, V>(pub(crate) Arc<MakeGet<K, V>>);

impl<K, V> Clone for Getter<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Data, V: Data> Getter<K, V> {
    pub(crate) fn new(
        make: impl Fn(&Assembly<'_>) -> Result<Box<dyn Get<K, V>>, StreamError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(make))
    }

    pub(crate) fn of_store(store: StoreId, stored: &Arc<Stored<K, V>>) -> Self {
        let stored = Arc::clone(stored);
        Self(Arc::new(move |assembly| {
            let place = assembly.place(store)?;
            Ok(Box::new(KeyValue::new(place, Arc::clone(&stored.key), Arc::clone(&stored.value))))
        }))
    }

    fn mapped<W: Data>(&self, with: &Arc<Narrow<K, V, W>>) -> Getter<K, W> {
        let (source, with) = (self.clone(), Arc::clone(with));
        Getter(Arc::new(move |assembly| {
            let source = source.make(assembly)?;
            Ok(Box::new(Mapped { source, with: Arc::clone(&with) }))
        }))
    }

    pub(crate) fn make(&self, assembly: &Assembly<'_>) -> Result<Box<dyn Get<K, V>>, StreamError> {
        (self.0)(assembly)
    }
}

impl<K: Data, V: Data> Get<K, V> for KeyValue<K, V> {
    fn get(&self, scope: &Scope, key: &K) -> Result<Option<V>, StreamError> {
        Self::get(self, scope, key)
    }
}

/// What becomes of a value in a table made of another; `None` where it is not in it.
type Narrow<K, V, W> = dyn Fn(&K, V) -> Option<W> + Send + Sync;

struct Mapped<K, V, W> {
    source: Box<dyn Get<K, V>>,
    with: Arc<Narrow<K, V, W>>,
}

impl<K: Data, V: Data, W: Data> Get<K, W> for Mapped<K, V, W> {
    fn get(&self, scope: &Scope, key: &K) -> Result<Option<W>, StreamError> {
        Ok(self.source.get(scope, key)?.and_then(|value| (self.with)(key, value)))
    }
}

/// A table. A handle: what is called on it adds to the topology.
///
/// ```
/// use millstream_actors::streams::{StreamBuilder, TopologyDriver};
///
/// let builder = StreamBuilder::new("prices");
/// let titles = builder.table::<String, String>("titles", "titles");
/// let prices = builder.table::<String, i64>("prices", "prices").filter(|_, cents| *cents > 0);
/// titles.join(&prices, |_, title, cents| format!("{title}: {cents}")).changes().to("offers");
/// let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
/// let book = "b1".to_owned();
/// driver.send("titles", &book, &"Emma".to_owned(), 0).unwrap();
/// driver.send("prices", &book, &900_i64, 1).unwrap();
/// driver.delete("prices", &book, 2).unwrap();
/// let offers = driver.read::<String, Option<String>>("offers").unwrap();
/// let offers: Vec<_> = offers.into_iter().map(|event| event.value).collect();
/// assert_eq!(offers, [Some("Emma: 900".to_owned()), None]);
/// ```
pub struct Table<K, V> {
    pub(crate) graph: SharedGraph,
    pub(crate) vertex: VertexId,
    pub(crate) getter: Getter<K, V>,
    /// The stores that looking it up reads.
    pub(crate) stores: Vec<StoreId>,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        let (graph, getter) = (Arc::clone(&self.graph), self.getter.clone());
        Self { graph, vertex: self.vertex, getter, stores: self.stores.clone() }
    }
}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Table").field("vertex", &self.vertex.0).finish_non_exhaustive()
    }
}

impl<K: Data, V: Data> Table<K, V> {
    pub(crate) const fn new(
        graph: SharedGraph,
        vertex: VertexId,
        getter: Getter<K, V>,
        stores: Vec<StoreId>,
    ) -> Self {
        Self { graph, vertex, getter, stores }
    }

    /// The keys whose values fulfil this.
    pub fn filter(&self, keep: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.narrow("filter", move |key, value| keep(key, &value).then_some(value))
    }

    /// Another value for each key.
    pub fn map_values<W: Data>(&self, with: impl Fn(&K, V) -> W + Send + Sync + 'static) -> Table<K, W> {
        self.narrow("map-values", move |key, value| Some(with(key, value)))
    }

    /// Each change as a record of its own; `None` where the key is gone.
    pub fn changes(&self) -> Stream<K, Option<V>> {
        let stream = Stream::<K, Change<V>>::new(Arc::clone(&self.graph), self.vertex, false);
        stream.each("changes", false, move |event: Event<K, Change<V>>, give| {
            let Event { key, value, timestamp_ms } = event;
            give(Event { key, value: value.new, timestamp_ms })
        })
    }

    /// Each new value as a record of its own. Keys that are gone are not in it: see [`Self::changes`].
    pub fn to_stream(&self) -> Stream<K, V> {
        let stream = Stream::<K, Change<V>>::new(Arc::clone(&self.graph), self.vertex, false);
        stream.each("to-stream", false, move |event: Event<K, Change<V>>, give| {
            let Event { key, value, timestamp_ms } = event;
            value.new.map_or(Ok(()), |value| give(Event { key, value, timestamp_ms }))
        })
    }

    fn narrow<W: Data>(
        &self,
        kind: &str,
        with: impl Fn(&K, V) -> Option<W> + Send + Sync + 'static,
    ) -> Table<K, W> {
        let with: Arc<Narrow<K, V, W>> = Arc::new(with);
        let getter = self.getter.mapped(&with);
        let mut graph = entered(&self.graph);
        let (name, from) = (graph.name(None, kind), self.vertex);
        let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
            let (outlet, with) = (assembly.outlet::<K, Change<W>>(id)?, Arc::clone(&with));
            assembly.attach_operator(from, move |event: Event<K, Change<V>>, scope: &mut Scope| {
                let Event { key, value, timestamp_ms } = event;
                let narrowed = |value: Option<V>| value.and_then(|value| with(&key, value));
                let value = Change { new: narrowed(value.new), old: narrowed(value.old) };
                outlet.give_change(Event { key, value, timestamp_ms }, scope)
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
        Table::new(Arc::clone(&self.graph), vertex, getter, self.stores.clone())
    }
}
