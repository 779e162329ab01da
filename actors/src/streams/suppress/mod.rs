//! Tables whose changes are held back: until a window closes, so that its result is sent once; until a time has passed, so
//! that of many changes of a key one is sent. What is held back is in a store, and so in its changelog.

mod until_close;
mod until_limit;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::event::{Change, Data};
use super::graph::{Graph, Role, Vertex, VertexId};
use super::operator::{Assembly, Hook, Outlet, Receive, entered};
use super::scope::StreamError;
use super::store::Stored;
use super::table::{Get, Getter, Table};
use super::time::SeenTime;
use super::window::{Closes, Windowed, whole_ms};
use until_close::{BufferedWindows, UntilClose};
use until_limit::{BufferedKeys, UntilLimit};

/// How much is held back, and what happens when it would be more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    records_max: usize,
    bytes_max: usize,
    fails: bool,
}

impl Buffer {
    /// So many keys in a task; when there are more, the one that has waited longest is sent early.
    #[must_use]
    pub const fn records(max: usize) -> Self {
        Self { records_max: max, bytes_max: usize::MAX, fails: false }
    }

    /// So many bytes of keys and values in a task; when there are more, the key that has waited longest is sent early.
    #[must_use]
    pub const fn bytes(max: usize) -> Self {
        Self { records_max: usize::MAX, bytes_max: max, fails: false }
    }

    /// Nothing is sent early: when there is more, the application stops with [`StreamError::BufferFull`].
    #[must_use]
    pub const fn or_fail(mut self) -> Self {
        self.fails = true;
        self
    }
}

impl<K: Data, V: Data> Table<K, V> {
    /// The same table, of which a change is sent when stream time has passed the first change of its key that is held back
    /// by `limit`: then the newest, with the value that was last sent. Whoever looks the table up sees what was sent.
    pub fn suppress(&self, limit: Duration, buffer: Buffer, stored: impl Into<Stored<K, V>>) -> Self {
        let stored = Arc::new(stored.into());
        let limit_ms = whole_ms(&mut entered(&self.graph), "time limit of suppress", limit, 0);
        let (source, kept) = (self.getter.clone(), Arc::clone(&stored));
        let make =
            move |place, outlet, time| UntilLimit::new(place, &kept, (limit_ms, buffer), (outlet, time));
        let read = Arc::clone(&stored);
        let get = move |(place, _), assembly: &Assembly<'_>| -> Result<Box<dyn Get<K, V>>, StreamError> {
            Ok(Box::new(BufferedKeys::new(place, &read, source.make(assembly)?)))
        };
        self.held_back(&stored, (limit_ms, None), make, get)
    }

    fn held_back<S, O>(
        &self,
        stored: &Stored<S, V>,
        (delay_ms, retention_ms): (i64, Option<i64>),
        make: impl Fn(usize, Outlet<K, Change<V>>, SeenTime) -> O + Send + Sync + 'static,
        get: impl Fn((usize, i64), &Assembly<'_>) -> Result<Box<dyn Get<K, V>>, StreamError>
        + Send
        + Sync
        + 'static,
    ) -> Self
    where
        O: Receive<K, Change<V>> + Hook + 'static,
    {
        let from = self.vertex;
        let mut graph = entered(&self.graph);
        let name = graph.name(Some(&stored.name), "suppress");
        let store = graph.add_kept((&stored.name, stored.is_logged), retention_ms);
        let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
            let operator = Arc::new(Mutex::new(make(
                assembly.place(store)?,
                assembly.outlet(id)?,
                assembly.seen_time(id),
            )));
            assembly.attach::<K, Change<V>>(from, Arc::clone(&operator) as _);
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
        graph.delays(vertex, delay_ms);
        drop(graph);
        let getter = Getter::new(move |assembly: &Assembly<'_>| {
            get((assembly.place(store)?, assembly.lag_ms(vertex)), assembly)
        });
        let stores = self.stores.iter().copied().chain([store]).collect();
        Self::new(Arc::clone(&self.graph), vertex, getter, stores)
    }
}

impl<K: Data, V: Data> Table<Windowed<K>, V> {
    /// The same table, of which the result of each window is sent once, when it has closed; at the last time that the window
    /// has. Only the results of a windowed aggregate, or what was made of them without another key, have windows that close.
    pub fn suppress_until_close(&self, stored: impl Into<Stored<K, V>>) -> Self {
        let stored = Arc::new(stored.into());
        let closes = {
            let mut graph = entered(&self.graph);
            closes(&graph, self.vertex).unwrap_or_else(|| {
                let text = "waits for windows to close, but no windowed aggregate is before it";
                graph.problem(format!("{:?} {text}", stored.name));
                Closes { after_ms: 0, holds_end: false, retention_ms: 0 }
            })
        };
        let (source, kept) = (self.getter.clone(), Arc::clone(&stored));
        let make = move |place, outlet, time| UntilClose::new(place, &kept, (closes, time), outlet);
        let read = Arc::clone(&stored);
        let get = move |(place, lag_ms),
                        assembly: &Assembly<'_>|
              -> Result<Box<dyn Get<Windowed<K>, V>>, StreamError> {
            Ok(Box::new(BufferedWindows::new(place, &read, (closes, lag_ms), source.make(assembly)?)))
        };
        self.held_back(&stored, (closes.after_ms, Some(closes.retention_ms)), make, get)
    }
}

/// When the windows close whose results come here (those that do last, where there are several).
fn closes(graph: &Graph, vertex: VertexId) -> Option<Closes> {
    if let Some(closes) = graph.closes.get(&vertex) {
        return Some(*closes);
    }
    let parents = graph.vertices.get(vertex.0)?.parents.iter();
    parents.filter_map(|parent| closes(graph, *parent)).max_by_key(|closes| closes.after_ms)
}
