//! Frames off a stream.

use std::sync::Arc;

use quinn::{Chunk, ReadError, RecvStream};
use tokio::time::{Instant, timeout_at};

use super::counters::PeerCounters;
use super::error::{code, explain};
use crate::frame::{Assembler, Frame, FrameError};
use crate::intake::{Held, Intake, SHORT_BYTES, patience};

/// Most bytes taken off the stream at once.
const PIECE_BYTES: usize = 256 << 10;

/// Reads frames off one stream.
#[derive(Debug)]
pub(super) struct FrameReader {
    stream: RecvStream,
    assembler: Assembler,
    counters: Arc<PeerCounters>,
    bound: Option<Bound>,
}

/// What bounds the frames of a client.
#[derive(Debug)]
struct Bound {
    intake: Intake,
    /// The place of the frame that has begun, since when, and how much of it had come then.
    held: Option<(Held, Instant, usize)>,
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
    /// A frame came too slowly for the place that it takes.
    #[error("a frame came too slowly: {1} of {0} bytes")]
    Slow(usize, usize),
    /// The link ended.
    #[error("{0}")]
    Lost(String),
}

impl ReadFailure {
    /// How to end the link after it: garbage is told as such.
    pub(super) fn close_code(&self) -> quinn::VarInt {
        match self {
            Self::Garbage(_) | Self::CutShort => code::GARBAGE,
            Self::Slow(..) | Self::GivenUp(_) | Self::Lost(_) => code::CUT,
        }
    }
}

impl FrameReader {
    pub(super) fn new(stream: RecvStream, limit: usize, counters: Arc<PeerCounters>) -> Self {
        Self { stream, assembler: Assembler::new(limit), counters, bound: None }
    }

    /// Frames take no places any more.
    pub(super) fn unbind(&mut self) {
        self.bound = None;
    }

    /// From now on frames take their place among those of all clients.
    pub(super) fn bound_by(&mut self, intake: Intake) {
        self.bound = Some(Bound { intake, held: None });
    }

    /// The place of the frame that came last; `None` where nothing bounds it.
    pub(super) async fn place(&mut self, frame: &Frame) -> Option<Held> {
        let bound = self.bound.as_mut()?;
        match bound.held.take() {
            Some((held, ..)) => Some(held),
            None => Some(bound.intake.take(frame.bytes()).await),
        }
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
            match self.read_piece().await? {
                Ok(Some(piece)) => self.assembler.push(piece.bytes),
                Ok(None) if self.assembler.is_between_frames() => return Ok(None),
                Ok(None) => return Err(ReadFailure::CutShort),
                Err(ReadError::Reset(code)) => return Err(ReadFailure::GivenUp(code.into_inner())),
                Err(ReadError::ConnectionLost(error)) => return Err(ReadFailure::Lost(explain(&error))),
                Err(error) => return Err(ReadFailure::Lost(error.to_string())),
            }
        }
    }

    /// The next piece of the stream. A long frame that has begun has its place first, and must go on coming then.
    async fn read_piece(&mut self) -> Result<Result<Option<Chunk>, ReadError>, ReadFailure> {
        let read = self.stream.read_chunk(PIECE_BYTES, true);
        let begun = self.assembler.begun_bytes().filter(|(_, came)| *came >= SHORT_BYTES);
        let (Some(bound), Some((bytes, came))) = (&mut self.bound, begun) else {
            return Ok(read.await);
        };
        let (_, since, had) = match &mut bound.held {
            Some(held) => held,
            none => none.insert((bound.intake.take(bytes).await, Instant::now(), came)),
        };
        let until = *since + patience(came - *had);
        timeout_at(until, read).await.map_err(|_| ReadFailure::Slow(bytes, came))
    }

    /// Tells the other side that nothing more is read.
    pub(super) fn stop(&mut self) {
        let _ = self.stream.stop(code::CUT);
    }
}
