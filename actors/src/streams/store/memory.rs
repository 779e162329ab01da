//! A store in memory: gone with the process, and built again from its changelog.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::{ByteStore, Checkpoint, Entry, StoreError, StoreSize};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    entries: BTreeMap<Bytes, Bytes>,
    /// Of keys and values.
    bytes: u64,
    checkpoint: Option<Checkpoint>,
    floor: Bytes,
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
            let gone: u64 = gone.iter().map(|(key, value)| bytes(key, value)).sum();
            self.bytes = self.bytes.saturating_sub(gone);
            self.floor = Bytes::copy_from_slice(floor);
        }
        for (key, value) in changes.filter(|(key, _)| **key >= self.floor) {
            let added = value.map_or(0, |value| bytes(key, value));
            let old = match value {
                Some(value) => self.entries.insert(key.clone(), value.clone()),
                None => self.entries.remove(key),
            };
            let less = old.map_or(0, |old| bytes(key, &old));
            self.bytes = self.bytes.saturating_add(added).saturating_sub(less);
        }
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint
    }

    fn size(&self) -> StoreSize {
        StoreSize { entries: u64::try_from(self.entries.len()).unwrap_or(u64::MAX), bytes: self.bytes }
    }

    fn floor(&self) -> Bytes {
        self.floor.clone()
    }
}

fn bytes(key: &Bytes, value: &Bytes) -> u64 {
    u64::try_from(key.len().saturating_add(value.len())).unwrap_or(u64::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_knows_how_much_is_in_it_whatever_is_written_anew_deleted_or_expires() {
        let mut store = MemoryStore::default();
        let bytes = Bytes::from_static;
        let mut apply = |changes: &[(&'static [u8], Option<&'static [u8]>)], floor: &[u8]| {
            let changes: Vec<_> = changes.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect();
            let mut changes = changes.iter().map(|(key, value)| (key, value.as_ref()));
            store.apply(&mut changes, floor, Checkpoint(0)).unwrap();
            (store.size().entries, store.size().bytes)
        };
        assert_eq!(apply(&[(b"a", Some(b"123")), (b"b", Some(b"1")), (b"c", Some(b""))], b""), (3, 7));
        assert_eq!(apply(&[(b"a", Some(b"1")), (b"b", None), (b"x", None)], b""), (2, 3));
        assert_eq!(apply(&[(b"d", Some(b"12"))], b"b"), (2, 4));
    }
}
