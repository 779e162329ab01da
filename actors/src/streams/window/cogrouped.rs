//! Several grouped streams under windows, put into one aggregate (KIP-150).

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::super::builder::{Produced, of_one_builder};
use super::super::cogroup::CogroupedStream;
use super::super::event::Data;
use super::super::graph::VertexId;
use super::super::grouped::GroupedStream;
use super::super::operator::entered;
use super::super::store::Stored;
use super::super::table::Table;
use super::aggregate::{Plan, aggregate};
use super::forms::Kind;
use super::session::SessionPlan;
use super::{Emit, Windowed};

/// Where late records of each stream go: a `Produced` of its key and value.
pub(crate) type LateTopics = BTreeMap<VertexId, Arc<dyn Any + Send + Sync>>;

/// What is put into one aggregate, and how its results and late records go.
struct Inputs<K, A> {
    streams: CogroupedStream<K, A>,
    emit: Emit,
    late: LateTopics,
}

/// Streams in tumbling, hopping or sliding windows that go into one aggregate.
pub struct TimeWindowedCogrouped<K, A> {
    inputs: Inputs<K, A>,
    kind: Kind,
}

/// Streams in sessions that go into one aggregate: records of all of them make a session.
pub struct SessionWindowedCogrouped<K, A> {
    inputs: Inputs<K, A>,
    plan: SessionPlan,
}

impl<K, A> fmt::Debug for TimeWindowedCogrouped<K, A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TimeWindowedCogrouped").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<K, A> fmt::Debug for SessionWindowedCogrouped<K, A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SessionWindowedCogrouped").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl<K: Data, A: Data> Inputs<K, A> {
    fn new(streams: CogroupedStream<K, A>) -> Self {
        Self { streams, emit: Emit::OnUpdate, late: LateTopics::new() }
    }

    fn late_to<V: Data>(&mut self, of: &GroupedStream<K, V>, topic: Produced<K, V>) {
        let graph = &self.streams.graph;
        of_one_builder(graph, &of.graph);
        if !self.streams.members.iter().any(|member| member.from() == of.vertex) {
            let topic = &topic.topic;
            let text = "is for late records of a stream that is not put into the aggregate";
            entered(graph).problem(format!("the topic {topic:?} {text}"));
        }
        self.late.insert(of.vertex, Arc::new(topic));
    }

    fn aggregate(
        &self,
        plan: Plan<K, A>,
        initial: impl Fn(&K) -> A + Send + Sync + 'static,
        stored: Stored<K, A>,
    ) -> Table<Windowed<K>, A> {
        let initial = Arc::new(initial) as _;
        let members = self.streams.members.iter();
        let entrances = members.map(|member| member.entrance(&initial, &self.late)).collect();
        aggregate(&self.streams.graph, entrances, plan, self.emit, stored)
    }
}

/// What can be said of the results and the late records of streams in windows of any kind.
macro_rules! with_outcomes {
    ($form:ident) => {
        impl<K: Data, A: Data> $form<K, A> {
            /// When results are sent: whenever they change, where nothing is said.
            #[must_use]
            pub fn emit(mut self, emit: Emit) -> Self {
                self.inputs.emit = emit;
                self
            }

            /// Records of this stream that come after one of their windows has closed are written here, too; with the headers of
            /// [`super::TimeWindowed::late_to`].
            #[must_use]
            pub fn late_to<V: Data>(
                mut self,
                of: &GroupedStream<K, V>,
                topic: impl Into<Produced<K, V>>,
            ) -> Self {
                self.inputs.late_to(of, topic.into());
                self
            }
        }
    };
}

with_outcomes!(TimeWindowedCogrouped);
with_outcomes!(SessionWindowedCogrouped);

impl<K: Data, A: Data> TimeWindowedCogrouped<K, A> {
    pub(super) fn new(streams: CogroupedStream<K, A>, kind: Kind) -> Self {
        Self { inputs: Inputs::new(streams), kind }
    }

    /// Of each key in each window what the streams' values were put into, in the order in which they were processed; into
    /// `initial` first.
    pub fn aggregate(
        &self,
        initial: impl Fn(&K) -> A + Send + Sync + 'static,
        stored: impl Into<Stored<K, A>>,
    ) -> Table<Windowed<K>, A> {
        self.inputs.aggregate(self.kind.into(), initial, stored.into())
    }
}

impl<K: Data, A: Data> SessionWindowedCogrouped<K, A> {
    pub(super) fn new(streams: CogroupedStream<K, A>, plan: SessionPlan) -> Self {
        Self { inputs: Inputs::new(streams), plan }
    }

    /// Of each session what the streams' values were put into, in the order in which they were processed, into `initial` first;
    /// what `merge` makes of two, the earlier one first, that a record between them makes one.
    pub fn aggregate(
        &self,
        initial: impl Fn(&K) -> A + Send + Sync + 'static,
        merge: impl Fn(&K, A, A) -> A + Send + Sync + 'static,
        stored: impl Into<Stored<K, A>>,
    ) -> Table<Windowed<K>, A> {
        self.inputs.aggregate(Plan::Session(self.plan, Arc::new(merge)), initial, stored.into())
    }
}
