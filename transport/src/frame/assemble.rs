//! Pieces of a stream, as they arrive → frames.

use bytes::{Buf, Bytes};

use super::{Frame, FrameError, PREFIX_BYTES, Prefix};

/// Memory set aside for a frame before its bytes are there; more follows as they come.
const STEP_BYTES: usize = 1 << 20;

/// Puts frames together from pieces of any size.
///
/// Each frame gets memory of its own, of its own length: who keeps a body keeps no more than its frame alive.
#[derive(Debug)]
pub struct Assembler {
    limit: usize,
    piece: Bytes,
    prefix: PartialPrefix,
    begun: Option<(Prefix, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct PartialPrefix {
    bytes: [u8; PREFIX_BYTES],
    filled: usize,
}

impl PartialPrefix {
    fn fill(&mut self, piece: &mut Bytes) -> Option<[u8; PREFIX_BYTES]> {
        let missing = self.bytes.get_mut(self.filled..).unwrap_or_default();
        let count = missing.len().min(piece.len());
        if let Some(missing) = missing.get_mut(..count) {
            piece.copy_to_slice(missing);
        }
        self.filled += count;
        if self.filled < PREFIX_BYTES {
            return None;
        }
        self.filled = 0;
        Some(self.bytes)
    }
}

impl Assembler {
    /// Takes frames of at most so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, piece: Bytes::new(), prefix: PartialPrefix::default(), begun: None }
    }

    /// From now on takes frames of at most so many bytes.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Gives it the next piece, once [`Assembler::next_frame`] had no more of the last one.
    pub fn push(&mut self, piece: Bytes) {
        debug_assert!(self.piece.is_empty(), "the last piece is not used up");
        self.piece = piece;
    }

    /// Whether the stream may end here without cutting a frame in two.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.prefix.filled == 0 && self.begun.is_none() && self.piece.is_empty()
    }

    /// Of the frame that has begun and is not whole: how many bytes it has in all, and how many have come.
    #[must_use]
    pub fn begun_bytes(&self) -> Option<(usize, usize)> {
        self.begun.as_ref().map(|(prefix, came)| (PREFIX_BYTES + prefix.length(), PREFIX_BYTES + came.len()))
    }

    /// The next whole frame; `None` if it takes another piece. After an error the stream is of no more use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let (prefix, mut bytes) = match self.begun.take() {
            Some(begun) => begun,
            None => {
                let Some(prefix) = self.prefix.fill(&mut self.piece) else { return Ok(None) };
                let prefix = Prefix::parse(prefix, self.limit)?;
                (prefix, Vec::with_capacity(prefix.length().min(STEP_BYTES)))
            }
        };
        let missing = prefix.length() - bytes.len();
        let part = self.piece.split_to(missing.min(self.piece.len()));
        if bytes.capacity() - bytes.len() < part.len() {
            bytes.reserve_exact(missing.min(bytes.len().max(STEP_BYTES)));
        }
        bytes.extend_from_slice(&part);
        if bytes.len() < prefix.length() {
            self.begun = Some((prefix, bytes));
            return Ok(None);
        }
        prefix.decode(Bytes::from(bytes)).map(Some)
    }
}

#[cfg(test)]
impl Assembler {
    pub(super) fn memory_bytes(&self) -> usize {
        self.begun.as_ref().map_or(0, |(_, bytes)| bytes.capacity())
    }
}
