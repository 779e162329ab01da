//! Values → bytes: one growing buffer, and shared memory that goes between its parts.

mod tagged;

use bytes::Bytes;

use super::read::MAX_STRING_BYTES;
use super::{Array, Element, EncodeError, EncodeFault, Encoded, Records, Refused, Uuid};

/// Memory for most messages without records.
const FIRST_BYTES: usize = 256;

/// Shared slices that most messages with records do not go beyond.
const FIRST_SHARED: usize = 16;

/// Writes messages one behind the other.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
    /// Memory that is sent as it is, and how much of `buffer` goes before it.
    shared: Vec<(usize, Bytes)>,
    shared_bytes: usize,
    version: i16,
    flexible: bool,
    /// What went wrong: field and fault.
    refused: Option<(&'static str, EncodeFault)>,
}

impl Writer {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(FIRST_BYTES)
    }

    /// An empty one with room for so many bytes besides records.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// The version that is written.
    #[inline]
    #[must_use]
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() + self.shared_bytes
    }

    /// Whether nothing was written so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn begin(&mut self, version: i16, flexible: bool) {
        self.version = version;
        self.flexible = flexible;
    }

    /// Remembers what is wrong.
    #[cold]
    pub(super) fn refuse(&mut self, field: &'static str, fault: EncodeFault) -> Refused {
        self.refused = Some((field, fault));
        Refused
    }

    /// The version has no such field, but the message has a value for it.
    #[cold]
    pub fn absent(&mut self, field: &'static str) -> Refused {
        self.refuse(field, EncodeFault::Absent)
    }

    /// What was remembered.
    #[cold]
    pub(super) fn error(&self, message: &'static str) -> EncodeError {
        let (field, fault) = self.refused.unwrap_or(("", EncodeFault::Version));
        EncodeError { message, version: self.version, field, fault }
    }

    /// All that was written, to be sent in this order. Shared memory is not copied, and no slice is empty.
    #[must_use]
    pub fn finish(self) -> Encoded {
        let bytes = self.len();
        let mut buffer = Bytes::from(self.buffer);
        let mut chunks = Vec::with_capacity(2 * self.shared.len() + 1);
        let mut before = 0;
        for (at, shared) in self.shared {
            if at > before {
                chunks.push(buffer.split_to(at - before));
            }
            before = at;
            chunks.push(shared);
        }
        if !buffer.is_empty() {
            chunks.push(buffer);
        }
        Encoded { chunks, bytes }
    }

    /// All that was written in one piece; copies if there is shared memory in it.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        if self.shared.is_empty() {
            return self.buffer;
        }
        self.finish().chunks.concat()
    }

    /// Puts `value` over the first four bytes.
    pub(super) fn patch_first(&mut self, value: i32) {
        if let Some(first) = self.buffer.first_chunk_mut() {
            *first = value.to_be_bytes();
        }
    }
}

/// Values of fixed size.
impl Writer {
    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.buffer.extend_from_slice(&bytes);
    }

    /// One byte.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.put([u8::from(value)]);
    }

    /// One byte.
    #[inline]
    pub fn i8(&mut self, value: i8) {
        self.put(value.to_be_bytes());
    }

    /// Two bytes.
    #[inline]
    pub fn i16(&mut self, value: i16) {
        self.put(value.to_be_bytes());
    }

    /// Two bytes.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.put(value.to_be_bytes());
    }

    /// Four bytes.
    #[inline]
    pub fn i32(&mut self, value: i32) {
        self.put(value.to_be_bytes());
    }

    /// Four bytes.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.put(value.to_be_bytes());
    }

    /// Eight bytes.
    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.put(value.to_be_bytes());
    }

    /// Eight bytes.
    #[inline]
    pub fn f64(&mut self, value: f64) {
        self.put(value.to_be_bytes());
    }

    /// Sixteen bytes.
    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.put(value.0);
    }

    /// One to five bytes of seven bits each, lowest first.
    pub(super) fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            let [low, ..] = value.to_le_bytes();
            self.put([low | 0x80]);
            value >>= 7;
        }
        let [low, ..] = value.to_le_bytes();
        self.put([low]);
    }
}

/// Values with a length before them.
impl Writer {
    fn null(&mut self, field: &'static str, allowed: bool, plain: &[u8]) -> Result<(), Refused> {
        if !allowed {
            return Err(self.refuse(field, EncodeFault::Null));
        }
        self.buffer.extend_from_slice(if self.flexible { &[0] } else { plain });
        Ok(())
    }

    /// A length of 32 bits, or a compact one.
    fn length(&mut self, field: &'static str, length: usize) -> Result<(), Refused> {
        let Ok(found) = i32::try_from(length) else {
            return Err(self.refuse(field, EncodeFault::Length(length)));
        };
        if self.flexible {
            self.varint(found.unsigned_abs() + 1);
        } else {
            self.i32(found);
        }
        Ok(())
    }

    fn short_length(&mut self, field: &'static str, length: usize) -> Result<(), Refused> {
        match i16::try_from(length) {
            Ok(length) => self.i16(length),
            Err(_) => return Err(self.refuse(field, EncodeFault::Length(length))),
        }
        Ok(())
    }

    /// A string; an error if it is longer than 32,767 bytes.
    pub fn string(&mut self, field: &'static str, text: &str) -> Result<(), Refused> {
        if self.flexible && text.len() <= MAX_STRING_BYTES {
            self.length(field, text.len())?;
        } else {
            self.short_length(field, text.len())?;
        }
        self.buffer.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// A string, or null where that is `allowed`.
    pub fn string_or_null(
        &mut self,
        field: &'static str,
        text: Option<&str>,
        allowed: bool,
    ) -> Result<(), Refused> {
        match text {
            None => self.null(field, allowed, &[0xff; 2]),
            Some(text) => self.string(field, text),
        }
    }

    /// As [`Writer::string_or_null`], but with a length of 16 bits in flexible versions too.
    pub fn fixed_string_or_null(
        &mut self,
        field: &'static str,
        text: Option<&str>,
        allowed: bool,
    ) -> Result<(), Refused> {
        match text {
            None if !allowed => Err(self.refuse(field, EncodeFault::Null)),
            None => {
                self.i16(-1);
                Ok(())
            }
            Some(text) => {
                self.short_length(field, text.len())?;
                self.buffer.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }
    }

    /// Bytes, copied.
    pub fn bytes(&mut self, field: &'static str, bytes: &[u8]) -> Result<(), Refused> {
        self.length(field, bytes.len())?;
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Bytes, copied, or null where that is `allowed`.
    pub fn bytes_or_null(
        &mut self,
        field: &'static str,
        bytes: Option<&[u8]>,
        allowed: bool,
    ) -> Result<(), Refused> {
        match bytes {
            None => self.null(field, allowed, &[0xff; 4]),
            Some(bytes) => self.bytes(field, bytes),
        }
    }

    /// Record batches, or null where that is `allowed`. Those in shared memory are not copied.
    pub fn records_or_null(
        &mut self,
        field: &'static str,
        records: Option<&Records<'_>>,
        allowed: bool,
    ) -> Result<(), Refused> {
        let Some(records) = records else { return self.null(field, allowed, &[0xff; 4]) };
        self.length(field, records.len())?;
        match records {
            Records::Borrowed(bytes) => self.buffer.extend_from_slice(bytes),
            Records::Shared(bytes) => self.share(bytes),
            Records::Chunks(chunks) => chunks.iter().for_each(|bytes| self.share(bytes)),
        }
        Ok(())
    }

    fn share(&mut self, bytes: &Bytes) {
        if !bytes.is_empty() {
            if self.shared.is_empty() {
                self.shared.reserve(FIRST_SHARED);
            }
            self.shared.push((self.buffer.len(), bytes.clone()));
            self.shared_bytes += bytes.len();
        }
    }

    /// A struct.
    pub fn structure<'a, T: Element<'a>>(&mut self, field: &'static str, value: &T) -> Result<(), Refused> {
        value.write(self, field)
    }

    /// A struct with a byte before it that tells whether it is null, where that is `allowed`.
    pub fn structure_or_null<'a, T: Element<'a>>(
        &mut self,
        field: &'static str,
        value: Option<&T>,
        allowed: bool,
    ) -> Result<(), Refused> {
        match value {
            None if !allowed => Err(self.refuse(field, EncodeFault::Null)),
            None => {
                self.i8(-1);
                Ok(())
            }
            Some(value) => {
                self.i8(1);
                value.write(self, field)
            }
        }
    }

    /// An array.
    pub fn array<'a, T: Element<'a>>(
        &mut self,
        field: &'static str,
        array: &Array<'a, T>,
    ) -> Result<(), Refused> {
        self.length(field, array.len())?;
        array.write_elements(self, field)
    }

    /// An array, or null where that is `allowed`.
    pub fn array_or_null<'a, T: Element<'a>>(
        &mut self,
        field: &'static str,
        array: Option<&Array<'a, T>>,
        allowed: bool,
    ) -> Result<(), Refused> {
        match array {
            None => self.null(field, allowed, &[0xff; 4]),
            Some(array) => self.array(field, array),
        }
    }
}
