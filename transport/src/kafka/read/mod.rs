//! Bytes → values. Every length is held against the bytes left before it is used; nothing allocates.

mod tagged;

use std::borrow::Cow;

use super::{Array, DecodeError, DecodeFault, Element, Records, Refused, Uuid};

/// The longest string: its length is 16 bits in versions that are not flexible, and no longer one is taken in others.
pub(super) const MAX_STRING_BYTES: usize = i16::MAX as usize;

/// Reads a message from its first byte to its last.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Where `rest` ends, from the start of the message.
    end: usize,
    version: i16,
    flexible: bool,
    /// What went wrong first: field, place, fault.
    refused: Option<(&'static str, usize, DecodeFault)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], version: i16, flexible: bool) -> Self {
        Self { rest: bytes, end: bytes.len(), version, flexible, refused: None }
    }

    /// The version of the message.
    #[inline]
    #[must_use]
    pub fn version(&self) -> i16 {
        self.version
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Remembers what is wrong.
    #[cold]
    pub(super) fn refuse(&mut self, field: &'static str, fault: DecodeFault) -> Refused {
        self.refused = Some((field, self.end - self.rest.len(), fault));
        Refused
    }

    /// What was remembered.
    #[cold]
    pub(super) fn error(&self, message: &'static str) -> DecodeError {
        let (field, at, fault) = self.refused.unwrap_or(("", 0, DecodeFault::Version));
        DecodeError { message, version: self.version, field, at, fault }
    }

    #[cold]
    fn short(&mut self, field: &'static str, needed: usize) -> Refused {
        let left = self.rest.len();
        self.refuse(field, DecodeFault::Short { needed, left })
    }

    #[inline]
    fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Refused> {
        let Some((found, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.short(field, N));
        };
        self.rest = rest;
        Ok(*found)
    }

    #[inline]
    fn slice(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], Refused> {
        let Some((found, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.short(field, length));
        };
        self.rest = rest;
        Ok(found)
    }
}

/// Values of fixed size. Each is an error if the bytes end before it does.
impl Reader<'_> {
    /// A byte that is not zero.
    #[inline]
    pub fn bool(&mut self, field: &'static str) -> Result<bool, Refused> {
        self.take::<1>(field).map(|bytes| bytes != [0])
    }

    /// One byte.
    #[inline]
    pub fn i8(&mut self, field: &'static str) -> Result<i8, Refused> {
        self.take(field).map(i8::from_be_bytes)
    }

    /// Two bytes.
    #[inline]
    pub fn i16(&mut self, field: &'static str) -> Result<i16, Refused> {
        self.take(field).map(i16::from_be_bytes)
    }

    /// Two bytes.
    #[inline]
    pub fn u16(&mut self, field: &'static str) -> Result<u16, Refused> {
        self.take(field).map(u16::from_be_bytes)
    }

    /// Four bytes.
    #[inline]
    pub fn i32(&mut self, field: &'static str) -> Result<i32, Refused> {
        self.take(field).map(i32::from_be_bytes)
    }

    /// Four bytes.
    #[inline]
    pub fn u32(&mut self, field: &'static str) -> Result<u32, Refused> {
        self.take(field).map(u32::from_be_bytes)
    }

    /// Eight bytes.
    #[inline]
    pub fn i64(&mut self, field: &'static str) -> Result<i64, Refused> {
        self.take(field).map(i64::from_be_bytes)
    }

    /// Eight bytes.
    #[inline]
    pub fn f64(&mut self, field: &'static str) -> Result<f64, Refused> {
        self.take(field).map(f64::from_be_bytes)
    }

    /// Sixteen bytes.
    #[inline]
    pub fn uuid(&mut self, field: &'static str) -> Result<Uuid, Refused> {
        self.take(field).map(Uuid)
    }

    /// Up to five bytes of seven bits each, lowest first; an error if that is more than 32 bits.
    #[inline]
    pub(super) fn varint(&mut self, field: &'static str) -> Result<u32, Refused> {
        let [first] = self.take(field)?;
        if first < 0x80 { Ok(u32::from(first)) } else { self.long_varint(field, first) }
    }

    fn long_varint(&mut self, field: &'static str, first: u8) -> Result<u32, Refused> {
        let mut value = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let [byte] = self.take(field)?;
            if shift == 28 && byte > 0x0f {
                return Err(self.refuse(field, DecodeFault::Varint));
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }
}

/// Values with a length before them; `-1`, or 0 in flexible versions, is null.
impl<'a> Reader<'a> {
    /// A length as it stands in flexible versions.
    #[inline]
    fn compact_length(&mut self, field: &'static str) -> Result<Option<usize>, Refused> {
        let length = self.varint(field)?.checked_sub(1);
        Ok(length.map(|length| usize::try_from(length).unwrap_or(usize::MAX)))
    }

    /// A length as it stands in versions that are not flexible.
    fn plain_length(&mut self, field: &'static str, length: i32) -> Result<Option<usize>, Refused> {
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(self.refuse(field, DecodeFault::Length(length.into()))),
        }
    }

    /// A length of 32 bits, or a compact one.
    fn length(&mut self, field: &'static str) -> Result<Option<usize>, Refused> {
        if self.flexible {
            return self.compact_length(field);
        }
        let length = self.i32(field)?;
        self.plain_length(field, length)
    }

    /// The length of a string in versions that are not flexible.
    fn short_length(&mut self, field: &'static str) -> Result<Option<usize>, Refused> {
        let length = self.i16(field)?;
        self.plain_length(field, length.into())
    }

    fn present<T>(&mut self, field: &'static str, value: Option<T>) -> Result<T, Refused> {
        value.ok_or_else(|| self.refuse(field, DecodeFault::Null))
    }

    /// Null is an error unless `allowed`.
    fn null<T>(&mut self, field: &'static str, allowed: bool) -> Result<Option<T>, Refused> {
        if allowed { Ok(None) } else { Err(self.refuse(field, DecodeFault::Null)) }
    }

    fn text(&mut self, field: &'static str, length: Option<usize>) -> Result<Option<Cow<'a, str>>, Refused> {
        let Some(length) = length else { return Ok(None) };
        if length > MAX_STRING_BYTES {
            return Err(self.refuse(field, DecodeFault::Length(i64::try_from(length).unwrap_or(i64::MAX))));
        }
        let bytes = self.slice(field, length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(Cow::Borrowed(text))),
            Err(_) => Err(self.refuse(field, DecodeFault::Text)),
        }
    }

    /// A string; null is an error.
    pub fn string(&mut self, field: &'static str) -> Result<Cow<'a, str>, Refused> {
        let text = self.string_or_null(field, true)?;
        self.present(field, text)
    }

    /// A string, or null where that is `allowed`.
    pub fn string_or_null(
        &mut self,
        field: &'static str,
        allowed: bool,
    ) -> Result<Option<Cow<'a, str>>, Refused> {
        let length = if self.flexible { self.compact_length(field)? } else { self.short_length(field)? };
        match self.text(field, length)? {
            None => self.null(field, allowed),
            found => Ok(found),
        }
    }

    /// As [`Reader::string_or_null`], but with a length of 16 bits in flexible versions too.
    pub fn fixed_string_or_null(
        &mut self,
        field: &'static str,
        allowed: bool,
    ) -> Result<Option<Cow<'a, str>>, Refused> {
        let length = self.short_length(field)?;
        match self.text(field, length)? {
            None => self.null(field, allowed),
            found => Ok(found),
        }
    }

    fn blob(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, Refused> {
        let Some(length) = self.length(field)? else { return Ok(None) };
        self.slice(field, length).map(Some)
    }

    /// Bytes; null is an error.
    pub fn bytes(&mut self, field: &'static str) -> Result<Cow<'a, [u8]>, Refused> {
        let bytes = self.blob(field)?;
        self.present(field, bytes).map(Cow::Borrowed)
    }

    /// Bytes, or null where that is `allowed`.
    pub fn bytes_or_null(
        &mut self,
        field: &'static str,
        allowed: bool,
    ) -> Result<Option<Cow<'a, [u8]>>, Refused> {
        match self.blob(field)? {
            None => self.null(field, allowed),
            Some(bytes) => Ok(Some(Cow::Borrowed(bytes))),
        }
    }

    /// Record batches, or null where that is `allowed`.
    pub fn records_or_null(
        &mut self,
        field: &'static str,
        allowed: bool,
    ) -> Result<Option<Records<'a>>, Refused> {
        match self.blob(field)? {
            None => self.null(field, allowed),
            Some(bytes) => Ok(Some(Records::Borrowed(bytes))),
        }
    }

    /// A struct.
    #[inline]
    pub fn structure<T: Element<'a>>(&mut self, field: &'static str) -> Result<T, Refused> {
        T::read(self, field)
    }

    /// A struct with a byte before it that is negative for null; null where that is `allowed`.
    pub fn structure_or_null<T: Element<'a>>(
        &mut self,
        field: &'static str,
        allowed: bool,
    ) -> Result<Option<T>, Refused> {
        if self.i8(field)? < 0 { self.null(field, allowed) } else { T::read(self, field).map(Some) }
    }

    /// An array, walked to its end; null is an error.
    pub fn array<T: Element<'a>>(&mut self, field: &'static str) -> Result<Array<'a, T>, Refused> {
        let count = self.length(field)?;
        let count = self.present(field, count)?;
        self.elements(field, count)
    }

    /// An array, walked to its end, or null where that is `allowed`.
    pub fn array_or_null<T: Element<'a>>(
        &mut self,
        field: &'static str,
        allowed: bool,
    ) -> Result<Option<Array<'a, T>>, Refused> {
        match self.length(field)? {
            None => self.null(field, allowed),
            Some(count) => self.elements(field, count).map(Some),
        }
    }

    fn elements<T: Element<'a>>(
        &mut self,
        field: &'static str,
        count: usize,
    ) -> Result<Array<'a, T>, Refused> {
        let before = self.rest;
        self.check_count(field, count, T::BYTES.unwrap_or(1))?;
        if let Some(bytes) = T::BYTES {
            self.slice(field, count.saturating_mul(bytes))?;
        } else {
            for _ in 0..count {
                T::read(self, field)?;
            }
        }
        let walked = before.get(..before.len() - self.rest.len()).unwrap_or_default();
        Ok(Array::checked(walked, count, self.version, self.flexible))
    }

    /// Each element takes so many bytes at least, so a count above what is left is a lie.
    #[inline]
    fn check_count(&mut self, field: &'static str, count: usize, bytes: usize) -> Result<(), Refused> {
        let left = self.rest.len();
        if count.saturating_mul(bytes) > left {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            return Err(self.refuse(field, DecodeFault::Count { count, left }));
        }
        Ok(())
    }
}
