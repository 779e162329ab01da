//! The low-level operator: the user's own, with state stores, and called as time goes on.

mod access;
mod run;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::builder::StreamBuilder;
use super::event::{Data, Event};
use super::graph::{StoreId, Vertex, VertexId};
use super::operator::{Assembly, entered};
use super::scope::StreamError;
use super::store::{KeyValue, Stored};
use super::stream::Stream;
use super::window::whole_ms;
pub use access::{Access, Context, ValueContext};
use run::{Run, Values};

/// An operator of the user's own. One is made for each task, whose records it gets in their order, one at a time.
///
/// What it keeps in itself is gone when the task moves or begins again at its last commit; what must not be is to be in a
/// state store.
pub trait Processor<K, V>: Send {
    /// The key of what it forwards.
    type Key: Data;
    /// The value of what it forwards.
    type Value: Data;

    /// Takes a record. After an error or a panic nothing of the record counts, and the application's policy has it.
    fn process(
        &mut self,
        event: Event<K, V>,
        context: &mut Context<'_, Self::Key, Self::Value>,
    ) -> Result<(), StreamError>;

    /// Time has gone on: see [`Processing::every_event_time`] and [`Processing::every_clock_time`].
    fn punctuate(
        &mut self,
        at: Punctuation,
        context: &mut Context<'_, Self::Key, Self::Value>,
    ) -> Result<(), StreamError> {
        let _ = (at, context);
        Ok(())
    }
}

/// An operator of the user's own that leaves keys as they are, so that what it makes lies in the same partitions.
pub trait ValueProcessor<K, V>: Send {
    /// The value of what it forwards.
    type Value: Data;

    /// Takes a record. See [`Processor::process`].
    fn process(
        &mut self,
        value: V,
        context: &mut ValueContext<'_, K, Self::Value>,
    ) -> Result<(), StreamError>;

    /// Time has gone on. There is no key then that something could be forwarded under; stores can be read and written.
    fn punctuate(&mut self, at: Punctuation, access: &mut Access<'_>) -> Result<(), StreamError> {
        let _ = (at, access);
        Ok(())
    }
}

/// By which time an operator is called, and when: in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Punctuation {
    /// The task's stream time has come to this multiple of the interval.
    EventTime(i64),
    /// The clock shows this.
    Clock(i64),
}

/// A state store that processors may be given. A handle.
pub struct StateStore<K, V> {
    id: StoreId,
    stored: Arc<Stored<K, V>>,
}

impl<K, V> Clone for StateStore<K, V> {
    fn clone(&self) -> Self {
        Self { id: self.id, stored: Arc::clone(&self.stored) }
    }
}

impl<K, V> fmt::Debug for StateStore<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StateStore").field("name", &self.stored.name).finish_non_exhaustive()
    }
}

impl StreamBuilder {
    /// A state store for processors: of one value a key, one such store a task. Processors that share it are in the same
    /// tasks.
    pub fn state_store<K: Data, V: Data>(&self, stored: impl Into<Stored<K, V>>) -> StateStore<K, V> {
        let stored = Arc::new(stored.into());
        let id = entered(&self.graph).add_stored(&stored, None);
        StateStore { id, stored }
    }
}

/// How a processor is called, what it is given, and when it is called.
#[derive(Clone, Debug)]
pub struct Processing {
    name: String,
    stores: Vec<StoreId>,
    event_time: Option<Duration>,
    clock: Option<Duration>,
}

impl Processing {
    /// Of this name, unique in its topology.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), stores: Vec::new(), event_time: None, clock: None }
    }

    /// It may open this store.
    #[must_use]
    pub fn with<K, V>(mut self, store: &StateStore<K, V>) -> Self {
        self.stores.push(store.id);
        self
    }

    /// It is called when stream time comes to a multiple of this interval, once for all that it has passed at a time, and not
    /// before it is first known. Of whole milliseconds, at least one.
    #[must_use]
    pub const fn every_event_time(mut self, interval: Duration) -> Self {
        self.event_time = Some(interval);
        self
    }

    /// It is called when this interval has gone by on the clock, counted from when the task began or it was last called. Of whole
    /// milliseconds, at least one.
    #[must_use]
    pub const fn every_clock_time(mut self, interval: Duration) -> Self {
        self.clock = Some(interval);
        self
    }
}

impl From<&str> for Processing {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

/// Opens the stores of a processor that is made for a task.
pub struct Stores<'a, 'b> {
    processing: &'a Processing,
    assembly: &'a Assembly<'b>,
}

impl Stores<'_, '_> {
    /// The task's store. An error where the processor was not given it.
    pub fn open<K, V>(&self, store: &StateStore<K, V>) -> Result<KeyValue<K, V>, StreamError> {
        let (name, of) = (&self.processing.name, &store.stored.name);
        if !self.processing.stores.contains(&store.id) {
            let why =
                format!("the processor {name:?} opens the store {of:?}, which it was not given by with()");
            return Err(StreamError::Failed(why));
        }
        let place = self.assembly.place(store.id)?;
        Ok(KeyValue::new(place, Arc::clone(&store.stored.key), Arc::clone(&store.stored.value)))
    }
}

impl fmt::Debug for Stores<'_, '_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stores").field("of", &self.processing.name).finish_non_exhaustive()
    }
}

impl<K: Data, V: Data> Stream<K, V> {
    /// What an operator of the user's own forwards. `make` makes one for each task.
    /// ```
    /// use millstream_actors::streams::store::KeyValue;
    /// use millstream_actors::streams::{
    ///     Context, Event, Processing, Processor, StreamBuilder, StreamError, TopologyDriver,
    /// };
    ///
    /// /// Lets the first record of each key pass.
    /// struct First {
    ///     seen: KeyValue<String, i64>,
    /// }
    ///
    /// impl Processor<String, i64> for First {
    ///     type Key = String;
    ///     type Value = i64;
    ///
    ///     fn process(
    ///         &mut self,
    ///         event: Event<String, i64>,
    ///         context: &mut Context<'_, String, i64>,
    ///     ) -> Result<(), StreamError> {
    ///         if context.get(&self.seen, &event.key)?.is_some() {
    ///             return Ok(());
    ///         }
    ///         context.put(&self.seen, &event.key, &event.timestamp_ms)?;
    ///         context.forward(event)
    ///     }
    /// }
    ///
    /// let builder = StreamBuilder::new("app");
    /// let seen = builder.state_store("seen");
    /// builder
    ///     .stream::<String, i64>("in")
    ///     .process(Processing::named("first").with(&seen), move |stores| {
    ///         Ok(First { seen: stores.open(&seen)? })
    ///     })
    ///     .to("out");
    /// let mut driver = TopologyDriver::new(&builder.build().unwrap(), 2).unwrap();
    /// for value in [1_i64, 2] {
    ///     driver.send("in", &"k".to_owned(), &value, 0).unwrap();
    /// }
    /// assert_eq!(driver.read::<String, i64>("out").unwrap().len(), 1);
    /// ```
    pub fn process<P: Processor<K, V> + 'static>(
        &self,
        processing: impl Into<Processing>,
        make: impl Fn(&Stores<'_, '_>) -> Result<P, StreamError> + Send + Sync + 'static,
    ) -> Stream<P::Key, P::Value> {
        let vertex = self.add_processor(processing.into(), make);
        Stream::new(Arc::clone(&self.graph), vertex, true)
    }

    /// The same with an operator that leaves keys as they are.
    pub fn process_values<P: ValueProcessor<K, V> + 'static>(
        &self,
        processing: impl Into<Processing>,
        make: impl Fn(&Stores<'_, '_>) -> Result<P, StreamError> + Send + Sync + 'static,
    ) -> Stream<K, P::Value> {
        let vertex = self.add_processor(processing.into(), move |stores| make(stores).map(Values));
        Stream::new(Arc::clone(&self.graph), vertex, self.is_scattered)
    }

    fn add_processor<P: Processor<K, V> + 'static>(
        &self,
        processing: Processing,
        make: impl Fn(&Stores<'_, '_>) -> Result<P, StreamError> + Send + Sync + 'static,
    ) -> VertexId {
        let mut graph = entered(&self.graph);
        let name = graph.name(Some(&processing.name), "processor");
        let mut interval = |of: Duration| whole_ms(&mut graph, "interval of a processor", of, 1);
        let intervals = (processing.event_time.map(&mut interval), processing.clock.map(interval));
        let (from, stores) = (self.vertex, processing.stores.clone());
        let build = move |id: VertexId, assembly: &mut Assembly<'_>| {
            let outlet = assembly.outlet(id)?;
            let processor = make(&Stores { processing: &processing, assembly })?;
            Run::new(processor, outlet, assembly.seen_time(id), intervals).attach(from, assembly);
            Ok(())
        };
        graph.add(Vertex::operator(name, vec![from], stores, build))
    }
}
