//! Bytes received → frame.

use bytes::{Buf, Bytes};

use super::encode::Fields;
use super::{Envelope, Frame, FrameError, Head, MAX_FRAME_BYTES, PREFIX_BYTES};

/// The prefix of a frame that is still to come.
#[derive(Clone, Copy, Debug)]
pub struct Prefix {
    fields: Fields,
    checksum: u32,
    length: usize,
    header: usize,
}

impl Prefix {
    /// Reads a prefix; an error if it promises more than `limit` bytes or contradicts itself.
    pub fn parse(bytes: [u8; PREFIX_BYTES], limit: usize) -> Result<Self, FrameError> {
        let limit = limit.min(MAX_FRAME_BYTES);
        let [l0, l1, l2, l3, h0, h1, h2, h3, c0, c1, c2, c3, k0, k1, v0, v1] = bytes;
        let fields = Fields {
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            header: u32::from_le_bytes([h0, h1, h2, h3]),
            kind: u16::from_le_bytes([k0, k1]),
            version: u16::from_le_bytes([v0, v1]),
        };
        let length = usize::try_from(fields.length).unwrap_or(usize::MAX);
        let header = usize::try_from(fields.header).unwrap_or(usize::MAX);
        if length > limit {
            return Err(FrameError::TooLong { length, limit });
        }
        if header > length {
            return Err(FrameError::HeaderOverrun { header, length });
        }
        let checksum = u32::from_le_bytes([c0, c1, c2, c3]);
        Ok(Self { fields, checksum, length, header })
    }

    /// Bytes that follow the prefix.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Reads what followed the prefix: exactly [`Prefix::length`] bytes.
    pub fn decode(&self, mut rest: Bytes) -> Result<Frame, FrameError> {
        if rest.len() != self.length {
            return Err(FrameError::Length { expected: self.length, found: rest.len() });
        }
        let mut header = rest.split_to(self.header);
        let found = self.fields.checksum(&header);
        if found != self.checksum {
            return Err(FrameError::Checksum { expected: self.checksum, found });
        }
        let envelope = take_envelope(&mut header)?;
        let bodies = take_bodies(&mut header, rest)?;
        let head = Head {
            form: envelope.form,
            kind: self.fields.kind,
            version: self.fields.version,
            correlation: envelope.correlation,
        };
        Ok(Frame { head, header, bodies })
    }
}

fn take_envelope(header: &mut Bytes) -> Result<Envelope, FrameError> {
    let (envelope, left) = postcard::take_from_bytes::<Envelope>(header)
        .map_err(|error| FrameError::Envelope(error.to_string()))?;
    let used = header.len() - left.len();
    header.advance(used);
    Ok(envelope)
}

/// Takes the table of bodies off `header` and cuts `rest` by it.
fn take_bodies(header: &mut Bytes, mut rest: Bytes) -> Result<Vec<Bytes>, FrameError> {
    let count =
        header.try_get_u32_le().map_err(|_| FrameError::BodyTable { count: 0, left: header.len() })?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let left = header.len();
    if count > left / size_of::<u32>() {
        return Err(FrameError::BodyTable { count, left });
    }
    let table = header.split_to(count * size_of::<u32>());
    let lengths = || table.chunks_exact(size_of::<u32>()).map(|mut length| length.get_u32_le());
    let sum = lengths().map(u64::from).sum::<u64>();
    if u64::try_from(rest.len()).ok() != Some(sum) {
        return Err(FrameError::BodySum { sum, left: rest.len() });
    }
    // The sum was just found equal to what is there, so no single length is over it.
    Ok(lengths().map(|length| rest.split_to(usize::try_from(length).unwrap_or(rest.len()))).collect())
}
