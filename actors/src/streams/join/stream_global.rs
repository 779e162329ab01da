//! A stream with a global table: by any key, as every process has all of it.
//!
//! A record meets what the table has when the record is processed. The table is fed outside of the task's transactions, so a
//! record that is processed again may meet a newer value.

use std::sync::Arc;

use super::super::builder::of_one_builder;
use super::super::event::{Data, Event};
use super::super::global::GlobalTable;
use super::super::graph::{Vertex, VertexId};
use super::super::operator::{Assembly, entered};
use super::super::scope::Scope;
use super::super::stream::Stream;

impl<K: Data, V: Data> Stream<K, V> {
    /// What `with` makes of each record and of the table's value of the key that `of` says (`None`: it has none); records
    /// whose key is not in the table are left out.
    pub fn join_global<G: Data, T: Data, W: Data, O: Into<Option<G>>>(
        &self,
        table: &GlobalTable<G, T>,
        of: impl Fn(&K, &V) -> O + Send + Sync + 'static,
        with: impl Fn(&K, V, T) -> W + Send + Sync + 'static,
    ) -> Stream<K, W> {
        self.look_up_global(table, "join-global", of, move |key, value, found| {
            found.map(|found| with(key, value, found))
        })
    }

    /// What `with` makes of each record and of the table's value of the key that `of` says; `None` where there is none.
    pub fn left_join_global<G: Data, T: Data, W: Data, O: Into<Option<G>>>(
        &self,
        table: &GlobalTable<G, T>,
        of: impl Fn(&K, &V) -> O + Send + Sync + 'static,
        with: impl Fn(&K, V, Option<T>) -> W + Send + Sync + 'static,
    ) -> Stream<K, W> {
        self.look_up_global(table, "left-join-global", of, move |key, value, found| {
            Some(with(key, value, found))
        })
    }

    fn look_up_global<G: Data, T: Data, W: Data, O: Into<Option<G>>>(
        &self,
        table: &GlobalTable<G, T>,
        kind: &str,
        of: impl Fn(&K, &V) -> O + Send + Sync + 'static,
        with: impl Fn(&K, V, Option<T>) -> Option<W> + Send + Sync + 'static,
    ) -> Stream<K, W> {
        let (from, getter, with) = (self.vertex, table.getter.clone(), Arc::new((of, with)));
        let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
            let (outlet, with) = (assembly.outlet::<K, W>(id)?, Arc::clone(&with));
            let getter = getter.make(assembly)?;
            assembly.attach_operator(from, move |event: Event<K, V>, scope: &mut Scope| {
                let Event { key, value, timestamp_ms } = event;
                let found = match (with.0)(&key, &value).into() {
                    Some(of) => getter.get(scope, &of)?,
                    None => None,
                };
                match (with.1)(&key, value, found) {
                    Some(value) => outlet.give(Event { key, value, timestamp_ms }, scope),
                    None => Ok(()),
                }
            });
            Ok(())
        };
        of_one_builder(&self.graph, &table.graph);
        let mut graph = entered(&self.graph);
        let name = graph.name(None, kind);
        let vertex = graph.add(Vertex::operator(name, vec![self.vertex], Vec::new(), build));
        drop(graph);
        Stream::new(Arc::clone(&self.graph), vertex, self.is_scattered)
    }
}
