//! Why bytes are no message, and why a message cannot become bytes. Nothing here allocates.

use std::fmt;

/// Why bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The message that was expected.
    pub message: &'static str,
    /// Its version.
    pub version: i16,
    /// The field that was read, with those around it: `topics.partitions.index`. Empty if none was.
    pub field: &'static str,
    /// Where the bytes that were wrong begin, from the start of the message.
    pub at: usize,
    /// What was wrong.
    pub fault: DecodeFault,
}

/// What was wrong with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeFault {
    /// No such version.
    Version,
    /// They end too early.
    Short {
        /// Bytes that were to come.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// An array claims more elements than there are bytes left.
    Count {
        /// Elements claimed.
        count: i64,
        /// Bytes left.
        left: usize,
    },
    /// A negative length that does not stand for null, or a string that is too long.
    Length(i64),
    /// Null where it is not allowed.
    Null,
    /// A string that is not UTF-8.
    Text,
    /// A number of variable length with more than 32 bits.
    Varint,
    /// Bytes are left over after the message, or in a tagged field.
    Left(usize),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of version {}, byte {}", self.message, self.version, self.at)?;
        if !self.field.is_empty() {
            write!(f, ", field {}", self.field)?;
        }
        match self.fault {
            DecodeFault::Version => write!(f, ": this version is not known"),
            DecodeFault::Short { needed, left } => write!(f, ": {needed} bytes expected, {left} left"),
            DecodeFault::Count { count, left } => {
                write!(f, ": {count} elements claimed with {left} bytes left")
            }
            DecodeFault::Length(length) => write!(f, ": {length} is no length"),
            DecodeFault::Null => write!(f, ": null is not allowed"),
            DecodeFault::Text => write!(f, ": not UTF-8"),
            DecodeFault::Varint => write!(f, ": a variable number of more than 32 bits"),
            DecodeFault::Left(count) => write!(f, ": {count} bytes left over"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why a message was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError {
    /// The message.
    pub message: &'static str,
    /// The version asked for.
    pub version: i16,
    /// The field, with those around it; empty if it is none's fault.
    pub field: &'static str,
    /// What was wrong.
    pub fault: EncodeFault,
}

/// What was wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeFault {
    /// No such version.
    Version,
    /// The field holds something, the version has no such field, and dropping it would change what is meant.
    Absent,
    /// Null where the version does not allow it.
    Null,
    /// Longer than the protocol can tell.
    Length(usize),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of version {}", self.message, self.version)?;
        if !self.field.is_empty() {
            write!(f, ", field {}", self.field)?;
        }
        match self.fault {
            EncodeFault::Version => write!(f, ": this version is not known"),
            EncodeFault::Absent => write!(f, ": this version has no such field"),
            EncodeFault::Null => write!(f, ": null is not allowed"),
            EncodeFault::Length(length) => write!(f, ": a length of {length} cannot be told"),
        }
    }
}

impl std::error::Error for EncodeError {}

/// Why a message was not read in one version and written in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteError {
    /// It was not read.
    Decode(DecodeError),
    /// It was not written.
    Encode(EncodeError),
}

impl From<DecodeError> for RewriteError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<EncodeError> for RewriteError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl fmt::Display for RewriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => error.fmt(f),
            Self::Encode(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RewriteError {}
