//! openraft's log and vote, over the files.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Bound::{Excluded, Included};
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream_transport::world::Threads;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{EntryPayload, ErrorSubject, ErrorVerb, LogState, OptionalSend, RaftLogReader};
use tokio::time::Instant;

use super::failure::{WriteError, refused};
use super::log_file::{Found, LogFile, encode_entries};
use super::vote_file::VoteFile;
use crate::cluster::quorum::pace::Pace;
use crate::cluster::quorum::types::{Entry, LogId, StorageError, TypeConfig, Vote};

/// How long to wait for space before the next try.
pub(crate) const SPACE_RETRY: Duration = Duration::from_millis(500);
/// About how much a follower is sent at once.
const READ_BYTES: usize = 256 << 10;
/// About what an entry needs beside its payload.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// The log and the vote. Reads are answered from memory: what is not in a snapshot yet is bounded by the settings.
/// Writes run off the caller's thread, one after the other, and count when they are synced.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    memory: Arc<Mutex<Memory>>,
    log: Arc<Mutex<LogFile>>,
    vote: Arc<Mutex<VoteFile>>,
    pace: Arc<Mutex<Pace>>,
    threads: Threads,
}

#[derive(Debug, Default)]
struct Memory {
    entries: BTreeMap<u64, Entry>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    /// What the file's last mark says.
    marked: Option<LogId>,
    vote: Option<Vote>,
    bytes: u64,
    /// Since when a write is under way.
    writing: Option<Instant>,
}

impl LogStore {
    pub(crate) fn new(
        log: LogFile,
        found: Found,
        vote: VoteFile,
        voted: Option<Vote>,
        threads: Threads,
    ) -> Self {
        let memory = Memory {
            entries: found.entries.into_iter().map(|entry| (entry.log_id.index, entry)).collect(),
            purged: found.purged,
            committed: found.committed,
            marked: found.committed,
            vote: voted,
            bytes: log.size(),
            writing: None,
        };
        Self {
            memory: Arc::new(Mutex::new(memory)),
            log: Arc::new(Mutex::new(log)),
            vote: Arc::new(Mutex::new(vote)),
            pace: Arc::default(),
            threads,
        }
    }

    /// Whether nothing was ever written to the log.
    pub(crate) fn is_unborn(&self) -> bool {
        let memory = lock(&self.memory);
        memory.entries.is_empty() && memory.purged.is_none()
    }

    /// Bytes of log on disk.
    pub(crate) fn size_bytes(&self) -> u64 {
        lock(&self.memory).bytes
    }

    /// Since when a write is under way, if one is.
    pub(crate) fn writing_since(&self) -> Option<Instant> {
        lock(&self.memory).writing
    }

    /// How long entries take to be written, here and elsewhere.
    pub(crate) fn pace(&self) -> Arc<Mutex<Pace>> {
        self.pace.clone()
    }

    /// The last entry, purged or not.
    pub(crate) fn last_log_id(&self) -> Option<LogId> {
        last_log_id(&lock(&self.memory))
    }

    /// Writes down what is committed, if that has moved. Not synced: a kill keeps it, a power cut may not.
    pub(crate) async fn mark_committed(&self) -> Result<(), WriteError> {
        let committed = {
            let memory = lock(&self.memory);
            if memory.marked == memory.committed {
                return Ok(());
            }
            memory.committed
        };
        self.write_log(move |log| log.mark(committed)).await?;
        lock(&self.memory).marked = committed;
        Ok(())
    }

    /// Runs `work` on the log's file, again and again while the disk is full.
    async fn write_log(
        &self,
        work: impl Fn(&mut LogFile) -> Result<(), WriteError> + Send + Sync + 'static,
    ) -> Result<(), WriteError> {
        let work = Arc::new(work);
        lock(&self.memory).writing = Some(Instant::now());
        loop {
            let (log, work) = (self.log.clone(), work.clone());
            let done = self.threads.run_blocking(move || {
                let mut log = lock(&log);
                work(&mut log).map(|()| log.size())
            });
            match done.await {
                Ok(size) => {
                    let mut memory = lock(&self.memory);
                    (memory.bytes, memory.writing) = (size, None);
                    return Ok(());
                }
                Err(WriteError::NoSpace) => tokio::time::sleep(SPACE_RETRY).await,
                Err(failed) => return Err(failed),
            }
        }
    }

    /// Keeps what `keep` says, on disk and then in memory.
    async fn keep(&self, purged: Option<LogId>, keep: impl Fn(u64) -> bool) -> Result<(), StorageError> {
        let (kept, purged) = {
            let memory = lock(&self.memory);
            let kept: Vec<Entry> =
                memory.entries.values().filter(|e| keep(e.log_id.index)).cloned().collect();
            (kept, purged.max(memory.purged))
        };
        let payloads = encode_entries(&kept).map_err(|e| refused(ErrorSubject::Logs, ErrorVerb::Write, e))?;
        let written = self.write_log(move |log| log.rewrite(purged, &payloads)).await;
        written.map_err(|error| storage_error(ErrorSubject::Logs, ErrorVerb::Delete, error))?;
        let mut memory = lock(&self.memory);
        memory.entries.retain(|index, _| keep(*index));
        memory.purged = purged;
        Ok(())
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let bounds = (range.start_bound().cloned(), range.end_bound().cloned());
        // An empty range is legal here, and a panic in the map.
        if !matches!(bounds, (Included(low), Excluded(high)) if low >= high) {
            return Ok(lock(&self.memory).entries.range(bounds).map(|(_, entry)| entry.clone()).collect());
        }
        Ok(Vec::new())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        let memory = lock(&self.memory);
        let mut left = READ_BYTES;
        let mut entries = Vec::new();
        if start >= end {
            return Ok(entries);
        }
        for entry in memory.entries.range(start..end).map(|(_, entry)| entry) {
            let payload = match &entry.payload {
                EntryPayload::Normal(bytes) => bytes.len(),
                EntryPayload::Blank | EntryPayload::Membership(_) => 0,
            };
            let Some(rest) = left.checked_sub(payload + ENTRY_OVERHEAD_BYTES) else {
                if entries.is_empty() {
                    entries.push(entry.clone());
                }
                break;
            };
            left = rest;
            entries.push(entry.clone());
        }
        Ok(entries)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let memory = lock(&self.memory);
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: last_log_id(&memory) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let (file, vote) = (self.vote.clone(), *vote);
        let written = self.threads.run_blocking(move || lock(&file).write(Some(vote))).await;
        written.map_err(|error| storage_error(ErrorSubject::Vote, ErrorVerb::Write, error))?;
        lock(&self.memory).vote = Some(vote);
        Ok(())
    }

    /// The vote, handed back uncommitted: nobody leads after a restart before a majority has said so again.
    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(lock(&self.memory).vote.map(|vote| Vote { committed: false, ..vote }))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        lock(&self.memory).committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        let memory = lock(&self.memory);
        Ok(memory.committed.min(last_log_id(&memory)))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let payloads =
            encode_entries(&entries).map_err(|e| refused(ErrorSubject::Logs, ErrorVerb::Write, e))?;
        let committed = lock(&self.memory).committed;
        let begun = Instant::now();
        let written = self.write_log(move |log| log.append(&payloads, committed)).await;
        written.map_err(|error| storage_error(ErrorSubject::Logs, ErrorVerb::Write, error))?;
        let now = Instant::now();
        lock(&self.pace).wrote(now, now.duration_since(begun));
        {
            let mut memory = lock(&self.memory);
            memory.marked = committed;
            memory.entries.extend(entries.into_iter().map(|entry| (entry.log_id.index, entry)));
        }
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.keep(None, |index| index < log_id.index).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.keep(Some(log_id), |index| index > log_id.index).await
    }
}

fn last_log_id(memory: &Memory) -> Option<LogId> {
    memory.entries.last_key_value().map(|(_, entry)| entry.log_id).or(memory.purged)
}

fn storage_error(subject: ErrorSubject<super::VoterId>, verb: ErrorVerb, error: WriteError) -> StorageError {
    match error {
        WriteError::NoSpace => refused(subject, verb, "no space"),
        WriteError::Failed(text) => refused(subject, verb, text),
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
