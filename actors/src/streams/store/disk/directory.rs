//! The directory of a task's stores: whose it is, of which format, and what is wrong with it.
//!
//! ```text
//! lock      locked while the directory is in use
//! format    of which format the rest is
//! database  the stores
//! suspect   why the stores are to be set aside when they are opened next, where something corrupt was met
//! aside     what was set aside last
//! ```

use std::error::Error;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fjall::Database;

use super::{DiskBudget, StoreError};

/// What is in the file `format`. Another number for what an older Millstream could not read.
const FORMAT: &str = "millstream state stores 1\n";

/// Journals of all stores of a directory, beyond which the oldest store goes into a file, so that a restart reads no more.
const MAX_JOURNAL_BYTES: u64 = 64 << 20;

/// Why stores could not be opened or used.
pub(super) struct Failure {
    /// Whether what is on disk is wrong, and not the disk.
    pub(super) is_corrupt: bool,
    pub(super) error: StoreError,
}

/// A directory that is locked.
pub(super) struct Directory {
    path: PathBuf,
    /// Unlocked when it is closed, by whatever ends the process.
    _lock: File,
}

impl Directory {
    /// Makes the directory, if need be, and takes it.
    pub(super) fn lock(path: &Path) -> Result<Self, StoreError> {
        let lock = (|| {
            fs::create_dir_all(path)?;
            OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"))
        })();
        let lock = lock.map_err(|error| said(path, "", &format!("cannot be made: {error}")))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(said(
                path,
                "",
                "is in use by another task or process; give each process a directory of its own",
            )),
            Err(TryLockError::Error(error)) => Err(said(path, "", &format!("cannot be locked: {error}"))),
        }
    }

    /// Deletes what lies in this directory, and this one, while all of it is locked: the directories of tasks, and the file that a
    /// process holds for as long as it lives.
    pub(super) fn delete_all(path: &Path) -> Result<(), StoreError> {
        let failed = |error: io::Error| said(path, "", &format!("cannot be deleted: {error}"));
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let (mut directories, mut files) = (Vec::new(), Vec::new());
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                directories.push(Self::lock(&entry.path())?);
                continue;
            }
            let file = File::open(entry.path()).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => files.push(file),
                Err(TryLockError::WouldBlock) => {
                    return Err(said(path, "", "is in use by a process; end it first"));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        let deleted = fs::remove_dir_all(path);
        drop((directories, files));
        deleted.map_err(failed)
    }

    /// Opens the database, which is made where it is not there.
    pub(super) fn open(&self, budget: DiskBudget) -> Result<Database, Failure> {
        self.check_format()?;
        let database = self.path.join("database");
        let open = || {
            let builder = Database::builder(&database).cache_size(budget.cache_bytes);
            builder.worker_threads(1).max_journaling_size(MAX_JOURNAL_BYTES).open()
        };
        match catch_unwind(AssertUnwindSafe(open)) {
            Ok(opened) => opened.map_err(|error| self.failure("", &error)),
            Err(_) => Err(self.corrupt("it makes its reader panic")),
        }
    }

    fn check_format(&self) -> Result<(), Failure> {
        if let Some(reason) = self.read("suspect")? {
            return Err(self.corrupt(&reason));
        }
        let is_there = self.path.join("database").try_exists().map_err(|error| self.failed(&error))?;
        match self.read("format")? {
            Some(format) if format == FORMAT => Ok(()),
            Some(format) => {
                Err(self.corrupt(&format!("it is of the format {format:?}, which is not known here")))
            }
            None if is_there => Err(self.corrupt("it does not say of which format it is")),
            None => self.write("format", FORMAT).map_err(|error| self.failed(&error)),
        }
    }

    /// Moves the stores out of the way.
    pub(super) fn set_aside(&self) -> Result<(), StoreError> {
        let aside = self.path.join("aside");
        let is_missing = |error: &io::Error| error.kind() == ErrorKind::NotFound;
        let moved = (|| {
            // Whatever is cut off here begins again with these steps: the last one is what ends the suspicion.
            fs::remove_dir_all(&aside)
                .or_else(|error| if is_missing(&error) { Ok(()) } else { Err(error) })?;
            for (from, to) in [("database", aside.clone()), ("format", self.path.join("format-aside"))] {
                let moved = fs::rename(self.path.join(from), to);
                moved.or_else(|error| if is_missing(&error) { Ok(()) } else { Err(error) })?;
            }
            let removed = fs::remove_file(self.path.join("suspect"));
            removed.or_else(|error| if is_missing(&error) { Ok(()) } else { Err(error) })
        })();
        moved.map_err(|error| said(&self.path, "", &format!("its stores cannot be set aside: {error}")))
    }

    /// Notes that something corrupt was met.
    pub(super) fn suspect(&self, error: &StoreError) {
        // Where it cannot be noted the store fails again, with the same error.
        let _noted = self.write("suspect", &error.reason);
    }

    fn read(&self, name: &str) -> Result<Option<String>, Failure> {
        match fs::read(self.path.join(name)) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// All of the file or nothing.
    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let new = self.path.join(format!("{name}.new"));
        fs::write(&new, text)?;
        File::open(&new)?.sync_all()?;
        fs::rename(&new, self.path.join(name))?;
        File::open(&self.path)?.sync_all()
    }

    pub(super) fn corrupt(&self, reason: &str) -> Failure {
        Failure { is_corrupt: true, error: said(&self.path, "", reason) }
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure { is_corrupt: false, error: said(&self.path, "", &error.to_string()) }
    }

    /// An error of the database.
    pub(super) fn failure(&self, store: &str, error: &fjall::Error) -> Failure {
        Failure { is_corrupt: is_corrupt(error), error: said(&self.path, store, &error.to_string()) }
    }
}

/// Whether it is what is on disk that is wrong. A write that failed, or after one that did, says nothing about it.
fn is_corrupt(error: &fjall::Error) -> bool {
    use fjall::Error as E;
    if matches!(error, E::Poisoned | E::Locked | E::KeyspaceDeleted) {
        return false;
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            // A file that is missing or too short was there once.
            return matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::InvalidData
            );
        }
        cause = error.source();
    }
    true
}

fn said(path: &Path, store: &str, reason: &str) -> StoreError {
    let reason = match store {
        "" => format!("the directory {}: {reason}", path.display()),
        store => format!("store {store:?} in {}: {reason}", path.display()),
    };
    StoreError { store: store.to_owned(), reason }
}
