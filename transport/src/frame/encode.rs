//! Message → slices to write.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use serde::Serialize;

use super::{Envelope, FrameError, Head, MAX_FRAME_BYTES, PREFIX_BYTES};

/// A frame to be written: prefix and header in one slice, then its bodies as they were given.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// What to write, in order. No slice is empty.
    pub chunks: Vec<Bytes>,
    /// Their length together.
    pub bytes: usize,
}

/// Encodes `message` with `bodies` behind it; an error if that is longer than `limit`.
pub fn encode<M: Serialize>(
    head: Head,
    message: &M,
    bodies: Vec<Bytes>,
    limit: usize,
) -> Result<Encoded, FrameError> {
    let limit = limit.min(MAX_FRAME_BYTES);
    let body_bytes = bodies.iter().map(Bytes::len).sum::<usize>();
    let mut header = header_region(head, message, &bodies, limit)?;
    let region = header.len() - PREFIX_BYTES;
    let length = region.saturating_add(body_bytes);
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    write_prefix(&mut header, head, length, region)?;
    let bytes = PREFIX_BYTES + length;
    let mut chunks = Vec::with_capacity(1 + bodies.len());
    chunks.push(Bytes::from(header));
    chunks.extend(bodies.into_iter().filter(|body| !body.is_empty()));
    Ok(Encoded { chunks, bytes })
}

/// Room for the prefix, then envelope, body table and message.
fn header_region<M: Serialize>(
    head: Head,
    message: &M,
    bodies: &[Bytes],
    limit: usize,
) -> Result<Vec<u8>, FrameError> {
    let mut header = Vec::with_capacity(128);
    header.resize(PREFIX_BYTES, 0);
    let envelope = Envelope { form: head.form, correlation: head.correlation };
    header = append(&envelope, header)?;
    header.extend_from_slice(&length_u32(bodies.len(), limit)?.to_le_bytes());
    for body in bodies {
        header.extend_from_slice(&length_u32(body.len(), limit)?.to_le_bytes());
    }
    append(message, header)
}

fn append<T: Serialize>(value: &T, to: Vec<u8>) -> Result<Vec<u8>, FrameError> {
    postcard::to_extend(value, to).map_err(|error| FrameError::Unwritable(error.to_string()))
}

fn length_u32(length: usize, limit: usize) -> Result<u32, FrameError> {
    u32::try_from(length).map_err(|_| FrameError::TooLong { length, limit })
}

fn write_prefix(header: &mut [u8], head: Head, length: usize, region: usize) -> Result<(), FrameError> {
    let Some((prefix, rest)) = header.split_first_chunk_mut::<PREFIX_BYTES>() else {
        return Err(FrameError::Length { expected: PREFIX_BYTES, found: header.len() });
    };
    let fields = Fields {
        length: length_u32(length, MAX_FRAME_BYTES)?,
        header: length_u32(region, MAX_FRAME_BYTES)?,
        kind: head.kind,
        version: head.version,
    };
    *prefix = fields.with_checksum(fields.checksum(rest));
    Ok(())
}

/// The numbers of the prefix that the checksum covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    pub(super) length: u32,
    pub(super) header: u32,
    pub(super) kind: u16,
    pub(super) version: u16,
}

impl Fields {
    pub(super) fn checksum(self, region: &[u8]) -> u32 {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        let [prefix @ .., _, _, _, _] = self.in_order();
        digest.update(&prefix);
        digest.update(region);
        let [low, next, third, high, ..] = digest.finalize().to_le_bytes();
        u32::from_le_bytes([low, next, third, high])
    }

    /// The twelve covered bytes, then four zeros.
    fn in_order(self) -> [u8; PREFIX_BYTES] {
        let [l0, l1, l2, l3] = self.length.to_le_bytes();
        let [h0, h1, h2, h3] = self.header.to_le_bytes();
        let ([k0, k1], [v0, v1]) = (self.kind.to_le_bytes(), self.version.to_le_bytes());
        [l0, l1, l2, l3, h0, h1, h2, h3, k0, k1, v0, v1, 0, 0, 0, 0]
    }

    fn with_checksum(self, checksum: u32) -> [u8; PREFIX_BYTES] {
        let [l0, l1, l2, l3, h0, h1, h2, h3, k0, k1, v0, v1, ..] = self.in_order();
        let [c0, c1, c2, c3] = checksum.to_le_bytes();
        [l0, l1, l2, l3, h0, h1, h2, h3, c0, c1, c2, c3, k0, k1, v0, v1]
    }
}
