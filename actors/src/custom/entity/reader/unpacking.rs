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
    behind: Offset,
}

impl Unpacking {
    /// What was read from an offset on, without what is of aborted transactions. In bytes of its own: entities that are slow
    /// are not to hold what the node has for answers to fetches.
    pub(super) fn of(fetched: Fetched, from: Offset) -> Result<Self, BatchError> {
        let fetched = Fetched { batches: Bytes::copy_from_slice(&fetched.batches), ..fetched };
        let (batches, behind) = committed_batches(&fetched, from, true).map_err(|(error, _)| error)?;
        Ok(Self { batches: batches.into_iter(), records: None, behind })
    }

    /// The next record; `None` behind the last.
    pub(super) fn next_record(&mut self) -> Result<Option<Record>, BatchError> {
        loop {
            if let Some(record) = self.records.as_mut().and_then(Iterator::next) {
                return record.map(Some);
            }
            let Some(batch) = self.batches.next() else { return Ok(None) };
            self.records = Some(records(&batch, MAX_UNPACKED_BYTES)?);
        }
    }

    /// The offset behind all that was read, records or not.
    pub(super) const fn behind(&self) -> Offset {
        self.behind
    }
}
