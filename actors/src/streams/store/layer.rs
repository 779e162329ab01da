//! What was written to a store for one transaction: one entry a key, however often that was written.
//!
//! A key that is written again and again, as an aggregate's is, is looked up by its hash; only one that is new to the layer takes
//! its place in the order of the keys, by which the layer is gone through.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use bytes::Bytes;

/// What an entry costs beside its bytes, about.
pub(super) const ENTRY_BYTES: usize = 192;

/// What was written of a key.
#[derive(Debug)]
struct Written {
    value: Option<Bytes>,
    /// Nothing below has the key: deleted, it leaves no trace.
    is_new: bool,
}

/// The layer.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// Where what was written of a key lies. Never gone through: its order is nobody's.
    places: HashMap<Bytes, usize>,
    /// The same, in the order of the keys.
    order: BTreeMap<Bytes, usize>,
    written: Vec<Written>,
    /// Places of keys that have left no trace.
    free: Vec<usize>,
    bytes: usize,
}

impl Layer {
    /// Keys, values, and what it takes to keep them.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes a key, which nothing below has where it is `is_new`.
    pub(super) fn put(&mut self, key: &Bytes, value: Option<Bytes>, is_new: bool) {
        if let Some(place) = self.places.get(key).copied() {
            let Some(written) = self.written.get_mut(place) else { return };
            if value.is_none() && written.is_new {
                self.forget(key);
                return;
            }
            let added = value.as_ref().map_or(0, Bytes::len);
            let old = std::mem::replace(&mut written.value, value);
            self.bytes = self.bytes.saturating_sub(old.map_or(0, |old| old.len())).saturating_add(added);
        } else if value.is_some() || !is_new {
            self.bytes = self.bytes.saturating_add(bytes(key, value.as_ref()));
            self.insert(key, Written { value, is_new });
        }
    }

    fn insert(&mut self, key: &Bytes, written: Written) {
        let place = self.free.pop().unwrap_or(self.written.len());
        match self.written.get_mut(place) {
            Some(free) => *free = written,
            None => self.written.push(written),
        }
        self.places.insert(key.clone(), place);
        self.order.insert(key.clone(), place);
    }

    /// Nothing was written of this key.
    fn forget(&mut self, key: &Bytes) {
        self.order.remove(key);
        let Entry::Occupied(entry) = self.places.entry(key.clone()) else { return };
        let place = entry.remove();
        let old = self.written.get_mut(place).and_then(|written| written.value.take());
        self.bytes = self.bytes.saturating_sub(bytes(key, old.as_ref()));
        self.free.push(place);
    }

    /// What was written of a key, if anything: its value, or that it is deleted.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        let written = self.written.get(*self.places.get(key)?)?;
        Some(written.value.as_ref())
    }

    /// Forgets all keys below.
    pub(super) fn raise_floor(&mut self, floor: &Bytes) {
        while let Some((key, _)) = self.order.first_key_value().filter(|(key, _)| *key < floor) {
            let key = key.clone();
            self.forget(&key);
        }
    }

    /// What was written of the keys between these, in their order.
    pub(super) fn range(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        let entries = self.order.range::<[u8], _>(range);
        entries.filter_map(|(key, place)| Some((key, self.written.get(*place)?.value.as_ref())))
    }

    /// All that was written, in the order of the keys.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.range((Bound::Unbounded, Bound::Unbounded))
    }
}

fn bytes(key: &Bytes, value: Option<&Bytes>) -> usize {
    key.len().saturating_add(ENTRY_BYTES).saturating_add(value.map_or(0, Bytes::len))
}
