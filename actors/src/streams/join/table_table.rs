//! Two tables by their keys: a table of what both have.
//!
//! A change of either side meets what the other has now, and is a change of the joined table. What that had before follows
//! from what the side had before, so that nothing is kept but the two tables.

use std::sync::Arc;

use super::super::builder::of_one_builder;
use super::super::event::{Change, Data, Event};
use super::super::graph::{Vertex, VertexId};
use super::super::operator::{Assembly, Outlet, entered};
use super::super::scope::{Scope, StreamError};
use super::super::table::{Get, Getter, Table};

type With<K, L, R, W> = dyn Fn(&K, Option<L>, Option<R>) -> Option<W> + Send + Sync;

impl<K: Data, L: Data> Table<K, L> {
    /// The keys that both tables have, with what `with` makes of their values.
    ///
    /// Where both come of one table, one change of that is two changes here; [`Table::materialize`] the result then, so that
    /// each says what was there before it.
    pub fn join<R: Data, W: Data>(
        &self,
        other: &Table<K, R>,
        with: impl Fn(&K, L, R) -> W + Send + Sync + 'static,
    ) -> Table<K, W> {
        self.join_with(other, "join", move |key, left, right| Some(with(key, left?, right?)))
    }

    /// The keys of this table, with what `with` makes of its value and of the other's, `None` where that has none. See
    /// [`Self::join`].
    pub fn left_join<R: Data, W: Data>(
        &self,
        other: &Table<K, R>,
        with: impl Fn(&K, L, Option<R>) -> W + Send + Sync + 'static,
    ) -> Table<K, W> {
        self.join_with(other, "left-join", move |key, left, right| Some(with(key, left?, right)))
    }

    /// The keys that either table has, with what `with` makes of their values, of which one may be `None`. See
    /// [`Self::join`].
    pub fn outer_join<R: Data, W: Data>(
        &self,
        other: &Table<K, R>,
        with: impl Fn(&K, Option<L>, Option<R>) -> W + Send + Sync + 'static,
    ) -> Table<K, W> {
        self.join_with(other, "outer-join", move |key, left, right| {
            (left.is_some() || right.is_some()).then(|| with(key, left, right))
        })
    }

    fn join_with<R: Data, W: Data>(
        &self,
        other: &Table<K, R>,
        kind: &str,
        with: impl Fn(&K, Option<L>, Option<R>) -> Option<W> + Send + Sync + 'static,
    ) -> Table<K, W> {
        let with: Arc<With<K, L, R, W>> = Arc::new(with);
        let (left, right) = (self.getter.clone(), other.getter.clone());
        let getter = joined_getter(&left, &right, &with);
        let mut stores = self.stores.clone();
        stores.extend(other.stores.iter().filter(|store| !self.stores.contains(store)));
        let parents = [self.vertex, other.vertex];
        let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
            let outlet = Arc::new(assembly.outlet::<K, Change<W>>(id)?);
            attach(assembly, parents[0], right.make(assembly)?, &outlet, {
                let with = Arc::clone(&with);
                move |key: &K, left: Option<L>, right: Option<R>| with(key, left, right)
            });
            attach(assembly, parents[1], left.make(assembly)?, &outlet, {
                let with = Arc::clone(&with);
                move |key: &K, right: Option<R>, left: Option<L>| with(key, left, right)
            });
            Ok(())
        };
        of_one_builder(&self.graph, &other.graph);
        let mut graph = entered(&self.graph);
        let name = graph.name(None, kind);
        let vertex = graph.add(Vertex::join(name, parents.to_vec(), stores.clone(), build));
        drop(graph);
        Table::new(Arc::clone(&self.graph), vertex, getter, stores)
    }
}

/// Changes of one side, which meet what the other has.
fn attach<K: Data, A: Data, B: Data, W: Data>(
    assembly: &mut Assembly<'_>,
    from: VertexId,
    other: Box<dyn Get<K, B>>,
    outlet: &Arc<Outlet<K, Change<W>>>,
    with: impl Fn(&K, Option<A>, Option<B>) -> Option<W> + Send + 'static,
) {
    let outlet = Arc::clone(outlet);
    assembly.attach_operator(from, move |event: Event<K, Change<A>>, scope: &mut Scope| {
        let Event { key, value: Change { new, old }, timestamp_ms } = event;
        let other = other.get(scope, &key)?;
        let old = with(&key, old, other.clone());
        let new = with(&key, new, other);
        outlet.give_change(Event { key, value: Change { new, old }, timestamp_ms }, scope)
    });
}

struct JoinedGet<K, L, R, W> {
    left: Box<dyn Get<K, L>>,
    right: Box<dyn Get<K, R>>,
    with: Arc<With<K, L, R, W>>,
}

impl<K: Data, L: Data, R: Data, W: Data> Get<K, W> for JoinedGet<K, L, R, W> {
    fn get(&self, scope: &Scope, key: &K) -> Result<Option<W>, StreamError> {
        let (left, right) = (self.left.get(scope, key)?, self.right.get(scope, key)?);
        Ok((self.with)(key, left, right))
    }
}

fn joined_getter<K: Data, L: Data, R: Data, W: Data>(
    left: &Getter<K, L>,
    right: &Getter<K, R>,
    with: &Arc<With<K, L, R, W>>,
) -> Getter<K, W> {
    let (left, right, with) = (left.clone(), right.clone(), Arc::clone(with));
    Getter(Arc::new(move |assembly| {
        let (left, right) = (left.make(assembly)?, right.make(assembly)?);
        Ok(Box::new(JoinedGet { left, right, with: Arc::clone(&with) }))
    }))
}
