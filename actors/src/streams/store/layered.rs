//! What a task has written and is not committed, above what is.
//!
//! Two layers: what goes into the transaction that is being written, and what is in the one whose commit is under way. A
//! read sees the newest. A layer has one entry a key, however often that was written, and so has the changelog.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use bytes::Bytes;

use super::memory::is_empty;
use super::{ByteStore, Checkpoint, StoreError};

/// What an entry costs beside its bytes.
const ENTRY_BYTES: usize = 64;

/// What was written of a key.
#[derive(Debug)]
struct Written {
    value: Option<Bytes>,
    /// Nothing below has the key: deleted, it leaves no trace.
    is_new: bool,
}

#[derive(Debug, Default)]
struct Layer {
    changes: BTreeMap<Bytes, Written>,
    bytes: usize,
}

impl Layer {
    fn put(&mut self, key: Bytes, value: Option<Bytes>, is_new: bool) {
        match self.changes.entry(key) {
            Entry::Occupied(entry) if value.is_none() && entry.get().is_new => {
                let (key, old) = entry.remove_entry();
                self.bytes = self.bytes.saturating_sub(bytes(&key, old.value.as_ref()));
            }
            Entry::Occupied(mut entry) => {
                let added = value.as_ref().map_or(0, Bytes::len);
                let old = std::mem::replace(&mut entry.get_mut().value, value);
                let less = old.map_or(0, |old| old.len());
                self.bytes = self.bytes.saturating_sub(less).saturating_add(added);
            }
            Entry::Vacant(_) if value.is_none() && is_new => {}
            Entry::Vacant(entry) => {
                self.bytes = self.bytes.saturating_add(bytes(entry.key(), value.as_ref()));
                entry.insert(Written { value, is_new });
            }
        }
    }
}

fn bytes(key: &Bytes, value: Option<&Bytes>) -> usize {
    key.len().saturating_add(ENTRY_BYTES).saturating_add(value.map_or(0, Bytes::len))
}

/// A store with the layers above it.
pub(crate) struct Layered {
    base: Box<dyn ByteStore>,
    sealed: Option<(Layer, Bytes)>,
    open: Layer,
    /// Keys below are gone.
    floor: Bytes,
}

impl Layered {
    pub(crate) fn new(base: Box<dyn ByteStore>) -> Self {
        let floor = base.floor();
        Self { base, sealed: None, open: Layer::default(), floor }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if key < self.floor.as_ref() {
            return Ok(None);
        }
        let layers = std::iter::once(&self.open).chain(self.sealed.as_ref().map(|(layer, _)| layer));
        for layer in layers {
            if let Some(written) = layer.changes.get(key) {
                return Ok(written.value.clone());
            }
        }
        self.base.get(key)
    }

    pub(crate) fn put(&mut self, key: Bytes, value: Option<Bytes>) {
        if key >= self.floor {
            self.open.put(key, value, false);
        }
    }

    /// Writes a key that is not there, as the caller knows: deleted before the next commit, it goes neither to the store nor
    /// to its changelog.
    pub(crate) fn put_new(&mut self, key: Bytes, value: Bytes) {
        if key >= self.floor {
            self.open.put(key, Some(value), true);
        }
    }

    /// Forgets all keys below.
    pub(crate) fn raise_floor(&mut self, floor: Bytes) {
        if floor > self.floor {
            let kept = self.open.changes.split_off(&floor);
            let gone = std::mem::replace(&mut self.open.changes, kept);
            let gone = gone.iter().map(|(key, written)| bytes(key, written.value.as_ref())).sum();
            self.open.bytes = self.open.bytes.saturating_sub(gone);
            self.floor = floor;
        }
    }

    /// The first entries between two keys, in order, at most `max`.
    pub(crate) fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        max: usize,
    ) -> Result<Vec<super::Entry>, StoreError> {
        let is_below = match from {
            Bound::Included(from) | Bound::Excluded(from) => from < self.floor.as_ref(),
            Bound::Unbounded => true,
        };
        let first = if is_below { Bound::Included(self.floor.as_ref()) } else { from };
        let mut found = Vec::new();
        let mut behind: Option<Bytes> = None;
        while found.len() < max {
            let from = behind.as_deref().map_or(first, Bound::Excluded);
            if is_empty(from, to) {
                break;
            }
            let room = max - found.len();
            let base = self.base.scan(from, to, room)?;
            // Where the base has more, its last key bounds what may be said of the layers.
            let last = base.last().filter(|_| base.len() == room).map(|(last, _)| last.clone());
            let until = last.as_deref().map_or(to, Bound::Included);
            self.merge(base, (from, until), max, &mut found);
            if last.is_none() {
                break;
            }
            behind = last;
        }
        Ok(found)
    }

    /// Puts what the base has and what was written above it together.
    fn merge(
        &self,
        base: Vec<super::Entry>,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        max: usize,
        found: &mut Vec<super::Entry>,
    ) {
        let sealed = self.sealed.iter().flat_map(|(layer, _)| layer.changes.range::<[u8], _>(range));
        let (mut sealed, mut open) =
            (sealed.peekable(), self.open.changes.range::<[u8], _>(range).peekable());
        if open.peek().is_none() && sealed.peek().is_none() {
            if found.is_empty() {
                *found = base;
            } else {
                found.extend(base);
            }
            return;
        }
        let mut base = base.into_iter().peekable();
        while found.len() < max {
            let of_layers = [open.peek(), sealed.peek()].into_iter().flatten().map(|(key, _)| *key);
            let Some(key) = of_layers.chain(base.peek().map(|(key, _)| key)).min().cloned() else { break };
            let newest = open.next_if(|(other, _)| **other == key).map(|(_, written)| written.value.clone());
            let newer = sealed.next_if(|(other, _)| **other == key).map(|(_, written)| written.value.clone());
            let oldest = base.next_if(|(other, _)| *other == key).map(|(_, value)| Some(value));
            if let Some(value) = newest.or(newer).or(oldest).flatten() {
                found.push((key, value));
            }
        }
    }

    /// Up to where its changelog is in what is committed.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        self.base.checkpoint()
    }

    /// What is committed takes so many bytes.
    pub(crate) fn committed_bytes(&self) -> u64 {
        self.base.size().bytes
    }

    /// Bytes that are not committed.
    pub(crate) fn uncommitted_bytes(&self) -> usize {
        let sealed = self.sealed.as_ref().map_or(0, |(layer, _)| layer.bytes);
        self.open.bytes.saturating_add(sealed)
    }

    /// What was written since the last seal belongs to the transaction that is committed now. None may be under way.
    pub(crate) fn seal(&mut self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        let layer = std::mem::take(&mut self.open);
        let (sealed, _) = self.sealed.insert((layer, self.floor.clone()));
        sealed.changes.iter().map(|(key, written)| (key, written.value.as_ref()))
    }

    /// The transaction was committed, and its changes end at this place of the changelog.
    pub(crate) fn committed(&mut self, checkpoint: Checkpoint) -> Result<(), StoreError> {
        let Some((layer, floor)) = self.sealed.take() else { return Ok(()) };
        let mut changes = layer.changes.iter().map(|(key, written)| (key, written.value.as_ref()));
        self.base.apply(&mut changes, &floor, checkpoint)
    }

    /// What is committed.
    pub(crate) fn base(&self) -> &dyn ByteStore {
        self.base.as_ref()
    }

    /// What is committed, alone.
    pub(crate) fn into_base(self) -> Box<dyn ByteStore> {
        self.base
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::MemoryStore;
    use super::*;

    fn key(number: u8) -> Bytes {
        Bytes::copy_from_slice(&[number])
    }

    fn store() -> Layered {
        Layered::new(Box::new(MemoryStore::default()))
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, Option<u8>),
        PutNew(u8, u8),
        Seal,
        Commit,
        Floor(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..20_u8, any::<Option<u8>>()).prop_map(|(key, value)| Step::Put(key, value)),
            3 => (0..20_u8, any::<u8>()).prop_map(|(key, value)| Step::PutNew(key, value)),
            1 => Just(Step::Seal),
            1 => Just(Step::Commit),
            1 => (0..10_u8).prop_map(Step::Floor),
        ]
    }

    proptest! {
        #[test]
        fn a_layered_store_reads_as_a_map_does(
            steps in prop::collection::vec(step(), 0..80),
            from in 0..20_u8,
            to in 0..20_u8,
            max in 1..6_usize,
        ) {
            let mut layered = store();
            let mut map = BTreeMap::new();
            let (mut floor, mut is_sealed) = (0, false);
            for step in steps {
                match step {
                    Step::Put(number, value) => {
                        layered.put(key(number), value.map(key));
                        if let Some(value) = value.filter(|_| number >= floor) {
                            map.insert(key(number), key(value));
                        } else {
                            map.remove(&key(number));
                        }
                    }
                    Step::PutNew(number, value) => {
                        if number >= floor && !map.contains_key(&key(number)) {
                            layered.put_new(key(number), key(value));
                            map.insert(key(number), key(value));
                        }
                    }
                    Step::Seal if !is_sealed => {
                        drop(layered.seal());
                        is_sealed = true;
                    }
                    Step::Commit => {
                        layered.committed(Checkpoint(0)).unwrap();
                        is_sealed = false;
                    }
                    Step::Floor(number) if number > floor => {
                        floor = number;
                        layered.raise_floor(key(number));
                        map = map.split_off(&key(number));
                    }
                    Step::Seal | Step::Floor(_) => {}
                }
                for number in 0..20 {
                    prop_assert_eq!(layered.get(&key(number)).unwrap(), map.get(&key(number)).cloned());
                }
                let (from, to) = (key(from), key(to));
                let range = (Bound::Included(from.as_ref()), Bound::Excluded(to.as_ref()));
                let scanned = layered.scan(range.0, range.1, max).unwrap();
                let expected: Vec<_> = map
                    .iter()
                    .filter(|(key, _)| **key >= from && **key < to)
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .take(max)
                    .collect();
                prop_assert_eq!(scanned, expected);
            }
        }
    }

    #[test]
    fn what_was_not_committed_is_dropped() {
        let mut layered = store();
        layered.put(key(1), Some(key(1)));
        assert_eq!(layered.seal().count(), 1);
        layered.committed(Checkpoint(7)).unwrap();
        layered.put(key(1), Some(key(2)));
        drop(layered.seal());
        layered.put(key(1), Some(key(3)));
        let base = layered.into_base();
        assert_eq!(base.get(&key(1)).unwrap(), Some(key(1)));
        assert_eq!(base.checkpoint(), Some(Checkpoint(7)));
    }

    #[test]
    fn a_key_that_is_new_and_gone_before_a_commit_leaves_no_trace_but_one_that_was_there_is_deleted() {
        let mut layered = store();
        layered.put_new(key(1), key(1));
        layered.put(key(1), Some(key(2)));
        layered.put(key(1), None);
        assert_eq!((layered.uncommitted_bytes(), layered.seal().count()), (0, 0));
        layered.committed(Checkpoint(0)).unwrap();
        layered.put_new(key(1), key(1));
        assert_eq!(layered.seal().count(), 1);
        layered.put(key(1), None);
        layered.put_new(key(1), key(2));
        layered.put(key(1), None);
        layered.committed(Checkpoint(1)).unwrap();
        assert_eq!(layered.seal().collect::<Vec<_>>(), [(&key(1), None)]);
    }

    #[test]
    fn a_key_that_is_written_often_is_one_change() {
        let mut layered = store();
        for number in 0..100 {
            layered.put(key(1), Some(key(number)));
        }
        assert_eq!(layered.uncommitted_bytes(), 66);
        assert_eq!(layered.seal().count(), 1);
    }
}
