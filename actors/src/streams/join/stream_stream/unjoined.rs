//! Records that have met no other, in the order in which their windows close: a store beside the buffers of a left or outer
//! join.
//!
//! ```text
//! key    closing time, in the order of time: 8 bytes   side: u8 (0 left, 1 right)   tail: 9 bytes   the record's key
//! value  nothing; where the record has headers: form: u8 = 0   names and values in the form of postcard
//! ```
//! The record itself lies in its side's buffer, where it stays until its window has closed. An entry is deleted one by one and
//! not by a floor: its changelog must say that the record was sent.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::super::super::codec::CodecError;
use super::super::super::frame;
use super::super::super::scope::{Scope, StreamError};
use super::super::super::store::layout::{malformed, ordered, time_of};
use super::super::super::window::CHUNK;
use super::buffer::{TAIL, Tail};
use crate::record::Header;

const FORM: u8 = 0;

/// Which stream a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SideId {
    Left,
    Right,
}

/// A record that has met no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lone {
    pub(super) closes_ms: i64,
    pub(super) side: SideId,
    pub(super) tail: Tail,
    pub(super) key: Bytes,
    pub(super) headers: Arc<[Header]>,
}

/// The store of a task.
#[derive(Debug)]
pub(super) struct Unjoined {
    place: usize,
    /// No entry's window closes before this.
    first_ms: i64,
}

impl Unjoined {
    pub(super) const fn new(place: usize) -> Self {
        Self { place, first_ms: i64::MIN }
    }

    pub(super) fn put(
        &mut self,
        scope: &mut Scope,
        (side, closes_ms): (SideId, i64),
        tail: Tail,
        key: &[u8],
    ) -> Result<(), StreamError> {
        let value = encode_headers(&scope.origin.headers)?;
        self.first_ms = self.first_ms.min(closes_ms);
        scope.store_mut(self.place)?.put(at(side, closes_ms, tail, key), Some(value));
        Ok(())
    }

    /// A record has met another.
    pub(super) fn remove(
        &self,
        scope: &mut Scope,
        (side, closes_ms): (SideId, i64),
        tail: Tail,
        key: &[u8],
    ) -> Result<(), StreamError> {
        let (at, store) = (at(side, closes_ms, tail, key), scope.store_mut(self.place)?);
        if store.get(&at)?.is_some() {
            store.put(at, None);
        }
        Ok(())
    }

    /// Takes out the first whose windows have closed, in that order: fewer than [`CHUNK`] where none is left.
    pub(super) fn take_closed(&mut self, scope: &mut Scope, now_ms: i64) -> Result<Vec<Lone>, StreamError> {
        if now_ms <= self.first_ms {
            return Ok(Vec::new());
        }
        let end = ordered(now_ms);
        let store = scope.store_mut(self.place)?;
        let found = store.scan(Bound::Unbounded, Bound::Excluded(&end), CHUNK)?;
        if found.len() < CHUNK {
            let next = store.scan(Bound::Included(&end), Bound::Unbounded, 1)?;
            self.first_ms = next.first().map_or(Ok(i64::MAX), |(key, _)| time_of(key))?;
        }
        let mut lone = Vec::with_capacity(found.len());
        for (key, value) in found {
            store.put(key.clone(), None);
            lone.push(parse(key, value)?);
        }
        Ok(lone)
    }
}

fn at(side: SideId, closes_ms: i64, tail: Tail, key: &[u8]) -> Bytes {
    let mut at = Vec::with_capacity(key.len().saturating_add(TAIL).saturating_add(9));
    at.extend_from_slice(&ordered(closes_ms));
    at.push(match side {
        SideId::Left => 0,
        SideId::Right => 1,
    });
    at.extend_from_slice(&tail);
    at.extend_from_slice(key);
    at.into()
}

fn parse(at: Bytes, value: Bytes) -> Result<Lone, StreamError> {
    let closes_ms = time_of(&at)?;
    let side = match at.get(8) {
        Some(0) => SideId::Left,
        Some(1) => SideId::Right,
        _ => return Err(malformed()),
    };
    let tail = at.get(9..).and_then(|rest| rest.first_chunk::<TAIL>());
    let (tail, key) = (*tail.ok_or_else(malformed)?, at.slice(9 + TAIL..));
    Ok(Lone { closes_ms, side, tail, key, headers: decode_headers(value)? })
}

fn encode_headers(headers: &[Header]) -> Result<Bytes, CodecError> {
    if headers.is_empty() {
        return Ok(Bytes::new());
    }
    let fields: Vec<_> = headers.iter().map(|header| (&header.name, &header.value)).collect();
    let bytes = postcard::to_extend(&fields, vec![FORM]);
    bytes.map(Bytes::from).map_err(|error| CodecError::new(error.to_string()))
}

fn decode_headers(mut bytes: Bytes) -> Result<Arc<[Header]>, CodecError> {
    if bytes.is_empty() {
        return Ok(Arc::from([]));
    }
    frame::take_form(&mut bytes, FORM, "headers")?;
    let fields: Vec<(Bytes, Option<Bytes>)> =
        postcard::from_bytes(&bytes).map_err(|error| CodecError::new(format!("no headers: {error}")))?;
    Ok(fields.into_iter().map(|(name, value)| Header { name, value }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_record_lies_as_it_has_since_its_first_form() {
        let tail = [0, 0, 0, 0, 0, 0, 0, 5, 0];
        let key = at(SideId::Right, -2, tail, b"k");
        let golden: &[u8] = &[0x7f, 255, 255, 255, 255, 255, 255, 254, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, b'k'];
        assert_eq!(key, golden);
        let headers: Arc<[Header]> =
            Arc::from([Header::new("a", "bc"), Header { name: "d".into(), value: None }]);
        let value = encode_headers(&headers).unwrap();
        assert_eq!(value, &[0, 2, 1, b'a', 1, 2, b'b', b'c', 1, b'd', 0][..]);
        let lone = parse(key, value).unwrap();
        let wanted =
            Lone { closes_ms: -2, side: SideId::Right, tail, key: Bytes::from_static(b"k"), headers };
        assert_eq!(lone, wanted);
        assert!(encode_headers(&[]).unwrap().is_empty());
        assert!(parse(Bytes::from_static(&[0; 12]), Bytes::new()).is_err());
    }
}
