//! What a key of the table knows of its foreign key: a store beside the table.
//!
//! ```text
//! key 0                 the last version that was given: u64
//! key 1, the table's    form: u8 = 0   is answered: u8   version: u64   framed:
//!                       answered: the foreign key's value; not yet: what the joined table has until then
//! ```

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use super::super::super::codec::{CodecError, SharedCodec};
use super::super::super::frame;
use super::super::super::scope::{Scope, StreamError};
use super::ForeignKey;

const FORM: u8 = 0;
const VERSION_KEY: &[u8] = &[0];

/// What a key of the table waits for, or has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known<R, W> {
    /// The foreign key's value; `None` where it has none.
    Answered(Option<R>),
    /// The foreign key was asked; until it answers the joined table has what it had.
    Waiting(Option<W>),
}

/// The version of a key's newest subscription, and what there is of it.
pub(super) type Entry<R, W> = (u64, Known<R, W>);

/// The answers of a task.
pub(super) struct Answers<K, R, W> {
    place: usize,
    key: SharedCodec<K>,
    other: SharedCodec<R>,
    result: SharedCodec<W>,
}

impl<K, R, W> Answers<K, R, W> {
    pub(super) fn new<F>(place: usize, of: &ForeignKey<K, F, R, W>) -> Self {
        let (key, other, result) = (Arc::clone(&of.key), Arc::clone(&of.other), Arc::clone(&of.result));
        Self { place, key, other, result }
    }

    /// Where a key's entry lies; behind its first byte are the key's own bytes.
    pub(super) fn at(&self, key: &K) -> Result<Bytes, StreamError> {
        let key = self.key.encode(key)?.ok_or(StreamError::NoKey)?;
        let mut at = Vec::with_capacity(key.len().saturating_add(1));
        at.put_u8(1);
        at.put_slice(&key);
        Ok(at.into())
    }

    pub(super) fn get(&self, scope: &Scope, at: &[u8]) -> Result<Option<Entry<R, W>>, StreamError> {
        let Some(bytes) = scope.store(self.place)?.get(at)? else { return Ok(None) };
        Ok(Some(self.decode(bytes)?))
    }

    pub(super) fn put(
        &self,
        scope: &mut Scope,
        at: Bytes,
        entry: Option<(u64, &Known<R, W>)>,
    ) -> Result<(), StreamError> {
        let bytes = entry.map(|(version, known)| self.encode(version, known)).transpose()?;
        scope.store_mut(self.place)?.put(at, bytes);
        Ok(())
    }

    /// A version that no entry ever had.
    pub(super) fn next_version(&self, scope: &mut Scope) -> Result<u64, StreamError> {
        let store = scope.store_mut(self.place)?;
        let last = store.get(VERSION_KEY)?.map(|mut bytes| bytes.try_get_u64()).transpose();
        let next = last.map_err(|_| frame::cut())?.unwrap_or(0).saturating_add(1);
        store.put(Bytes::from_static(VERSION_KEY), Some(Bytes::copy_from_slice(&next.to_be_bytes())));
        Ok(next)
    }

    fn encode(&self, version: u64, known: &Known<R, W>) -> Result<Bytes, CodecError> {
        let mut bytes = Vec::with_capacity(32);
        bytes.put_u8(FORM);
        bytes.put_u8(u8::from(matches!(known, Known::Answered(_))));
        bytes.put_u64(version);
        match known {
            Known::Answered(value) => frame::put(&mut bytes, &self.other, value.as_ref())?,
            Known::Waiting(result) => frame::put(&mut bytes, &self.result, result.as_ref())?,
        }
        Ok(bytes.into())
    }

    fn decode(&self, mut bytes: Bytes) -> Result<Entry<R, W>, CodecError> {
        frame::take_form(&mut bytes, FORM, "an entry of a join by foreign key")?;
        let is_answered = bytes.try_get_u8().map_err(|_| frame::cut())? != 0;
        let version = bytes.try_get_u64().map_err(|_| frame::cut())?;
        let known = match is_answered {
            true => Known::Answered(frame::take(&mut bytes, &self.other)?),
            false => Known::Waiting(frame::take(&mut bytes, &self.result)?),
        };
        frame::at_end(&bytes)?;
        Ok((version, known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lies_as_it_has_since_its_first_form() {
        let of = ForeignKey::<String, String, i16, String>::from("join");
        let answers = Answers::new(0, &of);
        let cases = [
            (Known::Answered(Some(7)), "0001000000000000000902000000020007"),
            (Known::Waiting(Some("ab".to_owned())), "0000000000000000000902000000026162"),
            (Known::Waiting(None), "0000000000000000000900"),
        ];
        for (known, golden) in cases {
            let bytes = answers.encode(9, &known).unwrap();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, golden);
            assert_eq!(answers.decode(bytes).unwrap(), (9, known));
        }
        assert_eq!(answers.at(&"k".to_owned()).unwrap(), Bytes::from_static(b"\x01k"));
    }
}
