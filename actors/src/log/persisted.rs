//! The envelope of every small file of a log: kind, version, length, checksum, payload.
//!
//! ```text
//! 0   4  "MSLG"
//! 4   2  kind
//! 6   2  version of this kind
//! 8   4  bytes of payload
//! 12  4  CRC-32C of kind, version, length and payload
//! 16  -  payload
//! ```
//!
//! Integers are little-endian. What follows the payload is not looked at, so that a file may lie in reserved space
//! larger than itself, and several envelopes may follow each other.

use std::path::Path;
use std::sync::Arc;

use super::error::LogError;

/// Bytes before the payload.
pub(super) const ENVELOPE_BYTES: usize = 16;

const MAGIC: [u8; 4] = *b"MSLG";

/// What an envelope holds, and the newest version of it that this program knows (and writes).
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) code: u16,
    pub(super) version: u16,
}

/// The kinds there are. A number is never used twice.
pub(super) const DURABLE_ENDS: Kind = Kind { code: 1, version: 1 };
pub(super) const INDEX_BLOCK: Kind = Kind { code: 2, version: 1 };
pub(super) const EPOCHS: Kind = Kind { code: 3, version: 1 };
pub(super) const PRODUCERS: Kind = Kind { code: 4, version: 1 };

/// Why an envelope could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Bytes are missing, wrong, or of another kind.
    Damaged(&'static str),
    /// A newer program wrote it.
    Newer { found: u16, known: u16 },
}

impl Unreadable {
    pub(super) fn in_file(self, file: &Path) -> LogError {
        match self {
            Self::Damaged(found) => LogError::Damaged { file: file.to_path_buf(), found: Arc::from(found) },
            Self::Newer { found, known } => {
                LogError::NewerFormat { file: file.to_path_buf(), found: found.into(), known: known.into() }
            }
        }
    }
}

/// CRC-32C (Castagnoli).
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The payload in its envelope.
pub(super) fn seal(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENVELOPE_BYTES + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&kind.code.to_le_bytes());
    bytes.extend_from_slice(&kind.version.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    let crc = checksum(kind.code, kind.version, payload);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The payload of an envelope at the start of `bytes`.
pub(super) fn unseal(kind: Kind, bytes: &[u8]) -> Result<&[u8], Unreadable> {
    let mut reader = Reader(bytes);
    let short = Unreadable::Damaged("it is too short");
    if reader.array::<4>().ok_or(short)? != MAGIC {
        return Err(Unreadable::Damaged("it does not begin as such a file does"));
    }
    let code = reader.u16().ok_or(short)?;
    let version = reader.u16().ok_or(short)?;
    let length = reader.u32().ok_or(short)?;
    let crc = reader.u32().ok_or(short)?;
    if code != kind.code {
        return Err(Unreadable::Damaged("it is a file of another kind"));
    }
    let payload = usize::try_from(length).ok().and_then(|length| reader.0.get(..length)).ok_or(short)?;
    if checksum(code, version, payload) != crc {
        return Err(Unreadable::Damaged("its checksum is wrong"));
    }
    if version > kind.version {
        return Err(Unreadable::Newer { found: version, known: kind.version });
    }
    Ok(payload)
}

fn checksum(code: u16, version: u16, payload: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&code.to_le_bytes());
    digest.update(&version.to_le_bytes());
    digest.update(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    digest.update(payload);
    u32::try_from(digest.finalize()).unwrap_or_default()
}

/// Takes fixed little-endian integers off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_gives_back_its_payload_and_ignores_what_follows() {
        let mut bytes = seal(EPOCHS, b"abc");
        bytes.extend_from_slice(b"left over");
        assert_eq!(unseal(EPOCHS, &bytes), Ok(&b"abc"[..]));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = seal(EPOCHS, b"abc");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(EPOCHS, &flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(unseal(EPOCHS, &bytes[..length]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let bytes = seal(Kind { version: 9, ..EPOCHS }, b"abc");
        assert_eq!(unseal(EPOCHS, &bytes), Err(Unreadable::Newer { found: 9, known: 1 }));
    }

    #[test]
    fn the_bytes_of_version_one_stay_as_they_are() {
        assert_eq!(seal(EPOCHS, b"abc"), *b"MSLG\x03\x00\x01\x00\x03\x00\x00\x00\x97\xe7\xbb\x0cabc");
    }
}
