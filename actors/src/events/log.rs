//! Log directories and their logs.

use std::fmt;
use std::path::Path;

use metrics::{Counter, Gauge, Histogram};

use super::{Event, Events};
use crate::ids::{Offset, PartitionId};

/// The series of a log directory that move often.
#[derive(Clone)]
pub struct LogMetrics {
    /// Time of one append, from the call to the page cache.
    pub append_seconds: Histogram,
    /// Bytes appended.
    pub appended_bytes: Counter,
    /// Time of one log's sync, its turn in the round alone.
    pub sync_seconds: Histogram,
    /// Rounds of group sync.
    pub sync_rounds: Counter,
    /// Files synced; by rounds: how many share one.
    pub synced_files: Counter,
    /// Bytes read from files, not from memory.
    pub cold_read_bytes: Counter,
    /// Appends refused for want of space.
    pub no_space: Counter,
    /// Bytes of compacted logs that were written anew, as they were before.
    pub cleaned_bytes: Counter,
    /// Time of one cleaning of one log, its pauses included.
    pub clean_seconds: Histogram,
    /// How much of the dirtiest compacted log was not cleaned yet, 0 to 1.
    pub cleaner_dirty_ratio_max: Gauge,
}

impl LogMetrics {
    /// The handles of this node's series.
    #[must_use]
    pub fn new(events: &Events) -> Self {
        Self {
            append_seconds: events.histogram("millstream_log_append_seconds", Vec::new()),
            appended_bytes: events.counter("millstream_log_appended_bytes_total", Vec::new()),
            sync_seconds: events.histogram("millstream_log_sync_seconds", Vec::new()),
            sync_rounds: events.counter("millstream_log_sync_rounds_total", Vec::new()),
            synced_files: events.counter("millstream_log_synced_files_total", Vec::new()),
            cold_read_bytes: events.counter("millstream_log_cold_read_bytes_total", Vec::new()),
            no_space: events.counter("millstream_log_no_space_total", Vec::new()),
            cleaned_bytes: events.counter("millstream_log_cleaner_cleaned_bytes_total", Vec::new()),
            clean_seconds: events.histogram("millstream_log_cleaner_seconds", Vec::new()),
            cleaner_dirty_ratio_max: events.gauge("millstream_log_cleaner_dirty_ratio_max", Vec::new()),
        }
    }
}

impl fmt::Debug for LogMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LogMetrics").finish_non_exhaustive()
    }
}

/// A write or sync failed; the directory takes no more until the process starts again.
#[derive(Debug)]
pub struct DirectoryFailed<'a> {
    /// Which.
    pub directory: &'a Path,
    /// What failed.
    pub cause: &'a str,
}

impl Event for DirectoryFailed<'_> {
    fn tell(&self, events: &Events) {
        events.counter("millstream_log_directory_failures_total", Vec::new()).increment(1);
        tracing::error!(
            node = %events.node(),
            directory = %self.directory.display(),
            cause = self.cause,
            "log directory has failed: its replicas go offline until this node is restarted"
        );
    }
}

/// A log was recovered after an unclean stop, or was found other than the table of durable ends says.
#[derive(Debug)]
pub struct LogRecovered<'a> {
    /// The partition.
    pub partition: PartitionId,
    /// Its end.
    pub end: Offset,
    /// Bytes read to find it.
    pub scanned_bytes: u64,
    /// Bytes cut off, none of them known to have been durable.
    pub cut_bytes: u64,
    /// What is doubtful about it.
    pub doubt: Option<&'a str>,
}

impl Event for LogRecovered<'_> {
    fn tell(&self, events: &Events) {
        events.counter("millstream_log_recoveries_total", Vec::new()).increment(1);
        events
            .counter("millstream_log_recovery_scanned_bytes_total", Vec::new())
            .increment(self.scanned_bytes);
        events.counter("millstream_log_recovery_cut_bytes_total", Vec::new()).increment(self.cut_bytes);
        if let Some(doubt) = self.doubt {
            events.counter("millstream_log_doubts_total", Vec::new()).increment(1);
            tracing::warn!(
                node = %events.node(), partition = %self.partition, end = %self.end, cut_bytes = self.cut_bytes, doubt,
                "log recovered, in doubt"
            );
        } else {
            tracing::info!(
                node = %events.node(), partition = %self.partition, end = %self.end,
                scanned_bytes = self.scanned_bytes, "log recovered"
            );
        }
    }
}

/// The end of a log was cut off on the replica's order.
#[derive(Debug)]
pub struct LogTruncated {
    /// The partition.
    pub partition: PartitionId,
    /// Its end before.
    pub from: Offset,
    /// Its end now.
    pub to: Offset,
}

impl Event for LogTruncated {
    fn tell(&self, events: &Events) {
        events.counter("millstream_log_truncations_total", Vec::new()).increment(1);
        tracing::info!(
            node = %events.node(), partition = %self.partition, from = %self.from, to = %self.to, "log truncated"
        );
    }
}

/// A compacted log was cleaned.
#[derive(Debug)]
pub struct LogCleaned {
    /// The partition.
    pub partition: PartitionId,
    /// It is clean below this offset.
    pub upto: Offset,
    /// Bytes read, those of dirty segments twice.
    pub read_bytes: u64,
    /// Bytes that were kept.
    pub written_bytes: u64,
}

impl Event for LogCleaned {
    fn tell(&self, events: &Events) {
        tracing::info!(
            node = %events.node(), partition = %self.partition, upto = %self.upto, read_bytes = self.read_bytes,
            written_bytes = self.written_bytes, "log cleaned"
        );
    }
}

/// A compacted log could not be cleaned. It is as it was, and tried again.
#[derive(Debug)]
pub struct CleaningFailed<'a> {
    /// The partition.
    pub partition: PartitionId,
    /// Why.
    pub cause: &'a str,
}

impl Event for CleaningFailed<'_> {
    fn tell(&self, events: &Events) {
        events.counter("millstream_log_cleaner_failures_total", Vec::new()).increment(1);
        tracing::warn!(
            node = %events.node(), partition = %self.partition, cause = self.cause,
            "log could not be cleaned; it stays as it was until the next try"
        );
    }
}

/// Bytes that are not what was written. They are not served.
#[derive(Debug)]
pub struct CorruptionFound<'a> {
    /// The file.
    pub segment: &'a Path,
    /// Where in it.
    pub position: u64,
    /// The first offset that cannot be read.
    pub offset: Offset,
    /// What is wrong.
    pub found: &'a str,
}

impl Event for CorruptionFound<'_> {
    fn tell(&self, events: &Events) {
        events.counter("millstream_log_corruptions_total", Vec::new()).increment(1);
        tracing::error!(
            node = %events.node(), segment = %self.segment.display(), position = self.position,
            offset = %self.offset, found = self.found, "corrupt bytes in a log; they are not served"
        );
    }
}
