//! The aggregate of one windowed stream, or of several that are put into one: its operator, and how records of each enter it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::super::builder::{Produced, SharedGraph};
use super::super::event::{Data, Event};
use super::super::graph::{Graph, Role, Vertex, VertexId};
use super::super::operator::{Assembly, Hook, Outcome, entered};
use super::super::scope::{Scope, StreamError};
use super::super::store::{SessionStore, Shape, SlidingStore, Stored, WindowStore};
use super::super::table::{Get, Getter, Table};
use super::super::time::behind_ms;
use super::aligned::Aligned;
use super::hopping::HoppingPlan;
use super::late::Late;
use super::output::{Ends, Output};
use super::session::{SessionPlan, Sessions};
use super::sliding::{Slides, SlidingPlan};
use super::{Closed, Closes, Emit, Windowed};

/// What becomes of a value and of what there was before it.
pub(crate) type Fold<K, V, A> = Arc<dyn Fn(&K, V, Option<A>) -> A + Send + Sync>;

/// What becomes of two sessions that turn out to be one.
pub(super) type Merge<K, A> = Arc<dyn Fn(&K, A, A) -> A + Send + Sync>;

/// The windows of an aggregate.
pub(super) enum Plan<K, A> {
    Hopping(HoppingPlan),
    Sliding(SlidingPlan),
    Session(SessionPlan, Merge<K, A>),
}

impl<K: Data, A: Data> Plan<K, A> {
    /// When its windows close.
    const fn closes(&self) -> Closes {
        match self {
            Self::Hopping(HoppingPlan { grace_ms, retention_ms, .. }) => {
                Closes { after_ms: *grace_ms, holds_end: false, retention_ms: *retention_ms }
            }
            Self::Sliding(plan) => {
                let (after_ms, retention_ms) = (plan.closes_after_ms(), plan.retention_ms);
                Closes { after_ms, holds_end: true, retention_ms }
            }
            Self::Session(plan, _) => {
                let (after_ms, retention_ms) = (plan.closes_after_ms(), plan.retention_ms);
                Closes { after_ms, holds_end: true, retention_ms }
            }
        }
    }

    /// How they lie in their store.
    const fn shape(&self) -> Shape {
        match self {
            Self::Hopping(HoppingPlan { size_ms, .. }) => Shape::Hopping { size_ms: *size_ms },
            Self::Sliding(SlidingPlan { difference_ms, retention_ms, .. }) => {
                Shape::Sliding { difference_ms: *difference_ms, retention_ms: *retention_ms }
            }
            Self::Session(plan, _) => Shape::Session { retention_ms: plan.retention_ms },
        }
    }

    fn operator(&self, place: usize, stored: &Stored<K, A>, ends: Ends<K, A>) -> Operator<K, A> {
        let Stored { key, value, .. } = stored;
        match self {
            Self::Hopping(plan) => {
                Operator::Aligned(Aligned::new(*plan, WindowStore::new(place, key, value), ends))
            }
            Self::Sliding(plan) => {
                let store = SlidingStore::new(place, key, value, plan.retention_ms);
                Operator::Slides(Slides::new(*plan, store, ends))
            }
            Self::Session(plan, merge) => {
                let store = SessionStore::new(place, key, value, plan.retention_ms);
                Operator::Sessions(Sessions::new(*plan, store, Arc::clone(merge), ends))
            }
        }
    }

    fn get(&self, place: usize, stored: &Stored<K, A>) -> Box<dyn Get<Windowed<K>, A>> {
        let Stored { key, value, .. } = stored;
        match self {
            Self::Hopping(_) => Box::new(WindowStore::new(place, key, value)),
            Self::Sliding(plan) => Box::new(SlidingStore::new(place, key, value, plan.retention_ms)),
            Self::Session(plan, _) => Box::new(SessionStore::new(place, key, value, plan.retention_ms)),
        }
    }
}

/// The operator of an aggregate.
pub(crate) enum Operator<K, A> {
    Aligned(Aligned<K, A>),
    Slides(Slides<K, A>),
    Sessions(Sessions<K, A>),
}

impl<K: Data, A: Data> Operator<K, A> {
    fn take<V: Data>(
        &mut self,
        event: Event<K, V>,
        entrance: &Entrance<K, V, A>,
        scope: &mut Scope,
    ) -> Outcome {
        match self {
            Self::Aligned(windows) => windows.take(event, entrance, scope),
            Self::Slides(windows) => windows.take(event, entrance, scope),
            Self::Sessions(windows) => windows.take(event, entrance, scope),
        }
    }

    const fn ends(&mut self) -> &mut Ends<K, A> {
        match self {
            Self::Aligned(windows) => windows.ends(),
            Self::Slides(windows) => windows.ends(),
            Self::Sessions(windows) => windows.ends(),
        }
    }

    /// Sends what has closed, and forgets what is no longer kept.
    fn close(&mut self, scope: &mut Scope) -> Outcome {
        match self {
            Self::Aligned(windows) => windows.close(scope),
            Self::Slides(windows) => windows.close(scope),
            Self::Sessions(windows) => windows.close(scope),
        }
    }
}

impl<K: Data, A: Data> Hook for Operator<K, A> {
    fn begin(&mut self, scope: &mut Scope) -> Outcome {
        self.ends().closed.begin(scope)?;
        self.close(scope)
    }

    fn time_passed(&mut self, scope: &mut Scope) -> Outcome {
        self.close(scope)
    }

    fn flush(&mut self, scope: &mut Scope) -> Outcome {
        let Ends { closed, output } = self.ends();
        output.flush(scope)?;
        closed.note(scope)
    }
}

/// Where records of a stream enter an aggregate.
pub(crate) struct Entrance<K, V, A> {
    pub(crate) from: VertexId,
    pub(crate) fold: Fold<K, V, A>,
    pub(crate) late: Late<K, V>,
}

/// An entrance, whatever the values that come by it.
pub(crate) trait Enter<K, A>: Send + Sync {
    /// Who sends.
    fn from(&self) -> VertexId;

    /// Where its late records go.
    fn late_topic(&self) -> Option<&Arc<str>>;

    fn attach(&self, assembly: &mut Assembly<'_>, operator: &Arc<Mutex<Operator<K, A>>>);
}

impl<K: Data, V: Data, A: Data> Enter<K, A> for Arc<Entrance<K, V, A>> {
    fn from(&self) -> VertexId {
        self.from
    }

    fn late_topic(&self) -> Option<&Arc<str>> {
        self.late.0.as_deref().map(|Produced { topic, .. }| topic)
    }

    fn attach(&self, assembly: &mut Assembly<'_>, operator: &Arc<Mutex<Operator<K, A>>>) {
        let (entrance, operator) = (Self::clone(self), Arc::clone(operator));
        assembly.attach_operator(self.from, move |event: Event<K, V>, scope: &mut Scope| {
            entered(&operator).take(event, &entrance, scope)
        });
    }
}

/// An operator that keeps the results of what enters it in a store, as a table.
pub(super) fn aggregate<K: Data, A: Data>(
    shared: &SharedGraph,
    entrances: Vec<Box<dyn Enter<K, A>>>,
    plan: Plan<K, A>,
    emit: Emit,
    stored: Stored<K, A>,
) -> Table<Windowed<K>, A> {
    let (closes, stored, plan) = (plan.closes(), Arc::new(stored), Arc::new(plan));
    let mut graph = entered(shared);
    let name = graph.name(Some(&stored.name), "aggregate");
    let store = graph.add_stored(&stored, Some(closes.retention_ms));
    graph.windows.insert(store, plan.shape());
    let parents: Vec<VertexId> = entrances.iter().map(|entrance| entrance.from()).collect();
    let late: BTreeSet<Arc<str>> =
        entrances.iter().filter_map(|entrance| entrance.late_topic().cloned()).collect();
    let (kept, made) = (Arc::clone(&stored), Arc::clone(&plan));
    let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
        let is_time_seen = assembly.is_time_seen_behind(id);
        let output = Output::new(assembly.outlet(id)?, emit, kept.held_max, is_time_seen);
        let place = assembly.place(store)?;
        let closed = Closed::new(place, assembly.seen_time(id));
        let operator = Arc::new(Mutex::new(made.operator(place, &kept, Ends { closed, output })));
        entrances.iter().for_each(|entrance| entrance.attach(assembly, &operator));
        assembly.hooks.push(operator);
        Ok(())
    };
    let vertex = graph.add(match parents.len() {
        1 => Vertex::operator(name, parents, vec![store], build),
        _ => Vertex::join(name, parents, vec![store], build),
    });
    graph.closes.insert(vertex, closes);
    if emit == Emit::OnClose {
        graph.delays(vertex, closes.after_ms);
    }
    late.into_iter().for_each(|topic| add_side_topic(&mut graph, vertex, topic));
    drop(graph);
    let sent_after_ms = (emit == Emit::OnClose).then_some(closes.after_ms);
    let getter = Getter::new(move |assembly: &Assembly<'_>| {
        let (get, lag_ms) = (plan.get(assembly.place(store)?, &stored), assembly.lag_ms(vertex));
        Ok(Box::new(Sent { get, sent_after_ms, lag_ms }))
    });
    Table::new(Arc::clone(shared), vertex, getter, vec![store])
}

/// The operator writes it by itself; it is in the graph to be seen.
fn add_side_topic(graph: &mut Graph, from: VertexId, topic: Arc<str>) {
    let name = graph.name(None, "late");
    let vertex = Vertex::operator(name, vec![from], Vec::new(), |_, _| Ok(()));
    graph.add(Vertex { role: Role::Sink { topic }, ..vertex });
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
