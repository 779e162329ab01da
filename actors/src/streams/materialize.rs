//! Tables that are kept though they are no topic's: of a stream, or of what was made of another table.

use std::marker::PhantomData;
use std::sync::Arc;

use super::builder::{Grouped, SharedGraph, repartition};
use super::event::{Change, Data, Event};
use super::graph::{Vertex, VertexId};
use super::operator::{Assembly, entered};
use super::scope::Scope;
use super::store::{KeyValue, Stored};
use super::stream::Stream;
use super::table::{Getter, Table};

impl<K: Data, V: Data> Stream<K, V> {
    /// The newest value of each key, kept. Where the key was changed it goes through a topic of the library's own, called
    /// after the store, with keys and values in the store's forms.
    pub fn to_table(&self, stored: impl Into<Stored<K, V>>) -> Table<K, V> {
        let stored = stored.into();
        let (key, value) = (Arc::clone(&stored.key), Arc::clone(&stored.value));
        let grouped = Grouped::with(&stored.name, key, value);
        keep(&self.gathered(grouped), "to-table", stored, Some)
    }
}

impl<K: Data, V: Data> Stream<K, Option<V>> {
    /// The newest value of each key, kept; one of `None` deletes its key. It is to [`Table::changes`] what
    /// [`Self::to_table`] is to [`Table::to_stream`].
    pub fn changes_to_table(&self, stored: impl Into<Stored<K, V>>) -> Table<K, V> {
        let stored = stored.into();
        let value = super::codec::optional(Arc::clone(&stored.value));
        let grouped = Grouped::with(&stored.name, Arc::clone(&stored.key), value);
        keep(&self.gathered(grouped), "to-table", stored, |value| value)
    }
}

impl<K: Data, V: Data> Stream<K, V> {
    /// With the records of a key in one task.
    fn gathered(&self, grouped: Grouped<K, V>) -> From<K, V> {
        let vertex = match self.is_scattered {
            true => repartition(&self.graph, self.vertex, &Arc::new(grouped)),
            false => self.vertex,
        };
        (Arc::clone(&self.graph), vertex, PhantomData)
    }
}

impl<K: Data, V: Data> Table<K, V> {
    /// The same table, kept in a store of its own: to be queried by its name, to be looked up without making it again each
    /// time, and so that each change says what was there before it, whatever made it.
    pub fn materialize(&self, stored: impl Into<Stored<K, V>>) -> Self {
        let from = (Arc::clone(&self.graph), self.vertex, PhantomData::<fn() -> (K, Change<V>)>);
        keep(&from, "materialize", stored.into(), |change: Change<V>| change.new)
    }
}

/// What is to be kept: its graph and its vertex.
type From<K, V> = (SharedGraph, VertexId, PhantomData<fn() -> (K, V)>);

/// A table of what `new` makes of each that comes, kept in a store.
fn keep<K: Data, V: Data, T: Data>(
    (shared, from, _): &From<K, T>,
    kind: &str,
    stored: Stored<K, V>,
    new: impl Fn(T) -> Option<V> + Send + Sync + 'static,
) -> Table<K, V> {
    let (stored, from, new) = (Arc::new(stored), *from, Arc::new(new));
    let mut graph = entered(shared);
    let name = graph.name(Some(&stored.name), kind);
    let store = graph.add_stored(&stored, None);
    let kept = Arc::clone(&stored);
    let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
        let (outlet, place) = (assembly.outlet::<K, Change<V>>(id)?, assembly.place(store)?);
        let state = KeyValue::new(place, Arc::clone(&kept.key), Arc::clone(&kept.value));
        let new = Arc::clone(&new);
        assembly.attach_operator(from, move |event: Event<K, T>, scope: &mut Scope| {
            let Event { key, value, timestamp_ms } = event;
            let (new, at) = (new(value), state.key(&key)?);
            let old = state.get_at(scope, &at)?;
            state.put_at(scope, at, new.as_ref())?;
            outlet.give_change(Event { key, value: Change { new, old }, timestamp_ms }, scope)
        });
        Ok(())
    };
    let vertex = graph.add(Vertex::operator(name, vec![from], vec![store], build));
    drop(graph);
    Table::new(Arc::clone(shared), vertex, Getter::of_store(store, &stored), vec![store])
}
