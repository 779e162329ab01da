//! How many questions wait at a desk.

use super::{ASKED_BYTES_MAX, ASKED_MAX};

/// How many questions wait, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    count: usize,
    bytes: usize,
}

impl Waiting {
    /// One more, where there is room for it.
    pub(super) const fn begin(&mut self, bytes: usize) -> bool {
        let with = self.bytes.saturating_add(bytes);
        let has_room = self.count < ASKED_MAX && with <= ASKED_BYTES_MAX;
        if has_room {
            (self.count, self.bytes) = (self.count + 1, with);
        }
        has_room
    }

    /// One less.
    pub(super) const fn end(&mut self, bytes: usize) {
        (self.count, self.bytes) = (self.count.saturating_sub(1), self.bytes.saturating_sub(bytes));
    }
}
