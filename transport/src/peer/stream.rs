//! Channels: bulk transfers with a stream of their own, ordered frames both ways.
//!
//! Credit is QUIC's: a sender waits while the other side has a window full of bytes that it has not read
//! (`stream_window_bytes`, and `link_window_bytes` over all streams of the link). A channel ends with its link.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use quinn::{SendStream, WriteError};

use super::counters::PeerCounters;
use super::error::{Fault, code, explain};
use super::reader::{FrameReader, ReadFailure};
use crate::frame::{Form, Frame, FrameError, Head, encode};
use crate::message::{Answer, Message};

/// Why a channel carries nothing more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The link or the channel was ended by the other side or by the network.
    #[error("the channel ended: {0}")]
    Ended(String),
    /// What came is no frame.
    #[error("the channel carried garbage: {0}")]
    Garbage(String),
    /// The message does not fit into a frame; the channel goes on.
    #[error("not sent: {0}")]
    Unsendable(#[from] FrameError),
    /// A send was dropped half-way, so nothing can follow it.
    #[error("an earlier message was sent only in part")]
    Broken,
}

impl From<ReadFailure> for ChannelError {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Garbage(_) | ReadFailure::CutShort => Self::Garbage(failure.to_string()),
            ReadFailure::Slow(..) | ReadFailure::GivenUp(_) | ReadFailure::Lost(_) => {
                Self::Ended(failure.to_string())
            }
        }
    }
}

/// Both directions of a channel.
#[derive(Debug)]
pub struct Channel {
    sender: ChannelSender,
    receiver: ChannelReceiver,
}

impl Channel {
    pub(super) fn new(
        stream: SendStream,
        reader: FrameReader,
        limit: usize,
        counters: Arc<PeerCounters>,
    ) -> Self {
        counters.channels.add_one();
        Self {
            sender: ChannelSender { stream, limit, counters, broken: false },
            receiver: ChannelReceiver { reader },
        }
    }

    /// Its two directions, for two owners.
    #[must_use]
    pub fn split(self) -> (ChannelSender, ChannelReceiver) {
        (self.sender, self.receiver)
    }
}

/// The sending direction of a channel. Dropped, it ends the direction in order, as [`ChannelSender::finish`] does.
#[derive(Debug)]
pub struct ChannelSender {
    stream: SendStream,
    limit: usize,
    counters: Arc<PeerCounters>,
    /// Set while a frame is being written.
    broken: bool,
}

impl ChannelSender {
    /// Sends a message; waits while the other side has a window full to read. Bodies are not copied.
    ///
    /// Dropping the future half-way breaks the channel for further messages.
    pub async fn send<M: Message>(&mut self, mut message: M) -> Result<(), ChannelError> {
        let head = Head { form: Form::Item, kind: M::KIND, version: M::VERSION, correlation: 0 };
        let bodies = message.take_bodies();
        let encoded = encode(head, &message, bodies, self.limit)?;
        self.write(encoded.chunks, encoded.bytes).await
    }

    async fn write(&mut self, mut chunks: Vec<Bytes>, bytes: usize) -> Result<(), ChannelError> {
        if self.broken {
            return Err(ChannelError::Broken);
        }
        self.broken = true;
        self.stream.write_all_chunks(&mut chunks).await.map_err(|error| ended(&error))?;
        self.broken = false;
        self.counters.sent_bytes.add(bytes);
        Ok(())
    }

    /// Ends this direction after what was sent.
    pub fn finish(mut self) {
        let _ = self.stream.finish();
    }

    /// Gives this direction up: what was sent and has not arrived yet may never arrive.
    pub fn abort(mut self) {
        let _ = self.stream.reset(code::CUT);
    }
}

/// The receiving direction of a channel. Dropped, it tells the sender that nothing more is read.
#[derive(Debug)]
pub struct ChannelReceiver {
    reader: FrameReader,
}

impl ChannelReceiver {
    /// The next message; `None` when the other side has finished. Dropping the future loses nothing: call again.
    pub async fn receive(&mut self) -> Result<Option<Frame>, ChannelError> {
        match self.reader.next().await? {
            Some(frame) if frame.head.form == Form::Item => Ok(Some(frame)),
            Some(frame) => {
                self.reader.stop();
                Err(ChannelError::Garbage(format!("a frame of form {:?} on a channel", frame.head.form)))
            }
            None => Ok(None),
        }
    }
}

/// A channel that somebody wants to open. Dropped, it tells so.
#[derive(Debug)]
pub struct ChannelOffer {
    pub(super) stream: SendStream,
    pub(super) reader: FrameReader,
    pub(super) head: Head,
    pub(super) limit: usize,
    pub(super) counters: Arc<PeerCounters>,
}

impl ChannelOffer {
    /// Opens the channel with this answer.
    pub async fn accept<A: Answer>(self, mut answer: A) -> Result<Channel, ChannelError> {
        let bodies = answer.take_bodies();
        let encoded = encode(Head { form: Form::Answer, ..self.head }, &answer, bodies, self.limit)?;
        let mut channel = Channel::new(self.stream, self.reader, self.limit, self.counters);
        channel.sender.write(encoded.chunks, encoded.bytes).await?;
        Ok(channel)
    }

    /// Does not open the channel, and says why.
    pub fn refuse(self, fault: Fault) {
        self.counters.refused_messages.add_one();
        tracing::debug!(kind = self.head.kind, %fault, "channel refused");
        let head = Head { form: Form::Error, ..self.head };
        let Ok(mut encoded) = encode(head, &fault, Vec::new(), self.limit) else { return };
        let mut stream = self.stream;
        // A fault is short and the first on its stream. If it still has to wait, it is not worth it.
        tokio::spawn(async move {
            let _ = stream.write_all_chunks(&mut encoded.chunks).await;
        });
    }
}

/// A channel that somebody wants to open with an `M`.
#[derive(Debug)]
pub struct Offer<M: Message> {
    offer: ChannelOffer,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Offer<M> {
    pub(super) fn new(offer: ChannelOffer) -> Self {
        Self { offer, message: PhantomData }
    }

    /// Opens the channel with this answer. Handlers are synchronous: spawn a task that calls it.
    pub async fn accept(self, answer: M::Answer) -> Result<Channel, ChannelError> {
        self.offer.accept(answer).await
    }

    /// Does not open the channel, and says why.
    pub fn refuse(self, fault: Fault) {
        self.offer.refuse(fault);
    }
}

fn ended(error: &WriteError) -> ChannelError {
    match error {
        WriteError::ConnectionLost(error) => ChannelError::Ended(explain(error)),
        WriteError::Stopped(_) => ChannelError::Ended("the other side reads no more".into()),
        error => ChannelError::Ended(error.to_string()),
    }
}
