//! Several grouped streams, put into one aggregate.

use std::fmt;
use std::sync::{Arc, Mutex};

use super::builder::{SharedGraph, of_one_builder};
use super::event::{Change, Data, Event};
use super::graph::{Vertex, VertexId};
use super::grouped::GroupedStream;
use super::operator::{Assembly, Hook, Outcome, entered};
use super::results::Results;
use super::scope::Scope;
use super::store::{KeyValue, Stored};
use super::table::{Getter, Table};
use super::window::{Enter, Entrance, Late, LateTopics, Windows, aggregating};

/// The aggregate that the streams are put into, in a task.
pub(crate) struct Aggregate<K, A> {
    state: KeyValue<K, A>,
    initial: Initial<K, A>,
    results: Results<K, A>,
}

impl<K: Data, A: Data> Aggregate<K, A> {
    fn put(
        &mut self,
        key: K,
        timestamp_ms: i64,
        scope: &mut Scope,
        with: impl FnOnce(&K, A) -> A,
    ) -> Outcome {
        let at = self.state.key(&key)?;
        let initial = &self.initial;
        let fold = |key: &K, so_far: Option<A>| with(key, so_far.unwrap_or_else(|| initial(key)));
        self.results.update(scope, &self.state, at, (key, timestamp_ms), fold)
    }
}

impl<K: Data, A: Data> Hook for Aggregate<K, A> {
    fn time_passed(&mut self, scope: &mut Scope) -> Outcome {
        self.results.time_passed(scope)
    }

    fn flush(&mut self, scope: &mut Scope) -> Outcome {
        self.results.flush(scope)
    }
}

/// What an aggregate is of a key before anything was put into it.
pub(crate) type Initial<K, A> = Arc<dyn Fn(&K) -> A + Send + Sync>;

/// A stream that goes into an aggregate, whatever its values.
pub(crate) trait Member<K, A>: Send + Sync {
    /// Who sends.
    fn from(&self) -> VertexId;

    fn attach(&self, assembly: &mut Assembly<'_>, aggregate: &Arc<Mutex<Aggregate<K, A>>>);

    /// Where it enters an aggregate of windows.
    fn entrance(&self, initial: &Initial<K, A>, late: &LateTopics) -> Box<dyn Enter<K, A>>;
}

/// What puts a value into an aggregate.
type With<K, V, A> = Arc<dyn Fn(&K, V, A) -> A + Send + Sync>;

/// A stream, and what puts its values into the aggregate.
struct Putting<K, V, A> {
    from: VertexId,
    with: With<K, V, A>,
}

impl<K: Data, V: Data, A: Data> Member<K, A> for Putting<K, V, A> {
    fn from(&self) -> VertexId {
        self.from
    }

    fn attach(&self, assembly: &mut Assembly<'_>, aggregate: &Arc<Mutex<Aggregate<K, A>>>) {
        let (aggregate, with) = (Arc::clone(aggregate), Arc::clone(&self.with));
        assembly.attach_operator(self.from, move |event: Event<K, V>, scope: &mut Scope| {
            let Event { key, value, timestamp_ms } = event;
            entered(&aggregate).put(key, timestamp_ms, scope, |key, so_far| with(key, value, so_far))
        });
    }

    fn entrance(&self, initial: &Initial<K, A>, late: &LateTopics) -> Box<dyn Enter<K, A>> {
        let (initial, with) = (Arc::clone(initial), Arc::clone(&self.with));
        let fold = aggregating(move |key| initial(key), move |key, value, so_far| with(key, value, so_far));
        // A vertex sends values of one type, which is that of the handle by which the topic was given.
        let late = late.get(&self.from).and_then(|topic| Arc::clone(topic).downcast().ok());
        Box::new(Arc::new(Entrance { from: self.from, fold, late: Late(late) }))
    }
}

/// Grouped streams that go into one aggregate of type `A`.
///
/// ```
/// use std::time::Duration;
///
/// use millstream_actors::streams::window::{Emit, Tumbling, Windowed};
/// use millstream_actors::streams::{StreamBuilder, TopologyDriver};
///
/// let builder = StreamBuilder::new("shop");
/// let orders = builder.stream::<String, i64>("orders").group_by_key("orders");
/// let visits = builder.stream::<String, String>("visits").group_by_key("visits");
/// orders
///     .cogroup(|_, cents, (visits, spent): (i64, i64)| (visits, spent + cents))
///     .and(&visits, |_, _page, (visits, spent)| (visits + 1, spent))
///     .windowed_by(Tumbling::of(Duration::from_secs(3_600)))
///     .emit(Emit::OnClose)
///     .late_to(&orders, "late-orders")
///     .aggregate(|_| (0, 0), "each-hour")
///     .to_stream()
///     .to("each-hour");
/// let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
/// driver.send("visits", &"ann".to_owned(), &"home".to_owned(), 0).unwrap();
/// driver.send("orders", &"ann".to_owned(), &500_i64, 1_000).unwrap();
/// driver.end().unwrap();
/// let hours = driver.read::<Windowed<String>, (i64, i64)>("each-hour").unwrap();
/// assert_eq!(hours[0].value, (1, 500));
/// ```
pub struct CogroupedStream<K, A> {
    pub(crate) graph: SharedGraph,
    pub(crate) members: Vec<Arc<dyn Member<K, A>>>,
}

impl<K, A> fmt::Debug for CogroupedStream<K, A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vertices: Vec<usize> = self.members.iter().map(|member| member.from().0).collect();
        formatter.debug_struct("CogroupedStream").field("vertices", &vertices).finish_non_exhaustive()
    }
}

impl<K: Data, V: Data> GroupedStream<K, V> {
    /// The first of several streams of one aggregate, whose values `with` puts into it.
    pub fn cogroup<A: Data>(
        &self,
        with: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
    ) -> CogroupedStream<K, A> {
        let first = CogroupedStream { graph: Arc::clone(&self.graph), members: Vec::new() };
        first.and(self, with)
    }
}

impl<K: Data, A: Data> CogroupedStream<K, A> {
    /// Another stream, whose values `with` puts into the aggregate. It must be cut as the others are.
    #[must_use]
    pub fn and<V: Data>(
        mut self,
        other: &GroupedStream<K, V>,
        with: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
    ) -> Self {
        of_one_builder(&self.graph, &other.graph);
        self.members.push(Arc::new(Putting { from: other.vertex, with: Arc::new(with) }));
        self
    }

    /// In windows, each of which is aggregated by itself: records of all the streams are in those of their key.
    pub fn windowed_by<W: Windows>(self, windows: W) -> W::Cogrouped<K, A> {
        windows.over_all(self)
    }

    /// Of each key what the streams' values were put into, in the order in which they were processed; into `initial` first.
    pub fn aggregate(
        self,
        initial: impl Fn(&K) -> A + Send + Sync + 'static,
        stored: impl Into<Stored<K, A>>,
    ) -> Table<K, A> {
        let (stored, initial) = (Arc::new(stored.into()), Arc::new(initial));
        let mut graph = entered(&self.graph);
        let name = graph.name(Some(&stored.name), "cogroup");
        let store = graph.add_stored(&stored, None);
        let parents = self.members.iter().map(|member| member.from()).collect();
        let (kept, members) = (Arc::clone(&stored), self.members);
        let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
            let (outlet, place) = (assembly.outlet::<K, Change<A>>(id)?, assembly.place(store)?);
            let state = KeyValue::new(place, Arc::clone(&kept.key), Arc::clone(&kept.value));
            let initial = Arc::clone(&initial) as Initial<K, A>;
            let results = Results::new(outlet, kept.held_max, assembly.is_time_seen_behind(id));
            let aggregate = Arc::new(Mutex::new(Aggregate { state, initial, results }));
            members.iter().for_each(|member| member.attach(assembly, &aggregate));
            assembly.hooks.push(aggregate);
            Ok(())
        };
        let vertex = graph.add(Vertex::join(name, parents, vec![store], build));
        drop(graph);
        Table::new(self.graph, vertex, Getter::of_store(store, &stored), vec![store])
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Event, Stored, StreamBuilder, TopologyDriver};

    #[test]
    fn several_streams_are_put_into_one_aggregate() {
        let builder = StreamBuilder::new("app");
        let bought = builder.stream::<String, i64>("bought").group_by_key("bought");
        let words = builder.stream::<i64, String>("said").group_by(|_, word| word.clone(), "said");
        let both = bought.cogroup(|_, value, (sum, count): (i64, i64)| (sum + value, count));
        let table = both.and(&words, |_, _, (sum, count)| (sum, count + 1)).aggregate(|_| (0, 0), "both");
        table.changes().to("out");
        let mut driver = TopologyDriver::new(&builder.build().unwrap(), 3).unwrap();
        driver.hold_commits();
        for (number, value) in [(1_i64, 5_i64), (2, 7)] {
            driver.send("bought", &"a".to_owned(), &value, number).unwrap();
            driver.send("said", &number, &"a".to_owned(), number).unwrap();
            driver.abort().unwrap();
        }
        driver.send("said", &3_i64, &"b".to_owned(), 3).unwrap();
        driver.commit().unwrap();
        let mut all = driver.all::<String, (i64, i64)>("both").unwrap();
        all.sort();
        assert_eq!(all, [("a".to_owned(), (12, 2)), ("b".to_owned(), (0, 1))]);
        assert_eq!(driver.read::<String, Option<(i64, i64)>>("out").unwrap().len(), 5);
    }

    #[test]
    fn results_of_an_aggregate_of_several_streams_are_held_back_where_that_is_asked() {
        let builder = StreamBuilder::new("app");
        let one = builder.stream::<String, i64>("one").group_by_key("one");
        let other = builder.stream::<String, i64>("other").group_by_key("other");
        let both = one.cogroup(|_, value, sum: i64| sum + value).and(&other, |_, value, sum| sum - value);
        both.aggregate(|_| 0, Stored::from("both").cached(10_000)).changes().to("out");
        let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
        driver.hold_commits();
        for (topic, value) in [("one", 5_i64), ("other", 2), ("one", 1)] {
            driver.send(topic, &"a".to_owned(), &value, value).unwrap();
        }
        driver.commit().unwrap();
        let sent = driver.read::<String, Option<i64>>("out").unwrap();
        assert_eq!(sent, [Event::new("a".to_owned(), Some(4), 5)]);
    }

    #[test]
    fn streams_of_one_aggregate_must_be_cut_alike() {
        let builder = StreamBuilder::new("app");
        let one = builder.stream::<String, i64>("one").group_by_key("one");
        let other = builder.stream::<String, i64>("other").group_by_key("other");
        let both = one.cogroup(|_, value, sum: i64| sum + value).and(&other, |_, value, sum| sum + value);
        both.aggregate(|_| 0, "both");
        let topology = builder.build().unwrap();
        let known = |topic: &str| Some(if topic == "one" { 1 } else { 2 });
        let error = super::super::graph::PartitionCounts::new(&topology, known).unwrap_err().to_string();
        assert!(error.contains("\"one\" has 1, \"other\" has 2"), "{error}");
    }
}
