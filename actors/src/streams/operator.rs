//! How operators are put together for a task, and how records pass from one to the next.
//!
//! An operator is a typed receiver; who is before it holds it, so that a record passes as a call, without being boxed or
//! encoded. A vertex of the graph knows how to make its operator; that is done from the last to the first, each telling its
//! parents where to send.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::event::{Change, Data, Event};
use super::graph::{StoreId, VertexId};
use super::scope::{Scope, StreamError};
use super::time::SeenTime;

pub(crate) type Outcome = Result<(), StreamError>;

/// Takes what flows.
pub(crate) trait Receive<K, V>: Send {
    fn receive(&mut self, event: Event<K, V>, scope: &mut Scope) -> Outcome;
}

impl<K, V, F> Receive<K, V> for F
where
    F: FnMut(Event<K, V>, &mut Scope) -> Outcome + Send,
{
    fn receive(&mut self, event: Event<K, V>, scope: &mut Scope) -> Outcome {
        self(event, scope)
    }
}

/// An entrance of an operator. The graph has no circles, and a task is one thread at a time: it is never waited for.
pub(crate) type Port<K, V> = Arc<Mutex<dyn Receive<K, V>>>;

/// A task whose operator panicked is thrown away whole if it had changed anything, so what the lock says of that does not
/// matter.
pub(crate) fn entered<T: ?Sized>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs users' code: a panic is an error of its record.
pub(crate) fn guarded<T>(run: impl FnOnce() -> Result<T, StreamError>) -> Result<T, StreamError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(StreamError::Panicked(text.unwrap_or_else(|| "without a text".to_owned())))
    })
}

/// Where an operator sends.
pub(crate) struct Outlet<K, V>(Vec<Port<K, V>>);

impl<K, V> Clone for Outlet<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Data, V: Data> Outlet<K, V> {
    pub(crate) fn give(&self, event: Event<K, V>, scope: &mut Scope) -> Outcome {
        let Some((last, others)) = self.0.split_last() else { return Ok(()) };
        for port in others {
            entered(port).receive(event.clone(), scope)?;
        }
        entered(last).receive(event, scope)
    }
}

impl<K: Data, V: Data> Outlet<K, Change<V>> {
    /// Gives a change of a table on; what never was in it does not leave it.
    pub(crate) fn give_change(&self, event: Event<K, Change<V>>, scope: &mut Scope) -> Outcome {
        match event.value {
            Change { new: None, old: None } => Ok(()),
            Change { .. } => self.give(event, scope),
        }
    }
}

/// What an operator does beside taking records.
pub(crate) trait Hook: Send {
    /// The task begins, where it was last committed.
    fn begin(&mut self, scope: &mut Scope) -> Outcome {
        let _ = scope;
        Ok(())
    }

    /// The task's stream time went on.
    fn time_passed(&mut self, scope: &mut Scope) -> Outcome {
        let _ = scope;
        Ok(())
    }

    /// The clock went on.
    fn clock_passed(&mut self, scope: &mut Scope) -> Outcome {
        let _ = scope;
        Ok(())
    }

    /// A commit comes: what is held back to be sent as one is sent now.
    fn flush(&mut self, scope: &mut Scope) -> Outcome {
        let _ = scope;
        Ok(())
    }
}

/// A record of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawRecord {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Arc<[crate::record::Header]>,
}

/// Reads records of a topic into the graph.
pub(crate) trait Read: Send {
    /// The record's event time.
    fn timestamp_ms(&self, record: &RawRecord) -> Result<i64, StreamError>;

    fn read(&mut self, record: &RawRecord, timestamp_ms: i64, scope: &mut Scope) -> Outcome;
}

/// A task's operators while they are put together.
pub(crate) struct Assembly<'a> {
    ports: BTreeMap<VertexId, Vec<Box<dyn Any>>>,
    places: &'a BTreeMap<StoreId, usize>,
    readers: &'a BTreeMap<VertexId, Vec<Arc<str>>>,
    lags_ms: &'a BTreeMap<VertexId, i64>,
    /// Who goes by stream time, of those that are put together already.
    timed: BTreeSet<VertexId>,
    pub(crate) sources: BTreeMap<Arc<str>, Vec<Box<dyn Read>>>,
    pub(crate) hooks: Vec<Arc<Mutex<dyn Hook>>>,
}

impl<'a> Assembly<'a> {
    pub(crate) fn new(
        places: &'a BTreeMap<StoreId, usize>,
        readers: &'a BTreeMap<VertexId, Vec<Arc<str>>>,
        lags_ms: &'a BTreeMap<VertexId, i64>,
    ) -> Self {
        let (ports, sources, hooks) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { ports, places, readers, lags_ms, timed: BTreeSet::new(), sources, hooks }
    }

    /// A source reads its topics so.
    pub(crate) fn read(&mut self, source: VertexId, read: impl Fn() -> Box<dyn Read>) {
        for topic in self.readers.get(&source).into_iter().flatten() {
            self.sources.entry(Arc::clone(topic)).or_default().push(read());
        }
    }

    /// A vertex sends here, too.
    pub(crate) fn attach<K: Data, V: Data>(&mut self, from: VertexId, port: Port<K, V>) {
        self.ports.entry(from).or_default().push(Box::new(port));
    }

    /// The same for an operator that has one entrance and no hook.
    pub(crate) fn attach_operator<K: Data, V: Data>(
        &mut self,
        from: VertexId,
        operator: impl Receive<K, V> + 'static,
    ) {
        self.attach::<K, V>(from, Arc::new(Mutex::new(operator)));
    }

    /// Where a vertex sends: all that is behind it is put together already.
    pub(crate) fn outlet<K: Data, V: Data>(&mut self, of: VertexId) -> Result<Outlet<K, V>, StreamError> {
        let ports = self.ports.remove(&of).unwrap_or_default().into_iter().rev();
        let typed = ports.map(|port| port.downcast::<Port<K, V>>().map(|port| *port));
        let typed: Result<Vec<_>, _> = typed.collect();
        typed.map(Outlet).map_err(|_| StreamError::Broken(format!("types differ behind {of:?}")))
    }

    /// The stream time as a vertex sees it, which goes by it.
    pub(crate) fn seen_time(&mut self, vertex: VertexId) -> SeenTime {
        self.timed.insert(vertex);
        SeenTime::new(self.lag_ms(vertex))
    }

    /// How far behind stream time a vertex sees it.
    pub(crate) fn lag_ms(&self, vertex: VertexId) -> i64 {
        self.lags_ms.get(&vertex).copied().unwrap_or(0)
    }

    /// Whether a vertex behind this one may go by stream time: then nothing may be held back here while time passes.
    pub(crate) fn is_time_seen_behind(&self, vertex: VertexId) -> bool {
        self.timed.last().is_some_and(|last| *last > vertex)
    }

    /// Where a store lies in the task.
    pub(crate) fn place(&self, store: StoreId) -> Result<usize, StreamError> {
        let place = self.places.get(&store).copied();
        place.ok_or_else(|| StreamError::Broken(format!("{store:?} is of another sub-topology")))
    }
}
