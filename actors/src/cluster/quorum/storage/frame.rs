//! The bytes of the quorum's files: checked pages that say what a file holds, and the frames of the log. Pure.
//!
//! A file begins with pages of [`PAGE_BYTES`]. A page holds one record: magic, format version, length, body, CRC-32C.
//! A log frame is length, CRC-32C, payload; the checksum also covers the file's generation and the frame's position, so
//! that what an earlier use of the same file left behind is never taken for a frame of this one.

use crc_fast::{CrcAlgorithm, Digest};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first format.
pub(crate) const VERSION: u16 = 1;
/// Pages are written whole or not at all where the disk keeps sectors whole; a torn one fails its checksum.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// Before a frame's payload: length and checksum.
pub(crate) const FRAME_HEADER_BYTES: usize = 8;

const PAGE_HEADER_BYTES: usize = 10;

/// What a page or frame is refused for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PageError {
    /// Never written, or cut short, or changed since.
    #[error("its checksum or magic is wrong")]
    Invalid,
    /// Written by a later program.
    #[error(
        "it has format version {0}, this program knows {VERSION}: it was written by a later version of millstream"
    )]
    Newer(u16),
}

/// CRC-32C over several slices.
pub(crate) fn checksum(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    u32::try_from(digest.finalize()).unwrap_or_default()
}

/// A page that holds `body`.
pub(crate) fn encode_page<T: Serialize>(magic: [u8; 4], body: &T) -> Result<Vec<u8>, postcard::Error> {
    let body = postcard::to_stdvec(body)?;
    let length = u32::try_from(body.len()).map_err(|_| postcard::Error::SerializeBufferFull)?;
    let mut page = Vec::with_capacity(body.len() + PAGE_HEADER_BYTES + 4);
    page.extend_from_slice(&magic);
    page.extend_from_slice(&VERSION.to_le_bytes());
    page.extend_from_slice(&length.to_le_bytes());
    page.extend_from_slice(&body);
    let sum = checksum(&[&page]);
    page.extend_from_slice(&sum.to_le_bytes());
    Ok(page)
}

/// The body of a page.
pub(crate) fn decode_page<T: DeserializeOwned>(magic: [u8; 4], page: &[u8]) -> Result<T, PageError> {
    let header = page.get(..PAGE_HEADER_BYTES).ok_or(PageError::Invalid)?;
    if header.get(..4) != Some(magic.as_slice()) {
        return Err(PageError::Invalid);
    }
    let length =
        usize::try_from(read_u32(header, 6).ok_or(PageError::Invalid)?).map_err(|_| PageError::Invalid)?;
    let end = PAGE_HEADER_BYTES.checked_add(length).ok_or(PageError::Invalid)?;
    let covered = page.get(..end).ok_or(PageError::Invalid)?;
    if read_u32(page, end) != Some(checksum(&[covered])) {
        return Err(PageError::Invalid);
    }
    let version = header.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes);
    match version {
        Some(VERSION) => {}
        Some(other) => return Err(PageError::Newer(other)),
        None => return Err(PageError::Invalid),
    }
    let body = covered.get(PAGE_HEADER_BYTES..).ok_or(PageError::Invalid)?;
    postcard::from_bytes(body).map_err(|_| PageError::Invalid)
}

/// Appends the frame of `payload` to `out`, as it stands at `position` in a file of this generation.
pub(crate) fn encode_frame(generation: u64, position: u64, payload: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(length) = u32::try_from(payload.len()) else {
        return false;
    };
    let length = length.to_le_bytes();
    let sum = checksum(&[&generation.to_le_bytes(), &position.to_le_bytes(), &length, payload]);
    out.extend_from_slice(&length);
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(payload);
    true
}

/// The payload of the frame that begins `bytes`; `None` where there is no valid one.
pub(crate) fn decode_frame(generation: u64, position: u64, bytes: &[u8]) -> Option<&[u8]> {
    let length = read_u32(bytes, 0)?;
    let sum = read_u32(bytes, 4)?;
    let end = FRAME_HEADER_BYTES.checked_add(usize::try_from(length).ok()?)?;
    let payload = bytes.get(FRAME_HEADER_BYTES..end)?;
    let found =
        checksum(&[&generation.to_le_bytes(), &position.to_le_bytes(), &length.to_le_bytes(), payload]);
    (found == sum && length > 0).then_some(payload)
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let slice = bytes.get(at..at.checked_add(4)?)?;
    slice.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_its_golden_bytes() {
        let page = encode_page(*b"MSQT", &(7_u64, "ab")).unwrap();
        assert_eq!(
            page,
            [77, 83, 81, 84, 1, 0, 4, 0, 0, 0, 7, 2, 97, 98]
                .into_iter()
                .chain(checksum(&[&[77, 83, 81, 84, 1, 0, 4, 0, 0, 0, 7, 2, 97, 98]]).to_le_bytes())
                .collect::<Vec<u8>>()
        );
        assert_eq!(decode_page::<(u64, String)>(*b"MSQT", &page), Ok((7, "ab".into())));
    }

    #[test]
    fn the_checksum_is_crc_32c() {
        assert_eq!(checksum(&[b"1234", b"56789"]), 0xE306_9283);
    }

    #[test]
    fn a_page_of_a_later_version_says_so() {
        let mut page = encode_page(*b"MSQT", &1_u8).unwrap();
        page[4] = 9;
        let covered = page.len() - 4;
        let sum = checksum(&[&page[..covered]]);
        page[covered..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(decode_page::<u8>(*b"MSQT", &page), Err(PageError::Newer(9)));
    }

    #[test]
    fn every_flipped_bit_of_a_page_or_frame_is_seen() {
        let page = encode_page(*b"MSQT", &[1_u8, 2, 3].to_vec()).unwrap();
        let mut frame = Vec::new();
        assert!(encode_frame(3, 8192, b"payload", &mut frame));
        for bit in 0..page.len() * 8 {
            let mut bad = page.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_page::<Vec<u8>>(*b"MSQT", &bad).is_err());
        }
        for bit in 0..frame.len() * 8 {
            let mut bad = frame.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_frame(3, 8192, &bad), None);
        }
    }

    #[test]
    fn a_frame_of_another_generation_or_place_is_none() {
        let mut frame = Vec::new();
        assert!(encode_frame(3, 8192, b"payload", &mut frame));
        assert_eq!(decode_frame(3, 8192, &frame), Some(b"payload".as_slice()));
        assert_eq!(decode_frame(2, 8192, &frame), None);
        assert_eq!(decode_frame(3, 8200, &frame), None);
    }
}
