//! A stream with a table: each record meets what the table has of its key when the record is processed.
//!
//! Only records of the stream make results. A task processes what waits at it in the order of event time, so that a record
//! meets the table as it was then, as far as both sides had come.

use std::sync::Arc;

use super::super::builder::of_one_builder;
use super::super::event::{Data, Event};
use super::super::graph::{Vertex, VertexId};
use super::super::operator::{Assembly, entered};
use super::super::scope::Scope;
use super::super::stream::Stream;
use super::super::table::Table;

impl<K: Data, V: Data> Stream<K, V> {
    /// What `with` makes of each record and of the table's value of its key; records whose key is not in the table are left
    /// out. The key must be the one by which both lie in their topics.
    pub fn join_table<T: Data, W: Data>(
        &self,
        table: &Table<K, T>,
        with: impl Fn(&K, V, T) -> W + Send + Sync + 'static,
    ) -> Stream<K, W> {
        self.look_up(table, "join-table", move |key, value, found| found.map(|found| with(key, value, found)))
    }

    /// What `with` makes of each record and of the table's value of its key, `None` where it has none.
    pub fn left_join_table<T: Data, W: Data>(
        &self,
        table: &Table<K, T>,
        with: impl Fn(&K, V, Option<T>) -> W + Send + Sync + 'static,
    ) -> Stream<K, W> {
        self.look_up(table, "left-join-table", move |key, value, found| Some(with(key, value, found)))
    }

    fn look_up<T: Data, W: Data>(
        &self,
        table: &Table<K, T>,
        kind: &str,
        with: impl Fn(&K, V, Option<T>) -> Option<W> + Send + Sync + 'static,
    ) -> Stream<K, W> {
        of_one_builder(&self.graph, &table.graph);
        let mut graph = entered(&self.graph);
        graph.needs_key_of_partition(self.is_scattered, self.vertex, "joined with a table");
        let name = graph.name(None, kind);
        let (from, getter, with) = (self.vertex, table.getter.clone(), Arc::new(with));
        let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
            let (outlet, with) = (assembly.outlet::<K, W>(id)?, Arc::clone(&with));
            let getter = getter.make(assembly)?;
            assembly.attach_operator(from, move |event: Event<K, V>, scope: &mut Scope| {
                let Event { key, value, timestamp_ms } = event;
                let found = getter.get(scope, &key)?;
                match with(&key, value, found) {
                    Some(value) => outlet.give(Event { key, value, timestamp_ms }, scope),
                    None => Ok(()),
                }
            });
            Ok(())
        };
        // The table's own vertex is a parent so that its topics are among those that are checked; it sends nothing here.
        let parents = vec![self.vertex, table.vertex];
        let vertex = graph.add(Vertex::join(name, parents, table.stores.clone(), build));
        drop(graph);
        Stream::new(Arc::clone(&self.graph), vertex, self.is_scattered)
    }
}
