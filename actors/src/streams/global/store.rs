//! The store of a global table: one a process, read by all its tasks at once.
//!
//! ```text
//! key 0, partition: i32   the offset of the next record of it: i64
//! key 1, the table's      its value
//! ```
//! A read takes a lock that readers share; who feeds the table takes it alone, for one batch.

use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::super::query::message::StorePage;
use super::super::query::{Form, QueryRefusal, StoreQuery, View, read};
use super::super::scope::StreamError;
use super::super::store::{ByteStore, Checkpoint, StoreError};

const POSITION: u8 = 0;
const ENTRY: u8 = 1;

/// Keys up to this length are looked up without memory being asked for.
const SHORT: usize = 63;

/// The global tables of a process, in the order of the topology's.
pub(crate) type Globals = Arc<[Arc<GlobalStore>]>;

/// What holds the entries.
pub(crate) type Base = Box<dyn ByteStore + Sync>;

/// The store of a global table.
pub(crate) struct GlobalStore(RwLock<Base>);

/// What becomes of keys, by their bytes in the store.
pub(super) type Changes = Vec<(Bytes, Option<Bytes>)>;

impl GlobalStore {
    pub(crate) fn new(base: Base) -> Self {
        Self(RwLock::new(base))
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let mut short = [ENTRY; SHORT + 1];
        let length = key.len().saturating_add(1);
        if let Some(place) = short.get_mut(1..length) {
            place.copy_from_slice(key);
            return self.read(|base| base.get(short.get(..length).unwrap_or_default()));
        }
        let at = entry_at(key);
        self.read(|base| base.get(&at))
    }

    /// The partitions that something was read of, with the offset of the next record.
    pub(super) fn positions(&self) -> Result<Vec<(i32, i64)>, StreamError> {
        let end = [ENTRY];
        let found = self.read(|base| base.scan(Bound::Unbounded, Bound::Excluded(&end), usize::MAX))?;
        found.into_iter().map(|(key, value)| position(&key, &value).ok_or_else(malformed)).collect()
    }

    /// Takes changes, and up to where they bring a partition: all of it or nothing.
    pub(super) fn apply(&self, mut changes: Changes, partition: i32, next: i64) -> Result<(), StoreError> {
        changes.push((position_at(partition), Some(Bytes::copy_from_slice(&next.to_be_bytes()))));
        let mut changes = changes.iter().map(|(key, value)| (key, value.as_ref()));
        // A panic while it was written leaves what the store itself keeps whole.
        let mut base = self.0.write().unwrap_or_else(PoisonError::into_inner);
        base.apply(&mut changes, &[], Checkpoint(next))
    }

    /// What it answers to a question.
    pub(crate) fn ask(&self, query: &StoreQuery) -> Result<StorePage, QueryRefusal> {
        self.read(|base| read(View::Committed(base), Form::Keys, &[ENTRY], query))
    }

    fn read<T>(&self, read: impl FnOnce(&dyn ByteStore) -> T) -> T {
        read(self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref())
    }
}

/// Where a key of the table lies.
pub(super) fn entry_at(key: &[u8]) -> Bytes {
    [&[ENTRY], key].concat().into()
}

fn position_at(partition: i32) -> Bytes {
    [&[POSITION][..], &partition.to_be_bytes()].concat().into()
}

fn position(key: &[u8], value: &[u8]) -> Option<(i32, i64)> {
    let partition = i32::from_be_bytes(key.get(1..)?.try_into().ok()?);
    Some((partition, i64::from_be_bytes(value.try_into().ok()?)))
}

fn malformed() -> StreamError {
    StreamError::Broken("a position in a global table's store is of another form".to_owned())
}
