//! How a log is found again: the table says up to where it is on disk, and only what lies behind is looked at.
//!
//! After a clean stop nothing lies behind. After another, what does is kept up to the first batch that fails its
//! checksum, and the rest is cut. Whoever had to cut anything is in doubt: the table is a lower bound, so it cannot say
//! whether what was cut had been acknowledged (rule 5). Corruption *below* the durable end is not cut: the log then ends
//! before it, takes no appends, and leaves the bytes where they are until the replica orders otherwise.

mod files;
mod scan;

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use millstream_transport::world::{Disk, DiskFile, OpenMode};

use self::files::Files;
use self::scan::{Ending, Known, Scan};
use super::batches::remove_if_there;
use super::compact::CleaningState;
use super::directory::LogDirectory;
use super::directory::ends::{Arrival, ReplicaEnds};
use super::directory::table::{Entry, flags};
use super::error::LogError;
use super::partition_log::{Log, LogConfig};
use super::segment::{Active, Segment};
use crate::events::LogRecovered;
use crate::ids::{LeaderEpoch, Offset};
use crate::topic_config::{FlushPolicy, TopicConfig};

/// The file with the leader epochs of a log.
pub(super) const EPOCHS_FILE: &str = "epochs";

/// Why a replica is in doubt (rule 5). That its *directory* is new is for the replica to see, by the directory's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Bytes were cut that may have been acknowledged.
    Cut,
    /// Bytes that were durable are gone or corrupt, or nobody knows what was durable.
    Lost,
    /// With `flush.policy=os`: the machine went down without a clean stop.
    OtherBoot,
}

impl Doubt {
    fn of(flags: u32) -> Option<Self> {
        match flags {
            _ if flags & flags::DOUBT_LOST != 0 => Some(Self::Lost),
            _ if flags & flags::DOUBT_CUT != 0 => Some(Self::Cut),
            _ if flags & flags::DOUBT_BOOT != 0 => Some(Self::OtherBoot),
            _ => None,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Cut => "bytes were cut that may have been acknowledged",
            Self::Lost => "bytes that were durable are missing or corrupt",
            Self::OtherBoot => "the machine stopped while appends were only in its page cache",
        }
    }
}

/// What opening a log found.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// The end of the log.
    pub end: Offset,
    /// What is known to be on disk; what lies between it and the end is, when it has been synced.
    pub durable_end: Offset,
    /// The high watermark noted last.
    pub high_watermark: Offset,
    /// There was no log; this is a new one.
    pub created: bool,
    /// Bytes were cut now.
    pub cut: bool,
    /// The replica is in doubt, since now or an earlier start: it must not lead on its own word. The doubt is told at
    /// every start until [`Log::settle_doubt`].
    pub in_doubt: bool,
    /// Why.
    pub doubt: Option<Doubt>,
    /// Corruption below the durable end. The log ends before it and takes appends only after a
    /// [`truncate_to`](Log::truncate_to) or [`reset_to`](Log::reset_to).
    pub damage: Option<LogError>,
    /// Bytes read to find all this out.
    pub scanned_bytes: u64,
}

/// Opens the log of a replica that nobody else owns.
pub(super) fn recover(
    directory: &Arc<LogDirectory>,
    ends: Arc<ReplicaEnds>,
    config: &TopicConfig,
) -> Result<(Log, Recovery), LogError> {
    let shared = directory.shared();
    let entry = ends.entry();
    let config = LogConfig::of(config);
    let found = Files::find(shared, &ends, &entry)?;
    let known = found.known_epochs(shared)?;
    let mut epochs = known.clone().unwrap_or_else(|| found.epochs_of_batches(shared));
    let scan = Scan::run(shared, &found.segments, &entry, Known { epochs: known }, &mut epochs, config)?;
    // The file of epochs is not written anew whenever the log's start moves.
    epochs.advance_start(entry.log_start.min(scan.end));
    let doubts = doubts(&entry, &scan, config);
    let log = Log {
        directory: Arc::clone(directory),
        partition: ends.partition,
        segments: found.segments,
        active: Active::new(0, config.segment_bytes),
        start: entry.log_start,
        end: scan.end,
        epochs: Arc::new(epochs),
        tail: directory.settings().tail.tail(),
        snapshots: found.snapshots,
        config,
        damage: scan.damage.clone(),
        ends,
        recovered: false,
        cleaning: CleaningState::default(),
    };
    log.settle(&entry, doubts, scan)
}

fn doubts(entry: &Entry, scan: &Scan, config: LogConfig) -> u32 {
    let mut doubts = entry.flags & flags::DOUBTS;
    if scan.cut_bytes > 0 {
        doubts |= flags::DOUBT_CUT;
    }
    if scan.lost {
        doubts |= flags::DOUBT_LOST;
    }
    let was_os = entry.flags & flags::OS != 0 || config.policy == FlushPolicy::Os;
    if was_os && entry.flags & flags::OTHER_BOOT != 0 && entry.durable_end > Offset::ZERO {
        doubts |= flags::DOUBT_BOOT;
    }
    doubts
}

impl Log {
    /// Puts what the scan found into effect.
    fn settle(mut self, entry: &Entry, doubts: u32, mut scan: Scan) -> Result<(Self, Recovery), LogError> {
        let created = self.segments.is_empty() && entry.durable_end == entry.log_start;
        let first = self.segments.first().map_or(entry.log_start, |first| first.file.base);
        self.start = entry.log_start.max(first);
        let emptied = scan.damage.is_none() && scan.end < self.start;
        scan.end = scan.end.max(self.start);
        self.end = scan.end;
        // The page cache was empty when the machine came up: what is read then is on disk, names and all.
        let arrival = self.ends.take_arrival();
        let is_on_disk = arrival == Some(Arrival::FreshBoot) && scan.cut_bytes == 0;
        let durable_end = if is_on_disk { scan.end } else { entry.durable_end.min(scan.end).max(self.start) };
        let file_id = self.segments.last().map_or(0, |last| last.file.file_id);
        let told = Entry { log_start: self.start, durable_end, flags: entry.flags | doubts, ..*entry };
        let epoch = self.epochs.last().unwrap_or(LeaderEpoch(0));
        self.ends.recovered(told, scan.end, epoch, file_id);
        if doubts & !entry.flags != 0 || scan.cut_bytes > 0 || durable_end < entry.durable_end {
            // Before anything is changed: the next start would not see it any more.
            self.shared().write_table()?;
        }
        self.apply(&mut scan, emptied)?;
        if arrival == Some(Arrival::SameBoot) || self.end > durable_end {
            self.mark_unsynced(&scan)?;
        }
        self.ends.set_flags(0, flags::CUT_BACK | flags::OTHER_BOOT);
        if entry.flags & flags::CUT_BACK != 0 {
            // Before anything new is durable: the next start would cut that too.
            self.shared().write_table()?;
        }
        self.recovered = true;
        self.note_policy();
        self.directory.syncer().request(&self.ends, None);
        let doubt = Doubt::of(doubts);
        let recovery = Recovery {
            end: self.end,
            durable_end,
            high_watermark: self.checkpointed(),
            created,
            cut: scan.cut_bytes > 0,
            in_doubt: doubt.is_some(),
            doubt,
            damage: self.damage.clone(),
            scanned_bytes: scan.scanned_bytes,
        };
        if scan.scanned_bytes > 0 || doubt.is_some() {
            self.shared().events.emit(LogRecovered {
                partition: self.partition,
                end: self.end,
                scanned_bytes: scan.scanned_bytes,
                cut_bytes: scan.cut_bytes,
                doubt: doubt.map(Doubt::text),
            });
        }
        Ok((self, recovery))
    }

    fn apply(&mut self, scan: &mut Scan, emptied: bool) -> Result<(), LogError> {
        let shared = Arc::clone(self.shared());
        let keep = if emptied { 0 } else { scan.keep_segments };
        let gone = self.segments.split_off(keep.min(self.segments.len()));
        let removed = self.remove_files(&gone);
        removed.map_err(|error| shared.fail("remove the segments in", self.ends.path(), &error))?;
        if self.segments.is_empty() {
            let fresh = self.create_segment(self.end)?;
            self.active = Active::new(fresh.file.file_id, self.config.segment_bytes);
            self.segments.push(fresh);
            return self.forget_snapshots();
        }
        if let Some(active) = scan.active.take() {
            self.active = active;
        }
        if let (Ending::Cut(position), Some(last)) = (&scan.ending, self.segments.last_mut()) {
            let position = *position;
            let writer = shared.files.to_write(last.file.file_id, &last.file.path);
            let cut = writer.and_then(|writer| {
                self.ends.touch(last.file.file_id, &writer);
                writer.set_length(position)
            });
            cut.map_err(|error| shared.fail("cut", &last.file.path, &error))?;
            last.length = position;
            last.file.was_cut();
            self.active.space.forget();
            scan.stale_index = true;
        }
        if scan.stale_index {
            self.rewrite_index()?;
        }
        self.forget_snapshots()
    }

    /// What the former life of the process appended, or cut, may be in the page cache only.
    ///
    /// It is written once more with the same bytes: should a write-back have failed, and that life have ended before it
    /// could leave a note of it, then the kernel holds those pages for clean, and a sync would pass over them.
    fn mark_unsynced(&self, scan: &Scan) -> Result<(), LogError> {
        let shared = self.shared();
        let mut position = scan.first_position;
        for segment in self.segments.iter().skip(scan.first_segment) {
            let writer = shared.files.to_write(segment.file.file_id, &segment.file.path);
            let writer = writer.map_err(LogError::io("open", &segment.file.path))?;
            self.ends.touch(segment.file.file_id, &writer);
            if self.config.policy == FlushPolicy::Sync {
                let rewritten = rewrite(&*writer, position, segment.length);
                rewritten.map_err(|error| shared.fail("write again", &segment.file.path, &error))?;
            }
            position = 0;
        }
        self.ends.renamed(shared.note_root_change());
        Ok(())
    }

    fn remove_files(&self, segments: &[Segment]) -> io::Result<()> {
        for segment in segments.iter().rev() {
            remove_if_there(&*self.shared().disk, &segment.file.index_path())?;
            remove_if_there(&*self.shared().disk, &segment.file.path)?;
            self.ends.renamed(0);
        }
        Ok(())
    }

    fn forget_snapshots(&mut self) -> Result<(), LogError> {
        let shared = Arc::clone(self.shared());
        let (directory, end) = (self.ends.path().to_path_buf(), self.end);
        let removed = self.snapshots.remove(&*shared.disk, &directory, |offset| offset > end);
        let synced =
            removed.and_then(|any| if any { shared.disk.sync_directory(&directory) } else { Ok(()) });
        synced.map_err(|error| shared.fail("remove snapshots in", &directory, &error))
    }
}

/// Writes the bytes of a range where they are.
fn rewrite(file: &dyn DiskFile, mut position: u64, end: u64) -> io::Result<()> {
    let mut buffer =
        vec![0; usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX).min(1 << 20)];
    while position < end {
        let left = usize::try_from(end - position).unwrap_or(usize::MAX).min(buffer.len());
        let read = file.read_at(buffer.get_mut(..left).unwrap_or_default(), position)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(&[IoSlice::new(buffer.get(..read).unwrap_or_default())], position)?;
        position += u64::try_from(read).unwrap_or(0);
    }
    Ok(())
}

/// Writes a small file anew under its name. The name and the bytes are durable when both were synced.
pub(super) fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
    let new = path.with_extension("new");
    let file = disk.open(&new, OpenMode::Truncate)?;
    file.write_at(&[IoSlice::new(bytes)], 0)?;
    disk.rename(&new, path)?;
    Ok(file)
}
