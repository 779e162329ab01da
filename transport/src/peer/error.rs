//! What can go wrong between peers, in words.

use std::time::Duration;

use quinn::{Connection, ConnectionError};
use serde::{Deserialize, Serialize};

use crate::frame::FrameError;
use crate::identity::IdentityError;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No link could be made; nothing was sent.
    #[error("{peer} cannot be reached: {reason}")]
    Unreachable {
        /// Who was asked.
        peer: String,
        /// Why, of the last dial.
        reason: String,
    },
    /// The link ended; the message may or may not have been carried out.
    #[error("the link to {peer} ended before the answer came: {reason}")]
    Closed {
        /// Who was asked.
        peer: String,
        /// Why it ended.
        reason: String,
    },
    /// No answer in time; the message may or may not have been carried out, or still be.
    #[error("no answer from {peer} within {} ms", .after.as_millis())]
    TimedOut {
        /// Who was asked.
        peer: String,
        /// The time given.
        after: Duration,
    },
    /// The handler let go of the request without an answer.
    #[error("{peer} took the request and dropped it unanswered")]
    Dropped {
        /// Who was asked.
        peer: String,
    },
    /// The other side did not carry it out, and says why.
    #[error("{peer} refused: {fault}")]
    Refused {
        /// Who was asked.
        peer: String,
        /// Why.
        fault: Fault,
    },
    /// Too much waits for this peer already; nothing was sent. Try again when answers have come.
    #[error("{unanswered} requests and {queued_bytes} unsent bytes wait for {peer} already")]
    Full {
        /// Who was to be asked.
        peer: String,
        /// Requests without an answer.
        unanswered: usize,
        /// Bytes not sent yet.
        queued_bytes: usize,
    },
    /// The message does not fit into a frame; nothing was sent.
    #[error("not sent: {0}")]
    Unsendable(FrameError),
    /// The answer is not of the form expected.
    #[error("the answer of {peer} cannot be read: {reason}")]
    Unreadable {
        /// Who was asked.
        peer: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What is sent instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text} ({code:?})")]
pub struct Fault {
    /// For programs.
    pub code: FaultCode,
    /// For people.
    pub text: String,
}

impl Fault {
    /// A fault with its text.
    #[must_use]
    pub fn new(code: FaultCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// The kinds of [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultCode {
    /// No handler for messages of this kind: the receiver is older or newer.
    UnknownKind,
    /// The receiver knows the kind but not this version of it.
    UnknownVersion,
    /// Header or bodies are not of the form that the kind promises.
    Unreadable,
    /// The answer would have been longer than a frame may be.
    TooLong,
    /// The handler let go of the request.
    Dropped,
    /// The caller may not ask this.
    NotAllowed,
}

/// Why an endpoint cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The socket.
    #[error("the QUIC endpoint cannot listen: {0}")]
    Socket(#[from] std::io::Error),
    /// Certificate, key, authority.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A setting out of its bounds.
    #[error("setting {name}: {reason}")]
    Setting {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS and QUIC do not go together.
    #[error("the QUIC handshake cannot be set up: {0}")]
    Handshake(String),
}

/// Codes with which a connection is ended, and the reasons they stand for.
pub(super) mod code {
    use quinn::VarInt;

    /// The endpoint is closed in order.
    pub(crate) const GOODBYE: VarInt = VarInt::from_u32(0);
    /// What came was no frame, or not one that belongs there.
    pub(crate) const GARBAGE: VarInt = VarInt::from_u32(1);
    /// Not greeted in time.
    pub(crate) const HALF_OPEN: VarInt = VarInt::from_u32(2);
    /// No common version, or not who was meant.
    pub(crate) const REFUSED: VarInt = VarInt::from_u32(3);
    /// The other lane found the peer dead or replaced.
    pub(crate) const CUT: VarInt = VarInt::from_u32(4);
}

/// Why a connection ended, for people. Told by the other side where it was the one to end it.
pub(super) fn explain(error: &ConnectionError) -> String {
    match error {
        ConnectionError::TransportError(error) if error.reason.is_empty() => error.to_string(),
        ConnectionError::TransportError(error) => in_words(&error.reason),
        ConnectionError::ConnectionClosed(close) if close.reason.is_empty() => {
            format!("ended by the other side: {}", close.error_code)
        }
        ConnectionError::ConnectionClosed(close) => {
            format!("refused by the other side: {}", in_words(&String::from_utf8_lossy(&close.reason)))
        }
        ConnectionError::ApplicationClosed(close) => {
            format!("ended by the other side: {}", String::from_utf8_lossy(&close.reason))
        }
        ConnectionError::TimedOut => "it does not answer any more (or never did)".into(),
        ConnectionError::Reset => "it was started anew".into(),
        ConnectionError::LocallyClosed => "ended by this side".into(),
        ConnectionError::VersionMismatch => "it speaks no version of QUIC known here".into(),
        ConnectionError::CidsExhausted => error.to_string(),
    }
}

/// Ends a connection, with a goodbye if it has not ended yet and nothing failed; how it ended.
pub(super) fn end(connection: &Connection) -> ConnectionError {
    let ended = connection.close_reason();
    // Only then: closing would put "locally closed" in the place of the true reason.
    ended.unwrap_or_else(|| {
        if std::thread::panicking() {
            connection.close(code::CUT, b"what serves this link failed");
        } else {
            connection.close(code::GOODBYE, b"goodbye");
        }
        ConnectionError::LocallyClosed
    })
}

/// Whether the other side ended the link in order.
pub(super) fn is_goodbye(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::ApplicationClosed(close) if close.error_code == code::GOODBYE)
}

/// Takes the TLS library's phrases off our own text.
fn in_words(reason: &str) -> String {
    if reason.contains("peer sent no certificates") {
        return "no certificate was shown; use one made by this cluster's `millstream certs`".into();
    }
    let plain = reason.strip_prefix("unexpected error: ").unwrap_or(reason);
    plain.strip_prefix("TLS error: ").unwrap_or(plain).to_owned()
}
