//! Snappy as snappy-java frames it: a magic header, then blocks of 32 KiB, each behind its length.
//!
//! Other clients (librdkafka among them) write one bare block; it is read, too.

use std::io::{self, Read};

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_BYTES: usize = 16;
const BLOCK_BYTES: usize = 32 << 10;

/// No snappy block unpacks to more than this many times its size: three bytes copy at most 64.
const LARGEST_RATIO: usize = 22;

pub(super) fn pack(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&1_u32.to_be_bytes());
    out.extend_from_slice(&1_u32.to_be_bytes());
    let mut encoder = Encoder::new();
    let mut packed = vec![0; max_compress_len(records.len().min(BLOCK_BYTES))];
    for block in records.chunks(BLOCK_BYTES) {
        let length = encoder.compress(block, &mut packed)?;
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(packed.get(..length).unwrap_or_default());
    }
    Ok(())
}

pub(super) fn unpack(packed: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut blocks = Blocks::of(packed);
    // One byte past the limit tells the caller that there is too much.
    while out.len() <= limit
        && let Some(packed) = blocks.next_block()?
    {
        block(packed, limit, &mut out)?;
    }
    Ok(out)
}

/// Unpacks block by block; one over the limit is an error of kind `FileTooLarge`.
pub(super) fn reader(packed: &[u8], limit: usize) -> Unpacking<'_> {
    Unpacking { blocks: Blocks::of(packed), limit, block: Vec::new(), read: 0 }
}

pub(super) struct Unpacking<'a> {
    blocks: Blocks<'a>,
    limit: usize,
    block: Vec<u8>,
    read: usize,
}

impl Read for Unpacking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read >= self.block.len() {
            let Some(packed) = self.blocks.next_block()? else { return Ok(0) };
            self.block.clear();
            self.read = 0;
            block(packed, self.limit, &mut self.block)?;
            if self.block.len() > self.limit {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        let taken = self.block.get(self.read..).unwrap_or_default().read(buffer)?;
        self.read = self.read.saturating_add(taken);
        Ok(taken)
    }
}

/// The blocks of a frame, or the one bare block.
struct Blocks<'a> {
    rest: &'a [u8],
    is_bare: bool,
}

impl<'a> Blocks<'a> {
    fn of(packed: &'a [u8]) -> Self {
        let is_bare = !packed.starts_with(&MAGIC);
        let rest = if is_bare { packed } else { packed.get(HEADER_BYTES..).unwrap_or_default() };
        Self { rest, is_bare }
    }

    fn next_block(&mut self) -> io::Result<Option<&'a [u8]>> {
        if std::mem::take(&mut self.is_bare) {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (length, behind) =
            self.rest.split_first_chunk::<4>().ok_or_else(|| broken("a block's length"))?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (packed, behind) = behind.split_at_checked(length).ok_or_else(|| broken("a block"))?;
        self.rest = behind;
        Ok(Some(packed))
    }
}

/// Unpacks one block behind what is in `out`, or leaves `out` larger than `limit`.
fn block(packed: &[u8], limit: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let length = decompress_len(packed)?;
    if length > packed.len().saturating_mul(LARGEST_RATIO) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a block says it is larger than any can be"));
    }
    let start = out.len();
    let end = start.saturating_add(length);
    if end > limit {
        out.resize(limit.saturating_add(1), 0);
        return Ok(());
    }
    out.resize(end, 0);
    Decoder::new().decompress(packed, out.get_mut(start..).unwrap_or_default())?;
    Ok(())
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("{what} is cut off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_block_is_read() {
        let packed = Encoder::new().compress_vec(b"bare bare bare").unwrap();
        assert_eq!(unpack(&packed, 100).unwrap(), b"bare bare bare");
    }

    #[test]
    fn several_blocks_are_framed_and_read() {
        let words = b"0123456789".repeat(10_000);
        let mut packed = Vec::new();
        pack(&words, &mut packed).unwrap();
        assert_eq!(packed[..8], MAGIC);
        assert_eq!(packed[8..16], [0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(unpack(&packed, words.len()).unwrap(), words);
    }

    #[test]
    fn a_block_that_lies_about_its_size_allocates_nothing() {
        // A varint of 128 MiB, and nothing behind it.
        assert!(unpack(&[0x80, 0x80, 0x80, 0x40], 1 << 30).is_err());
    }
}
