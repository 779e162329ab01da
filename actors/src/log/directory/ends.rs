//! What the owner of a log and the sync threads share: how far the log goes, how far it is on disk, what is unsynced.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_transport::world::DiskFile;

use super::super::error::LogError;
use super::super::sync::SyncDone;
use super::table::{Entry, flags};
use crate::ids::{LeaderEpoch, Offset, PartitionId};

/// One replica's ends.
pub(in crate::log) struct ReplicaEnds {
    pub(in crate::log) partition: PartitionId,
    /// The replica's directory.
    pub(in crate::log) path: PathBuf,
    state: Mutex<State>,
}

struct State {
    entry: Entry,
    /// The greatest durable end that a table on disk may tell.
    told: Offset,
    end: Offset,
    end_epoch: LeaderEpoch,
    end_file: u64,
    unsynced: Unsynced,
    waiting: Vec<SyncDone>,
    phase: Phase,
    /// A sync is wanted, though nobody waits for it.
    wanted: bool,
    /// The lowest offset to which the log was cut while a sync was running.
    floor: Option<Offset>,
    owned: bool,
    /// The replica is deleted, its files with it.
    removed: bool,
    /// How the life before ended; nothing once the log was opened in this one.
    arrival: Option<Arrival>,
}

/// What a sync has to make durable. Holding the files keeps their descriptors open.
#[derive(Default)]
struct Unsynced {
    files: Vec<(u64, Arc<dyn DiskFile>)>,
    bytes: u64,
    /// Names in the replica's directory changed.
    names: bool,
    /// The change of the root directory's names that has to be durable; 0 for none.
    root_change: u64,
}

impl Unsynced {
    fn take_in(&mut self, file_id: u64, file: &Arc<dyn DiskFile>) {
        if !self.files.iter().any(|(id, _)| *id == file_id) {
            self.files.push((file_id, Arc::clone(file)));
        }
    }

    fn is_empty(&self) -> bool {
        self.files.is_empty() && !self.names && self.root_change == 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Queued,
    Running,
}

/// How a directory was found at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Arrival {
    /// After a clean stop.
    Clean,
    /// After another, in the same boot of the machine: what is seen may be in the page cache only.
    SameBoot,
    /// After another, in a boot before this one: the page cache was empty, so what is seen is on disk.
    FreshBoot,
}

/// What became of a request for a sync.
pub(in crate::log) enum Asked {
    /// All is durable up to here.
    Durable(Option<SyncDone>, Offset),
    /// The replica is to be queued.
    Queue,
    /// It is queued, or will be when the running sync ends.
    Joined,
}

/// One sync: what was unsynced and asked for when it began.
pub(in crate::log) struct Work {
    unsynced: Unsynced,
    end: Offset,
    epoch: LeaderEpoch,
    file_id: u64,
    waiting: Vec<SyncDone>,
}

impl Work {
    pub(in crate::log) fn files(&self) -> impl Iterator<Item = &dyn DiskFile> {
        self.unsynced.files.iter().map(|(_, file)| &**file)
    }

    pub(in crate::log) fn names(&self) -> bool {
        self.unsynced.names
    }

    pub(in crate::log) fn root_change(&self) -> u64 {
        self.unsynced.root_change
    }

    pub(in crate::log) fn bytes(&self) -> u64 {
        self.unsynced.bytes
    }
}

/// Whom to tell when a sync has ended, and what.
pub(in crate::log) struct Ended {
    pub(in crate::log) waiting: Vec<SyncDone>,
    pub(in crate::log) result: Result<Offset, LogError>,
    /// The replica is to be queued again.
    pub(in crate::log) again: bool,
}

impl ReplicaEnds {
    /// A replica of which the table says `entry`, or nothing.
    pub(in crate::log) fn new(partition: PartitionId, path: PathBuf, entry: Entry) -> Self {
        let state = State {
            entry,
            told: entry.durable_end,
            end: entry.durable_end,
            end_epoch: entry.leader_epoch,
            end_file: entry.file_id,
            unsynced: Unsynced::default(),
            waiting: Vec::new(),
            phase: Phase::Idle,
            wanted: false,
            floor: None,
            owned: false,
            removed: false,
            arrival: None,
        };
        Self { partition, path, state: Mutex::new(state) }
    }

    /// Takes the replica for one owner; false if it has one.
    pub(in crate::log) fn take(&self) -> bool {
        !std::mem::replace(&mut self.lock().owned, true)
    }

    /// Whether it has an owner: its log is open.
    pub(in crate::log) fn is_taken(&self) -> bool {
        self.lock().owned
    }

    /// The replica is about to be deleted: what it had unsynced does not matter any more.
    pub(in crate::log) fn remove(&self) {
        let mut state = self.lock();
        state.removed = true;
        state.unsynced = Unsynced::default();
    }

    pub(in crate::log) fn is_removed(&self) -> bool {
        self.lock().removed
    }

    /// Its owner is gone.
    pub(in crate::log) fn give_back(&self) {
        self.lock().owned = false;
    }

    pub(in crate::log) fn set_arrival(&self, arrival: Arrival) {
        self.lock().arrival = Some(arrival);
    }

    /// How the life before ended; only the first who asks hears it.
    pub(in crate::log) fn take_arrival(&self) -> Option<Arrival> {
        self.lock().arrival.take()
    }

    pub(in crate::log) fn entry(&self) -> Entry {
        self.lock().entry
    }

    /// The entry for a table that is about to be written.
    pub(in crate::log) fn tell(&self) -> Entry {
        let mut state = self.lock();
        state.told = state.entry.durable_end;
        state.entry
    }

    pub(in crate::log) fn durable_end(&self) -> Offset {
        self.lock().entry.durable_end
    }

    /// The end of the log as recovered; nothing of it is known to be durable beyond the entry's durable end.
    pub(in crate::log) fn recovered(&self, entry: Entry, end: Offset, epoch: LeaderEpoch, file_id: u64) {
        let mut state = self.lock();
        state.entry = entry;
        (state.end, state.end_epoch, state.end_file) = (end, epoch, file_id);
    }

    /// The leader epoch of the log's last batch, as far as there is one, and where the log ends.
    pub(in crate::log) fn reach(&self) -> (LeaderEpoch, Offset) {
        let state = self.lock();
        let epoch = if state.end == Offset::ZERO { LeaderEpoch(-1) } else { state.end_epoch };
        (epoch, state.end)
    }

    pub(in crate::log) fn set_log_start(&self, start: Offset) {
        self.lock().entry.log_start = start;
    }

    pub(in crate::log) fn set_high_watermark(&self, high_watermark: Offset) {
        self.lock().entry.high_watermark = high_watermark;
    }

    /// Sets and clears [`flags`].
    pub(in crate::log) fn set_flags(&self, set: u32, clear: u32) {
        let mut state = self.lock();
        state.entry.flags = state.entry.flags & !clear | set;
    }

    pub(in crate::log) fn in_doubt(&self) -> bool {
        self.lock().entry.flags & flags::DOUBTS != 0
    }

    /// The file is about to have unsynced bytes.
    pub(in crate::log) fn touch(&self, file_id: u64, file: &Arc<dyn DiskFile>) {
        self.lock().unsynced.take_in(file_id, file);
    }

    /// Names in the replica's directory changed; in the root directory too where `root_change` is not 0.
    pub(in crate::log) fn renamed(&self, root_change: u64) {
        let mut state = self.lock();
        state.unsynced.names = true;
        state.unsynced.root_change = state.unsynced.root_change.max(root_change);
    }

    /// Bytes were appended to a touched file. Returns how many are unsynced now.
    ///
    /// A sync that began after the touch has taken the file with it, and knows the old end: the file belongs to the next
    /// sync as well, and from the moment on at which the end is the new one.
    pub(in crate::log) fn appended(
        &self,
        end: Offset,
        epoch: LeaderEpoch,
        (file_id, file): (u64, &Arc<dyn DiskFile>),
        bytes: u64,
    ) -> u64 {
        let mut state = self.lock();
        state.unsynced.take_in(file_id, file);
        (state.end, state.end_epoch, state.end_file) = (end, epoch, file_id);
        state.unsynced.bytes += bytes;
        state.unsynced.bytes
    }

    /// The log is about to be cut to end at `end`, or to start anew there in a new file. True if the table has to tell.
    pub(in crate::log) fn cut(&self, reset_to: Option<u64>, end: Offset, epoch: LeaderEpoch) -> bool {
        let mut state = self.lock();
        if let Some(file_id) = reset_to {
            (state.entry.log_start, state.entry.durable_end) = (end, end);
            (state.entry.file_id, state.end_file) = (file_id, file_id);
        }
        state.entry.durable_end = state.entry.durable_end.min(end);
        (state.end, state.end_epoch) = (end, epoch);
        state.floor = Some(state.floor.map_or(end, |floor| floor.min(end)));
        state.told > end || reset_to.is_some()
    }

    /// A file is removed; what it had unsynced does not matter any more.
    pub(in crate::log) fn forget_file(&self, file_id: u64) {
        self.lock().unsynced.files.retain(|(id, _)| *id != file_id);
    }

    /// Asks for a sync of all that is appended now.
    pub(in crate::log) fn ask(&self, done: Option<SyncDone>) -> Asked {
        let mut state = self.lock();
        if state.phase == Phase::Idle && state.unsynced.is_empty() {
            return Asked::Durable(done, state.entry.durable_end);
        }
        state.wanted = true;
        state.waiting.extend(done);
        if state.phase != Phase::Idle {
            return Asked::Joined;
        }
        state.phase = Phase::Queued;
        Asked::Queue
    }

    /// Files with unsynced bytes, to start their write-back.
    pub(in crate::log) fn unsynced_files(&self) -> Vec<Arc<dyn DiskFile>> {
        self.lock().unsynced.files.iter().map(|(_, file)| Arc::clone(file)).collect()
    }

    /// Begins a sync: whatever is appended from now on belongs to the next.
    pub(in crate::log) fn begin(&self) -> Work {
        let mut state = self.lock();
        state.phase = Phase::Running;
        state.wanted = false;
        state.floor = None;
        Work {
            unsynced: std::mem::take(&mut state.unsynced),
            end: state.end,
            epoch: state.end_epoch,
            file_id: state.end_file,
            waiting: std::mem::take(&mut state.waiting),
        }
    }

    /// Ends a sync.
    pub(in crate::log) fn finish(&self, work: Work, result: Result<(), LogError>) -> Ended {
        let mut state = self.lock();
        let mut waiting = work.waiting;
        let nothing_new = state.unsynced.is_empty();
        if nothing_new || result.is_err() {
            waiting.append(&mut state.waiting);
            state.wanted = false;
        }
        let again = state.wanted;
        state.phase = if again { Phase::Queued } else { Phase::Idle };
        let result = result.map(|()| {
            let end = state.floor.take().map_or(work.end, |floor| floor.min(work.end));
            if end > state.entry.durable_end {
                state.entry.durable_end = end;
                (state.entry.leader_epoch, state.entry.file_id) = (work.epoch, work.file_id);
            }
            state.entry.durable_end
        });
        drop(state);
        Ended { waiting, result, again }
    }

    pub(in crate::log) fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ReplicaEnds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        formatter
            .debug_struct("ReplicaEnds")
            .field("partition", &self.partition)
            .field("end", &state.end)
            .field("entry", &state.entry)
            .finish_non_exhaustive()
    }
}
