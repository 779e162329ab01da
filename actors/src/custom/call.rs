//! A call to an actor of a user's: its id, its deadline, and what may become of it.

use std::fmt;
use std::time::Duration;

use millstream_transport::world::Random;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

/// Tells one call from all others; a call that is made again keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub Uuid);

impl RequestId {
    /// One that nobody has had before.
    #[must_use]
    pub fn draw(random: &Random) -> Self {
        Self(random.uuid())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Until when a call is waited for. Between machines the time that is left travels, in milliseconds: no two clocks are
/// compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from `now` on.
    #[must_use]
    pub fn after(now: Instant, within: Duration) -> Self {
        // Nobody waits for a day.
        Self(now + within.min(Duration::from_secs(24 * 60 * 60)))
    }

    /// What is left of it; zero once it is over.
    #[must_use]
    pub fn left(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// What is left of it as it travels; 0 once it is over.
    #[must_use]
    pub fn left_ms(self, now: Instant) -> u32 {
        u32::try_from(self.left(now).as_millis()).unwrap_or(u32::MAX)
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(self, now: Instant) -> bool {
        self.left(now).is_zero()
    }

    /// When it is over.
    #[must_use]
    pub const fn at(self) -> Instant {
        self.0
    }
}

/// Bytes of an error's text at most: what users' code says in it, the words of a panic for one, has no bound of its own.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 10;

/// The beginning of a text, of so many bytes at most; no character is cut in two.
pub(super) fn beginning(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

/// Why a call has no answer. Every call ends with exactly one answer or one of these.
///
/// Told between nodes by place: variants are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CallError {
    /// Nobody has this name.
    #[error("no actor is registered under {0:?}")]
    NoSuchName(String),
    /// No node hosts actors of this type.
    #[error("no node hosts {0}")]
    NoHost(String),
    /// It was certainly not carried out: ask again.
    #[error("not carried out, ask again: {0}")]
    Retry(String),
    /// No answer in time. Whether it was carried out is not known.
    #[error("no answer within {after_ms} ms; it may or may not have been carried out: {last}")]
    Timeout {
        /// The time given.
        after_ms: u32,
        /// What went wrong last, or that nothing did.
        last: String,
    },
    /// The actor does not know this message, or not in this version. It was not carried out.
    #[error("the actor does not know message {name} in version {version}; it expects {expected}")]
    UnknownMessage {
        /// The message's name, as its sender calls it.
        name: String,
        /// In which form it was sent.
        version: u16,
        /// What the actor knows.
        expected: String,
    },
    /// The bytes are not what the message's name and version promise.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The actor's mailbox, or the memory for all mailboxes of its node, is full. It was not carried out.
    #[error("busy: {0}")]
    Busy(String),
    /// The actor has stopped, or its handler panicked on this very message or was cut off in it as its node stopped: then what
    /// it had done by then is done.
    #[error("the actor stopped: {0}")]
    Stopped(String),
    /// The node asked does not own what was asked for, any more or yet. It was not carried out.
    #[error("not owned here: {0}")]
    NotOwner(String),
    /// Longer than a message or an answer may be.
    #[error("{bytes} bytes are more than the {most} that a message may have")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The most.
        most: u64,
    },
    /// The node that owns the actor may not answer from memory: its lease ran out and the quorum is out of reach. It was not
    /// carried out.
    #[error("refused without the quorum: {0}")]
    NoQuorum(String),
    /// The handler itself said no.
    #[error("{0}")]
    Refused(String),
    /// It was carried out by an actor that could not prove afterwards that it was still the owner: the answer is withheld,
    /// and what was done may not count.
    #[error("carried out, perhaps by one that was no longer the owner: {0}")]
    Unsure(String),
}

impl CallError {
    /// Whether it was certainly not carried out, and the same call may succeed later: another owner, a freer mailbox.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        matches!(self, Self::Retry(_) | Self::Busy(_) | Self::NotOwner(_) | Self::NoQuorum(_))
    }

    /// The same with a text of at most [`TEXT_BYTES_MAX`].
    pub(super) fn bounded(mut self) -> Self {
        let text = match &mut self {
            Self::NoSuchName(text)
            | Self::NoHost(text)
            | Self::Retry(text)
            | Self::Timeout { last: text, .. }
            | Self::Malformed(text)
            | Self::Busy(text)
            | Self::Stopped(text)
            | Self::NotOwner(text)
            | Self::NoQuorum(text)
            | Self::Refused(text)
            | Self::Unsure(text) => text,
            // Names are bounded where they are read.
            Self::UnknownMessage { .. } | Self::TooLarge { .. } => return self,
        };
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(value: &impl Serialize) -> String {
        postcard::to_stdvec(value).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_errors_stay() {
        let text = || "a".to_owned();
        let all = [
            CallError::NoSuchName(text()),
            CallError::NoHost(text()),
            CallError::Retry(text()),
            CallError::Timeout { after_ms: 300, last: text() },
            CallError::UnknownMessage { name: text(), version: 2, expected: "b".to_owned() },
            CallError::Malformed(text()),
            CallError::Busy(text()),
            CallError::Stopped(text()),
            CallError::NotOwner(text()),
            CallError::TooLarge { bytes: 300, most: 2 },
            CallError::NoQuorum(text()),
            CallError::Refused(text()),
            CallError::Unsure(text()),
        ];
        let bytes: Vec<String> = all.iter().map(hex).collect();
        let golden = [
            "000161",
            "010161",
            "020161",
            "03ac020161",
            "040161020162",
            "050161",
            "060161",
            "070161",
            "080161",
            "09ac0202",
            "0a0161",
            "0b0161",
            "0c0161",
        ];
        assert_eq!(bytes, golden);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_counts_down_and_is_over_once() {
        let start = Instant::now();
        let deadline = Deadline::after(start, Duration::from_millis(300));
        assert_eq!(deadline.left_ms(start + Duration::from_millis(100)), 200);
        assert!(!deadline.is_over(start + Duration::from_millis(299)));
        assert!(deadline.is_over(start + Duration::from_millis(300)));
        assert_eq!(deadline.left_ms(start + Duration::from_secs(9)), 0);
        assert!(Deadline::after(start, Duration::MAX).left(start) > Duration::from_secs(3600));
    }

    #[test]
    fn what_was_not_carried_out_may_be_asked_again() {
        assert!(CallError::NotOwner(String::new()).is_retriable());
        assert!(!CallError::Timeout { after_ms: 1, last: String::new() }.is_retriable());
        assert!(!CallError::Unsure(String::new()).is_retriable());
        assert!(!CallError::Stopped(String::new()).is_retriable());
    }
}
