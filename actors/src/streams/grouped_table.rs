//! Rows of a table, brought together by another key to be aggregated.
//!
//! A change of a row is taken off the group that it was in and added to the one that it is in. Both go to the groups' tasks
//! through one topic: in one record where the group stays the same, otherwise in two, that of the old group first. All changes
//! of a row come from one task in their order, so that no group sees a row added again before it was taken off.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::builder::{Grouped, SharedGraph, repartition};
use super::change_codec::ChangeCodec;
use super::event::{Change, Data, Event};
use super::graph::{Vertex, VertexId};
use super::operator::{Assembly, entered};
use super::scope::Scope;
use super::store::{KeyValue, Stored};
use super::stream::Stream;
use super::table::{Getter, Table};

/// A table whose rows of a group are in one task.
///
/// ```
/// use millstream_actors::streams::{StreamBuilder, TopologyDriver};
///
/// let builder = StreamBuilder::new("towns");
/// let towns = builder.table::<String, String>("town-of", "town-of");
/// towns.group_by(|_, town| (town, ()), "by-town").count("people-in").changes().to("people-in");
/// let mut driver = TopologyDriver::new(&builder.build().unwrap(), 1).unwrap();
/// for (person, town) in [("ann", "Bath"), ("bob", "Bath"), ("ann", "York")] {
///     driver.send("town-of", &person.to_owned(), &town.to_owned(), 0).unwrap();
/// }
/// assert_eq!(driver.get::<String, i64>("people-in", &"Bath".to_owned()).unwrap(), Some(1));
/// ```
pub struct GroupedTable<K, V> {
    graph: SharedGraph,
    vertex: VertexId,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K, V> fmt::Debug for GroupedTable<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("GroupedTable").field("vertex", &self.vertex.0).finish_non_exhaustive()
    }
}

impl<K: Data, V: Data> Table<K, V> {
    /// Its rows, each under the key and with the value that `of` makes of it. Equal rows must make equal ones.
    pub fn group_by<K2: Data + PartialEq, V2: Data>(
        &self,
        of: impl Fn(&K, V) -> (K2, V2) + Send + Sync + 'static,
        grouped: impl Into<Grouped<K2, V2>>,
    ) -> GroupedTable<K2, V2> {
        let stream = Stream::<K, Change<V>>::new(Arc::clone(&self.graph), self.vertex, false);
        let regrouped = stream.each("group-by", true, move |event: Event<K, Change<V>>, give| {
            let Event { key, value: Change { new, old }, timestamp_ms } = event;
            let (new, old) = (new.map(|value| of(&key, value)), old.map(|value| of(&key, value)));
            let (new, old) = match (new, old) {
                (Some((group, new)), Some((before, old))) if group == before => {
                    let change = Change { new: Some(new), old: Some(old) };
                    return give(Event { key: group, value: change, timestamp_ms });
                }
                others => others,
            };
            if let Some((group, old)) = old {
                give(Event { key: group, value: Change { new: None, old: Some(old) }, timestamp_ms })?;
            }
            new.map_or(Ok(()), |(group, new)| {
                give(Event { key: group, value: Change { new: Some(new), old: None }, timestamp_ms })
            })
        });
        let Grouped { name, key, value, partitions } = grouped.into();
        let changes = Grouped { name, key, value: Arc::new(ChangeCodec(value)), partitions };
        let vertex = repartition(&self.graph, regrouped.vertex, &Arc::new(changes));
        GroupedTable { graph: Arc::clone(&self.graph), vertex, of: PhantomData }
    }
}

impl<K: Data, V: Data> GroupedTable<K, V> {
    /// How many rows each group has; 0 where it has lost all.
    pub fn count(&self, stored: impl Into<Stored<K, i64>>) -> Table<K, i64> {
        self.aggregate(|_| 0, |_, _, count| count + 1, |_, _, count| count - 1, stored)
    }

    /// Of each group the first row's value, with each that comes put into it by `add` and each that goes taken off by
    /// `subtract`; both are given what there is so far and the row's value.
    pub fn reduce(
        &self,
        add: impl Fn(V, V) -> V + Send + Sync + 'static,
        subtract: impl Fn(V, V) -> V + Send + Sync + 'static,
        stored: impl Into<Stored<K, V>>,
    ) -> Table<K, V> {
        let added = move |_: &K, value: V, so_far: Option<V>| match so_far {
            Some(so_far) => Some(add(so_far, value)),
            None => Some(value),
        };
        let subtracted = move |_: &K, value: V, so_far: Option<V>| Some(subtract(so_far?, value));
        self.fold(added, subtracted, stored.into())
    }

    /// Of each group what `add` makes of each row that comes, and `subtract` of each that goes, and of what there is so far;
    /// of `initial` first.
    pub fn aggregate<A: Data>(
        &self,
        initial: impl Fn(&K) -> A + Send + Sync + 'static,
        add: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
        subtract: impl Fn(&K, V, A) -> A + Send + Sync + 'static,
        stored: impl Into<Stored<K, A>>,
    ) -> Table<K, A> {
        let initial = Arc::new(initial);
        let first = Arc::clone(&initial);
        let added = move |key: &K, value: V, so_far: Option<A>| {
            Some(add(key, value, so_far.unwrap_or_else(|| first(key))))
        };
        let subtracted = move |key: &K, value: V, so_far: Option<A>| {
            Some(subtract(key, value, so_far.unwrap_or_else(|| initial(key))))
        };
        self.fold(added, subtracted, stored.into())
    }

    fn fold<A: Data>(
        &self,
        add: impl Fn(&K, V, Option<A>) -> Option<A> + Send + Sync + 'static,
        subtract: impl Fn(&K, V, Option<A>) -> Option<A> + Send + Sync + 'static,
        stored: Stored<K, A>,
    ) -> Table<K, A> {
        let (stored, with, from) = (Arc::new(stored), Arc::new((add, subtract)), self.vertex);
        let mut graph = entered(&self.graph);
        let name = graph.name(Some(&stored.name), "aggregate");
        let store = graph.add_stored(&stored, None);
        let kept = Arc::clone(&stored);
        let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
            let (outlet, with) = (assembly.outlet::<K, Change<A>>(id)?, Arc::clone(&with));
            let place = assembly.place(store)?;
            let state = KeyValue::new(place, Arc::clone(&kept.key), Arc::clone(&kept.value));
            assembly.attach_operator(from, move |event: Event<K, Change<V>>, scope: &mut Scope| {
                let Event { key, value: change, timestamp_ms } = event;
                let at = state.key(&key)?;
                let old: Option<A> = state.get_at(scope, &at)?;
                let less = match change.old {
                    Some(value) => (with.1)(&key, value, old.clone()),
                    None => old.clone(),
                };
                let new = match change.new {
                    Some(value) => (with.0)(&key, value, less),
                    None => less,
                };
                state.put_at(scope, at, new.as_ref())?;
                outlet.give_change(Event { key, value: Change { new, old }, timestamp_ms }, scope)
            });
            Ok(())
        };
        let vertex = graph.add(Vertex::operator(name, vec![from], vec![store], build));
        drop(graph);
        Table::new(Arc::clone(&self.graph), vertex, Getter::of_store(store, &stored), vec![store])
    }
}

#[cfg(test)]
mod tests;
