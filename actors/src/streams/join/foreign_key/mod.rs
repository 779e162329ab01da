//! Two tables, of which one names keys of the other in its values (KIP-213).
//!
//! A key of the table subscribes at its foreign key, through a topic that is cut as the other table is; the foreign key
//! answers through a second one that is cut as the table is: at once, and again at each change. Answers may overtake what
//! made them void, so each carries the version of its subscription: a key takes only answers to its newest.
//!
//! Unlike Kafka Streams, which guards by a hash of the table's value and asks anew at each change of it, a key keeps the last
//! answer beside it. A change that leaves the foreign key as it was meets that, with no way through topics; a version, unlike
//! a hash, is never the same twice (a foreign key that goes from A to B and back); and the joined table can be looked up
//! without a store of its own. When the foreign key changes the joined table keeps what it has until the new one answers.

mod answers;
mod decide;
mod message;
mod subscriptions;

use std::fmt;
use std::sync::Arc;

use super::super::builder::{Consumed, of_one_builder, source};
use super::super::codec::{Coded, SharedCodec};
use super::super::event::{Change, Data, Event};
use super::super::graph::{Partitions, Repartition, Role, StoreId, Vertex, VertexId};
use super::super::operator::{Assembly, entered};
use super::super::scope::Scope;
use super::super::stream::Stream;
use super::super::table::Table;
use answers::Answers;
use message::{Answer, AnswerCodec, Subscription, SubscriptionCodec};
use subscriptions::Subscriptions;

/// How a join by foreign key is called, and the forms of what goes through its topics and stores.
#[derive(Debug)]
pub struct ForeignKey<K, F, R, W> {
    name: String,
    key: SharedCodec<K>,
    foreign: SharedCodec<F>,
    other: SharedCodec<R>,
    result: SharedCodec<W>,
}

impl<K: Data, F: Data, R: Data, W: Data> ForeignKey<K, F, R, W> {
    /// Of this name (unique in its topology and the same for ever: topics and stores are called after it). The key is in the
    /// form that it has in the table's topic and the foreign key in that of the other table's, so that they lie in the same
    /// partitions; the other table's value and the result in these forms.
    #[must_use]
    pub fn with(
        name: impl Into<String>,
        key: SharedCodec<K>,
        foreign: SharedCodec<F>,
        other: SharedCodec<R>,
        result: SharedCodec<W>,
    ) -> Self {
        Self { name: name.into(), key, foreign, other, result }
    }
}

impl<K: Coded, F: Coded, R: Coded, W: Coded> From<&str> for ForeignKey<K, F, R, W> {
    fn from(name: &str) -> Self {
        Self::with(name, K::codec(), F::codec(), R::codec(), W::codec())
    }
}

type With<K, L, R, W> = dyn Fn(&K, Option<L>, Option<R>) -> Option<W> + Send + Sync;

/// The key of the other table that a row names.
type Foreign<K, L, F> = dyn Fn(&K, &L) -> Option<F> + Send + Sync;

/// What the operators of one join share.
struct Join<K, L, F, R, W> {
    of: ForeignKey<K, F, R, W>,
    foreign: Box<Foreign<K, L, F>>,
    with: Arc<With<K, L, R, W>>,
    /// Whether a key is in the joined table though its foreign key is not in the other.
    is_left: bool,
    subscription_topic: Arc<str>,
    answer_topic: Arc<str>,
}

impl<K: Data, L: Data> Table<K, L> {
    /// The keys whose foreign key (`None`: it has none) is in the other table, with what `with` makes of both values.
    pub fn join_foreign<F: Data, R: Data, W: Data, O: Into<Option<F>>>(
        &self,
        other: &Table<F, R>,
        foreign: impl Fn(&K, &L) -> O + Send + Sync + 'static,
        with: impl Fn(&K, L, R) -> W + Send + Sync + 'static,
        named: impl Into<ForeignKey<K, F, R, W>>,
    ) -> Table<K, W> {
        let with = move |key: &K, left: Option<L>, right: Option<R>| Some(with(key, left?, right?));
        self.foreign(other, move |key, left| foreign(key, left).into(), (Arc::new(with), false), named.into())
    }

    /// All keys of this table, with what `with` makes of its value and of its foreign key's in the other table, `None` where
    /// there is none.
    pub fn left_join_foreign<F: Data, R: Data, W: Data, O: Into<Option<F>>>(
        &self,
        other: &Table<F, R>,
        foreign: impl Fn(&K, &L) -> O + Send + Sync + 'static,
        with: impl Fn(&K, L, Option<R>) -> W + Send + Sync + 'static,
        named: impl Into<ForeignKey<K, F, R, W>>,
    ) -> Table<K, W> {
        let with = move |key: &K, left: Option<L>, right: Option<R>| Some(with(key, left?, right));
        self.foreign(other, move |key, left| foreign(key, left).into(), (Arc::new(with), true), named.into())
    }

    fn foreign<F: Data, R: Data, W: Data>(
        &self,
        other: &Table<F, R>,
        foreign: impl Fn(&K, &L) -> Option<F> + Send + Sync + 'static,
        (with, is_left): (Arc<With<K, L, R, W>>, bool),
        of: ForeignKey<K, F, R, W>,
    ) -> Table<K, W> {
        of_one_builder(&self.graph, &other.graph);
        let mut graph = entered(&self.graph);
        let mut topic = |name: &str, like: VertexId| {
            let topic = graph.internal_topic(&format!("{}-{name}", of.name), "repartition");
            graph.repartitions.insert(Arc::clone(&topic), Repartition { partitions: Partitions::As(like) });
            topic
        };
        let subscription_topic = topic("subscription", other.vertex);
        let answer_topic = topic("answer", self.vertex);
        let subscriptions = graph.add_kept((&format!("{}-subscriptions", of.name), true), None);
        let answers = graph.add_kept((&format!("{}-answers", of.name), true), None);
        drop(graph);
        let foreign = Box::new(foreign);
        let join = Arc::new(Join { of, foreign, with, is_left, subscription_topic, answer_topic });
        join.add_foreign(other, subscriptions);
        let answered = join.add_answered(self, answers);
        let changed = join.add_changed(self, answers);
        // A key's change and its foreign key's answer make changes of one table.
        let changed = Stream::<K, Change<W>>::new(Arc::clone(&self.graph), changed, false);
        let both = changed.merge(&Stream::new(Arc::clone(&self.graph), answered, false));
        let mut stores = self.stores.clone();
        stores.push(answers);
        Table::new(Arc::clone(&self.graph), both.vertex, join.getter(&self.getter, answers), stores)
    }
}

impl<K: Data, L: Data, F: Data, R: Data, W: Data> Join<K, L, F, R, W> {
    /// The foreign key's side: takes subscriptions and changes of the other table, and answers.
    fn add_foreign(self: &Arc<Self>, other: &Table<F, R>, store: StoreId) {
        let codec: SharedCodec<Subscription> = Arc::new(SubscriptionCodec);
        let consumed = Consumed::with(&self.subscription_topic, Arc::clone(&self.of.foreign), codec);
        let asked = source(&other.graph, &Arc::new(consumed), None);
        let (changed, getter, join) = (other.vertex, other.getter.clone(), Arc::clone(self));
        let build = move |_: VertexId, assembly: &mut Assembly<'_>| {
            let (place, right, of) = (assembly.place(store)?, getter.make(assembly)?, Arc::clone(&join));
            assembly.attach_operator(asked, move |event: Event<F, Subscription>, scope: &mut Scope| {
                of.subscribe(&Subscriptions(place), right.as_ref(), event, scope)
            });
            let of = Arc::clone(&join);
            assembly.attach_operator(changed, move |event: Event<F, Change<R>>, scope: &mut Scope| {
                of.tell(&Subscriptions(place), event, scope)
            });
            Ok(())
        };
        let mut stores = other.stores.clone();
        stores.push(store);
        let mut graph = entered(&other.graph);
        let name = graph.name(None, "foreign-key-answer");
        let role = Role::Sink { topic: Arc::clone(&self.answer_topic) };
        graph.add(Vertex { role, ..Vertex::join(name, vec![asked, changed], stores, build) });
    }

    /// The table's side: takes its changes, and subscribes where a foreign key is new.
    fn add_changed(self: &Arc<Self>, table: &Table<K, L>, store: StoreId) -> VertexId {
        let (from, join) = (table.vertex, Arc::clone(self));
        let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
            let outlet = assembly.outlet::<K, Change<W>>(id)?;
            let (answers, of) = (Answers::new(assembly.place(store)?, &join.of), Arc::clone(&join));
            assembly.attach_operator(from, move |event: Event<K, Change<L>>, scope: &mut Scope| {
                of.change(&answers, &outlet, event, scope)
            });
            Ok(())
        };
        let mut graph = entered(&table.graph);
        let name = graph.name(None, "foreign-key-join");
        let role = Role::Sink { topic: Arc::clone(&self.subscription_topic) };
        graph.add(Vertex { role, ..Vertex::operator(name, vec![from], vec![store], build) })
    }

    /// The table's side: takes answers.
    fn add_answered(self: &Arc<Self>, table: &Table<K, L>, store: StoreId) -> VertexId {
        let codec: SharedCodec<Answer<R>> = Arc::new(AnswerCodec(Arc::clone(&self.of.other)));
        let consumed = Consumed::with(&self.answer_topic, Arc::clone(&self.of.key), codec);
        let from = source(&table.graph, &Arc::new(consumed), None);
        let (getter, join) = (table.getter.clone(), Arc::clone(self));
        let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
            let (outlet, left) = (assembly.outlet::<K, Change<W>>(id)?, getter.make(assembly)?);
            let (answers, of) = (Answers::new(assembly.place(store)?, &join.of), Arc::clone(&join));
            assembly.attach_operator(from, move |event: Event<K, Answer<R>>, scope: &mut Scope| {
                of.answered(&answers, left.as_ref(), &outlet, event, scope)
            });
            Ok(())
        };
        let mut stores = table.stores.clone();
        stores.push(store);
        let mut graph = entered(&table.graph);
        let name = graph.name(None, "foreign-key-answered");
        graph.add(Vertex::join(name, vec![from, table.vertex], stores, build))
    }
}

impl<K, L, F, R, W> fmt::Debug for Join<K, L, F, R, W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Join").field("name", &self.of.name).finish_non_exhaustive()
    }
}
