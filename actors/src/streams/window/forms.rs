//! A grouped stream under windows, and its aggregates.

use std::fmt;
use std::sync::{Arc, Mutex};

use super::super::builder::{Produced, SharedGraph};
use super::super::event::Data;
use super::super::graph::{Graph, Role, Vertex, VertexId};
use super::super::grouped::GroupedStream;
use super::super::operator::{Assembly, Hook, Receive, entered};
use super::super::scope::{Scope, StreamError};
use super::super::store::{SessionStore, Shape, SlidingStore, Stored, WindowStore};
use super::super::table::{Get, Getter, Table};
use super::super::time::behind_ms;
use super::aligned::Aligned;
use super::hopping::HoppingPlan;
use super::late::Late;
use super::output::Output;
use super::session::{SessionPlan, Sessions};
use super::sliding::{Slides, SlidingPlan};
use super::{Closed, Closes, Emit, Windowed};

/// What becomes of a value and of what there was before it.
pub(super) type Fold<K, V, A> = Arc<dyn Fn(&K, V, Option<A>) -> A + Send + Sync>;

/// What becomes of two sessions that turn out to be one.
pub(super) type Merge<K, A> = Arc<dyn Fn(&K, A, A) -> A + Send + Sync>;

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Hopping(HoppingPlan),
    Sliding(SlidingPlan),
}

impl Kind {
    /// When its windows close.
    const fn closes(self) -> Closes {
        match self {
            Self::Hopping(HoppingPlan { grace_ms, retention_ms, .. }) => {
                Closes { after_ms: grace_ms, holds_end: false, retention_ms }
            }
            Self::Sliding(plan) => {
                let (after_ms, retention_ms) = (plan.closes_after_ms(), plan.retention_ms);
                Closes { after_ms, holds_end: true, retention_ms }
            }
        }
    }
}

/// Where an aggregate comes from, and how its results and late records go.
struct Input<K, V> {
    graph: SharedGraph,
    from: VertexId,
    emit: Emit,
    late: Option<Arc<Produced<K, V>>>,
}

impl<K, V> Clone for Input<K, V> {
    fn clone(&self) -> Self {
        let (graph, late) = (Arc::clone(&self.graph), self.late.clone());
        Self { graph, from: self.from, emit: self.emit, late }
    }
}

/// A grouped stream in tumbling, hopping or sliding windows.
pub struct TimeWindowed<K, V> {
    input: Input<K, V>,
    kind: Kind,
}

/// A grouped stream in sessions.
pub struct SessionWindowed<K, V> {
    input: Input<K, V>,
    plan: SessionPlan,
}

impl<K, V> fmt::Debug for TimeWindowed<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TimeWindowed").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for SessionWindowed<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SessionWindowed").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl<K: Data, V: Data> Input<K, V> {
    fn new(grouped: &GroupedStream<K, V>) -> Self {
        let graph = Arc::clone(&grouped.graph);
        Self { graph, from: grouped.vertex, emit: Emit::OnUpdate, late: None }
    }

    /// An operator that keeps its results in a store, as a table.
    fn aggregate<A: Data, O>(
        &self,
        stored: &Arc<Stored<K, A>>,
        (closes, shape): (Closes, Shape),
        make: impl Fn(usize, (Closed, Output<K, A>)) -> O + Send + Sync + 'static,
        get: impl Fn(usize) -> Box<dyn Get<Windowed<K>, A>> + Send + Sync + 'static,
    ) -> Table<Windowed<K>, A>
    where
        O: Receive<K, V> + Hook + 'static,
    {
        let (from, emit, held_max) = (self.from, self.emit, stored.held_max);
        let mut graph = entered(&self.graph);
        let name = graph.name(Some(&stored.name), "aggregate");
        let store = graph.add_stored(stored, Some(closes.retention_ms));
        graph.windows.insert(store, shape);
        let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
            let is_time_seen = assembly.is_time_seen_behind(id);
            let output = Output::new(assembly.outlet(id)?, emit, held_max, is_time_seen);
            let place = assembly.place(store)?;
            let closed = Closed::new(place, assembly.seen_time(id));
            let operator = Arc::new(Mutex::new(make(place, (closed, output))));
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
        graph.closes.insert(vertex, closes);
        if emit == Emit::OnClose {
            graph.delays(vertex, closes.after_ms);
        }
        if let Some(late) = &self.late {
            add_side_topic(&mut graph, vertex, &late.topic);
        }
        drop(graph);
        let sent_after_ms = (self.emit == Emit::OnClose).then_some(closes.after_ms);
        let getter = Getter::new(move |assembly: &Assembly<'_>| {
            let lag_ms = assembly.lag_ms(vertex);
            Ok(Box::new(Sent { get: get(assembly.place(store)?), sent_after_ms, lag_ms }))
        });
        Table::new(Arc::clone(&self.graph), vertex, getter, vec![store])
    }
}

/// The operator writes it by itself; it is in the graph to be seen.
fn add_side_topic(graph: &mut Graph, from: VertexId, topic: &Arc<str>) {
    let name = graph.name(None, "late");
    graph.add(Vertex {
        name,
        role: Role::Sink { topic: Arc::clone(topic) },
        parents: vec![from],
        stores: Vec::new(),
        needs_copartitioned: false,
        build: Arc::new(|_, _| Ok(())),
    });
}

/// Looks up what was sent: the windows that have closed, where only those are.
struct Sent<K, A> {
    get: Box<dyn Get<Windowed<K>, A>>,
    sent_after_ms: Option<i64>,
    lag_ms: i64,
}

impl<K: Data, A: Data> Get<Windowed<K>, A> for Sent<K, A> {
    fn get(&self, scope: &Scope, key: &Windowed<K>) -> Result<Option<A>, StreamError> {
        match self.sent_after_ms {
            Some(after_ms)
                if key.window.end_ms.saturating_add(after_ms) > behind_ms(scope.time_ms, self.lag_ms) =>
            {
                Ok(None)
            }
            _ => self.get.get(scope, key),
        }
    }
}

impl<K: Data, V: Data> TimeWindowed<K, V> {
    pub(super) fn new(grouped: &GroupedStream<K, V>, kind: Kind) -> Self {
        Self { input: Input::new(grouped), kind }
    }

    /// When results are sent: whenever they change, where nothing is said.
    #[must_use]
    pub fn emit(mut self, emit: Emit) -> Self {
        self.input.emit = emit;
        self
    }

    /// Records that come after one of their windows has closed are written here, too; headers say for how many of their
    /// windows they were late (`late.windows`), the bounds of the last of those (`late.window.start.ms`,
    /// `late.window.end.ms`), and the stream time (`late.stream.time.ms`).
    #[must_use]
    pub fn late_to(mut self, topic: impl Into<Produced<K, V>>) -> Self {
        self.input.late = Some(Arc::new(topic.into()));
        self
    }

    /// How many records each key has had in each window.
    pub fn count(&self, stored: impl Into<Stored<K, i64>>) -> Table<Windowed<K>, i64> {
        self.fold(Arc::new(|_, _, so_far| so_far.unwrap_or(0) + 1), stored.into())
    }

    /// Of each key in each window the first value, with each that follows put into it.
    pub fn reduce(
        &self,
        with: impl Fn(V, V) -> V + Send + Sync + 'static,
        stored: impl Into<Stored<K, V>>,
    ) -> Table<Windowed<K>, V> {
        self.fold(reducing(with), stored.into())
    }

    /// Of each key in each window what `with` makes of each value and of what it had made so far; of `initial` first.
    pub fn aggregate<A: Data>(
        &self,
        initial: impl Fn(&K) -> A + Send + Sync + 'static,
        with: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
        stored: impl Into<Stored<K, A>>,
    ) -> Table<Windowed<K>, A> {
        self.fold(aggregating(initial, with), stored.into())
    }

    fn fold<A: Data>(&self, fold: Fold<K, V, A>, stored: Stored<K, A>) -> Table<Windowed<K>, A> {
        let (stored, closes, late) = (Arc::new(stored), self.kind.closes(), self.input.late.clone());
        let (kept, read) = (Arc::clone(&stored), Arc::clone(&stored));
        match self.kind {
            Kind::Hopping(plan) => {
                let shape = Shape::Hopping { size_ms: plan.size_ms };
                let make = move |place, output| {
                    let store = WindowStore::new(place, &stored.key, &stored.value);
                    let late = Late(late.clone());
                    Aligned::new(plan, store, Arc::clone(&fold), late, output)
                };
                let get = move |place| -> Box<dyn Get<Windowed<K>, A>> {
                    Box::new(WindowStore::new(place, &read.key, &read.value))
                };
                self.input.aggregate(&kept, (closes, shape), make, get)
            }
            Kind::Sliding(plan) => {
                let SlidingPlan { difference_ms, retention_ms, .. } = plan;
                let shape = Shape::Sliding { difference_ms, retention_ms };
                let make = move |place, output| {
                    let store = SlidingStore::new(place, &stored.key, &stored.value, plan.retention_ms);
                    let late = Late(late.clone());
                    Slides::new(plan, store, Arc::clone(&fold), late, output)
                };
                let get = move |place| -> Box<dyn Get<Windowed<K>, A>> {
                    Box::new(SlidingStore::new(place, &read.key, &read.value, plan.retention_ms))
                };
                self.input.aggregate(&kept, (closes, shape), make, get)
            }
        }
    }
}

impl<K: Data, V: Data> SessionWindowed<K, V> {
    pub(super) fn new(grouped: &GroupedStream<K, V>, plan: SessionPlan) -> Self {
        Self { input: Input::new(grouped), plan }
    }

    /// When results are sent: whenever they change, where nothing is said.
    #[must_use]
    pub fn emit(mut self, emit: Emit) -> Self {
        self.input.emit = emit;
        self
    }

    /// Records that come after their session has closed are written here, too; with the headers of
    /// [`TimeWindowed::late_to`].
    #[must_use]
    pub fn late_to(mut self, topic: impl Into<Produced<K, V>>) -> Self {
        self.input.late = Some(Arc::new(topic.into()));
        self
    }

    /// How many records each session has had.
    pub fn count(&self, stored: impl Into<Stored<K, i64>>) -> Table<Windowed<K>, i64> {
        let fold: Fold<K, V, i64> = Arc::new(|_, _, so_far| so_far.unwrap_or(0) + 1);
        self.fold(fold, Arc::new(|_, one, other| one + other), stored.into())
    }

    /// Of each session the first value, with each that follows put into it; so are sessions that become one.
    pub fn reduce(
        &self,
        with: impl Fn(V, V) -> V + Send + Sync + 'static,
        stored: impl Into<Stored<K, V>>,
    ) -> Table<Windowed<K>, V> {
        let with = Arc::new(with);
        let merge = Arc::clone(&with);
        let fold = reducing(move |one, other| with(one, other));
        self.fold(fold, Arc::new(move |_, one, other| merge(one, other)), stored.into())
    }

    /// Of each session what `with` makes of each value and of what it had made so far, of `initial` first; what `merge` makes
    /// of two, the earlier one first, that a record between them makes one.
    pub fn aggregate<A: Data>(
        &self,
        initial: impl Fn(&K) -> A + Send + Sync + 'static,
        with: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
        merge: impl Fn(&K, A, A) -> A + Send + Sync + 'static,
        stored: impl Into<Stored<K, A>>,
    ) -> Table<Windowed<K>, A> {
        self.fold(aggregating(initial, with), Arc::new(merge), stored.into())
    }

    fn fold<A: Data>(
        &self,
        fold: Fold<K, V, A>,
        merge: Merge<K, A>,
        stored: Stored<K, A>,
    ) -> Table<Windowed<K>, A> {
        let (stored, late, plan) = (Arc::new(stored), self.input.late.clone(), self.plan);
        let (kept, read) = (Arc::clone(&stored), Arc::clone(&stored));
        let make = move |place, output| {
            let store = SessionStore::new(place, &stored.key, &stored.value, plan.retention_ms);
            let (folds, late) = ((Arc::clone(&fold), Arc::clone(&merge)), Late(late.clone()));
            Sessions::new(plan, store, folds, late, output)
        };
        let get = move |place| -> Box<dyn Get<Windowed<K>, A>> {
            Box::new(SessionStore::new(place, &read.key, &read.value, plan.retention_ms))
        };
        let (after_ms, retention_ms) = (plan.closes_after_ms(), plan.retention_ms);
        let closes = Closes { after_ms, holds_end: true, retention_ms };
        let shape = Shape::Session { retention_ms };
        self.input.aggregate(&kept, (closes, shape), make, get)
    }
}

fn reducing<K: Data, V: Data>(with: impl Fn(V, V) -> V + Send + Sync + 'static) -> Fold<K, V, V> {
    Arc::new(move |_, value, so_far| match so_far {
        Some(so_far) => with(so_far, value),
        None => value,
    })
}

fn aggregating<K: Data, V: Data, A: Data>(
    initial: impl Fn(&K) -> A + Send + Sync + 'static,
    with: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
) -> Fold<K, V, A> {
    Arc::new(move |key, value, so_far| {
        let so_far = so_far.unwrap_or_else(|| initial(key));
        with(key, value, so_far)
    })
}

impl<K: Data, A: Data> Get<Windowed<K>, A> for WindowStore<K, A> {
    fn get(&self, scope: &Scope, key: &Windowed<K>) -> Result<Option<A>, StreamError> {
        Self::get(self, scope, &key.key, key.window.start_ms)
    }
}

impl<K: Data, A: Data> Get<Windowed<K>, A> for SlidingStore<K, A> {
    fn get(&self, scope: &Scope, key: &Windowed<K>) -> Result<Option<A>, StreamError> {
        Self::get(self, scope, &key.key, key.window.start_ms)
    }
}

impl<K: Data, A: Data> Get<Windowed<K>, A> for SessionStore<K, A> {
    fn get(&self, scope: &Scope, key: &Windowed<K>) -> Result<Option<A>, StreamError> {
        Self::get(self, scope, &key.key, key.window)
    }
}
