//! The records of one stream that may still meet one of the other.
//!
//! They lie in segments of time ([`Segments`]), in each those of a key together, in the order of their times. Behind the time
//! is a tail: a number that no other record of the join has, so that records alike are kept apart, and whether the record has
//! a value.

use std::sync::Arc;

use bytes::Bytes;

use super::super::super::codec::SharedCodec;
use super::super::super::scope::{Scope, StreamError};
use super::super::super::store::layout::{Found, MARKS, Segments, malformed, ordered, time_of};
use super::super::super::time::UNKNOWN_MS;

/// The bytes of a tail.
pub(super) const TAIL: usize = 9;

/// A record's number, big-endian, and 0, or 1 where its codec writes its value as none.
pub(super) type Tail = [u8; TAIL];

/// Records that are looked at, at once.
pub(super) const PAGE: usize = 256;

/// One stream's records.
pub(super) struct Buffer<V> {
    segments: Segments,
    codec: SharedCodec<V>,
}

impl<V> Buffer<V> {
    pub(super) fn new(place: usize, retention_ms: i64, codec: &SharedCodec<V>) -> Self {
        Self { segments: Segments::new(place, retention_ms), codec: Arc::clone(codec) }
    }

    /// Keeps a record, and says by what tail.
    pub(super) fn put(
        &mut self,
        scope: &mut Scope,
        (key, time_ms): (&[u8], i64),
        number: u64,
        value: &V,
    ) -> Result<Tail, StreamError> {
        let value = self.codec.encode(value)?;
        let mut tail = [0; TAIL];
        let (front, last) = tail.split_at_mut(TAIL - 1);
        front.copy_from_slice(&number.to_be_bytes());
        last.fill(u8::from(value.is_none()));
        let at = self.segments.at(key, time_ms, &tail);
        self.segments.put(scope, time_ms, at, Some(value.unwrap_or_default()))?;
        Ok(tail)
    }

    /// Some records of a key between two times, both included, behind one that was found before.
    pub(super) fn page(
        &mut self,
        scope: &Scope,
        key: &[u8],
        between_ms: (i64, i64),
        behind: Option<&Found>,
    ) -> Result<Vec<Found>, StreamError> {
        self.segments.page(scope, key, between_ms, behind, PAGE)
    }

    /// The value of a record that was found.
    pub(super) fn value(&self, tail: &Tail, bytes: &Bytes) -> Result<V, StreamError> {
        let has_value = tail.last() == Some(&0);
        Ok(self.codec.decode(has_value.then_some(bytes))?)
    }

    /// The value of a record of this key, time and tail.
    pub(super) fn get(
        &self,
        scope: &Scope,
        (key, time_ms): (&[u8], i64),
        tail: &Tail,
    ) -> Result<Option<V>, StreamError> {
        let bytes = self.segments.get(scope, &self.segments.at(key, time_ms, tail))?;
        bytes.map(|bytes| self.value(tail, &bytes)).transpose()
    }

    /// Records before this time meet no others.
    pub(super) fn expire(&mut self, scope: &mut Scope, time_ms: i64) -> Result<(), StreamError> {
        self.segments.raise_floor(scope, time_ms)
    }
}

pub(super) fn tail_of(found: &Found) -> Result<Tail, StreamError> {
    found.tail.as_ref().try_into().map_err(|_| malformed())
}

/// Where a join goes on: the last number that it gave a record, and the stream time up to which windows are closed.
///
/// Both are kept with each commit. Without the time, a task that begins again where what was committed of its time was lost
/// would open windows whose records were sent.
#[derive(Debug)]
pub(super) struct Marks {
    place: usize,
    last: u64,
    kept: (u64, i64),
}

impl Marks {
    /// They are kept in the store at this place.
    pub(super) const fn new(place: usize) -> Self {
        Self { place, last: 0, kept: (0, UNKNOWN_MS) }
    }

    /// Goes on from the last commit, and from its time.
    pub(super) fn begin(&mut self, scope: &Scope) -> Result<i64, StreamError> {
        if let Some(bytes) = scope.store(self.place)?.get(&MARKS)? {
            let (number, time) = bytes.split_first_chunk::<8>().ok_or_else(malformed)?;
            self.kept = (u64::from_be_bytes(*number), time_of(time)?);
            self.last = self.kept.0;
        }
        Ok(self.kept.1)
    }

    /// A number that no record has.
    pub(super) const fn next(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }

    /// A commit comes.
    pub(super) fn keep(&mut self, scope: &mut Scope, now_ms: i64) -> Result<(), StreamError> {
        if self.kept != (self.last, now_ms) {
            self.kept = (self.last, now_ms);
            let bytes = [self.last.to_be_bytes(), ordered(now_ms)].concat();
            scope.store_mut(self.place)?.put(Bytes::from_static(&MARKS), Some(bytes.into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use super::super::super::super::codec::Coded;
    use super::super::super::super::store::MemoryStore;
    use super::super::super::super::store::layered::Layered;
    use super::*;

    #[test]
    fn a_buffer_lies_as_it_has_since_its_first_form() {
        let mut scope = Scope::new(vec![Layered::new(Box::new(MemoryStore::default()))], 0);
        let mut buffer = Buffer::new(0, 30_000, &Option::<i16>::codec());
        let mut marks = Marks::new(0);
        for value in [Some(7), None] {
            buffer.put(&mut scope, (b"k", 20_001), marks.next(), &value).unwrap();
        }
        marks.keep(&mut scope, 5).unwrap();
        let all = scope.store(0).unwrap().scan(Bound::Unbounded, Bound::Unbounded, 9).unwrap();
        let front =
            [&[0x80, 0, 0, 0, 0, 0, 0, 1][..], b"\x01k\x00\x01", &[0x80, 0, 0, 0, 0, 0, 0x4e, 0x21]].concat();
        let at = |tail: &[u8]| Bytes::from([&front, tail].concat());
        let wanted = [
            (at(&[0, 0, 0, 0, 0, 0, 0, 1, 0]), Bytes::from_static(&[0, 7])),
            (at(&[0, 0, 0, 0, 0, 0, 0, 2, 1]), Bytes::new()),
            (
                Bytes::from_static(&[255; 8]),
                Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 5]),
            ),
        ];
        assert_eq!(all, wanted);
        let mut again = Marks::new(0);
        assert_eq!((again.begin(&scope).unwrap(), again.next()), (5, 3));
    }
}
