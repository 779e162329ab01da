//! How keys and values lie in records.
//!
//! A record may be without a key or a value: a codec of `T` refuses that, one of `Option<T>` reads it as `None`.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::event::Data;

/// Bytes are not what they should be, or cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(String);

impl CodecError {
    /// Why, for whoever reads the log: what was wanted, what was there.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Makes bytes of values, and values of bytes. What is encoded decodes to the same, and equal keys have equal bytes.
pub trait Codec<T>: Send + Sync {
    /// The bytes of a value; `None` is a record without one.
    fn encode(&self, value: &T) -> Result<Option<Bytes>, CodecError>;

    /// The value in these bytes.
    fn decode(&self, bytes: Option<&Bytes>) -> Result<T, CodecError>;
}

/// A codec that many operators share.
pub type SharedCodec<T> = Arc<dyn Codec<T>>;

/// A type with a codec of its own, so that none need be named. Of a user's type it is one line:
/// ```
/// # use serde::{Deserialize, Serialize};
/// use millstream_actors::streams::codec::{self, Coded, SharedCodec};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Flight {
///     origin: String,
///     delay_minutes: i32,
/// }
///
/// impl Coded for Flight {
///     fn codec() -> SharedCodec<Self> {
///         codec::json()
///     }
/// }
/// ```
pub trait Coded: Data {
    /// Its codec.
    fn codec() -> SharedCodec<Self>;
}

/// The form of `serde_json`: readable by all, the slowest.
#[must_use]
pub fn json<T: Serialize + DeserializeOwned + Data>() -> SharedCodec<T> {
    Arc::new(Json(PhantomData))
}

/// The form of `postcard`: short and fast; a changed type does not read what an earlier one wrote.
#[must_use]
pub fn postcard<T: Serialize + DeserializeOwned + Data>() -> SharedCodec<T> {
    Arc::new(Postcard(PhantomData))
}

struct Json<T>(PhantomData<fn() -> T>);

impl<T: Serialize + DeserializeOwned> Codec<T> for Json<T> {
    fn encode(&self, value: &T) -> Result<Option<Bytes>, CodecError> {
        let bytes = serde_json::to_vec(value).map_err(|error| CodecError::new(error.to_string()))?;
        Ok(Some(bytes.into()))
    }

    fn decode(&self, bytes: Option<&Bytes>) -> Result<T, CodecError> {
        serde_json::from_slice(there(bytes)?)
            .map_err(|error| CodecError::new(format!("no such JSON: {error}")))
    }
}

struct Postcard<T>(PhantomData<fn() -> T>);

impl<T: Serialize + DeserializeOwned> Codec<T> for Postcard<T> {
    fn encode(&self, value: &T) -> Result<Option<Bytes>, CodecError> {
        let bytes = postcard::to_stdvec(value).map_err(|error| CodecError::new(error.to_string()))?;
        Ok(Some(bytes.into()))
    }

    fn decode(&self, bytes: Option<&Bytes>) -> Result<T, CodecError> {
        match postcard::take_from_bytes(there(bytes)?) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(CodecError::new(format!("{} bytes too many", rest.len()))),
            Err(error) => Err(CodecError::new(format!("no such postcard: {error}"))),
        }
    }
}

/// The bytes, which have to be there.
pub(crate) fn there(bytes: Option<&Bytes>) -> Result<&Bytes, CodecError> {
    bytes.ok_or_else(|| CodecError::new("there is none; read it as an Option"))
}

/// A codec of two functions.
struct Plain<T> {
    encode: fn(&T) -> Bytes,
    decode: fn(&Bytes) -> Result<T, CodecError>,
}

impl<T> Codec<T> for Plain<T> {
    fn encode(&self, value: &T) -> Result<Option<Bytes>, CodecError> {
        Ok(Some((self.encode)(value)))
    }

    fn decode(&self, bytes: Option<&Bytes>) -> Result<T, CodecError> {
        (self.decode)(there(bytes)?)
    }
}

impl Coded for Bytes {
    fn codec() -> SharedCodec<Self> {
        Arc::new(Plain::<Self> { encode: Self::clone, decode: |bytes| Ok(bytes.clone()) })
    }
}

impl Coded for Vec<u8> {
    fn codec() -> SharedCodec<Self> {
        Arc::new(Plain::<Self> {
            encode: |value| Bytes::copy_from_slice(value),
            decode: |bytes| Ok(bytes.to_vec()),
        })
    }
}

impl Coded for String {
    fn codec() -> SharedCodec<Self> {
        Arc::new(Plain::<Self> {
            encode: |value| Bytes::copy_from_slice(value.as_bytes()),
            decode: |bytes| {
                let text = str::from_utf8(bytes);
                text.map(str::to_owned).map_err(|error| CodecError::new(format!("no text: {error}")))
            },
        })
    }
}

impl Coded for Uuid {
    fn codec() -> SharedCodec<Self> {
        Arc::new(Plain::<Self> {
            encode: |value| Bytes::copy_from_slice(value.as_bytes()),
            decode: |bytes| {
                Self::from_slice(bytes).map_err(|_| CodecError::new(wrong_length(bytes, 16, "UUID")))
            },
        })
    }
}

impl Coded for () {
    fn codec() -> SharedCodec<Self> {
        Arc::new(Nothing)
    }
}

/// No key, or no value: what is there is not looked at, what is written is nothing.
struct Nothing;

impl Codec<()> for Nothing {
    fn encode(&self, (): &()) -> Result<Option<Bytes>, CodecError> {
        Ok(None)
    }

    fn decode(&self, _: Option<&Bytes>) -> Result<(), CodecError> {
        Ok(())
    }
}

/// Numbers as Kafka's serializers write them: big-endian, of their length.
macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Coded for $number {
            fn codec() -> SharedCodec<Self> {
                Arc::new(Plain::<Self> {
                    encode: |value| Bytes::copy_from_slice(&value.to_be_bytes()),
                    decode: |bytes| {
                        let array = bytes.as_ref().try_into().map_err(|_| {
                            CodecError::new(wrong_length(bytes, size_of::<Self>(), stringify!($number)))
                        })?;
                        Ok(Self::from_be_bytes(array))
                    },
                })
            }
        }
    )*};
}

numbers!(i16, i32, i64, u16, u32, u64, f32, f64);

fn wrong_length(bytes: &Bytes, wanted: usize, of: &str) -> String {
    format!("{} bytes are no {of}, which has {wanted}", bytes.len())
}

impl<T: Coded> Coded for Option<T> {
    fn codec() -> SharedCodec<Self> {
        optional(T::codec())
    }
}

/// The codec of what may be missing.
#[must_use]
pub fn optional<T: Data>(of: SharedCodec<T>) -> SharedCodec<Option<T>> {
    Arc::new(Optional(of))
}

struct Optional<T>(SharedCodec<T>);

impl<T> Codec<Option<T>> for Optional<T> {
    fn encode(&self, value: &Option<T>) -> Result<Option<Bytes>, CodecError> {
        value.as_ref().map_or(Ok(None), |value| self.0.encode(value))
    }

    fn decode(&self, bytes: Option<&Bytes>) -> Result<Option<T>, CodecError> {
        bytes.map(|bytes| self.0.decode(Some(bytes))).transpose()
    }
}

/// Pairs in the form of `postcard`.
impl<A, B> Coded for (A, B)
where
    A: Serialize + DeserializeOwned + Data,
    B: Serialize + DeserializeOwned + Data,
{
    fn codec() -> SharedCodec<Self> {
        postcard()
    }
}

impl<T> fmt::Debug for dyn Codec<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Codec")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<T: Coded>(value: T) -> String {
        let bytes = T::codec().encode(&value).unwrap();
        bytes.map_or("none".to_owned(), |bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    #[test]
    fn values_are_written_as_kafkas_serializers_write_them() {
        assert_eq!(hex(258_i32), "00000102");
        assert_eq!(hex(-1_i64), "ffffffffffffffff");
        assert_eq!(hex(1.5_f64), "3ff8000000000000");
        assert_eq!(hex("aé".to_owned()), "61c3a9");
        assert_eq!(hex(Some(1_i16)), "0001");
        assert_eq!(hex(None::<i16>), "none");
        assert_eq!(hex(()), "none");
    }

    #[test]
    fn what_is_missing_is_an_error_unless_it_is_optional() {
        assert_eq!(
            String::codec().decode(None).unwrap_err().to_string(),
            "there is none; read it as an Option"
        );
        assert_eq!(Option::<String>::codec().decode(None).unwrap(), None);
    }

    #[test]
    fn bytes_of_another_type_are_an_error_that_says_what_was_wanted() {
        let error = i64::codec().decode(Some(&Bytes::from_static(b"abc"))).unwrap_err();
        assert_eq!(error.to_string(), "3 bytes are no i64, which has 8");
        assert!(String::codec().decode(Some(&Bytes::from_static(&[0xff]))).is_err());
        assert!(json::<Vec<u32>>().decode(Some(&Bytes::from_static(b"[1,"))).is_err());
        assert!(postcard::<u32>().decode(Some(&Bytes::from_static(&[1, 2]))).is_err());
    }
}
