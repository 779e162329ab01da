//! A frame as the message it carries.

use super::{Frame, Head};
use crate::message::{Answer, Message};

/// Why a frame is not the message expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Another message.
    #[error("message {found} where {expected} was expected")]
    Kind {
        /// Kind in the frame.
        found: u16,
        /// Kind expected.
        expected: u16,
    },
    /// Another version of it.
    #[error("version {found} of message {kind}; this side reads version {expected}")]
    Version {
        /// The message.
        kind: u16,
        /// Version in the frame.
        found: u16,
        /// Version that is read here.
        expected: u16,
    },
    /// The right one, but not of the form expected.
    #[error("message {kind} is not of its form: {reason}")]
    Form {
        /// The message.
        kind: u16,
        /// What is wrong.
        reason: String,
    },
}

impl Frame {
    /// The message in this frame.
    pub fn decode<M: Message>(self) -> Result<M, Unreadable> {
        self.check::<M>()?;
        let mut message: M = self.read()?;
        let kind = self.head.kind;
        message.put_bodies(self.bodies).map_err(|error| form(kind, &error))?;
        Ok(message)
    }

    /// The answer to an `M` in this frame.
    pub fn decode_answer<M: Message>(self) -> Result<M::Answer, Unreadable> {
        self.check::<M>()?;
        let mut answer: M::Answer = self.read()?;
        let kind = self.head.kind;
        answer.put_bodies(self.bodies).map_err(|error| form(kind, &error))?;
        Ok(answer)
    }

    fn check<M: Message>(&self) -> Result<(), Unreadable> {
        let Head { kind, version, .. } = self.head;
        if kind != M::KIND {
            return Err(Unreadable::Kind { found: kind, expected: M::KIND });
        }
        if version != M::VERSION {
            return Err(Unreadable::Version { kind, found: version, expected: M::VERSION });
        }
        Ok(())
    }

    /// The header as any type; bytes left over are an error.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, Unreadable> {
        let kind = self.head.kind;
        let (value, left) = postcard::take_from_bytes(&self.header).map_err(|error| form(kind, &error))?;
        if !left.is_empty() {
            return Err(form(kind, &format_args!("{} bytes are left over", left.len())));
        }
        Ok(value)
    }
}

fn form(kind: u16, reason: &dyn std::fmt::Display) -> Unreadable {
    Unreadable::Form { kind, reason: reason.to_string() }
}
