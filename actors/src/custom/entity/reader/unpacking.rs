//! What one read brought, record by record: a batch is unpacked when its first record is wanted.

use std::vec::IntoIter;

use bytes::Bytes;

use crate::ids::Offset;
use crate::partition::committed::committed_batches;
use crate::partition::message::Fetched;
use crate::record::{Batch, BatchError, MAX_UNPACKED_BYTES, Record, Records, records};

#[derive(Debug)]
pub(super) struct Unpacking {
    batches: IntoIter<Batch>,
    records: Option<Records>,
    /// The offsets of the batch that is being unpacked: its first, and the one behind its last.
    batch: (Offset, Offset),
    behind: Offset,
}

impl Unpacking {
    /// What was read from an offset on, without what is of aborted transactions. In bytes of its own: entities that are slow
    /// are not to hold what the node has for answers to fetches.
    pub(super) fn of(fetched: Fetched, from: Offset) -> Result<Self, BatchError> {
        let fetched = Fetched { batches: Bytes::copy_from_slice(&fetched.batches), ..fetched };
        let (batches, behind) = committed_batches(&fetched, from, true).map_err(|(error, _)| error)?;
        Ok(Self { batches: batches.into_iter(), records: None, batch: (from, from), behind })
    }

    /// The next record; `None` behind the last. An error where a batch cannot be unpacked: the next record is of the one
    /// behind it.
    pub(super) fn next_record(&mut self) -> Result<Option<Record>, BatchError> {
        loop {
            if let Some(record) = self.records.as_mut().and_then(Iterator::next) {
                if record.is_err() {
                    self.records = None;
                }
                return record.map(Some);
            }
            let Some(batch) = self.batches.next() else { return Ok(None) };
            self.records = None;
            self.batch = (batch.header.base_offset, batch.header.next_offset());
            self.records = Some(records(&batch, MAX_UNPACKED_BYTES)?);
        }
    }

    /// The first offset of the batch that the last record or error is of, and the offset behind the batch.
    pub(super) const fn batch(&self) -> (Offset, Offset) {
        self.batch
    }

    /// The offset behind all that was read, records or not.
    pub(super) const fn behind(&self) -> Offset {
        self.behind
    }
}
