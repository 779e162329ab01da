//! Snapshots of the producers' state, which the log keeps for its replica without looking into them.
//!
//! `<offset, 20 digits>.producers` holds what the producers were like when the log ended at that offset. It is a hint
//! with a checksum: at a start the newest readable one is taken, and what follows it is replayed from the batches.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use millstream_transport::world::Disk;

use super::directory::read_small;
use super::error::LogError;
use super::partition_log::Log;
use super::persisted::{PRODUCERS, Reader, seal, unseal};
use crate::ids::Offset;

/// Snapshots kept: a second one for the case that the newest is damaged.
const KEPT: usize = 2;

/// A snapshot larger than this is none.
const BYTES_MAX: u64 = 256 << 20;

/// What a replica gave to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerSnapshot {
    /// The log's end at that time.
    pub offset: Offset,
    /// The replica's bytes.
    pub state: Bytes,
}

/// The offsets of the snapshots there are, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshots(pub(super) Vec<Offset>);

/// The offset of a snapshot of this name.
pub(super) fn parse_name(path: &Path) -> Option<Offset> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".producers")?;
    (digits.len() == 20).then(|| digits.parse().ok().map(Offset))?
}

fn path_of(directory: &Path, offset: Offset) -> PathBuf {
    directory.join(format!("{:020}.producers", offset.0))
}

impl Snapshots {
    /// Removes the snapshots that `unwanted` says. Gives whether there were any.
    pub(super) fn remove(
        &mut self,
        disk: &dyn Disk,
        directory: &Path,
        unwanted: impl Fn(Offset) -> bool,
    ) -> std::io::Result<bool> {
        let before = self.0.len();
        for offset in self.0.extract_if(.., |offset| unwanted(*offset)) {
            match disk.remove_file(&path_of(directory, offset)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(self.0.len() < before)
    }
}

impl Log {
    /// Keeps the producers' state as of the log's end. Wanted after an append that rolled, and before a clean close.
    pub fn save_producers(&mut self, state: &[u8]) -> Result<(), LogError> {
        self.check_writable()?;
        let directory = self.ends.path().to_path_buf();
        let path = path_of(&directory, self.end);
        let mut bytes = Vec::with_capacity(8 + state.len());
        bytes.extend_from_slice(&self.end.0.to_le_bytes());
        bytes.extend_from_slice(state);
        let disk = std::sync::Arc::clone(&self.shared().disk);
        let needed = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let written = super::recover::replace_file(&*disk, &path, &seal(PRODUCERS, &bytes));
        written.map_err(|error| self.refused("write", &path, needed, &error))?;
        if self.snapshots.0.last() != Some(&self.end) {
            self.snapshots.0.push(self.end);
        }
        let oldest = self.snapshots.0.iter().rev().nth(KEPT - 1).copied().unwrap_or(Offset::ZERO);
        let removed = self.snapshots.remove(&*disk, &directory, |offset| offset < oldest);
        removed.map_err(|error| self.shared().fail("remove old snapshots in", &directory, &error))?;
        Ok(())
    }

    /// The newest readable snapshot; `None` where there is none, and all has to be replayed.
    pub fn load_producers(&self) -> Result<Option<ProducerSnapshot>, LogError> {
        for offset in self.snapshots.0.iter().rev().filter(|offset| **offset <= self.end) {
            let path = path_of(self.ends.path(), *offset);
            let Some(bytes) = read_small(&*self.shared().disk, &path, BYTES_MAX)? else { continue };
            let Ok(payload) = unseal(PRODUCERS, &bytes) else { continue };
            let mut reader = Reader(payload);
            if reader.i64() == Some(offset.0) {
                return Ok(Some(ProducerSnapshot {
                    offset: *offset,
                    state: Bytes::copy_from_slice(reader.0),
                }));
            }
        }
        Ok(None)
    }
}
