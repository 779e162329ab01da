//! Reads a page of a store, by the bytes in it. Pure; looks at a bounded number of entries.

use std::ops::Bound;

use bytes::Bytes;

use super::QueryRefusal;
use super::message::{BYTES_MAX, ENTRIES_MAX, StoreAsk, StoreEntry, StorePage, StoreQuery};
use crate::streams::scope::StreamError;
use crate::streams::store::layered::Layered;
use crate::streams::store::layout::{
    MARKS, OfKey, by_key, interval_ms, malformed, ordered, time_first, time_of,
};
use crate::streams::store::{ByteStore, Entry, Shape, StoreError, StoreSize, sliding_value};

/// Entries that are looked at for one page: those that do not belong to it cost as much.
const LOOKED_AT_MAX: usize = 20_000;

/// Entries that are read from a store at once.
const CHUNK: usize = 128;

/// How entries lie in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A value a key.
    Keys,
    /// In windows.
    Windows(Shape),
}

impl Form {
    pub(crate) fn of(shape: Option<Shape>) -> Self {
        shape.map_or(Self::Keys, Self::Windows)
    }
}

/// What is read of a store.
#[derive(Clone, Copy)]
pub(crate) enum View<'a> {
    /// What is committed.
    Committed(&'a dyn ByteStore),
    /// The same below what was written since.
    Written(&'a Layered),
}

impl View<'_> {
    fn size(&self) -> StoreSize {
        match self {
            Self::Committed(store) => store.size(),
            Self::Written(store) => store.base().size(),
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Committed(store) => store.get(key),
            Self::Written(store) => store.get(key),
        }
    }

    fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, max: usize) -> Result<Vec<Entry>, StoreError> {
        match self {
            Self::Committed(store) => store.scan(from, to, max),
            Self::Written(store) => store.scan(from, to, max),
        }
    }
}

/// A page of what is asked of a store; `front` is what all its keys begin with beside their own bytes.
pub(crate) fn read(
    view: View<'_>,
    form: Form,
    front: &[u8],
    query: &StoreQuery,
) -> Result<StorePage, QueryRefusal> {
    let mut reading = Reading {
        view,
        after: query.after.as_ref(),
        entries_max: usize::try_from(query.entries_max.clamp(1, ENTRIES_MAX)).unwrap_or(usize::MAX),
        bytes_max: usize::try_from(query.bytes_max.min(BYTES_MAX)).unwrap_or(usize::MAX),
        left: LOOKED_AT_MAX,
        bytes: 0,
        is_full: false,
        page: StorePage::default(),
    };
    let read = match (&query.ask, form) {
        (StoreAsk::Size {}, _) => {
            reading.size();
            Ok(())
        }
        (StoreAsk::Get { key }, Form::Keys) => reading.get(front, key),
        (StoreAsk::Range { from, to }, Form::Keys) => reading.range(front, (from, to)),
        (StoreAsk::Fetch { key, from_ms, to_ms }, Form::Windows(shape)) => {
            reading.fetch(shape, key, (*from_ms, *to_ms))
        }
        (StoreAsk::FetchAll { from_ms, to_ms }, Form::Windows(shape)) => {
            reading.fetch_all(shape, (*from_ms, *to_ms))
        }
        (_, Form::Keys) => {
            return Err(QueryRefusal::WrongType("it has no windows: get, or range".to_owned()));
        }
        (_, Form::Windows(_)) => return Err(QueryRefusal::WrongType("it has windows: fetch".to_owned())),
    };
    read.map_err(|error| QueryRefusal::Failed(error.to_string()))?;
    let Reading { mut page, is_full, .. } = reading;
    page.next = page.next.filter(|_| is_full);
    Ok(page)
}

struct Reading<'a> {
    view: View<'a>,
    after: Option<&'a Bytes>,
    entries_max: usize,
    bytes_max: usize,
    /// Entries that may still be looked at.
    left: usize,
    bytes: usize,
    is_full: bool,
    page: StorePage,
}

/// Whether there is no more, or the page is full.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    Through,
    Full,
}

/// The bounds of keys in a store.
type Bounds = (Bound<Bytes>, Bound<Bytes>);

impl Reading<'_> {
    fn size(&mut self) {
        let StoreSize { entries, bytes } = self.view.size();
        let value = Some(Bytes::from([entries.to_be_bytes(), bytes.to_be_bytes()].concat()));
        self.page.entries.push(StoreEntry { key: Bytes::new(), window_ms: None, value });
    }

    fn get(&mut self, front: &[u8], key: &Bytes) -> Result<(), StreamError> {
        let at: Bytes = [front, key].concat().into();
        if let Some(value) = self.view.get(&at)? {
            self.page.entries.push(StoreEntry { key: key.clone(), window_ms: None, value: Some(value) });
        }
        Ok(())
    }

    fn range(&mut self, front: &[u8], (from, to): (&Bound<Bytes>, &Bound<Bytes>)) -> Result<(), StreamError> {
        let placed = |key: &Bytes| Bytes::from([front, key].concat());
        let from = match from.as_ref().map(placed) {
            Bound::Unbounded => Bound::Included(Bytes::copy_from_slice(front)),
            from => from,
        };
        let to = match to.as_ref().map(placed) {
            Bound::Unbounded => behind(front).map_or(Bound::Unbounded, Bound::Excluded),
            to => to,
        };
        let length = front.len();
        self.walk((from, to), |at, value| {
            Ok(Some(StoreEntry { key: at.slice(length..), window_ms: None, value: Some(value.clone()) }))
        })?;
        Ok(())
    }

    fn fetch(&mut self, shape: Shape, key: &Bytes, between_ms: (i64, i64)) -> Result<(), StreamError> {
        match shape {
            Shape::Hopping { size_ms } => self.hopping(key, between_ms, size_ms),
            Shape::Sliding { .. } | Shape::Session { .. } => self.segments(shape, Some(key), between_ms),
        }
    }

    fn fetch_all(&mut self, shape: Shape, (from_ms, to_ms): (i64, i64)) -> Result<(), StreamError> {
        let Shape::Hopping { size_ms } = shape else {
            return self.segments(shape, None, (from_ms, to_ms));
        };
        let to = to_ms.checked_add(1).map_or(Bytes::from_static(&MARKS), |end_ms| time_first(end_ms, &[]));
        let bounds = (Bound::Included(time_first(from_ms, &[])), Bound::Excluded(to));
        self.walk(bounds, |at, value| {
            let start_ms = time_of(at)?;
            let window_ms = Some((start_ms, start_ms.saturating_add(size_ms)));
            Ok(Some(StoreEntry { key: at.slice(8..), window_ms, value: Some(value.clone()) }))
        })?;
        Ok(())
    }

    /// From one window that is there to the next, whatever their keys: what was asked may be far longer than what is there.
    fn hopping(
        &mut self,
        key: &Bytes,
        (from_ms, to_ms): (i64, i64),
        size_ms: i64,
    ) -> Result<(), StreamError> {
        let mut from_ms = match self.after {
            Some(after) => from_ms.max(time_of(after)?.saturating_add(1)),
            None => from_ms,
        };
        while from_ms <= to_ms {
            let at = time_first(from_ms, &[]);
            let next = self.view.scan(Bound::Included(&at), Bound::Excluded(&MARKS), 1)?;
            let Some((at, _)) = next.first() else { break };
            let start_ms = time_of(at)?;
            if start_ms > to_ms {
                break;
            }
            let at = time_first(start_ms, key);
            let entry = self.view.get(&at)?.map(|value| {
                let window_ms = Some((start_ms, start_ms.saturating_add(size_ms)));
                StoreEntry { key: key.clone(), window_ms, value: Some(value) }
            });
            if self.take(&at, entry) == Came::Full {
                break;
            }
            let Some(later_ms) = start_ms.checked_add(1) else { break };
            from_ms = later_ms;
        }
        Ok(())
    }

    /// What there is of a key, or of all, in each segment that overlaps.
    fn segments(
        &mut self,
        shape: Shape,
        key: Option<&Bytes>,
        (from_ms, to_ms): (i64, i64),
    ) -> Result<(), StreamError> {
        let (retention_ms, is_session) = match shape {
            Shape::Session { retention_ms } => (retention_ms, true),
            Shape::Sliding { retention_ms, .. } => (retention_ms, false),
            Shape::Hopping { .. } => return Ok(()),
        };
        let interval_ms = interval_ms(retention_ms);
        let first = from_ms.div_euclid(interval_ms);
        // A session lies where it ends, which may be later than any time that is asked for.
        let last = if is_session { i64::MAX } else { to_ms.div_euclid(interval_ms) };
        let mut segment = match self.after {
            Some(after) => first.max(time_of(after)?),
            None => first,
        };
        while segment <= last {
            let front = Bytes::copy_from_slice(&ordered(segment));
            let next = self.view.scan(Bound::Included(&front), Bound::Excluded(&MARKS), 1)?;
            let Some((at, _)) = next.first() else { break };
            let found = time_of(at)?;
            if found > last {
                break;
            }
            let front = by_key(found, key.map(AsRef::as_ref));
            let to = behind(&front).ok_or_else(malformed)?;
            let bounds = (Bound::Included(front.clone()), Bound::Excluded(to.clone()));
            let entry = |at: &Bytes, value: &Bytes| {
                let parsed = OfKey::read(at, key.map(|key| (key, front.len())))?;
                placed_in(shape, &parsed, value, (from_ms, to_ms))
            };
            // The end of the segment stands for it where nothing more of it may be looked at.
            if self.walk(bounds, entry)? == Came::Full || self.take(&to, None) == Came::Full {
                break;
            }
            let Some(later) = found.checked_add(1) else { break };
            segment = later;
        }
        Ok(())
    }

    /// Goes through a range, behind what was read before.
    fn walk(
        &mut self,
        (from, to): Bounds,
        mut entry: impl FnMut(&Bytes, &Bytes) -> Result<Option<StoreEntry>, StreamError>,
    ) -> Result<Came, StreamError> {
        let begins_at = match &from {
            Bound::Included(from) | Bound::Excluded(from) => from.as_ref(),
            Bound::Unbounded => &[],
        };
        let after = self.after.filter(|after| after.as_ref() >= begins_at);
        let mut from = after.map_or_else(|| from.clone(), |after| Bound::Excluded(after.clone()));
        loop {
            let max = CHUNK.min(self.left);
            let (first, last) = (from.as_ref().map(AsRef::as_ref), to.as_ref().map(AsRef::as_ref));
            let found = self.view.scan(first, last, max)?;
            let has_more = found.len() >= max;
            for (at, value) in &found {
                if self.take(at, entry(at, value)?) == Came::Full {
                    return Ok(Came::Full);
                }
            }
            match found.into_iter().next_back() {
                Some((at, _)) if has_more => from = Bound::Excluded(at),
                _ => return Ok(Came::Through),
            }
        }
    }

    /// Something was looked at, and it is an entry of the page or is not.
    fn take(&mut self, at: &Bytes, entry: Option<StoreEntry>) -> Came {
        self.left = self.left.saturating_sub(1);
        if let Some(entry) = entry {
            let bytes = entry.key.len().saturating_add(entry.value.as_ref().map_or(0, Bytes::len));
            let is_too_much = self.bytes.saturating_add(bytes) > self.bytes_max;
            if is_too_much && !self.page.entries.is_empty() {
                self.is_full = true;
                return Came::Full;
            }
            self.bytes = self.bytes.saturating_add(bytes);
            self.page.entries.push(entry);
        }
        // Counts only where the page ends before what was asked for does.
        self.page.next = Some(at.clone());
        self.is_full = self.page.entries.len() >= self.entries_max || self.left == 0;
        if self.is_full { Came::Full } else { Came::Through }
    }
}

/// An entry in segments, where it belongs to what is asked.
fn placed_in(
    shape: Shape,
    parsed: &OfKey,
    value: &Bytes,
    (from_ms, to_ms): (i64, i64),
) -> Result<Option<StoreEntry>, StreamError> {
    let time_ms = parsed.time_ms;
    let (is_meant, window_ms, value) = match shape {
        Shape::Sliding { difference_ms, .. } => {
            let window_ms = (time_ms, time_ms.saturating_add(difference_ms));
            ((from_ms..=to_ms).contains(&time_ms), window_ms, sliding_value(value))
        }
        Shape::Session { .. } | Shape::Hopping { .. } => {
            let start_ms = time_of(&parsed.tail)?;
            (time_ms >= from_ms && start_ms <= to_ms, (start_ms, time_ms), Some(value.clone()))
        }
    };
    Ok(is_meant.then(|| StoreEntry { key: parsed.key.clone(), window_ms: Some(window_ms), value }))
}

/// The first bytes that are behind all that begin so.
fn behind(front: &[u8]) -> Option<Bytes> {
    let mut bytes = front.to_vec();
    while let Some(last) = bytes.pop() {
        if let Some(next) = last.checked_add(1) {
            bytes.push(next);
            return Some(bytes.into());
        }
    }
    None
}

#[cfg(test)]
mod tests;
