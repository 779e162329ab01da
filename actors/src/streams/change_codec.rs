//! How a change of a table lies in a topic that brings rows together by another key.
//!
//! ```text
//! form: u8 = 0   the new value, framed   the old value, framed
//! ```
//! Both in one record where they are of one key, so that what is taken off and what is added are one step (KIP-904).

use bytes::{BufMut, Bytes};

use super::codec::{Codec, CodecError, SharedCodec, there};
use super::event::Change;
use super::frame;

const FORM: u8 = 0;

/// The form of a change whose values are of this form.
pub(crate) struct ChangeCodec<V>(pub(crate) SharedCodec<V>);

impl<V> Codec<Change<V>> for ChangeCodec<V> {
    fn encode(&self, change: &Change<V>) -> Result<Option<Bytes>, CodecError> {
        let mut bytes = Vec::new();
        bytes.put_u8(FORM);
        frame::put(&mut bytes, &self.0, change.new.as_ref())?;
        frame::put(&mut bytes, &self.0, change.old.as_ref())?;
        Ok(Some(bytes.into()))
    }

    fn decode(&self, bytes: Option<&Bytes>) -> Result<Change<V>, CodecError> {
        let mut bytes = there(bytes)?.clone();
        frame::take_form(&mut bytes, FORM, "a change")?;
        let (new, old) = (frame::take(&mut bytes, &self.0)?, frame::take(&mut bytes, &self.0)?);
        frame::at_end(&bytes)?;
        Ok(Change { new, old })
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::Coded;
    use super::*;

    #[test]
    fn a_change_lies_as_it_has_since_its_first_form() {
        let codec = ChangeCodec(Option::<i16>::codec());
        let cases = [
            (Some(Some(1)), Some(Some(2)), "00020000000200010200000002 0002"),
            (None, Some(Some(2)), "00000200000002 0002"),
            (Some(Some(1)), None, "0002000000020001 00"),
            (Some(None), None, "000100"),
        ];
        for (new, old, golden) in cases {
            let change = Change { new, old };
            let bytes = codec.encode(&change).unwrap().unwrap();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, golden.replace(' ', ""));
            assert_eq!(codec.decode(Some(&bytes)).unwrap(), change);
            for length in 0..bytes.len() {
                assert!(codec.decode(Some(&bytes.slice(..length))).is_err(), "{length}");
            }
        }
        assert!(codec.decode(Some(&Bytes::from_static(&[0, 0, 0, 0]))).is_err());
        assert!(codec.decode(Some(&Bytes::from_static(&[0, 3, 0]))).is_err());
        assert!(codec.decode(Some(&Bytes::from_static(&[1, 0, 0]))).is_err());
    }
}
