//! What the two sides of a join by foreign key send each other. Numbers are big-endian.
//!
//! ```text
//! subscription: key = the foreign key
//!   form: u8 = 0   kind: u8   partition: i32   version: u64   the key of the table: the rest
//!   kind 0 ends it; 1 asks for an answer if there is a value, 2 in any case
//! answer: key = the key of the table
//!   form: u8 = 0   version: u64   the value of the foreign key, framed
//! ```

use bytes::{Buf, BufMut, Bytes};

use super::super::super::codec::{Codec, CodecError, SharedCodec, there};
use super::super::super::frame;

const FORM: u8 = 0;

/// Whether a key of the table is to be told of the values of its foreign key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// No more.
    End,
    /// At once, if there is a value; and of each change.
    IfThere,
    /// At once, whether there is one or not; and of each change.
    Always,
}

/// What a key of the table says to its foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) ask: Ask,
    /// The partition of the table's key, where answers go.
    pub(super) partition: i32,
    /// Answers carry it; one with another than the key's newest is outdated.
    pub(super) version: u64,
    /// The key of the table.
    pub(super) key: Bytes,
}

impl Subscription {
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.key.len().saturating_add(14));
        bytes.put_u8(FORM);
        bytes.put_u8(match self.ask {
            Ask::End => 0,
            Ask::IfThere => 1,
            Ask::Always => 2,
        });
        bytes.put_i32(self.partition);
        bytes.put_u64(self.version);
        bytes.put_slice(&self.key);
        bytes.into()
    }
}

/// The form of [`Subscription`].
pub(super) struct SubscriptionCodec;

impl Codec<Subscription> for SubscriptionCodec {
    fn encode(&self, value: &Subscription) -> Result<Option<Bytes>, CodecError> {
        Ok(Some(value.encode()))
    }

    fn decode(&self, bytes: Option<&Bytes>) -> Result<Subscription, CodecError> {
        let mut bytes = there(bytes)?.clone();
        frame::take_form(&mut bytes, FORM, "a subscription")?;
        if bytes.len() < 13 {
            return Err(frame::cut());
        }
        let ask = match bytes.get_u8() {
            0 => Ask::End,
            1 => Ask::IfThere,
            2 => Ask::Always,
            other => return Err(CodecError::new(format!("{other} is no kind of subscription"))),
        };
        let (partition, version) = (bytes.get_i32(), bytes.get_u64());
        Ok(Subscription { ask, partition, version, key: bytes })
    }
}

/// What a foreign key says to a key of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer<R> {
    pub(super) version: u64,
    pub(super) value: Option<R>,
}

/// The form of [`Answer`].
pub(super) struct AnswerCodec<R>(pub(super) SharedCodec<R>);

impl<R> AnswerCodec<R> {
    /// The value as all answers of one change have it.
    pub(super) fn framed(&self, value: Option<&R>) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::new();
        frame::put(&mut bytes, &self.0, value)?;
        Ok(bytes)
    }

    /// An answer with it.
    pub(super) fn answer(version: u64, framed: &[u8]) -> Bytes {
        let mut bytes = Vec::with_capacity(framed.len().saturating_add(9));
        bytes.put_u8(FORM);
        bytes.put_u64(version);
        bytes.put_slice(framed);
        bytes.into()
    }
}

impl<R> Codec<Answer<R>> for AnswerCodec<R> {
    fn encode(&self, value: &Answer<R>) -> Result<Option<Bytes>, CodecError> {
        Ok(Some(Self::answer(value.version, &self.framed(value.value.as_ref())?)))
    }

    fn decode(&self, bytes: Option<&Bytes>) -> Result<Answer<R>, CodecError> {
        let mut bytes = there(bytes)?.clone();
        frame::take_form(&mut bytes, FORM, "an answer")?;
        let version = bytes.try_get_u64().map_err(|_| frame::cut())?;
        let value = frame::take(&mut bytes, &self.0)?;
        frame::at_end(&bytes)?;
        Ok(Answer { version, value })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::codec::Coded;
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_subscription_lies_as_it_has_since_its_first_form() {
        let subscription =
            Subscription { ask: Ask::Always, partition: 3, version: 258, key: Bytes::from_static(b"ab") };
        let bytes = SubscriptionCodec.encode(&subscription).unwrap().unwrap();
        assert_eq!(hex(&bytes), "00020000000300000000000001026162");
        assert_eq!(SubscriptionCodec.decode(Some(&bytes)).unwrap(), subscription);
        for length in 0..14 {
            assert!(SubscriptionCodec.decode(Some(&bytes.slice(..length))).is_err(), "{length}");
        }
    }

    #[test]
    fn an_answer_lies_as_it_has_since_its_first_form() {
        let codec = AnswerCodec(i16::codec());
        for (value, golden) in
            [(Some(7_i16), "00000000000000000502000000020007"), (None, "00000000000000000500")]
        {
            let answer = Answer { version: 5, value };
            let bytes = codec.encode(&answer).unwrap().unwrap();
            assert_eq!(hex(&bytes), golden);
            assert_eq!(codec.decode(Some(&bytes)).unwrap(), answer);
            for length in 0..bytes.len() {
                assert!(codec.decode(Some(&bytes.slice(..length))).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn what_a_newer_version_wrote_is_refused_and_says_so() {
        let error = SubscriptionCodec.decode(Some(&Bytes::from_static(&[1; 20]))).unwrap_err().to_string();
        assert!(error.contains("a newer version wrote it"), "{error}");
    }
}
