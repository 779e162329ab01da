//! A store in memory: gone with the process, and built again from its changelog.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::{ByteStore, Checkpoint, Entry, StoreError};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    entries: BTreeMap<Bytes, Bytes>,
    checkpoint: Option<Checkpoint>,
    floor: Bytes,
    /// Of keys and values.
    bytes: usize,
}

impl ByteStore for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.entries.get(key).cloned())
    }

    fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, max: usize) -> Result<Vec<Entry>, StoreError> {
        if is_empty(from, to) {
            return Ok(Vec::new());
        }
        let found = self.entries.range::<[u8], _>((from, to)).take(max);
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn apply(
        &mut self,
        changes: &mut dyn Iterator<Item = (&Bytes, Option<&Bytes>)>,
        floor: &[u8],
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        if floor > self.floor.as_ref() {
            let kept = self.entries.split_off(floor);
            let gone = std::mem::replace(&mut self.entries, kept);
            let gone = gone.iter().map(|(key, value)| key.len().saturating_add(value.len())).sum();
            self.bytes = self.bytes.saturating_sub(gone);
            self.floor = Bytes::copy_from_slice(floor);
        }
        for (key, value) in changes.filter(|(key, _)| **key >= self.floor) {
            let old = match value {
                Some(value) => self.entries.insert(key.clone(), value.clone()),
                None => self.entries.remove(key),
            };
            let less = old.map_or(0, |old| key.len().saturating_add(old.len()));
            let more = value.map_or(0, |value| key.len().saturating_add(value.len()));
            self.bytes = self.bytes.saturating_add(more).saturating_sub(less);
        }
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint
    }

    fn bytes(&self) -> u64 {
        u64::try_from(self.bytes).unwrap_or(u64::MAX)
    }

    fn floor(&self) -> Bytes {
        self.floor.clone()
    }
}

/// Whether no key can be between these: such a range is an error to a map.
pub(super) fn is_empty(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to) | Bound::Included(to)) => {
            from >= to
        }
        _ => false,
    }
}
