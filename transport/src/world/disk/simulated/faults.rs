//! What goes wrong on a simulated disk, and when.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A kind of call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskCall {
    /// Reads of files.
    Read,
    /// Writes to files: a prefix is written.
    Write,
    /// Syncs of files (unsynced bytes are lost, though the cache goes on showing them) and of directories.
    Sync,
}

/// How often a simulated disk was called in all its lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Reads of files.
    pub reads: u64,
    /// Writes to files.
    pub writes: u64,
    /// Syncs of files and directories.
    pub syncs: u64,
}

#[derive(Debug)]
struct Failing {
    call: DiskCall,
    under: PathBuf,
    times: u64,
}

#[derive(Debug)]
pub(super) struct Faults {
    failing: Vec<Failing>,
    pub(super) full: bool,
    pub(super) capacity: u64,
    pub(super) delay: RangeInclusive<Duration>,
    pub(super) cut_power_after: Option<u64>,
}

impl Faults {
    pub(super) fn new() -> Self {
        Self {
            failing: Vec::new(),
            full: false,
            capacity: 1 << 40,
            delay: Duration::from_millis(1)..=Duration::from_millis(2),
            cut_power_after: None,
        }
    }

    pub(super) fn fail(&mut self, call: DiskCall, under: &Path, times: u64) {
        self.failing.push(Failing { call, under: under.to_owned(), times });
    }

    pub(super) fn fail_nothing(&mut self) {
        self.failing.clear();
        self.full = false;
    }

    /// Whether this call is to fail.
    pub(super) fn strikes(&mut self, call: DiskCall, path: &Path) -> bool {
        let found = self
            .failing
            .iter_mut()
            .find(|failing| failing.times > 0 && failing.call == call && path.starts_with(&failing.under));
        let Some(failing) = found else { return false };
        failing.times -= 1;
        true
    }
}
