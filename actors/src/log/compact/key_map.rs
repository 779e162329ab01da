//! A map of key → offset in a fixed amount of memory: of each key only a hash of 128 bits is kept.
//!
//! The hash is seeded anew for every cleaning, so that nobody can make two keys that have the same; by chance two of
//! 2⁶⁴ keys do.

use std::hash::{DefaultHasher, Hasher};

use crate::ids::Offset;

/// A key's two hashes, and its offset and one; all zero where there is none.
type Slot = [u64; 3];

const SLOT_BYTES: usize = size_of::<Slot>();

/// The newest offset of each key.
pub(super) struct KeyMap {
    seeds: [u64; 2],
    slots: Vec<Slot>,
    used: usize,
}

/// A key more than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MapFull;

impl KeyMap {
    /// Of so many bytes; not more than such a map of `keys` needs.
    pub(super) fn new(bytes: usize, keys: usize, seeds: [u64; 2]) -> Self {
        let slots = (bytes / SLOT_BYTES).min(keys.saturating_add(keys / 4 + 2)).max(2);
        // The system gives memory only for the slots that come to be used.
        Self { seeds, slots: vec![[0; 3]; slots], used: 0 }
    }

    /// The key was seen at this offset, which is greater than any before.
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> Result<(), MapFull> {
        let hash = self.hash(key);
        // Kept a tenth empty: looking for what is not there must end soon.
        let has_room = self.used < self.slots.len() - (self.slots.len() / 10).max(1);
        let Some(slot) = self.find(hash).and_then(|at| self.slots.get_mut(at)) else { return Err(MapFull) };
        if *slot == [0; 3] {
            if !has_room {
                return Err(MapFull);
            }
            self.used += 1;
        }
        *slot = [hash[0], hash[1], u64::try_from(offset.0).unwrap_or(0).saturating_add(1)];
        Ok(())
    }

    /// The greatest offset at which the key was seen.
    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        let [_, _, offset] = self.slots.get(self.find(self.hash(key))?)?;
        i64::try_from(offset.checked_sub(1)?).ok().map(Offset)
    }

    /// The slot of a key, or the one it would get.
    fn find(&self, hash: [u64; 2]) -> Option<usize> {
        let all = u64::try_from(self.slots.len()).ok()?;
        let first = usize::try_from(hash[0].checked_rem(all)?).ok()?;
        let is_its = |at: &usize| {
            let slot = self.slots.get(*at).copied().unwrap_or_default();
            slot[2] == 0 || [slot[0], slot[1]] == hash
        };
        (first..self.slots.len()).chain(0..first).find(is_its)
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        self.seeds.map(|seed| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(seed);
            hasher.write(key);
            hasher.finish()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_map_takes_what_it_knows_and_nothing_new() {
        let mut map = KeyMap::new(10 * SLOT_BYTES, 1000, [1, 2]);
        let fits = (0..1000_i64).take_while(|key| map.put(&key.to_be_bytes(), Offset(*key)).is_ok()).count();
        assert_eq!(fits, 9);
        assert_eq!(map.put(&3_i64.to_be_bytes(), Offset(2000)), Ok(()));
        assert_eq!(map.get(&3_i64.to_be_bytes()), Some(Offset(2000)));
        assert_eq!(map.get(&9_i64.to_be_bytes()), None);
        assert_eq!(KeyMap::new(0, 0, [1, 2]).put(b"k", Offset(0)), Ok(()), "there is always room for one");
    }

    #[test]
    fn no_more_memory_is_asked_for_than_the_keys_need() {
        assert!(KeyMap::new(1 << 30, 100, [1, 2]).slots.len() < 200);
        assert_eq!(KeyMap::new(2400, 1 << 40, [1, 2]).slots.len(), 100);
    }

    proptest! {
        #[test]
        fn it_is_a_map(puts: Vec<(u8, u8)>, seeds: [u64; 2]) {
            let mut map = KeyMap::new(1 << 20, puts.len(), seeds);
            let mut model = BTreeMap::new();
            for (offset, key) in (0..).map(Offset).zip(&puts) {
                map.put(&[key.0 % 16, key.1 % 2], offset).unwrap();
                model.insert([key.0 % 16, key.1 % 2], offset);
            }
            for first in 0..16 {
                for second in 0..2 {
                    prop_assert_eq!(map.get(&[first, second]), model.get(&[first, second]).copied());
                }
            }
        }
    }
}
