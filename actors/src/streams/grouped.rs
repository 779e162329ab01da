//! Records of a key, brought together to be aggregated.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use super::builder::SharedGraph;
use super::event::{Change, Data, Event};
use super::graph::{Role, Vertex, VertexId};
use super::operator::{Assembly, Hook, Outcome, Receive, entered};
use super::results::Results;
use super::scope::Scope;
use super::store::{KeyValue, Stored};
use super::table::{Getter, Table};
use super::window::Windows;

/// A stream whose records of a key are in one task.
///
/// ```
/// use millstream_actors::streams::{StreamBuilder, TopologyDriver};
///
/// let builder = StreamBuilder::new("spending");
/// let orders = builder.stream::<String, i64>("orders").group_by_key("orders-by-customer");
/// orders.count("orders-of");
/// orders.reduce(|sum, cents| sum + cents, "spent-by");
/// orders.aggregate(|_| 0, |_, cents, most: i64| most.max(cents), "largest-of").to_stream().to("largest");
/// let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
/// let ann = "ann".to_owned();
/// for cents in [500_i64, 300] {
///     driver.send("orders", &ann, &cents, 0).unwrap();
/// }
/// assert_eq!(driver.get::<String, i64>("orders-of", &ann).unwrap(), Some(2));
/// assert_eq!(driver.get::<String, i64>("spent-by", &ann).unwrap(), Some(800));
/// assert_eq!(driver.get::<String, i64>("largest-of", &ann).unwrap(), Some(500));
/// ```
pub struct GroupedStream<K, V> {
    pub(crate) graph: SharedGraph,
    pub(crate) vertex: VertexId,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K, V> fmt::Debug for GroupedStream<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("GroupedStream").field("vertex", &self.vertex.0).finish_non_exhaustive()
    }
}

impl<K: Data, V: Data> GroupedStream<K, V> {
    pub(crate) const fn new(graph: SharedGraph, vertex: VertexId) -> Self {
        Self { graph, vertex, of: PhantomData }
    }

    /// In windows, each of which is aggregated by itself.
    pub fn windowed_by<W: Windows>(&self, windows: W) -> W::Form<K, V> {
        windows.over(self)
    }

    /// How many records each key has had.
    pub fn count(&self, stored: impl Into<Stored<K, i64>>) -> Table<K, i64> {
        self.aggregate(|_| 0, |_, _, count| count + 1, stored)
    }

    /// Of each key the first value, with each that follows put into it.
    pub fn reduce(
        &self,
        with: impl Fn(V, V) -> V + Send + Sync + 'static,
        stored: impl Into<Stored<K, V>>,
    ) -> Table<K, V> {
        let reduce = move |_: &K, value: V, so_far: Option<V>| match so_far {
            Some(so_far) => with(so_far, value),
            None => value,
        };
        self.fold(reduce, stored.into())
    }

    /// Of each key what `with` makes of each value and of what it had made so far; of `initial` first.
    pub fn aggregate<A: Data>(
        &self,
        initial: impl Fn(&K) -> A + Send + Sync + 'static,
        with: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
        stored: impl Into<Stored<K, A>>,
    ) -> Table<K, A> {
        let fold = move |key: &K, value: V, so_far: Option<A>| {
            let so_far = so_far.unwrap_or_else(|| initial(key));
            with(key, value, so_far)
        };
        self.fold(fold, stored.into())
    }

    fn fold<A: Data>(
        &self,
        fold: impl Fn(&K, V, Option<A>) -> A + Send + Sync + 'static,
        stored: Stored<K, A>,
    ) -> Table<K, A> {
        let (stored, fold, from) = (Arc::new(stored), Arc::new(fold), self.vertex);
        let mut graph = entered(&self.graph);
        let name = graph.name(Some(&stored.name), "aggregate");
        let store = graph.add_stored(&stored, None);
        let kept = Arc::clone(&stored);
        let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
            let outlet = assembly.outlet::<K, Change<A>>(id)?;
            let place = assembly.place(store)?;
            let state = KeyValue::new(place, Arc::clone(&kept.key), Arc::clone(&kept.value));
            let results = Results::new(outlet, kept.held_max, assembly.is_time_seen_behind(id));
            let operator = Aggregate { state, fold: Arc::clone(&fold), results, of: PhantomData };
            let operator = Arc::new(Mutex::new(operator));
            assembly.attach::<K, V>(from, Arc::clone(&operator) as _);
            assembly.hooks.push(operator);
            Ok(())
        };
        let vertex = graph.add(Vertex {
            name,
            role: Role::Operator,
            parents: vec![from],
            stores: vec![store],
            needs_copartitioned: false,
            build: Arc::new(build),
        });
        drop(graph);
        Table::new(Arc::clone(&self.graph), vertex, Getter::of_store(store, &stored), vec![store])
    }
}

struct Aggregate<K, V, A, F> {
    state: KeyValue<K, A>,
    fold: Arc<F>,
    results: Results<K, A>,
    of: PhantomData<fn(V)>,
}

impl<K: Data, V: Data, A: Data, F> Receive<K, V> for Aggregate<K, V, A, F>
where
    F: Fn(&K, V, Option<A>) -> A + Send + Sync,
{
    fn receive(&mut self, event: Event<K, V>, scope: &mut Scope) -> Outcome {
        let Event { key, value, timestamp_ms } = event;
        let at = self.state.key(&key)?;
        let fold = |key: &K, so_far| (self.fold)(key, value, so_far);
        self.results.update(scope, &self.state, at, (key, timestamp_ms), fold)
    }
}

impl<K: Data, V: Data, A: Data, F: Send + Sync> Hook for Aggregate<K, V, A, F> {
    fn time_passed(&mut self, scope: &mut Scope) -> Outcome {
        self.results.time_passed(scope)
    }

    fn flush(&mut self, scope: &mut Scope) -> Outcome {
        self.results.flush(scope)
    }
}
