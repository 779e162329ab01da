//! LZ4's frame format, with what the Java client needs: independent blocks of 64 KiB, no checksum of the content.

use std::io::{self, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::read_bounded;

pub(super) fn pack(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let frame = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(frame, out);
    encoder.write_all(records)?;
    encoder.finish()?;
    Ok(())
}

pub(super) fn unpack(packed: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    read_bounded(reader(packed), packed.len(), limit)
}

pub(super) fn reader(packed: &[u8]) -> FrameDecoder<&[u8]> {
    FrameDecoder::new(packed)
}
