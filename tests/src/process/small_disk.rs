//! A small file system of its own, in memory, that only the processes of one node see.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::namespace::{Holder, Kind, NotAllowed};
use crate::Outcome;

/// A file system of a few megabytes. It is gone when this is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Holder,
    directory: tempfile::TempDir,
}

impl SmallDisk {
    /// Makes one, where the machine allows it.
    pub fn mount(bytes: u64) -> Result<Self, NotAllowed> {
        let made = tempfile::Builder::new().prefix("millstream-test-disk-").tempdir();
        let directory = made.map_err(|error| NotAllowed(error.to_string()))?;
        let path = directory.path().display().to_string();
        let script = "mount -t tmpfs -o size=\"$1\",mode=0700 millstream-test \"$2\"";
        let holder = Holder::new(Kind::Mounts, script, &[&bytes.to_string(), &path])?;
        Ok(Self { holder, directory })
    }

    /// Where the node finds it.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn prefix(&self) -> Vec<OsString> {
        self.holder.prefix()
    }

    /// Where others find what the node finds at `path`.
    pub(super) fn seen_from_outside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.pid()));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn ballast(&self) -> PathBuf {
        self.seen_from_outside(&self.path().join("ballast"))
    }

    /// Takes all space that is left.
    pub fn fill(&self) -> Outcome {
        let mut ballast = fs::File::create(self.ballast())?;
        let mut piece = vec![1_u8; 1 << 20];
        while !piece.is_empty() {
            match ballast.write(&piece) {
                Ok(_) => {}
                // Down to the last page.
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                    let half = if piece.len() > 4096 { piece.len() / 2 } else { 0 };
                    piece.truncate(half);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gives the space back.
    pub fn free(&self) -> Outcome {
        Ok(fs::remove_file(self.ballast())?)
    }
}
