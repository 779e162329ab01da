//! The codecs of record batches, each as Kafka's Java client frames it.
//!
//! Unpacking is bounded: no codec is trusted with how large its output says it will be.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::io::{self, Read};

use super::codec::Codec;
use super::problem::BatchProblem;

impl Codec {
    /// Unpacks `packed`; an error if that gives more than `limit` bytes.
    pub fn unpack(self, packed: &[u8], limit: usize) -> Result<Vec<u8>, BatchProblem> {
        let unpacked = match self {
            Self::None => read_bounded(packed, packed.len(), limit),
            Self::Gzip => gzip::unpack(packed, limit),
            Self::Snappy => snappy::unpack(packed, limit),
            Self::Lz4 => lz4::unpack(packed, limit),
            Self::Zstd => zstd::unpack(packed, limit),
        };
        match unpacked {
            Ok(bytes) if bytes.len() <= limit => Ok(bytes),
            Ok(_) => Err(BatchProblem::UnpacksTooLarge { limit }),
            Err(error) => Err(BatchProblem::Unpack { codec: self, reason: error.to_string() }),
        }
    }
}

/// Unpacks `packed` as it is read; one block of it that says it is larger than `limit` is not unpacked. Whoever reads bounds
/// how much.
pub(super) fn unpacking(codec: Codec, packed: &[u8], limit: usize) -> io::Result<Box<dyn Read + '_>> {
    Ok(match codec {
        Codec::None => Box::new(packed),
        Codec::Gzip => Box::new(gzip::reader(packed)),
        Codec::Snappy => Box::new(snappy::reader(packed, limit)),
        Codec::Lz4 => Box::new(lz4::reader(packed)),
        Codec::Zstd => Box::new(zstd::reader(packed)?),
    })
}

/// A codec and how hard it tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compression {
    /// The codec.
    pub codec: Codec,
    /// Level of gzip (1 to 9, default 6) or zstd (1 to 22, default 3); the others have none. Out of bounds is clamped.
    pub level: Option<i32>,
}

impl Compression {
    /// No compression.
    pub const NONE: Self = Self { codec: Codec::None, level: None };

    /// A codec at its default level.
    #[must_use]
    pub const fn of(codec: Codec) -> Self {
        Self { codec, level: None }
    }

    /// Appends `records`, packed, to `out`.
    pub fn pack(self, records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self.codec {
            Codec::None => out.extend_from_slice(records),
            Codec::Gzip => gzip::pack(records, self.level, out)?,
            Codec::Snappy => snappy::pack(records, out)?,
            Codec::Lz4 => lz4::pack(records, out)?,
            Codec::Zstd => zstd::pack(records, self.level, out)?,
        }
        Ok(())
    }
}

/// Reads to the end, or one byte past `limit`, which tells the caller that there is too much.
fn read_bounded(reader: impl Read, packed: usize, limit: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(packed.saturating_mul(3).min(limit));
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(most).read_to_end(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(codec: Codec, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Compression::of(codec).pack(bytes, &mut out).unwrap();
        out
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let zeros = vec![0; 8 << 20];
        for codec in Codec::ALL {
            let packed = pack(codec, &zeros);
            assert_eq!(codec.unpack(&packed, zeros.len()).unwrap().len(), zeros.len(), "{codec}");
            let error = codec.unpack(&packed, 1 << 20).unwrap_err();
            assert_eq!(error, BatchProblem::UnpacksTooLarge { limit: 1 << 20 }, "{codec}");
        }
    }

    #[test]
    fn every_level_is_taken() {
        for codec in [Codec::Gzip, Codec::Zstd] {
            for level in [-5, 0, 1, 9, 50] {
                let mut out = Vec::new();
                Compression { codec, level: Some(level) }.pack(b"words and words", &mut out).unwrap();
                assert_eq!(codec.unpack(&out, 100).unwrap(), b"words and words");
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_an_error_or_shorter() {
        let words = b"some words, some more words ".repeat(5000);
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let packed = pack(codec, &words);
            for length in [0, 1, 10, 20, packed.len() / 2, packed.len() - 1] {
                let unpacked = codec.unpack(&packed[..length], words.len());
                assert!(unpacked.is_err() || unpacked.unwrap().len() <= words.len());
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(bytes: Vec<u8>, repeat in 1_usize..200, codec in 0_u8..5) {
            let codec = Codec::from_number(codec).unwrap();
            let bytes = bytes.repeat(repeat);
            let packed = pack(codec, &bytes);
            prop_assert_eq!(codec.unpack(&packed, bytes.len()).unwrap(), bytes);
        }

        #[test]
        fn garbage_gives_an_error_or_bounded_bytes(bytes: Vec<u8>, codec in 1_u8..5, limit in 0_usize..5000) {
            let codec = Codec::from_number(codec).unwrap();
            if let Ok(unpacked) = codec.unpack(&bytes, limit) {
                prop_assert!(unpacked.len() <= limit);
            }
        }

        #[test]
        fn flipped_bytes_give_an_error_or_bounded_bytes(
            bytes: Vec<u8>, at: prop::sample::Index, flip in 1_u8..255, codec in 1_u8..5,
        ) {
            let codec = Codec::from_number(codec).unwrap();
            let mut packed = pack(codec, &bytes.repeat(50));
            if !packed.is_empty() {
                let at = at.index(packed.len());
                packed[at] ^= flip;
            }
            if let Ok(unpacked) = codec.unpack(&packed, 20_000) {
                prop_assert!(unpacked.len() <= 20_000);
            }
        }
    }
}
