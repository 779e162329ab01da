//! Global tables: all of a topic, in every process.
//!
//! Such a table is small and read by every task whatever its partition, so that a stream is joined with it by any key, with no
//! topic in between. It is fed by one [`GlobalTask`] a process, outside of transactions, and only read by the tasks.

mod store;
mod task;

use std::fmt;
use std::sync::Arc;

use super::builder::{Consumed, SharedGraph, StreamBuilder};
use super::codec::SharedCodec;
use super::event::Data;
use super::operator::entered;
use super::scope::{Scope, StreamError};
use super::table::{Get, Getter};
pub(crate) use store::{GlobalStore, Globals};
pub(crate) use task::GlobalTask;

/// A global table of a topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GlobalId(pub(crate) usize);

/// What a global table is called, and what it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GlobalSpec {
    pub(crate) name: Arc<str>,
    pub(crate) topic: Arc<str>,
}

/// A table that every process has whole. A handle, to join streams with.
///
/// ```
/// use millstream_actors::streams::{StreamBuilder, TopologyDriver};
///
/// let builder = StreamBuilder::new("orders");
/// let countries = builder.global_table::<String, String>("countries", "countries");
/// builder
///     .stream::<i64, String>("orders")
///     .join_global(&countries, |_, code| code.clone(), |_, code, country| format!("{code} ({country})"))
///     .to("named-orders");
/// let mut driver = TopologyDriver::new(&builder.build().unwrap(), 2).unwrap();
/// driver.send("countries", &"nz".to_owned(), &"New Zealand".to_owned(), 0).unwrap();
/// driver.send("orders", &1_i64, &"nz".to_owned(), 1).unwrap();
/// assert_eq!(driver.read::<i64, String>("named-orders").unwrap()[0].value, "nz (New Zealand)");
/// ```
pub struct GlobalTable<K, V> {
    pub(crate) graph: SharedGraph,
    pub(crate) getter: Getter<K, V>,
    name: Arc<str>,
}

impl<K, V> Clone for GlobalTable<K, V> {
    fn clone(&self) -> Self {
        let (graph, name) = (Arc::clone(&self.graph), Arc::clone(&self.name));
        Self { graph, getter: self.getter.clone(), name }
    }
}

impl<K, V> fmt::Debug for GlobalTable<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("GlobalTable").field("name", &self.name).finish_non_exhaustive()
    }
}

impl StreamBuilder {
    /// The newest record of each key of all partitions of a topic, in every process, under a name that is unique in the
    /// topology. A record without a value deletes its key, one without a key is left out; the topic should be compacted. It is
    /// kept in the form that it has in the topic, and timestamps are not looked at.
    pub fn global_table<K: Data, V: Data>(
        &self,
        topic: impl Into<Consumed<K, V>>,
        name: &str,
    ) -> GlobalTable<K, V> {
        let consumed = topic.into();
        let name: Arc<str> = Arc::from(name);
        let mut graph = entered(&self.graph);
        let spec = GlobalSpec { name: Arc::clone(&name), topic: consumed.one_topic(&mut graph) };
        graph.can_be_asked(&name, &consumed.key, &consumed.value);
        let id = graph.add_global(spec);
        drop(graph);
        let getter = Getter(Arc::new(move |_| {
            let (key, value) = (Arc::clone(&consumed.key), Arc::clone(&consumed.value));
            Ok(Box::new(Global { id, key, value }))
        }));
        GlobalTable { graph: Arc::clone(&self.graph), getter, name }
    }
}

/// A global table as a task reads it.
pub(crate) struct Global<K, V> {
    pub(crate) id: GlobalId,
    pub(crate) key: SharedCodec<K>,
    pub(crate) value: SharedCodec<V>,
}

impl<K: Data, V: Data> Get<K, V> for Global<K, V> {
    fn get(&self, scope: &Scope, key: &K) -> Result<Option<V>, StreamError> {
        let Some(key) = self.key.encode(key)? else { return Ok(None) };
        let found = scope.global(self.id)?.get(&key)?;
        Ok(found.map(|value| self.value.decode(Some(&value))).transpose()?)
    }
}
