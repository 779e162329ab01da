//! The vote on disk: two pages of one file, which take turns, so that a torn write leaves the vote before.

use std::path::Path;

use millstream_transport::world::Disk;
use serde::{Deserialize, Serialize};

use super::failure::{Latch, OpenError, WriteError};
use super::frame::{PAGE_BYTES, PageError, decode_page, encode_page};
use super::space::Space;
use crate::cluster::quorum::types::Vote;

const MAGIC: [u8; 4] = *b"MSQV";
const NAME: &str = "vote";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Slot {
    sequence: u64,
    vote: Option<Vote>,
}

/// The vote's file. One owner; all calls block.
#[derive(Debug)]
pub(crate) struct VoteFile {
    space: Space,
    sequence: u64,
}

impl VoteFile {
    /// Makes the file; the caller syncs the directory.
    pub(crate) fn create(disk: &dyn Disk, directory: &Path, latch: &Latch) -> Result<Self, OpenError> {
        let space = Space::create(disk, &directory.join(NAME), 2 * PAGE_BYTES, latch)?;
        let mut file = Self { space, sequence: 0 };
        file.write(None).map_err(|error| file.open_error(&error))?;
        Ok(file)
    }

    /// Opens the file, and writes the vote found there anew, so that it does not rest on the page cache alone.
    pub(crate) fn open(
        disk: &dyn Disk,
        directory: &Path,
        latch: &Latch,
    ) -> Result<(Self, Option<Vote>), OpenError> {
        let space = Space::open(disk, &directory.join(NAME), 2 * PAGE_BYTES, latch)?;
        let latest = latest(&space)?;
        let mut file = Self { space, sequence: latest.sequence };
        file.write(latest.vote).map_err(|error| file.open_error(&error))?;
        Ok((file, latest.vote))
    }

    /// Reads the vote and changes nothing.
    pub(crate) fn look(disk: &dyn Disk, directory: &Path, latch: &Latch) -> Result<Option<Vote>, OpenError> {
        latest(&Space::look(disk, &directory.join(NAME), latch)?).map(|slot| slot.vote)
    }

    fn open_error(&self, error: &WriteError) -> OpenError {
        OpenError::Io { path: self.space.path().into(), source: std::io::Error::other(format!("{error:?}")) }
    }

    /// Writes the vote and syncs it. A copy follows into the other page without a sync, for the case that the first is
    /// damaged later.
    pub(crate) fn write(&mut self, vote: Option<Vote>) -> Result<(), WriteError> {
        let sequence = self.sequence + 1;
        let page = encode_page(MAGIC, &Slot { sequence, vote })
            .map_err(|error| WriteError::Failed(format!("cannot encode the vote: {error}")))?;
        let (slot, copy) = if sequence.is_multiple_of(2) { (0, PAGE_BYTES) } else { (PAGE_BYTES, 0) };
        self.space.write(&page, slot)?;
        self.space.sync()?;
        self.sequence = sequence;
        self.space.write(&page, copy)
    }
}

fn latest(space: &Space) -> Result<Slot, OpenError> {
    let mut latest: Option<Slot> = None;
    for position in [0, PAGE_BYTES] {
        match decode_page::<Slot>(MAGIC, &space.read_page(position)?) {
            Ok(slot) if latest.as_ref().is_none_or(|other| slot.sequence > other.sequence) => {
                latest = Some(slot)
            }
            Ok(_) | Err(PageError::Invalid) => {}
            Err(newer) => return Err(OpenError::corrupt(space.path(), newer)),
        }
    }
    latest.ok_or_else(|| OpenError::corrupt(space.path(), "neither of its two pages is valid"))
}
