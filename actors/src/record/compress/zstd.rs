//! Zstandard.

use std::io::{self, Write};

use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

use super::read_bounded;

pub(super) fn pack(records: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = Encoder::new(out, level.map_or(3, |level| level.clamp(1, 22)))?;
    // Told the size, it does not ask the reader for a window larger than the records.
    encoder.set_pledged_src_size(u64::try_from(records.len()).ok())?;
    encoder.write_all(records)?;
    encoder.finish()?;
    Ok(())
}

pub(super) fn unpack(packed: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    read_bounded(reader(packed)?, packed.len(), limit)
}

/// The decoder refuses windows over 128 MiB, its default; a window is memory only as far as it is filled, and that the
/// limit bounds. Lower would refuse what Java clients write at level 22.
pub(super) fn reader(packed: &[u8]) -> io::Result<Decoder<'static, &[u8]>> {
    Decoder::with_buffer(packed)
}
