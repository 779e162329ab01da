//! How keys lie in stores by time, so that what has expired is what lies below one key: [`Layered::raise_floor`] forgets it
//! whole.
//!
//! Two forms. *Time first*, where a window is known before it is looked up: `time ++ key`, exact and in the order in which
//! windows close. *Segments*, where of one key all that lies near a time is looked for: time is cut into segments, and in each
//! the entries of a key are together, in the order of their times: `segment ++ 1 ++ key ++ time ++ tail`. Where a segment
//! must be gone through by time, too, it has an index: `segment ++ 0 ++ time ++ tail`.
//!
//! [`Layered::raise_floor`]: super::layered::Layered::raise_floor

use std::collections::BTreeSet;
use std::ops::Bound;

use bytes::Bytes;

use super::super::scope::{Scope, StreamError};
use super::Entry;

/// How many segments what is kept falls into, about: expiry is by whole segments, and a look-up goes through all that its
/// time overlaps.
const SEGMENTS: i64 = 2;

/// The least length of a segment. More than 1, so that no segment has the number `i64::MAX`, below which marks lie.
const SEGMENT_MIN_MS: i64 = 1_000;

/// In front of keys that never expire: above every time that a window or a segment may begin at.
pub(crate) const MARKS: [u8; 8] = [0xff; 8];

const BY_TIME: u8 = 0;
const BY_KEY: u8 = 1;

/// A key's bytes end so: no key's bytes are the beginning of another's, and their order stays.
const KEY_END: [u8; 2] = [0, 1];

/// Milliseconds as bytes, in the order of time: those before 1970 are below the others.
pub(crate) const fn ordered(ms: i64) -> [u8; 8] {
    (ms.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// The milliseconds that [`ordered`] wrote at the front of these bytes.
pub(crate) fn time_of(bytes: &[u8]) -> Result<i64, StreamError> {
    let front = bytes.first_chunk::<8>().ok_or_else(malformed)?;
    Ok((u64::from_be_bytes(*front) ^ (1 << 63)).cast_signed())
}

/// `time ++ rest`.
pub(crate) fn time_first(ms: i64, rest: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(rest.len().saturating_add(8));
    key.extend_from_slice(&ordered(ms));
    key.extend_from_slice(rest);
    key.into()
}

pub(crate) fn malformed() -> StreamError {
    StreamError::Broken("a key of a store by time is too short".to_owned())
}

/// Bytes whose order is that of the keys, and none of which is the beginning of another's.
fn push_escaped(bytes: &mut Vec<u8>, key: &[u8]) {
    let mut rest = key;
    while let Some(zero) = rest.iter().position(|byte| *byte == 0) {
        let (before, behind) = rest.split_at(zero);
        bytes.extend_from_slice(before);
        bytes.extend_from_slice(&[0, 0xff]);
        rest = behind.get(1..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest);
}

/// What all entries of a key, or of the index, begin with in a segment.
fn push_front(bytes: &mut Vec<u8>, segment: i64, key: Option<&[u8]>) {
    bytes.extend_from_slice(&ordered(segment));
    match key {
        None => bytes.push(BY_TIME),
        Some(key) => {
            bytes.push(BY_KEY);
            push_escaped(bytes, key);
            bytes.extend_from_slice(&KEY_END);
        }
    }
}

/// How long the segments are of a store whose entries are kept for so long at least.
pub(crate) fn interval_ms(retention_ms: i64) -> i64 {
    (retention_ms / SEGMENTS).max(SEGMENT_MIN_MS)
}

/// What all entries of a key begin with in a segment, or those of all keys.
pub(crate) fn by_key(segment: i64, key: Option<&[u8]>) -> Bytes {
    let mut bytes = Vec::with_capacity(key.map_or(0, <[u8]>::len).saturating_add(24));
    match key {
        Some(_) => push_front(&mut bytes, segment, key),
        None => {
            bytes.extend_from_slice(&ordered(segment));
            bytes.push(BY_KEY);
        }
    }
    bytes.into()
}

/// An entry of a key in a segment, by where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OfKey {
    pub(crate) key: Bytes,
    pub(crate) time_ms: i64,
    /// What is behind its time.
    pub(crate) tail: Bytes,
}

impl OfKey {
    /// Of a key that is known, with the length of [`by_key`], or of any.
    pub(crate) fn read(at: &Bytes, known: Option<(&Bytes, usize)>) -> Result<Self, StreamError> {
        let (key, behind) = match known {
            Some((key, behind)) => (key.clone(), behind),
            None => unescaped(at, 9).ok_or_else(malformed)?,
        };
        let rest = at.get(behind..).ok_or_else(malformed)?;
        Ok(Self { key, time_ms: time_of(rest)?, tail: at.slice(behind.saturating_add(8)..) })
    }
}

/// The key that begins here, and where what is behind it begins.
fn unescaped(bytes: &[u8], from: usize) -> Option<(Bytes, usize)> {
    let (mut key, mut at) = (Vec::new(), from);
    loop {
        let rest = bytes.get(at..)?;
        let zero = rest.iter().position(|byte| *byte == 0)?;
        key.extend_from_slice(rest.get(..zero)?);
        at = at.checked_add(zero)?.checked_add(2)?;
        match rest.get(zero.checked_add(1)?)? {
            0xff => key.push(0),
            1 => return Some((key.into(), at)),
            _ => return None,
        }
    }
}

/// An entry of a key that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where it lies.
    pub(crate) at: Bytes,
    pub(crate) time_ms: i64,
    /// What is behind its time.
    pub(crate) tail: Bytes,
    pub(crate) value: Bytes,
}

/// A store of a task in segments. It knows which segments there are, so that a look-up goes to those alone.
#[derive(Debug)]
pub(crate) struct Segments {
    place: usize,
    interval_ms: i64,
    /// The segments that have entries; not known before the store was looked at.
    live: Option<BTreeSet<i64>>,
    floor: i64,
}

impl Segments {
    /// Over the store at this place, of which entries are kept for so long at least.
    pub(crate) fn new(place: usize, retention_ms: i64) -> Self {
        Self { place, interval_ms: interval_ms(retention_ms), live: None, floor: i64::MIN }
    }

    const fn segment(&self, time_ms: i64) -> i64 {
        time_ms.div_euclid(self.interval_ms)
    }

    /// Where an entry of a key lies.
    pub(crate) fn at(&self, key: &[u8], time_ms: i64, tail: &[u8]) -> Bytes {
        let mut bytes = Vec::with_capacity(key.len().saturating_add(tail.len()).saturating_add(20));
        push_front(&mut bytes, self.segment(time_ms), Some(key));
        bytes.extend_from_slice(&ordered(time_ms));
        bytes.extend_from_slice(tail);
        bytes.into()
    }

    /// Where an entry of the index lies.
    pub(crate) fn index_at(&self, time_ms: i64, tail: &[u8]) -> Bytes {
        let (segment, time) = (ordered(self.segment(time_ms)), ordered(time_ms));
        [&segment, &[BY_TIME][..], &time, tail].concat().into()
    }

    /// Writes an entry of this time, or of the index, where [`Self::at`] or [`Self::index_at`] say.
    pub(crate) fn put(
        &mut self,
        scope: &mut Scope,
        time_ms: i64,
        at: Bytes,
        value: Option<Bytes>,
    ) -> Result<(), StreamError> {
        let segment = self.segment(time_ms);
        if value.is_some() {
            self.live(scope)?.insert(segment);
        }
        scope.store_mut(self.place)?.put(at, value);
        Ok(())
    }

    /// The same of one that is not there: see [`Layered::put_new`].
    ///
    /// [`Layered::put_new`]: super::layered::Layered::put_new
    pub(crate) fn put_new(
        &mut self,
        scope: &mut Scope,
        time_ms: i64,
        at: Bytes,
        value: Bytes,
    ) -> Result<(), StreamError> {
        let segment = self.segment(time_ms);
        self.live(scope)?.insert(segment);
        scope.store_mut(self.place)?.put_new(at, value);
        Ok(())
    }

    pub(crate) fn get(&self, scope: &Scope, at: &[u8]) -> Result<Option<Bytes>, StreamError> {
        Ok(scope.store(self.place)?.get(at)?)
    }

    /// The first entries of a key between two times (both included), in the order of their times and tails, at most `max`;
    /// behind one that was found before, where one is given.
    pub(crate) fn page(
        &mut self,
        scope: &Scope,
        key: &[u8],
        between_ms: (i64, i64),
        behind: Option<&Found>,
        max: usize,
    ) -> Result<Vec<Found>, StreamError> {
        self.walk(scope, Some(key), between_ms, behind, max)
    }

    /// The same of the index.
    pub(crate) fn index_page(
        &mut self,
        scope: &Scope,
        between_ms: (i64, i64),
        behind: Option<&Found>,
        max: usize,
    ) -> Result<Vec<Found>, StreamError> {
        self.walk(scope, None, between_ms, behind, max)
    }

    /// What there is of a key, or of the index, in each segment that overlaps.
    fn walk(
        &mut self,
        scope: &Scope,
        key: Option<&[u8]>,
        (from_ms, to_ms): (i64, i64),
        behind: Option<&Found>,
        max: usize,
    ) -> Result<Vec<Found>, StreamError> {
        let from_ms = behind.map_or(from_ms, |found| found.time_ms);
        let mut found = Vec::new();
        if from_ms > to_ms {
            return Ok(found);
        }
        self.live(scope)?;
        let store = scope.store(self.place)?;
        let (first, last) = (self.segment(from_ms), self.segment(to_ms));
        let room = key.map_or(0, <[u8]>::len).saturating_add(24);
        let (mut from, mut to) = (Vec::with_capacity(room), Vec::with_capacity(room));
        for segment in self.live.iter().flat_map(|live| live.range(first..=last)) {
            from.clear();
            push_front(&mut from, *segment, key);
            let prefix = from.len();
            to.clone_from(&from);
            let from = match (*segment == first, behind) {
                (true, Some(found)) => Bound::Excluded(found.at.as_ref()),
                (is_first, _) => {
                    if is_first {
                        from.extend_from_slice(&ordered(from_ms));
                    }
                    Bound::Included(from.as_slice())
                }
            };
            match to_ms.checked_add(1) {
                Some(end_ms) if *segment == last => to.extend_from_slice(&ordered(end_ms)),
                // What begins like this is below: neither form ends with a byte that has none above it.
                _ => {
                    if let Some(byte) = to.last_mut() {
                        *byte = byte.saturating_add(1);
                    }
                }
            }
            let entries = store.scan(from, Bound::Excluded(&to), max.saturating_sub(found.len()))?;
            found.reserve_exact(entries.len());
            for entry in entries {
                found.push(parsed(entry, prefix)?);
            }
            if found.len() >= max {
                break;
            }
        }
        Ok(found)
    }

    /// Forgets all segments that end before this time.
    pub(crate) fn raise_floor(&mut self, scope: &mut Scope, time_ms: i64) -> Result<(), StreamError> {
        let segment = self.segment(time_ms);
        if segment <= self.floor {
            return Ok(());
        }
        self.floor = segment;
        let live = self.live(scope)?;
        *live = live.split_off(&segment);
        scope.store_mut(self.place)?.raise_floor(Bytes::copy_from_slice(&ordered(segment)));
        Ok(())
    }

    fn live(&mut self, scope: &Scope) -> Result<&mut BTreeSet<i64>, StreamError> {
        if self.live.is_none() {
            let store = scope.store(self.place)?;
            let (mut live, mut from) = (BTreeSet::new(), Bytes::new());
            while let Some((key, _)) = store.scan(Bound::Included(&from), Bound::Excluded(&MARKS), 1)?.first()
            {
                let segment = time_of(key)?;
                live.insert(segment);
                from = Bytes::copy_from_slice(&ordered(segment.saturating_add(1)));
            }
            self.live = Some(live);
        }
        Ok(self.live.get_or_insert_default())
    }
}

fn parsed((at, value): Entry, prefix: usize) -> Result<Found, StreamError> {
    let time_ms = time_of(at.get(prefix..).unwrap_or_default())?;
    let tail = at.slice(prefix.saturating_add(8)..);
    Ok(Found { at, time_ms, tail, value })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::layered::Layered;
    use super::super::{Checkpoint, MemoryStore};
    use super::*;

    fn scope() -> Scope {
        Scope::new(vec![Layered::new(Box::new(MemoryStore::default()))], 0)
    }

    fn put(segments: &mut Segments, scope: &mut Scope, key: &[u8], time_ms: i64, tail: u8) {
        let at = segments.at(key, time_ms, &[tail]);
        segments.put(scope, time_ms, at, Some(Bytes::copy_from_slice(key))).unwrap();
        let index = segments.index_at(time_ms, &[&[tail], key].concat());
        segments.put(scope, time_ms, index, Some(Bytes::new())).unwrap();
    }

    #[test]
    fn keys_lie_in_stores_with_these_bytes() {
        assert_eq!(time_first(1, b"k").as_ref(), [0x80, 0, 0, 0, 0, 0, 0, 1, b'k']);
        assert_eq!(time_first(-1, b"").as_ref(), [0x7f, 255, 255, 255, 255, 255, 255, 255]);
        let segments = Segments::new(0, 2_000);
        let (first, second) = ([0x80, 0, 0, 0, 0, 0, 0, 0], [0x80, 0, 0, 0, 0, 0, 0, 1]);
        let time = [0x80, 0, 0, 0, 0, 0, 0x03, 0xe8];
        let at = [&second[..], &[1], b"a", &[0, 0xff], b"b", &[0, 1], &time, b"tail"].concat();
        assert_eq!(segments.at(b"a\0b", 1_000, b"tail").as_ref(), at);
        let at = [&first[..], &[0], &[0x80, 0, 0, 0, 0, 0, 0x03, 0xe7], b"tail"].concat();
        assert_eq!(segments.index_at(999, b"tail").as_ref(), at);
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(254), Just(255)], 0..4)
    }

    proptest! {
        #[test]
        fn the_order_of_bytes_is_that_of_times(one in any::<i64>(), other in any::<i64>()) {
            prop_assert_eq!(ordered(one).cmp(&ordered(other)), one.cmp(&other));
            prop_assert_eq!(time_of(&ordered(one)).unwrap(), one);
        }

        #[test]
        fn of_a_key_all_between_two_times_is_found_in_order_page_by_page(
            entries in prop::collection::vec((key(), -5_000..5_000_i64, 0..3_u8), 0..60),
            wanted in key(),
            from_ms in -6_000..6_000_i64,
            length_ms in 0..6_000_i64,
            max in 1..5_usize,
            floor_ms in -6_000..0_i64,
            is_committed in any::<bool>(),
        ) {
            let (mut scope, mut segments) = (scope(), Segments::new(0, 2_000));
            let mut model = BTreeMap::new();
            for (key, time_ms, tail) in &entries {
                put(&mut segments, &mut scope, key, *time_ms, *tail);
                model.insert((*time_ms, *tail, key.clone()), ());
            }
            if is_committed {
                let store = scope.store_mut(0).unwrap();
                drop(store.seal());
                store.committed(Checkpoint(0)).unwrap();
                segments = Segments::new(0, 2_000);
            }
            segments.raise_floor(&mut scope, floor_ms).unwrap();
            // Whole segments are forgotten.
            let floor_ms = floor_ms.div_euclid(1_000) * 1_000;
            let to_ms = from_ms + length_ms;
            let is_wanted = |(time_ms, ..): &&(i64, u8, Vec<u8>)| {
                (from_ms..=to_ms).contains(time_ms) && *time_ms >= floor_ms
            };
            let of_key: Vec<_> =
                model.keys().filter(is_wanted).filter(|it| it.2 == wanted).map(|it| (it.0, it.1)).collect();
            let all: Vec<_> = model.keys().filter(is_wanted).cloned().collect();
            let (mut found, mut by_index) = (Vec::new(), Vec::new());
            let mut behind = None;
            loop {
                let page = segments.page(&scope, &wanted, (from_ms, to_ms), behind.as_ref(), max).unwrap();
                found.extend(page.iter().map(|it| (it.time_ms, it.tail[0])));
                prop_assert!(page.iter().all(|it| it.value == wanted));
                behind = page.last().cloned();
                if page.len() < max {
                    break;
                }
            }
            behind = None;
            loop {
                let page = segments.index_page(&scope, (from_ms, to_ms), behind.as_ref(), max).unwrap();
                by_index.extend(page.iter().map(|it| (it.time_ms, it.tail[0], it.tail[1..].to_vec())));
                behind = page.last().cloned();
                if page.len() < max {
                    break;
                }
            }
            prop_assert_eq!(found, of_key);
            prop_assert_eq!(by_index, all);
        }
    }
}
