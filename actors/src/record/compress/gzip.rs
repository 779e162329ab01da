//! gzip.

use std::io::{self, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::read_bounded;

pub(super) fn pack(records: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> io::Result<()> {
    let level = level.map_or(6, |level| level.clamp(1, 9).unsigned_abs());
    let mut encoder = GzEncoder::new(out, Compression::new(level));
    encoder.write_all(records)?;
    encoder.finish()?;
    Ok(())
}

pub(super) fn unpack(packed: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    read_bounded(reader(packed), packed.len(), limit)
}

pub(super) fn reader(packed: &[u8]) -> MultiGzDecoder<&[u8]> {
    MultiGzDecoder::new(packed)
}
