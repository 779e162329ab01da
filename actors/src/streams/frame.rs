//! Values inside larger ones: a byte that says whether there is one, its length, its bytes.
//!
//! ```text
//! 0                      no value
//! 1                      a value that its codec writes as none
//! 2  length: u32  bytes  a value
//! ```
//! Numbers are big-endian, as in all that Kafka's serializers write.

use bytes::{Buf, BufMut, Bytes};

use super::codec::{CodecError, SharedCodec};

/// Appends a value that may be missing.
pub(crate) fn put<T>(
    into: &mut Vec<u8>,
    codec: &SharedCodec<T>,
    value: Option<&T>,
) -> Result<(), CodecError> {
    match value.map(|value| codec.encode(value)).transpose()? {
        None => into.put_u8(0),
        Some(None) => into.put_u8(1),
        Some(Some(bytes)) => {
            let length = u32::try_from(bytes.len())
                .map_err(|_| CodecError::new("a value of 4 GiB or more does not fit in a record"))?;
            into.reserve(bytes.len().saturating_add(5));
            into.put_u8(2);
            into.put_u32(length);
            into.put_slice(&bytes);
        }
    }
    Ok(())
}

/// Takes one off the front.
pub(crate) fn take<T>(from: &mut Bytes, codec: &SharedCodec<T>) -> Result<Option<T>, CodecError> {
    match from.try_get_u8().map_err(|_| cut())? {
        0 => Ok(None),
        1 => codec.decode(None).map(Some),
        2 => {
            let length = from.try_get_u32().map_err(|_| cut())?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > from.len() {
                return Err(cut());
            }
            codec.decode(Some(&from.split_to(length))).map(Some)
        }
        other => Err(CodecError::new(format!("{other} does not say whether a value follows"))),
    }
}

/// Takes the byte that says which form the rest has, of which this is the newest that is known.
pub(crate) fn take_form(from: &mut Bytes, newest: u8, of: &str) -> Result<u8, CodecError> {
    let form = from.try_get_u8().map_err(|_| cut())?;
    match form <= newest {
        true => Ok(form),
        false => Err(CodecError::new(format!(
            "{of} of form {form}, of which {newest} is the newest known here: a newer version wrote it"
        ))),
    }
}

/// Nothing may follow.
pub(crate) fn at_end(rest: &Bytes) -> Result<(), CodecError> {
    match rest.is_empty() {
        true => Ok(()),
        false => Err(CodecError::new(format!("{} bytes too many", rest.len()))),
    }
}

pub(crate) fn cut() -> CodecError {
    CodecError::new("it ends too early")
}
