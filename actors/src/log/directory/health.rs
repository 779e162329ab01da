//! Whether a directory can be written to. A failure is latched: the first reason stays until the process ends.
//!
//! After a failed write-back Linux calls the lost pages clean and shows them as if they were on disk, so nothing that
//! the directory says after a failure is believed, and nothing is tried again (rule 3).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millstream_transport::world::watch;

use super::super::error::LogError;
use crate::events::{DirectoryFailed, Events};

/// The state of a log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryHealth {
    /// It takes writes.
    Well,
    /// A write or a sync has failed; it takes none until the process starts again.
    Failed(Arc<str>),
    /// It was closed.
    Closed,
}

/// The latch, and who is told.
#[derive(Debug)]
pub(in crate::log) struct Health {
    directory: PathBuf,
    well: AtomicBool,
    state: watch::Sender<DirectoryHealth>,
    events: Events,
}

impl Health {
    pub(in crate::log) fn new(directory: PathBuf, events: Events) -> Self {
        Self {
            directory,
            well: AtomicBool::new(true),
            state: watch::Sender::new(DirectoryHealth::Well),
            events,
        }
    }

    /// Latches a failure. The first one stays. Returns what everybody is told from now on.
    pub(in crate::log) fn fail(&self, doing: &'static str, path: &Path, error: &io::Error) -> LogError {
        self.well.store(false, Ordering::SeqCst);
        let cause: Arc<str> = format!("cannot {doing} {}: {error}", path.display()).into();
        let first = self.state.send_if_modified(|state| {
            let first = !matches!(state, DirectoryHealth::Failed(_));
            if first {
                *state = DirectoryHealth::Failed(Arc::clone(&cause));
            }
            first
        });
        if first {
            self.events.emit(DirectoryFailed { directory: &self.directory, cause: &cause });
        }
        self.check().err().unwrap_or(LogError::DirectoryFailed { directory: self.directory.clone(), cause })
    }

    /// No writes from now on.
    pub(in crate::log) fn close(&self) {
        self.well.store(false, Ordering::SeqCst);
        self.state.send_if_modified(|state| {
            let open = matches!(state, DirectoryHealth::Well);
            if open {
                *state = DirectoryHealth::Closed;
            }
            open
        });
    }

    /// Nothing, while the directory takes writes.
    pub(in crate::log) fn check(&self) -> Result<(), LogError> {
        if self.well.load(Ordering::SeqCst) {
            return Ok(());
        }
        match &*self.state.borrow() {
            DirectoryHealth::Well => Ok(()),
            DirectoryHealth::Failed(cause) => {
                Err(LogError::DirectoryFailed { directory: self.directory.clone(), cause: Arc::clone(cause) })
            }
            DirectoryHealth::Closed => Err(LogError::Closed { directory: self.directory.clone() }),
        }
    }

    /// Whether a failure is latched.
    pub(in crate::log) fn has_failed(&self) -> bool {
        !self.well.load(Ordering::SeqCst) && matches!(*self.state.borrow(), DirectoryHealth::Failed(_))
    }

    /// The state now, and its changes.
    pub(in crate::log) fn subscribe(&self) -> watch::Receiver<DirectoryHealth> {
        self.state.subscribe()
    }
}
