//! What a test sees of its topology.

use std::sync::Arc;

use super::super::codec::{Coded, SharedCodec};
use super::super::control::Control;
use super::super::event::{Data, Event};
use super::super::global::GlobalTask;
use super::super::graph::StoreSpec;
#[cfg(test)]
use super::super::operator::RawRecord;
use super::super::scope::{Counts, StreamError};
use super::super::store::KeyValue;
use super::super::task::Task;
use super::{DriverError, TopologyDriver};
use crate::record::Header;

/// Entries that are read from a store at once.
const SCAN: usize = 1_000;

/// A store of a task.
type View<'a, K, V> = (&'a Task, KeyValue<K, V>);

impl TopologyDriver {
    /// What was written to a topic and committed since this was last asked, partition by partition.
    pub fn read<K: Coded, V: Coded>(&mut self, topic: &str) -> Result<Vec<Event<K, V>>, DriverError> {
        self.read_with(topic, &K::codec(), &V::codec())
    }

    /// The same in forms that are not those of the types.
    pub fn read_with<K: Data, V: Data>(
        &mut self,
        topic: &str,
        key: &SharedCodec<K>,
        value: &SharedCodec<V>,
    ) -> Result<Vec<Event<K, V>>, DriverError> {
        let topic: Arc<str> = Arc::from(topic);
        let mut events = Vec::new();
        for (partition, log) in self.logs.get(&topic).into_iter().flatten().enumerate() {
            let shown = self.shown.entry((Arc::clone(&topic), partition)).or_insert(0);
            for record in log.get(*shown..).unwrap_or_default() {
                if Control::read(record)?.is_none() {
                    let key = key.decode(record.key.as_ref()).map_err(StreamError::from)?;
                    let value = value.decode(record.value.as_ref()).map_err(StreamError::from)?;
                    events.push(Event { key, value, timestamp_ms: record.timestamp_ms });
                }
            }
            *shown = log.len();
        }
        Ok(events)
    }

    /// The headers of all records that were written to a topic and committed, partition by partition.
    #[must_use]
    pub fn headers(&self, topic: &str) -> Vec<Vec<Header>> {
        let entries = self.logs.get(topic).into_iter().flatten().flatten();
        let of_records = entries.filter(|entry| matches!(Control::read(entry), Ok(None)));
        of_records.map(|record| record.headers.to_vec()).collect()
    }

    /// All that is committed of a topic, as it lies there.
    #[cfg(test)]
    pub(in super::super) fn read_records(&self, topic: &str) -> Vec<RawRecord> {
        let entries = self.logs.get(topic).into_iter().flatten().flatten();
        entries.filter(|entry| matches!(Control::read(entry), Ok(None))).cloned().collect()
    }

    /// What a store of one value a key has of a key, what is not committed included.
    pub fn get<K: Coded, V: Coded>(&self, store: &str, key: &K) -> Result<Option<V>, DriverError> {
        let mut globals = self.topology.graph.globals.iter().zip(self.globals.iter());
        if let Some((_, global)) = globals.find(|(spec, _)| spec.name.as_ref() == store) {
            let Some(key) = K::codec().encode(key).map_err(StreamError::from)? else { return Ok(None) };
            let found = global.get(&key).map_err(StreamError::from)?;
            let value = found.map(|value| V::codec().decode(Some(&value))).transpose();
            return Ok(value.map_err(StreamError::from)?);
        }
        for (task, view) in self.views::<K, V>(store)? {
            if let Some(value) = view.get(task.scope(), key)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// All that a store of one value a key has, in the order of the bytes of the keys in each task.
    pub fn all<K: Coded, V: Coded>(&self, store: &str) -> Result<Vec<(K, V)>, DriverError> {
        let mut all = Vec::new();
        for (task, view) in self.views::<K, V>(store)? {
            let mut behind = None;
            loop {
                let found = view.scan(task.scope(), behind.as_ref(), SCAN)?;
                let Some((last, ..)) = found.last() else { break };
                behind = Some(last.clone());
                all.extend(found.into_iter().map(|(_, key, value)| (key, value)));
            }
        }
        Ok(all)
    }

    fn views<K: Coded, V: Coded>(&self, store: &str) -> Result<Vec<View<'_, K, V>>, DriverError> {
        let is_it = |spec: &StoreSpec| spec.name.as_ref() == store;
        let number = self.topology.graph.stores.iter().position(is_it);
        let number = number.ok_or_else(|| DriverError::Unknown(format!("store {store:?}")))?;
        let mut views = Vec::new();
        for (id, running) in &self.tasks {
            let part = self.topology.parts.get(id.part);
            if let Some(place) = part.and_then(|part| part.stores.iter().position(|it| it.0 == number)) {
                views.push((&running.task, KeyValue::new(place, K::codec(), V::codec())));
            }
        }
        Ok(views)
    }

    /// The stream time of each task, in milliseconds since 1970: `i64::MIN` before any record, `i64::MAX` once the input has
    /// ended.
    #[must_use]
    pub fn times_ms(&self) -> Vec<i64> {
        self.tasks.values().map(|running| running.task.time_ms()).collect()
    }

    /// What all tasks have counted, but for what was aborted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let skipped = self.global_tasks.iter().map(GlobalTask::skipped).sum();
        let of_globals = Counts { skipped, ..Counts::default() };
        let each = self.tasks.values();
        each.fold(of_globals, |sum, running| sum.plus(running.counted).plus(running.task.counts()))
    }
}
