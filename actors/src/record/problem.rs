//! What can be wrong with a batch, in words.

use super::codec::Codec;

/// Something is wrong with a batch: where, and what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record batch at byte {position}: {problem}")]
pub struct BatchError {
    /// Where the batch begins in the bytes that were read.
    pub position: usize,
    /// What is wrong with it.
    pub problem: BatchProblem,
}

impl BatchError {
    /// A problem of the batch at `position`.
    #[must_use]
    pub const fn at(position: usize, problem: BatchProblem) -> Self {
        Self { position, problem }
    }
}

/// What can be wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchProblem {
    /// The bytes end within the batch.
    #[error("cut off: {needed} bytes are needed, {found} are there")]
    CutOff {
        /// Bytes of the whole batch, or of its header while that is not complete.
        needed: usize,
        /// Bytes there.
        found: usize,
    },
    /// A format that is not spoken here.
    #[error("format version (magic) {0}, only 2 is taken")]
    Magic(i8),
    /// The length field cannot be.
    #[error("length {0} is less than a header's")]
    Length(i32),
    /// The number of records cannot be.
    #[error("{count} records with a last offset delta of {last_offset_delta} in {bytes} bytes")]
    Count {
        /// The number of records said.
        count: i32,
        /// The last record's offset less the first's, as said.
        last_offset_delta: i32,
        /// Bytes of the records.
        bytes: usize,
    },
    /// The checksum is not that of the bytes.
    #[error("checksum {stored:08x} stands in it, {computed:08x} is its own")]
    Checksum {
        /// As it stands in the header.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// A codec that is not known.
    #[error("compression codec {0}, known are 0 to 4")]
    Codec(u8),
    /// The compressed records cannot be unpacked.
    #[error("{codec} data cannot be unpacked: {reason}")]
    Unpack {
        /// The codec.
        codec: Codec,
        /// Why.
        reason: String,
    },
    /// Unpacked, the records would be larger than allowed.
    #[error("unpacks to more than {limit} bytes")]
    UnpacksTooLarge {
        /// The bytes allowed.
        limit: usize,
    },
    /// A record cannot be read.
    #[error("record {index}: {reason}")]
    Record {
        /// Its place in the batch, from 0.
        index: i32,
        /// Why.
        reason: &'static str,
    },
}
