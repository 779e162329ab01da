//! What travels on a stream: a fixed prefix, a header in postcard, raw bodies behind it. Pure.
//!
//! ```text
//! offset  bytes
//!      0      4  length     of all that follows the prefix (header and bodies)
//!      4      4  header     length of the header region
//!      8      4  checksum   CRC-32C of the other twelve bytes of the prefix and of the header region
//!     12      2  kind       of the message
//!     14      2  version    of the message's form
//!     16      …  header region: envelope (postcard: form, correlation id), number of bodies (u32),
//!                length of each (u32), the message in postcard
//!      …      …  bodies, one behind the other
//! ```
//!
//! Numbers are little endian. Bodies have no checksum here: the link's encryption guards them on the way, and a
//! record batch carries its own for the rest of its life. Encoding gives a list of slices for one vectored
//! write and copies no body; decoding gives bodies as slices of what was received.
//!
//! Nothing is allocated by a number from the wire before that number was held against the bytes that are left.

mod assemble;
mod decode;
mod encode;
mod message;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use assemble::Assembler;
pub use decode::Prefix;
pub use encode::{Encoded, encode};
pub use message::Unreadable;

/// No frame is longer than this (without its prefix), whatever the settings say.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

/// Length of the fixed prefix.
pub const PREFIX_BYTES: usize = 16;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// Wants exactly one answer with the same correlation id.
    Request,
    /// The answer to a request.
    Answer,
    /// Wants no answer.
    OneWay,
    /// Instead of an answer: the other side could or would not.
    Error,
    /// The first frame of a channel; answered on the channel.
    Open,
    /// One of many on a channel.
    Item,
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it is for.
    pub form: Form,
    /// Which message.
    pub kind: u16,
    /// Version of the message's form.
    pub version: u16,
    /// Ties an answer to its request; 0 where there is nothing to tie.
    pub correlation: u64,
}

/// A frame received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it says of itself.
    pub head: Head,
    /// The message in postcard.
    pub header: Bytes,
    /// Its raw bodies: slices of the memory received.
    pub bodies: Vec<Bytes>,
}

impl Frame {
    /// Bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        PREFIX_BYTES + self.header.len() + self.bodies.iter().map(Bytes::len).sum::<usize>()
    }
}

/// The part of the header region that every frame has.
#[derive(Serialize, Deserialize)]
struct Envelope {
    form: Form,
    correlation: u64,
}

/// Why bytes are no frame, or a message cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than allowed.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// Bytes it has or claims to have.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The header would reach behind the frame's end.
    #[error("the prefix claims a header of {header} bytes in a frame of {length}")]
    HeaderOverrun {
        /// Length claimed for the header.
        header: usize,
        /// Length of the frame.
        length: usize,
    },
    /// Not as long as its prefix says.
    #[error("{found} bytes instead of the {expected} that the prefix tells")]
    Length {
        /// What the prefix tells.
        expected: usize,
        /// What is there.
        found: usize,
    },
    /// Prefix or header were changed on the way, or were never a frame.
    #[error(
        "checksum of prefix and header is {found:#010x} instead of {expected:#010x}: garbage, or another protocol"
    )]
    Checksum {
        /// As the prefix tells.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// The envelope cannot be read.
    #[error("unreadable envelope: {0}")]
    Envelope(String),
    /// The table of bodies does not fit into the header.
    #[error("a table of {count} bodies does not fit into the {left} bytes left of the header")]
    BodyTable {
        /// Bodies claimed.
        count: usize,
        /// Bytes left.
        left: usize,
    },
    /// The bodies do not add up to what follows the header.
    #[error("bodies add up to {sum} bytes, {left} follow the header")]
    BodySum {
        /// Sum of the lengths told.
        sum: u64,
        /// Bytes there.
        left: usize,
    },
    /// The message does not serialise.
    #[error("the message cannot be written: {0}")]
    Unwritable(String),
}
