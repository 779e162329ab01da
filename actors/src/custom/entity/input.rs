//! What comes to the entities of a partition, and what they want done.

use bytes::Bytes;

use super::behaviour::Fault;
use super::records::Source;
use super::table::Table;
use crate::custom::RequestId;
use crate::group::records::LogRecord;
use crate::ids::Offset;

/// A message of a source, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its place in the source: from 1, growing, not necessarily by one.
    pub sequence: u64,
    /// The entity it is for.
    pub entity: Bytes,
    /// The message.
    pub message: Bytes,
}

/// What comes to a partition. `T` is where an answer goes.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the table is moved once for each time the log is read")]
pub enum Input<T> {
    /// A message of somebody who waits.
    Ask {
        /// The entity.
        entity: Bytes,
        /// Which request this is, however often it comes.
        request: RequestId,
        /// The message.
        message: Bytes,
        /// Where the answer goes.
        reply: T,
    },
    /// Messages of a source, in order; answered when all are applied.
    Deliver {
        /// The source.
        source: Source,
        /// Of a topic: all of the source up to this sequence is here, or came before, or is for others. It is written with
        /// the position, and refused where much waits: a topic keeps what is in it.
        through: Option<u64>,
        /// The messages.
        messages: Vec<Delivery>,
        /// Where the answer goes.
        reply: T,
    },
    /// What [`Effect::Load`] asked for: the values in its order.
    Loaded {
        /// Its life.
        life: u64,
        /// The entity.
        entity: Bytes,
        /// Their bytes.
        values: Result<Vec<Bytes>, Fault>,
    },
    /// A batch is committed; its records have the offsets from this one on.
    Committed {
        /// The batch.
        batch: u64,
        /// The offset of its first record.
        first: Offset,
    },
    /// A batch was refused, or nobody knows what became of it.
    Refused {
        /// The batch.
        batch: u64,
    },
    /// What [`Effect::Replay`] asked for.
    Replayed(Table),
    /// Something was put into a batch since: it is sent if none is under way.
    Go,
    /// Time has passed.
    Tick,
}

/// What a partition wants done.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the table is moved once for each time the log is read")]
pub enum Effect<T> {
    /// Answer.
    Answer {
        /// To whom.
        reply: T,
        /// What.
        answer: Result<Bytes, Fault>,
        /// It was taken from memory and proves nothing: it leaves only under the lease.
        needs_lease: bool,
    },
    /// Write these records as one batch in the leader's epoch; then [`Input::Committed`] or [`Input::Refused`].
    Append {
        /// The batch.
        batch: u64,
        /// Its records.
        records: Vec<LogRecord>,
    },
    /// Read the records at these offsets; then [`Input::Loaded`].
    Load {
        /// To be given back.
        life: u64,
        /// The entity.
        entity: Bytes,
        /// The offsets.
        offsets: Vec<Offset>,
    },
    /// Read the log from the table's end to its own, behind all appends; then [`Input::Replayed`].
    Replay(Table),
}
