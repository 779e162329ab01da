//! The bounds of a reader.

/// How much of one source is under way, and how often receivers hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReaderSettings {
    /// Records that are read and not applied.
    pub(super) records_max: usize,
    /// Their bytes, as messages. One more may be taken while there is room.
    pub(super) bytes_max: usize,
    /// Messages of one delivery.
    pub(super) delivery_records: usize,
    /// Their bytes; one message at least goes, however long.
    pub(super) delivery_bytes: usize,
    /// Records after which a receiver hears how far the source is, though none is for its entities.
    pub(super) mark_records: u64,
    /// How long it waits for that otherwise, in milliseconds.
    pub(super) mark_ms: i64,
}

impl Default for ReaderSettings {
    fn default() -> Self {
        Self {
            records_max: 2_000,
            bytes_max: 1 << 20,
            delivery_records: 100,
            delivery_bytes: 256 << 10,
            mark_records: 10_000,
            mark_ms: 5_000,
        }
    }
}
