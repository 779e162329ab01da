//! The snapshot on disk: one of two files, which take turns as the log's do.

use std::path::Path;

use millstream_transport::world::Disk;
use serde::{Deserialize, Serialize};

use super::failure::{Latch, OpenError, WriteError};
use super::frame::{PAGE_BYTES, PageError, checksum, decode_page, encode_page};
use super::space::Space;
use crate::cluster::quorum::types::SnapshotMeta;

const MAGIC: [u8; 4] = *b"MSQS";
const NAMES: [&str; 2] = ["snapshot.0", "snapshot.1"];

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Head {
    generation: u64,
    superseded: bool,
    length: u64,
    checksum: u32,
    /// `None` before the first snapshot.
    meta: Option<SnapshotMeta>,
}

/// A snapshot: what it reaches to, and its bytes.
pub(crate) type Whole = (SnapshotMeta, Vec<u8>);

/// The snapshot's files. One owner; all calls block.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    current: Space,
    other: Space,
    head: Head,
}

impl SnapshotFile {
    /// Makes both files; the caller syncs the directory.
    pub(crate) fn create(
        disk: &dyn Disk,
        directory: &Path,
        reserve: u64,
        latch: &Latch,
    ) -> Result<Self, OpenError> {
        let [current, other] = NAMES.map(|name| Space::create(disk, &directory.join(name), reserve, latch));
        let head = Head { generation: 1, superseded: false, length: 0, checksum: 0, meta: None };
        let file = Self { current: current?, other: other?, head };
        file.write_head(&file.current, &file.head).map_err(|error| file.open_error(&error))?;
        Ok(file)
    }

    /// Opens the files, and writes the snapshot found there anew, so that it does not rest on the page cache alone.
    pub(crate) fn open(
        disk: &dyn Disk,
        directory: &Path,
        reserve: u64,
        latch: &Latch,
    ) -> Result<(Self, Option<Whole>), OpenError> {
        let [first, second] = NAMES.map(|name| Space::open(disk, &directory.join(name), reserve, latch));
        let mut file = Self::in_use(first?, second?)?;
        let found = file.read()?;
        if let Some((meta, bytes)) = &found {
            file.write(meta, bytes).map_err(|error| file.open_error(&error))?;
        }
        Ok((file, found))
    }

    /// Reads the snapshot and changes nothing.
    pub(crate) fn look(disk: &dyn Disk, directory: &Path, latch: &Latch) -> Result<Option<Whole>, OpenError> {
        let [first, second] = NAMES.map(|name| Space::look(disk, &directory.join(name), latch));
        Self::in_use(first?, second?)?.read()
    }

    fn in_use(first: Space, second: Space) -> Result<Self, OpenError> {
        let (head, current, other) = match (read_head(&first)?, read_head(&second)?) {
            (Some(one), Some(two)) if one.generation > two.generation => (one, first, second),
            (_, Some(two)) => (two, second, first),
            (Some(one), None) => (one, first, second),
            (None, None) => {
                return Err(OpenError::corrupt(
                    first.path(),
                    "neither of the two snapshot files has a valid head",
                ));
            }
        };
        if head.superseded {
            return Err(OpenError::corrupt(
                other.path(),
                "its head is damaged, and the other file's is out of date",
            ));
        }
        Ok(Self { current, other, head })
    }

    fn open_error(&self, error: &WriteError) -> OpenError {
        OpenError::Io {
            path: self.current.path().into(),
            source: std::io::Error::other(format!("{error:?}")),
        }
    }

    fn write_head(&self, space: &Space, head: &Head) -> Result<(), WriteError> {
        let page = encode_page(MAGIC, head)
            .map_err(|error| WriteError::Failed(format!("cannot encode a snapshot's head: {error}")))?;
        if page.len() as u64 > PAGE_BYTES {
            return Err(WriteError::Failed("the membership is too large for a snapshot's head".into()));
        }
        space.write(&page, 0)?;
        space.sync()
    }

    /// What the snapshot holds; `None` before the first.
    pub(crate) fn meta(&self) -> Option<&SnapshotMeta> {
        self.head.meta.as_ref()
    }

    /// The snapshot's bytes, checked.
    pub(crate) fn read(&self) -> Result<Option<Whole>, OpenError> {
        let Some(meta) = self.head.meta.clone() else { return Ok(None) };
        let length = usize::try_from(self.head.length).unwrap_or(usize::MAX);
        let bytes = self.current.read(PAGE_BYTES, length)?;
        if bytes.len() != length || checksum(&[&bytes]) != self.head.checksum {
            return Err(OpenError::corrupt(self.current.path(), "the snapshot's checksum is wrong"));
        }
        Ok(Some((meta, bytes)))
    }

    /// Writes a snapshot to the other file, syncs it, and takes it into use. One that reaches less far than the present
    /// one is dropped.
    pub(crate) fn write(&mut self, meta: &SnapshotMeta, bytes: &[u8]) -> Result<(), WriteError> {
        if self.meta().is_some_and(|present| present.last_log_id > meta.last_log_id) {
            return Ok(());
        }
        self.other.reserve(PAGE_BYTES + bytes.len() as u64)?;
        self.other.write(bytes, PAGE_BYTES)?;
        self.other.sync()?;
        let head = Head {
            generation: self.head.generation + 1,
            superseded: false,
            length: bytes.len() as u64,
            checksum: checksum(&[bytes]),
            meta: Some(meta.clone()),
        };
        self.write_head(&self.other, &head)?;
        self.write_head(&self.current, &Head { superseded: true, ..self.head.clone() })?;
        std::mem::swap(&mut self.current, &mut self.other);
        self.head = head;
        Ok(())
    }
}

fn read_head(space: &Space) -> Result<Option<Head>, OpenError> {
    match decode_page::<Head>(MAGIC, &space.read_page(0)?) {
        Ok(head) => Ok(Some(head)),
        Err(PageError::Invalid) => Ok(None),
        Err(newer) => Err(OpenError::corrupt(space.path(), newer)),
    }
}
