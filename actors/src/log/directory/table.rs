//! The table of durable ends: up to which offset each replica of the directory is known to be on disk (rule 5).
//!
//! One file, `durable-ends`. A new table goes into the spare file `durable-ends.next`, is synced there, and the two
//! change names. Both were given their space when the directory was formatted, so the table can be written on a full
//! disk. Besides the ends it holds what must change together with them: the clean-shutdown marker, the boot of the
//! machine in which the directory was last opened, whether it had failed, and the file ids given out.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_transport::world::{Disk, OpenMode};
use uuid::Uuid;

use super::super::error::LogError;
use super::super::persisted::{DURABLE_ENDS, ENVELOPE_BYTES, Reader, Unreadable, seal, unseal};
use super::meta::read_small;
use crate::ids::{LeaderEpoch, Offset, PartitionId, TopicId};

const CURRENT: &str = "durable-ends";
const NEXT: &str = "durable-ends.next";
const ASIDE: &str = "durable-ends.aside";

/// Space for each of the two files at format: about a thousand replicas. Doubles when more come.
const RESERVED_BYTES: u64 = 64 << 10;

/// A table larger than this is none: 4 million replicas.
const BYTES_MAX: u64 = 256 << 20;

const ENTRY_BYTES: u64 = 60;

/// What the table says of one replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::log) struct Entry {
    /// The leader epoch of the last batch below the durable end.
    pub(in crate::log) leader_epoch: LeaderEpoch,
    /// The first offset that is part of the log.
    pub(in crate::log) log_start: Offset,
    /// The file in which the durable end lies.
    pub(in crate::log) file_id: u64,
    /// Everything below it is on disk. A lower bound after an unclean stop.
    pub(in crate::log) durable_end: Offset,
    /// The last high watermark told to the directory.
    pub(in crate::log) high_watermark: Offset,
    /// Bits of [`flags`].
    pub(in crate::log) flags: u32,
}

/// The bits of [`Entry::flags`].
pub(in crate::log) mod flags {
    /// `flush.policy=os` was in force.
    pub(in crate::log) const OS: u32 = 1;
    /// The directory had failed: what lies behind the durable end is not believed and has to be cut.
    pub(in crate::log) const CUT_BACK: u32 = 1 << 1;
    /// An unclean stop in another boot of the machine, not yet looked into.
    pub(in crate::log) const OTHER_BOOT: u32 = 1 << 2;
    /// In doubt because bytes were cut.
    pub(in crate::log) const DOUBT_CUT: u32 = 1 << 3;
    /// In doubt because bytes below the durable end are gone or corrupt, or it is not known what was durable.
    pub(in crate::log) const DOUBT_LOST: u32 = 1 << 4;
    /// In doubt because of [`OS`] and [`OTHER_BOOT`].
    pub(in crate::log) const DOUBT_BOOT: u32 = 1 << 5;
    /// All doubts.
    pub(in crate::log) const DOUBTS: u32 = DOUBT_CUT | DOUBT_LOST | DOUBT_BOOT;
}

/// The table's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::log) struct Table {
    /// Counts the tables written; the greatest is the newest.
    pub(in crate::log) sequence: u64,
    /// The directory was closed in order after this table was written.
    pub(in crate::log) clean: bool,
    /// A write or sync had failed.
    pub(in crate::log) failed: bool,
    /// The boot of the machine in which it was written.
    pub(in crate::log) boot_id: String,
    /// File ids from this one on were never used.
    pub(in crate::log) file_ids_from: u64,
    /// The replicas.
    pub(in crate::log) entries: BTreeMap<PartitionId, Entry>,
}

const CLEAN: u16 = 1;
const FAILED: u16 = 2;

impl Table {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        let flags = if self.clean { CLEAN } else { 0 } | if self.failed { FAILED } else { 0 };
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(&self.file_ids_from.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(self.boot_id.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend_from_slice(self.boot_id.as_bytes());
        bytes.extend_from_slice(&u32::try_from(self.entries.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (partition, entry) in &self.entries {
            bytes.extend_from_slice(partition.topic.0.as_bytes());
            bytes.extend_from_slice(&partition.index.to_le_bytes());
            bytes.extend_from_slice(&entry.leader_epoch.0.to_le_bytes());
            bytes.extend_from_slice(&entry.log_start.0.to_le_bytes());
            bytes.extend_from_slice(&entry.file_id.to_le_bytes());
            bytes.extend_from_slice(&entry.durable_end.0.to_le_bytes());
            bytes.extend_from_slice(&entry.high_watermark.0.to_le_bytes());
            bytes.extend_from_slice(&entry.flags.to_le_bytes());
        }
        seal(DURABLE_ENDS, &bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let payload = unseal(DURABLE_ENDS, bytes)?;
        Self::read(&mut Reader(payload)).ok_or(Unreadable::Damaged("its entries are cut short"))
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let sequence = reader.u64()?;
        let flags = reader.u16()?;
        let file_ids_from = reader.u64()?;
        let boot_bytes = usize::from(reader.u16()?);
        let boot_id = String::from_utf8_lossy(reader.slice(boot_bytes)?).into_owned();
        let count = reader.u32()?;
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let topic = TopicId(Uuid::from_bytes(reader.array()?));
            let partition = PartitionId { topic, index: reader.i32()? };
            let entry = Entry {
                leader_epoch: LeaderEpoch(reader.i32()?),
                log_start: Offset(reader.i64()?),
                file_id: reader.u64()?,
                durable_end: Offset(reader.i64()?),
                high_watermark: Offset(reader.i64()?),
                flags: reader.u32()?,
            };
            entries.insert(partition, entry);
        }
        let (clean, failed) = (flags & CLEAN != 0, flags & FAILED != 0);
        Some(Self { sequence, clean, failed, boot_id, file_ids_from, entries })
    }
}

/// What was found at a start.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) table: Table,
    /// Whether it is the last one written. If not, its durable ends may be too high: a log may have been cut since.
    pub(super) trusted: bool,
}

/// The table's files.
#[derive(Debug)]
pub(in crate::log) struct TableFile {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    reserved: u64,
}

impl TableFile {
    pub(super) fn new(disk: Arc<dyn Disk>, directory: PathBuf) -> Self {
        Self { disk, directory, reserved: 0 }
    }

    /// The newest table there is.
    pub(super) fn load(&self) -> Result<Found, LogError> {
        let current = self.load_one(CURRENT)?;
        let others = [self.load_one(NEXT)?, self.load_one(ASIDE)?];
        // A name may be missing if the power went between two renames; a damaged current table is another matter.
        let missing = matches!(current, Loaded::Missing);
        let current = current.table();
        let current_is_well = current.is_some();
        let best =
            others.into_iter().filter_map(Loaded::table).chain(current).max_by_key(|table| table.sequence);
        let trusted = best.is_some() && (current_is_well || missing);
        Ok(Found { table: best.unwrap_or_default(), trusted })
    }

    /// Makes the files and gives them their space, so that `entries` replicas fit on a full disk.
    pub(super) fn reserve(&mut self, entries: usize) -> io::Result<()> {
        let needed = ENVELOPE_BYTES as u64 + 1024 + ENTRY_BYTES * u64::try_from(entries).unwrap_or(u64::MAX);
        if self.reserved >= needed {
            return Ok(());
        }
        let reserved = needed.next_power_of_two().max(RESERVED_BYTES);
        for name in [CURRENT, NEXT] {
            let path = self.directory.join(name);
            let mode = if self.disk.exists(&path)? { OpenMode::Write } else { OpenMode::CreateNew };
            self.disk.open(&path, mode)?.preallocate(0, reserved)?;
        }
        self.reserved = reserved;
        Ok(())
    }

    /// Writes the table to the spare file, syncs it, and lets the two change names. Blocks.
    pub(in crate::log) fn write(&self, table: &Table) -> io::Result<()> {
        let [current, next, aside] = [CURRENT, NEXT, ASIDE].map(|name| self.directory.join(name));
        let mode = if self.disk.exists(&next)? { OpenMode::Write } else { OpenMode::CreateNew };
        let file = self.disk.open(&next, mode)?;
        file.write_at(&[IoSlice::new(&table.encode())], 0)?;
        file.sync_data()?;
        let spare = self.disk.exists(&current)?;
        if spare {
            self.disk.rename(&current, &aside)?;
        }
        self.disk.rename(&next, &current)?;
        if spare {
            self.disk.rename(&aside, &next)?;
        }
        self.disk.sync_directory(&self.directory)
    }

    fn load_one(&self, name: &str) -> Result<Loaded, LogError> {
        let path: &Path = &self.directory.join(name);
        let Some(bytes) = read_small(&*self.disk, path, BYTES_MAX)? else { return Ok(Loaded::Missing) };
        if bytes.is_empty() {
            return Ok(Loaded::Missing);
        }
        match Table::decode(&bytes) {
            Ok(table) => Ok(Loaded::Well(table)),
            Err(Unreadable::Damaged(_)) => Ok(Loaded::Damaged),
            Err(newer) => Err(newer.in_file(path)),
        }
    }
}

#[derive(Debug)]
enum Loaded {
    Missing,
    Damaged,
    Well(Table),
}

impl Loaded {
    fn table(self) -> Option<Table> {
        match self {
            Self::Well(table) => Some(table),
            Self::Missing | Self::Damaged => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let partition = PartitionId { topic: TopicId(Uuid::from_u128(7)), index: 3 };
        let entry = Entry {
            leader_epoch: LeaderEpoch(5),
            log_start: Offset(10),
            file_id: 77,
            durable_end: Offset(4000),
            high_watermark: Offset(3999),
            flags: flags::OS,
        };
        let entries = BTreeMap::from([(partition, entry)]);
        Table { sequence: 9, clean: true, failed: false, boot_id: "b".into(), file_ids_from: 128, entries }
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        assert_eq!(Table::decode(&table().encode()).unwrap(), table());
    }

    #[test]
    fn the_bytes_of_version_one_stay_as_they_are() {
        let hex: String = table().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            concat!(
                "4d534c470100010055000000a5a3a3d5",
                "0900000000000000",
                "0100",
                "8000000000000000",
                "010062",
                "01000000",
                "00000000000000000000000000000007",
                "03000000",
                "05000000",
                "0a00000000000000",
                "4d00000000000000",
                "a00f000000000000",
                "9f0f000000000000",
                "01000000",
            )
        );
    }
}
