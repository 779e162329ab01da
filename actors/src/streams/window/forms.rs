//! A grouped stream under windows, and its aggregates.

use std::fmt;
use std::sync::Arc;

use super::super::builder::{Produced, SharedGraph};
use super::super::event::Data;
use super::super::graph::VertexId;
use super::super::grouped::GroupedStream;
use super::super::store::Stored;
use super::super::table::Table;
use super::aggregate::{Entrance, Fold, Plan, aggregate};
use super::hopping::HoppingPlan;
use super::late::Late;
use super::session::SessionPlan;
use super::sliding::SlidingPlan;
use super::{Emit, Windowed};

/// Windows that have their bounds from the times of records, and merge with no others.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Hopping(HoppingPlan),
    Sliding(SlidingPlan),
}

impl<K, A> From<Kind> for Plan<K, A> {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Hopping(plan) => Self::Hopping(plan),
            Kind::Sliding(plan) => Self::Sliding(plan),
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

    fn fold<A: Data>(
        &self,
        plan: Plan<K, A>,
        fold: Fold<K, V, A>,
        stored: Stored<K, A>,
    ) -> Table<Windowed<K>, A> {
        let entrance = Arc::new(Entrance { from: self.from, fold, late: Late(self.late.clone()) });
        aggregate(&self.graph, vec![Box::new(entrance)], plan, self.emit, stored)
    }
}

/// What can be said of the results and the late records of a stream in windows of any kind.
macro_rules! with_outcomes {
    ($form:ident) => {
        impl<K: Data, V: Data> $form<K, V> {
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
        }
    };
}

with_outcomes!(TimeWindowed);
with_outcomes!(SessionWindowed);

impl<K: Data, V: Data> TimeWindowed<K, V> {
    pub(super) fn new(grouped: &GroupedStream<K, V>, kind: Kind) -> Self {
        Self { input: Input::new(grouped), kind }
    }

    /// How many records each key has had in each window.
    pub fn count(&self, stored: impl Into<Stored<K, i64>>) -> Table<Windowed<K>, i64> {
        self.fold(counting(), stored.into())
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
        self.input.fold(self.kind.into(), fold, stored)
    }
}

impl<K: Data, V: Data> SessionWindowed<K, V> {
    pub(super) fn new(grouped: &GroupedStream<K, V>, plan: SessionPlan) -> Self {
        Self { input: Input::new(grouped), plan }
    }

    /// How many records each session has had.
    pub fn count(&self, stored: impl Into<Stored<K, i64>>) -> Table<Windowed<K>, i64> {
        self.fold(counting(), |_, one, other| one + other, stored.into())
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
        self.fold(fold, move |_, one, other| merge(one, other), stored.into())
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
        self.fold(aggregating(initial, with), merge, stored.into())
    }

    fn fold<A: Data>(
        &self,
        fold: Fold<K, V, A>,
        merge: impl Fn(&K, A, A) -> A + Send + Sync + 'static,
        stored: Stored<K, A>,
    ) -> Table<Windowed<K>, A> {
        self.input.fold(Plan::Session(self.plan, Arc::new(merge)), fold, stored)
    }
}

fn counting<K: Data, V: Data>() -> Fold<K, V, i64> {
    Arc::new(|_, _, so_far| so_far.unwrap_or(0) + 1)
}

fn reducing<K: Data, V: Data>(with: impl Fn(V, V) -> V + Send + Sync + 'static) -> Fold<K, V, V> {
    Arc::new(move |_, value, so_far| match so_far {
        Some(so_far) => with(so_far, value),
        None => value,
    })
}

pub(crate) fn aggregating<K: Data, V: Data, A: Data>(
    initial: impl Fn(&K) -> A + Send + Sync + 'static,
    with: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
) -> Fold<K, V, A> {
    Arc::new(move |key, value, so_far| {
        let so_far = so_far.unwrap_or_else(|| initial(key));
        with(key, value, so_far)
    })
}
