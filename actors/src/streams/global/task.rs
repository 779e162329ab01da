//! What feeds a global table: takes records of all partitions of its topic, in the order of each. Pure but for its store.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::operator::RawRecord;
use super::super::scope::StreamError;
use super::store::{Changes, GlobalStore, entry_at};

/// Feeds one global table of a process. Before its tasks begin, what the topic has then is to be taken.
pub(crate) struct GlobalTask {
    topic: Arc<str>,
    store: Arc<GlobalStore>,
    next: BTreeMap<i32, i64>,
    skipped: u64,
}

impl GlobalTask {
    /// Goes on where the store is.
    pub(crate) fn new(topic: &Arc<str>, store: &Arc<GlobalStore>) -> Result<Self, StreamError> {
        let next = store.positions()?.into_iter().collect();
        Ok(Self { topic: Arc::clone(topic), store: Arc::clone(store), next, skipped: 0 })
    }

    pub(crate) const fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The offset of the next record of a partition that it wants.
    pub(crate) fn next_offset(&self, partition: i32) -> i64 {
        self.next.get(&partition).copied().unwrap_or(0)
    }

    /// Records without a key, which were left out, since it was made.
    pub(crate) const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes records of a partition, as one change of the store: a reader sees all of it or nothing. Those before
    /// [`Self::next_offset`] are left out.
    pub(crate) fn take(&mut self, partition: i32, records: &[RawRecord]) -> Result<(), StreamError> {
        let next = self.next_offset(partition);
        let new = records.iter().filter(|record| record.offset >= next);
        let Some(last) = new.clone().next_back() else { return Ok(()) };
        let mut changes = Changes::with_capacity(records.len().saturating_add(1));
        for record in new {
            match &record.key {
                Some(key) => changes.push((entry_at(key), record.value.clone())),
                None => self.skipped += 1,
            }
        }
        let end = last.offset.saturating_add(1);
        self.store.apply(changes, partition, end)?;
        self.next.insert(partition, end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::super::store::MemoryStore;
    use super::*;

    fn record(offset: i64, key: Option<&[u8]>, value: Option<&'static [u8]>) -> RawRecord {
        let (key, value) = (key.map(Bytes::copy_from_slice), value.map(Bytes::from_static));
        RawRecord { offset, timestamp_ms: 0, key, value, headers: Arc::from([]) }
    }

    #[test]
    fn a_global_table_goes_on_where_its_store_is() {
        let store = Arc::new(GlobalStore::new(Box::new(MemoryStore::default())));
        let mut task = GlobalTask::new(&Arc::from("t"), &store).unwrap();
        let long = [7; 200];
        let records = [
            record(3, Some(b"a"), Some(b"1")),
            record(4, None, Some(b"2")),
            record(5, Some(b""), Some(b"3")),
            record(6, Some(&long), Some(b"4")),
        ];
        task.take(2, &records).unwrap();
        assert_eq!((task.next_offset(2), task.next_offset(0), task.skipped()), (7, 0, 1));
        assert_eq!(store.get(b"").unwrap().unwrap(), "3");
        assert_eq!(store.get(&long).unwrap().unwrap(), "4");
        task.take(0, &[record(0, Some(b"a"), None)]).unwrap();
        assert_eq!(store.get(b"a").unwrap(), None);
        let mut again = GlobalTask::new(&Arc::from("t"), &store).unwrap();
        assert_eq!((again.next_offset(2), again.next_offset(0)), (7, 1));
        again.take(2, &records).unwrap();
        assert_eq!(store.get(b"a").unwrap(), None, "what was taken is not taken again");
    }
}
