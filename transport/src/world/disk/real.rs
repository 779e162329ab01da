//! The machine's file system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;

use super::super::Random;
use super::{DirectoryLock, Disk, DiskFile, Held, LOCK_FILE, OpenMode, writeback};

/// The machine's file system.
#[derive(Clone, Debug)]
pub struct RealDisk {
    boot_id: String,
}

impl RealDisk {
    /// The file system, and which boot of the machine this is.
    #[must_use]
    pub fn new() -> Self {
        // Where the kernel does not tell, every start counts as another boot: the careful side.
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_or_else(|_| Random::real().uuid().to_string(), |id| id.trim().to_owned());
        Self { boot_id }
    }
}

impl Default for RealDisk {
    fn default() -> Self {
        Self::new()
    }
}

/// Says what failed at which path; keeps the kind of the error.
fn at(path: &Path, what: &str, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), format!("{} cannot be {what}: {error}", path.display()))
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Write => options.write(true),
            OpenMode::CreateNew => options.write(true).create_new(true),
            OpenMode::Truncate => options.write(true).create(true).truncate(true),
        };
        let file = options.open(path).map_err(|error| at(path, "opened", error))?;
        Ok(Arc::new(RealFile { file, path: path.to_owned() }))
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path).map_err(|error| at(path, "created", error))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
        let mut paths = entries.map_err(|error| at(path, "listed", error))?;
        paths.sort_unstable();
        Ok(paths)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists().map_err(|error| at(path, "looked up", error))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to).map_err(|error| at(from, &format!("renamed to {}", to.display()), error))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path).map_err(|error| at(path, "removed", error))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path).map_err(|error| at(path, "removed", error))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path).and_then(|directory| directory.sync_all()).map_err(|error| at(path, "synced", error))
    }

    fn lock_directory(&self, path: &Path) -> io::Result<DirectoryLock> {
        let name = path.join(LOCK_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&name)
            .map_err(|error| at(&name, "opened", error))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(in_use(path, &mut file)),
            Err(error) => return Err(at(&name, "locked", error)),
        }
        // The number only helps a reader; on a full disk the lock holds without it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(DirectoryLock(Box::new(RealLock(file))))
    }

    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        let space = rustix::fs::statvfs(path).map_err(|error| at(path, "measured", error))?;
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
        Ok((bytes(space.f_bavail), bytes(space.f_blocks)))
    }

    fn boot_id(&self) -> String {
        self.boot_id.clone()
    }
}

fn in_use(directory: &Path, lock: &mut File) -> io::Error {
    let mut holder = String::new();
    let known = lock.take(32).read_to_string(&mut holder).is_ok();
    let holder = match holder.trim() {
        process if known && !process.is_empty() => format!("process {process}"),
        _ => "another process".to_owned(),
    };
    let text =
        format!("{} is in use by {holder}: stop that one, or choose another directory", directory.display());
    io::Error::new(io::ErrorKind::WouldBlock, text)
}

/// The open lock file: closing it unlocks, and so does the end of the process, however it comes.
#[derive(Debug)]
struct RealLock(#[expect(dead_code, reason = "kept open for its lock")] File);

impl Held for RealLock {}

#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
}

impl RealFile {
    fn failed(&self, what: &str, error: impl Into<io::Error>) -> io::Error {
        at(&self.path, what, error)
    }

    fn write_rest(&self, slices: &[IoSlice<'_>], start: u64, written: usize) -> io::Result<()> {
        let mut slices = slices.to_vec();
        let mut rest = slices.as_mut_slice();
        let mut position = start + offset(written);
        IoSlice::advance_slices(&mut rest, written);
        while !rest.is_empty() {
            let more = write_some(&self.file, rest, position).map_err(|error| {
                // Not `StorageFull`, which promises that nothing was written.
                let text = format!("after {} bytes of the write: {error}", position - start);
                io::Error::new(io::ErrorKind::WriteZero, text)
            })?;
            position += offset(more);
            IoSlice::advance_slices(&mut rest, more);
        }
        Ok(())
    }
}

/// Writes what one call can: the kernel takes 1,024 slices and 2 GiB at most, and may stop earlier.
fn write_some(file: &File, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
    loop {
        match rustix::io::pwritev(file, slices, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => return Ok(written),
            Err(Errno::INTR) => {}
            Err(Errno::DQUOT) => return Err(io::ErrorKind::StorageFull.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn offset(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl DiskFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata().map_err(|error| self.failed("measured", error))?.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, position + offset(filled)) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("read", error)),
            }
        }
        Ok(filled)
    }

    fn read_long(&self, length: usize, position: u64) -> io::Result<Vec<u8>> {
        let mut bytes: Vec<u8> = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = position + offset(bytes.len());
            match rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut bytes), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(self.failed("read", error)),
            }
        }
        // The memory may have had more room than was asked for.
        bytes.truncate(length);
        Ok(bytes)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        if bytes == 0 {
            return Ok(());
        }
        let written = write_some(&self.file, slices, position);
        match written {
            Ok(written) if written == bytes => Ok(()),
            Ok(written) => {
                self.write_rest(slices, position, written).map_err(|error| self.failed("written", error))
            }
            Err(error) => Err(self.failed("written", error)),
        }
    }

    fn start_writeback(&self) -> io::Result<()> {
        writeback::start(&self.file).map_err(|error| self.failed("written back", error))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().map_err(|error| self.failed("synced", error))
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length).map_err(|error| self.failed("cut or extended", error))
    }

    fn preallocate(&self, position: u64, length: u64) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, position, length) {
            // Reserving is a matter of speed; a file system that cannot do it allocates as it writes.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(self.failed("given space", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_use_names_its_holder() {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::new();
        let held = disk.lock_directory(directory.path()).unwrap();
        let refused = disk.lock_directory(directory.path()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
        drop(held);
        disk.lock_directory(directory.path()).unwrap();
    }

    #[test]
    fn errors_name_the_path_and_keep_their_kind() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let refused = RealDisk::new().open(&missing, OpenMode::Read).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
        assert!(refused.to_string().contains("missing cannot be opened"), "{refused}");
    }

    #[test]
    fn the_boot_stays_the_same_while_the_machine_runs() {
        assert_eq!(RealDisk::new().boot_id(), RealDisk::new().boot_id());
        assert!(!RealDisk::new().boot_id().is_empty());
    }

    #[test]
    fn a_full_disk_is_told_apart_before_the_first_byte() {
        let full = RealDisk::new().open(Path::new("/dev/full"), OpenMode::Write).unwrap();
        let refused = full.write_at(&[IoSlice::new(b"record")], 0).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn space_is_told_in_bytes() {
        let (free, total) = RealDisk::new().space(Path::new("/")).unwrap();
        assert!(free <= total && total > 1 << 20);
    }
}
