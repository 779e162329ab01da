//! The primitive types of Kafka's schemas, written and read.

use std::sync::Arc;

use uuid::Uuid;

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// They end too early.
    #[error("it ends {0} bytes too early")]
    Truncated(usize),
    /// A length or count is negative, or more than there can be.
    #[error("a length of {0} is not possible")]
    Length(i64),
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// The version of the value is not one known here.
    #[error("version {0} of the value is not known")]
    Version(i16),
    /// The value is not one of its schema.
    #[error("the value is not one of its schema")]
    Body,
    /// The state of a member is not one known here.
    #[error("state {0} of a member is not known")]
    State(i8),
}

/// Writes primitives. Lengths that do not fit are cut off at what does: callers have checked theirs long before.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn i8(&mut self, value: i8) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn uuid(&mut self, value: Uuid) {
        self.0.extend(value.as_bytes());
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    pub(super) fn varint(&mut self, value: usize) {
        let mut left = value;
        while left >= 0x80 {
            self.0.push(u8::try_from(left & 0x7f).unwrap_or_default() | 0x80);
            left >>= 7;
        }
        self.0.push(u8::try_from(left).unwrap_or_default());
    }

    /// A string with two bytes of length.
    pub(super) fn string(&mut self, text: &str) {
        let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
        self.i16(length);
        self.0.extend(text.bytes().take(usize::from(length.unsigned_abs())));
    }

    /// As [`Self::string`]; nothing has the length -1.
    pub(super) fn nullable(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None => self.i16(-1),
        }
    }

    /// Bytes with four bytes of length.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        self.0.extend(bytes);
    }

    /// Bytes of a flexible version: their length plus one as varint.
    pub(super) fn compact_bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() + 1);
        self.0.extend(bytes);
    }

    /// A string of a flexible version: its length plus one as varint.
    pub(super) fn compact_string(&mut self, text: &str) {
        self.varint(text.len() + 1);
        self.0.extend(text.bytes());
    }

    /// As [`Self::compact_string`]; nothing is a 0.
    pub(super) fn compact_nullable(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.compact_string(text),
            None => self.varint(0),
        }
    }

    /// An array of a flexible version: its count plus one as varint, then the elements.
    pub(super) fn compact_array<T>(
        &mut self,
        elements: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.varint(elements.len() + 1);
        for element in elements {
            write(self, element);
        }
    }

    /// That no tagged fields follow.
    pub(super) fn no_tags(&mut self) {
        self.varint(0);
    }
}

/// Reads primitives. Nothing is allocated for a count before there are bytes for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or_else(|| RecordError::Truncated(count - self.0.len()))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| RecordError::Truncated(N))
    }

    pub(super) fn i8(&mut self) -> Result<i8, RecordError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub(super) fn i16(&mut self) -> Result<i16, RecordError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, RecordError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, RecordError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, RecordError> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    pub(super) fn varint(&mut self) -> Result<usize, RecordError> {
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return usize::try_from(value).map_err(|_| RecordError::Length(value.into()));
            }
        }
        Err(RecordError::Length(value.into()))
    }

    fn text(&mut self, length: usize) -> Result<Arc<str>, RecordError> {
        std::str::from_utf8(self.take(length)?).map(Arc::from).map_err(|_| RecordError::NotUtf8)
    }

    pub(super) fn string(&mut self) -> Result<Arc<str>, RecordError> {
        let length = self.i16()?;
        let length = usize::try_from(length).map_err(|_| RecordError::Length(length.into()))?;
        self.text(length)
    }

    pub(super) fn nullable(&mut self) -> Result<Option<Arc<str>>, RecordError> {
        match self.i16()? {
            -1 => Ok(None),
            length => {
                self.text(usize::try_from(length).map_err(|_| RecordError::Length(length.into()))?).map(Some)
            }
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let length = self.i32()?;
        self.take(usize::try_from(length).map_err(|_| RecordError::Length(length.into()))?)
    }

    /// Bytes of a flexible version.
    pub(super) fn compact_bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let length = self.varint()?.checked_sub(1).ok_or(RecordError::Length(-1))?;
        self.take(length)
    }

    /// An array with four bytes of count.
    pub(super) fn array_of<T>(
        &mut self,
        read: impl FnMut(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Vec<T>, RecordError> {
        let count = self.i32()?;
        let count = usize::try_from(count).map_err(|_| RecordError::Length(count.into()))?;
        self.elements(count, read)
    }

    pub(super) fn compact_nullable(&mut self) -> Result<Option<Arc<str>>, RecordError> {
        match self.varint()?.checked_sub(1) {
            Some(length) => self.text(length).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn compact_string(&mut self) -> Result<Arc<str>, RecordError> {
        self.compact_nullable()?.ok_or(RecordError::Length(-1))
    }

    pub(super) fn compact_array<T>(
        &mut self,
        read: impl FnMut(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Vec<T>, RecordError> {
        let count = self.varint()?.saturating_sub(1);
        self.elements(count, read)
    }

    fn elements<T>(
        &mut self,
        count: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Vec<T>, RecordError> {
        if count > self.0.len() {
            return Err(RecordError::Truncated(count - self.0.len()));
        }
        // Grows as elements are read: an element may be larger here than its bytes there.
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(read(self)?);
        }
        Ok(elements)
    }

    /// The tagged fields: each is offered to `take`, which leaves alone what it does not know.
    pub(super) fn tags(
        &mut self,
        mut take: impl FnMut(usize, &mut Self) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()?;
            take(tag, &mut Reader(self.take(size)?))?;
        }
        Ok(())
    }

    /// Tagged fields of which none is known here.
    pub(super) fn skip_tags(&mut self) -> Result<(), RecordError> {
        self.tags(|_, _| Ok(()))
    }
}
