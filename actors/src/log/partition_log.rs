//! The log of one partition, as its one owner has it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::compact::{CleaningState, CompactConfig};
use super::directory::ends::ReplicaEnds;
use super::directory::table::flags;
use super::directory::{LogDirectory, Shared};
use super::epochs::{EpochCache, Epochs};
use super::error::{LogError, is_no_space};
use super::producers::Snapshots;
use super::segment::{Active, Name, Segment, SegmentFile};
use super::sync::SyncDone;
use super::tail::TailCache;
use crate::ids::{LeaderEpoch, Offset, PartitionId};
use crate::topic_config::{FlushPolicy, TopicConfig};

/// The log of one partition. It has one owner, who may be on any thread; nobody else writes to its files.
///
/// Calls that write go to the page cache and return; [`sync`](Self::sync) says when that is durable. Dropping the log
/// ends the ownership and loses nothing: what is not synced yet still can be, and is when the log is opened again.
#[derive(Debug)]
pub struct Log {
    pub(super) directory: Arc<LogDirectory>,
    pub(super) partition: PartitionId,
    pub(super) ends: Arc<ReplicaEnds>,
    /// In order; the last is active.
    pub(super) segments: Vec<Segment>,
    pub(super) active: Active,
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) epochs: Arc<EpochCache>,
    pub(super) tail: TailCache,
    pub(super) snapshots: Snapshots,
    pub(super) config: LogConfig,
    /// Corruption below the durable end that recovery found: nothing is appended behind it.
    pub(super) damage: Option<LogError>,
    /// Recovery has come to its end.
    pub(super) recovered: bool,
    /// What is known of the last cleaning.
    pub(super) cleaning: CleaningState,
}

/// The settings of a topic that concern its logs.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogConfig {
    pub(super) segment_bytes: u64,
    pub(super) segment_ms: u64,
    pub(super) retention_bytes: Option<u64>,
    pub(super) retention_ms: Option<u64>,
    pub(super) delete: bool,
    pub(super) compact: Option<CompactConfig>,
    pub(super) policy: FlushPolicy,
}

impl LogConfig {
    pub(super) fn of(config: &TopicConfig) -> Self {
        let compact = CompactConfig::of(config);
        Self {
            segment_bytes: config.segment_bytes.into(),
            segment_ms: match compact {
                // Nothing of the active segment is cleaned: it must end in time.
                Some(compact) => config.segment_ms.min(compact.lag_max_ms.unwrap_or(u64::MAX)),
                None => config.segment_ms,
            },
            retention_bytes: config.retention_bytes,
            retention_ms: config.retention_ms,
            delete: config.delete,
            compact,
            policy: config.flush_policy,
        }
    }
}

impl Log {
    /// Whose log it is.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The directory it lies in.
    #[must_use]
    pub fn directory(&self) -> &Arc<LogDirectory> {
        &self.directory
    }

    /// The first offset.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.start
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// All below it is on disk.
    #[must_use]
    pub fn durable_end(&self) -> Offset {
        self.ends.durable_end()
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum()
    }

    /// In which leader epochs it was written.
    #[must_use]
    pub fn epochs(&self) -> Epochs<'_> {
        Epochs { cache: &self.epochs, end: self.end }
    }

    /// Notes that a leader epoch begins at the end of the log, before anything is appended in it.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) -> Result<(), LogError> {
        self.shared().health.check()?;
        self.note_all(std::iter::once((epoch, self.end)))
    }

    /// Makes all that is appended by now durable, and tells `done` the durable end, which may be further.
    ///
    /// Never refused. `done` runs on a sync thread, or before this returns; it must not block.
    pub fn sync(&self, done: SyncDone) {
        self.directory.syncer().request(&self.ends, Some(done));
    }

    /// Notes the high watermark, to be found again at the next start; it is on disk within a second or so.
    pub fn checkpoint(&self, high_watermark: Offset) {
        self.ends.set_high_watermark(high_watermark);
        self.directory.syncer().table_wanted();
    }

    /// The high watermark noted last, in this life or the one before; never beyond the end.
    #[must_use]
    pub fn checkpointed(&self) -> Offset {
        self.ends.entry().high_watermark.clamp(self.start, self.end)
    }

    /// Whether a doubt about this replica is not settled yet (rule 5). It outlives restarts.
    #[must_use]
    pub fn in_doubt(&self) -> bool {
        self.ends.in_doubt()
    }

    /// The doubt is settled: the replica has joined the in-sync set again, or was elected as it is.
    pub fn settle_doubt(&self) {
        self.ends.set_flags(0, flags::DOUBTS);
        self.directory.syncer().table_wanted();
    }

    /// Takes changed settings of the topic.
    pub fn reconfigure(&mut self, config: &TopicConfig) {
        self.config = LogConfig::of(config);
        if self.config.compact.is_none() {
            self.shared().cleaner.forget(self.partition, &self.shared().metrics);
        }
        self.note_policy();
    }

    /// The table tells whether `os` was in force: a power cut makes such a replica doubtful.
    pub(super) fn note_policy(&self) {
        let (set, clear) = match self.config.policy {
            FlushPolicy::Os => (flags::OS, 0),
            FlushPolicy::Sync => (0, flags::OS),
        };
        self.ends.set_flags(set, clear);
        self.directory.syncer().table_wanted();
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.directory.shared()
    }

    /// The active segment's file. There always is one.
    pub(super) fn active_segment(&self) -> Result<&Segment, LogError> {
        self.segments.last().ok_or_else(|| self.no_segment())
    }

    pub(super) fn active_segment_mut(&mut self) -> Result<&mut Segment, LogError> {
        let error = self.no_segment();
        self.segments.last_mut().ok_or(error)
    }

    fn no_segment(&self) -> LogError {
        LogError::Closed { directory: self.ends.path().to_path_buf() }
    }

    /// Whether the log takes writes.
    pub(super) fn check_writable(&self) -> Result<(), LogError> {
        self.shared().health.check()?;
        self.damage.clone().map_or(Ok(()), Err)
    }

    /// Refuses for want of space, or fails the directory.
    pub(super) fn refused(
        &self,
        doing: &'static str,
        path: &Path,
        needed: u64,
        error: &io::Error,
    ) -> LogError {
        if is_no_space(error) {
            self.shared().metrics.no_space.increment(1);
            return LogError::NoSpace { path: path.to_path_buf(), needed };
        }
        self.shared().fail(doing, path, error)
    }

    /// A new, empty segment that begins at `base`.
    pub(super) fn create_segment(&self, base: Offset) -> Result<Segment, LogError> {
        let shared = self.shared();
        let file = SegmentFile::new(self.ends.path(), Name::plain(base, shared.next_file_id()?));
        let made = shared.files.create(file.file_id, &file.path);
        made.map_err(|error| {
            if is_no_space(&error) {
                shared.metrics.no_space.increment(1);
                return LogError::NoSpace { path: file.path.clone(), needed: 0 };
            }
            // Nothing was written: no reason to fail the whole directory.
            LogError::io("make", &file.path)(error)
        })?;
        self.ends.renamed(0);
        Ok(Segment { file: Arc::new(file), length: 0 })
    }

    /// Writes the file of epochs. It counts among the files of the next sync.
    pub(super) fn save_epochs(&self) -> Result<(), LogError> {
        let shared = self.shared();
        let path = self.ends.path().join(super::recover::EPOCHS_FILE);
        let bytes = self.epochs.encode();
        let saved = super::recover::replace_file(&*shared.disk, &path, &bytes);
        match saved {
            Ok(file) => {
                // Under an id that no other file has: each version of it is a file of its own.
                self.ends.touch(shared.next_file_id()?, &file);
                self.ends.renamed(0);
                Ok(())
            }
            Err(error) => {
                let needed = u64::try_from(bytes.len()).unwrap_or(0);
                Err(self.refused("write", &path, needed, &error))
            }
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let is_well = self.recovered && self.damage.is_none() && !self.shared().health.has_failed();
        if let (true, Some(segment)) = (is_well, self.segments.last()) {
            let (path, length) = (segment.file.index_path(), segment.length);
            let disk = Arc::clone(&self.shared().disk);
            self.active.note_end(length, self.end);
            // A hint: without it the next start reads a little more.
            let _ = self.active.flush(&*disk, &path);
        }
        self.shared().cleaner.forget(self.partition, &self.shared().metrics);
        self.ends.give_back();
    }
}
