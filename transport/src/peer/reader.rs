//! Frames off a stream.

use std::sync::Arc;

use quinn::{ReadError, RecvStream};

use super::counters::PeerCounters;
use super::error::{code, explain};
use crate::frame::{Assembler, Frame, FrameError};

/// Most bytes taken off the stream at once.
const PIECE_BYTES: usize = 256 << 10;

/// Reads frames off one stream.
#[derive(Debug)]
pub(super) struct FrameReader {
    stream: RecvStream,
    assembler: Assembler,
    counters: Arc<PeerCounters>,
}

/// Why there is no next frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadFailure {
    /// What came is no frame.
    #[error(transparent)]
    Garbage(#[from] FrameError),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    CutShort,
    /// The stream was given up by the other side.
    #[error("the other side gave the stream up (code {0})")]
    GivenUp(u64),
    /// The link ended.
    #[error("{0}")]
    Lost(String),
}

impl ReadFailure {
    /// How to end the link after it: garbage is told as such.
    pub(super) fn close_code(&self) -> quinn::VarInt {
        match self {
            Self::Garbage(_) | Self::CutShort => code::GARBAGE,
            Self::GivenUp(_) | Self::Lost(_) => code::CUT,
        }
    }
}

impl FrameReader {
    pub(super) fn new(stream: RecvStream, limit: usize, counters: Arc<PeerCounters>) -> Self {
        Self { stream, assembler: Assembler::new(limit), counters }
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.assembler.set_limit(limit);
    }

    /// The next frame; `None` at the end of the stream. Dropping the future loses nothing: call again.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>, ReadFailure> {
        loop {
            if let Some(frame) = self.assembler.next_frame()? {
                self.counters.received_bytes.add(frame.bytes());
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(PIECE_BYTES, true).await {
                Ok(Some(piece)) => self.assembler.push(piece.bytes),
                Ok(None) if self.assembler.is_between_frames() => return Ok(None),
                Ok(None) => return Err(ReadFailure::CutShort),
                Err(ReadError::Reset(code)) => return Err(ReadFailure::GivenUp(code.into_inner())),
                Err(ReadError::ConnectionLost(error)) => return Err(ReadFailure::Lost(explain(&error))),
                Err(error) => return Err(ReadFailure::Lost(error.to_string())),
            }
        }
    }

    /// Tells the other side that nothing more is read.
    pub(super) fn stop(&mut self) {
        let _ = self.stream.stop(code::CUT);
    }
}
