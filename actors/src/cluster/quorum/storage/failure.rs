//! What goes wrong with the quorum's directory, and what follows from it.

use std::io;
use std::path::PathBuf;

use millstream_transport::world::watch;
use openraft::{AnyError, ErrorSubject, ErrorVerb};

use crate::cluster::quorum::types::{StorageError, StorageIoError};

/// Why the quorum's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system refused.
    #[error("quorum directory: {path}: {source}; see to the disk and its permissions, then start again")]
    Io {
        /// What was worked on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error(
        "quorum directory: {path}: {found}; the file was damaged after it was written. Where other voters are well, move \
         the directory {} away: the node comes back as a learner and is put in its own place", path.parent().unwrap_or(path).display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// The machine refused its snapshot.
    #[error("quorum directory: the snapshot cannot be loaded: {0}")]
    Machine(String),
}

impl OpenError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }

    pub(crate) fn corrupt(path: impl Into<PathBuf>, found: impl ToString) -> Self {
        Self::Corrupt { path: path.into(), found: found.to_string() }
    }
}

/// Why something could not be written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// No space, and nothing was written: the same may succeed later.
    NoSpace,
    /// The directory has failed, now or before; the latch is set.
    Failed(String),
}

/// The first failed write or sync of the directory; it stays until the process ends, because nothing that the page
/// cache shows after it can be believed.
#[derive(Clone, Debug)]
pub(crate) struct Latch(std::sync::Arc<watch::Sender<Option<String>>>);

impl Latch {
    pub(crate) fn new() -> Self {
        Self(std::sync::Arc::new(watch::Sender::new(None)))
    }

    /// What failed, if anything has.
    pub(crate) fn failed(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Told of the failure.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<String>> {
        self.0.subscribe()
    }

    /// An error if something has failed before.
    pub(crate) fn check(&self) -> Result<(), WriteError> {
        self.failed().map_or(Ok(()), |text| Err(WriteError::Failed(text)))
    }

    /// Latches the failure of an operation; the first one stays.
    pub(crate) fn watch<T>(&self, what: &str, result: io::Result<T>) -> Result<T, WriteError> {
        result.map_err(|error| {
            let text = format!("{what}: {error}");
            self.0.send_if_modified(|first| {
                let new = first.is_none();
                first.get_or_insert_with(|| text.clone());
                new
            });
            WriteError::Failed(text)
        })
    }
}

/// What openraft is told; it stops the voter.
pub(crate) fn refused(
    subject: ErrorSubject<super::VoterId>,
    verb: ErrorVerb,
    text: impl ToString,
) -> StorageError {
    StorageIoError::new(subject, verb, AnyError::error(text)).into()
}
