//! Producer ids: given out in blocks, never twice.

use serde::{Deserialize, Serialize};

use crate::error::{ErrorCode, Refusal};
use crate::ids::ProducerId;

/// Which producer ids have been given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIds {
    /// The first that nobody has had.
    pub next: i64,
}

impl ProducerIds {
    /// The most ids of one block.
    pub const BLOCK_MAX: u32 = 100_000;

    /// Takes a block of `count` ids; its first.
    pub(super) fn allocate(&mut self, count: u32) -> Result<ProducerId, Refusal> {
        if count == 0 || count > Self::BLOCK_MAX {
            let text = format!("a block has from 1 to {} producer ids, not {count}", Self::BLOCK_MAX);
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        let Some(next) = self.next.checked_add(i64::from(count)) else {
            return Err(Refusal::new(ErrorCode::UnknownServerError, "all producer ids have been given out"));
        };
        let first = ProducerId(self.next);
        self.next = next;
        Ok(first)
    }
}
