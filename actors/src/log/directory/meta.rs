//! The file `meta`: what the directory is, for people to read and for programs to check.
//!
//! ```text
//! millstream log directory
//! format = 1
//! uuid = 0d9c1f0e-…
//! ring = none
//! checksum = 1b2c3d4e
//! ```
//!
//! It is written once. The checksum is CRC-32C over the lines above it.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use millstream_transport::world::{Disk, DiskFile, OpenMode};
use uuid::Uuid;

use super::super::error::LogError;
use super::super::persisted::crc32c;
use crate::ids::DirectoryId;

/// The name of the file.
pub(super) const FILE: &str = "meta";

const NEW_FILE: &str = "meta.new";
const TITLE: &str = "millstream log directory";

/// The newest format that this program knows, and the one it writes.
const FORMAT: u32 = 1;

/// A `meta` file larger than this is none.
const BYTES_MAX: u64 = 4096;

/// What a directory says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) id: DirectoryId,
}

impl Meta {
    /// The directory's `meta` file; `None` where there is none.
    pub(super) fn load(disk: &dyn Disk, directory: &Path) -> Result<Option<Self>, LogError> {
        let path = directory.join(FILE);
        let Some(bytes) = read_small(disk, &path, BYTES_MAX)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        Self::parse(&text, &path).map(Some)
    }

    /// Writes it to a new file, and gives that its name.
    pub(super) fn save(self, disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        let new = directory.join(NEW_FILE);
        let file = disk.open(&new, OpenMode::Truncate)?;
        file.write_at(&[IoSlice::new(self.text().as_bytes())], 0)?;
        file.sync_data()?;
        disk.rename(&new, &directory.join(FILE))?;
        disk.sync_directory(directory)
    }

    fn text(self) -> String {
        let lines = format!("{TITLE}\nformat = {FORMAT}\nuuid = {}\nring = none\n", self.id.0);
        let checksum = crc32c(lines.as_bytes());
        format!("{lines}checksum = {checksum:08x}\n")
    }

    fn parse(text: &str, path: &Path) -> Result<Self, LogError> {
        let damaged = |found: &str| LogError::Damaged { file: path.to_path_buf(), found: Arc::from(found) };
        let value = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once(" = "))
                .find(|(key, _)| *key == name)
                .map(|(_, v)| v)
        };
        if text.lines().next() != Some(TITLE) {
            return Err(damaged("its first line is not that of such a file"));
        }
        let found: u32 = value("format").and_then(|v| v.parse().ok()).ok_or_else(|| damaged("no format"))?;
        if found > FORMAT {
            return Err(LogError::NewerFormat { file: path.to_path_buf(), found, known: FORMAT });
        }
        let (lines, _) = text.split_once("checksum = ").ok_or_else(|| damaged("no checksum"))?;
        let checksum = value("checksum").and_then(|v| u32::from_str_radix(v, 16).ok());
        if checksum != Some(crc32c(lines.as_bytes())) {
            return Err(damaged("its checksum is wrong"));
        }
        if value("ring") != Some("none") {
            return Err(damaged("it asks for a ring journal, which this format does not have"));
        }
        let id = value("uuid").and_then(|v| Uuid::parse_str(v).ok()).ok_or_else(|| damaged("no uuid"))?;
        Ok(Self { id: DirectoryId(id) })
    }
}

/// A whole small file; `None` where there is none.
pub(in crate::log) fn read_small(
    disk: &dyn Disk,
    path: &Path,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, LogError> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("open", path)(error)),
    };
    read_all(&*file, bytes_max).map(Some).map_err(LogError::io("read", path))
}

/// The first `bytes_max` bytes of a file, or as many as there are.
fn read_all(file: &dyn DiskFile, bytes_max: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.length()?.min(bytes_max)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta { id: DirectoryId(Uuid::from_u128(0x0d9c_1f0e)) }
    }

    #[test]
    fn the_text_of_format_one_stays_as_it_is() {
        let text = "millstream log directory\nformat = 1\nuuid = 00000000-0000-0000-0000-00000d9c1f0e\n\
                    ring = none\nchecksum = 16de4a0c\n";
        assert_eq!(meta().text(), text);
        assert_eq!(Meta::parse(text, Path::new("meta")).unwrap(), meta());
    }

    #[test]
    fn a_newer_format_is_named_even_where_all_else_is_strange() {
        let error = Meta::parse("millstream log directory\nformat = 7\n", Path::new("/d/meta")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/d/meta has format version 7, and this program knows versions up to 1; use a newer program"
        );
    }

    #[test]
    fn a_changed_letter_is_noticed() {
        let text = meta().text().replace("0d9c", "0d9d");
        assert!(matches!(Meta::parse(&text, Path::new("meta")), Err(LogError::Damaged { .. })));
    }
}
