//! The series of the data plane: partitions, their replication, and their logs.

use super::{Series, counter, gauge, histogram};

const RESIGNATIONS: &[&str] = &["begun_anew", "sync_lag", "damaged", "failed"];
const SIDES: &[&str] = &["leader", "follower"];

/// What clients write and read.
pub(super) const PARTITIONS: &[Series] = &[
    histogram(
        "millstream_produce_seconds",
        "Time from a produce request's arrival at its replica to its answer.",
    ),
    histogram("millstream_append_seconds", "Time a leader took for one write of all batches that waited."),
    histogram(
        "millstream_commit_seconds",
        "Time from the append of a batch at the leader to its being committed.",
    ),
    histogram(
        "millstream_fetch_seconds",
        "Time to find and read the records of a fetch; waits for new ones not counted.",
    ),
    counter("millstream_records_in_total", "Records appended by leaders."),
    counter("millstream_in_bytes_total", "Bytes of batches appended by leaders."),
    counter("millstream_out_bytes_total", "Bytes of batches read for consumers."),
    counter("millstream_replicated_bytes_total", "Bytes of batches appended by followers."),
    counter("millstream_duplicate_batches_total", "Batches that came again and were answered from memory."),
    counter("millstream_produce_throttled_total", "Produce requests refused because a bound was reached."),
    gauge("millstream_partitions_led", "Partitions led by this node."),
    gauge("millstream_partitions_under_replicated", "Partitions led here whose in-sync set lacks a replica."),
    gauge(
        "millstream_partitions_under_min_in_sync",
        "Partitions led here with fewer in sync than min.insync.replicas: acks=all is refused.",
    ),
    gauge(
        "millstream_partition_missing_replicas",
        "Replicas of a partition outside of its in-sync set, told by its leader.",
    )
    .of_each(&["topic", "partition"]),
    gauge("millstream_partitions_offline", "Replicas on this node that serve nobody."),
    gauge("millstream_fetches_waiting", "Fetches that wait for new records."),
    counter("millstream_epochs_opened_total", "Times a replica of this node began to lead."),
    counter("millstream_resignations_total", "Times a leader on this node asked for another, by reason.")
        .by("reason", RESIGNATIONS),
    counter(
        "millstream_truncations_total",
        "Times a follower's log was cut to the leader's, by whether below what it knew to be committed.",
    )
    .by("committed", &["false", "true"]),
    counter(
        "millstream_damaged_logs_total",
        "Times a replica found damage; it is fetched again from another.",
    ),
    counter("millstream_feeds_rejected_total", "Batches from a leader that its follower refused."),
    counter(
        "millstream_requests_quarantined_total",
        "Requests refused for good because they killed a replica twice.",
    ),
];

/// Leaders to followers.
pub(super) const REPLICATION: &[Series] = &[
    counter("millstream_replication_sent_bytes_total", "Bytes of batches sent to followers."),
    counter("millstream_replication_received_bytes_total", "Bytes of batches received from leaders."),
    histogram(
        "millstream_replication_durable_seconds",
        "Time from sending a batch to a follower to its report that the batch is on disk.",
    ),
    gauge("millstream_replication_sessions", "Fetch sessions open on this node, by its side of them.")
        .by("side", SIDES),
    counter("millstream_replication_sessions_lost_total", "Fetch sessions that ended out of order, by side.")
        .by("side", SIDES),
    counter("millstream_replication_sessions_not_opened_total", "Fetch sessions that could not be opened."),
];

/// Log directories and the disks under them.
pub(super) const LOG: &[Series] = &[
    histogram("millstream_log_append_seconds", "Time of one write to a log, to the page cache."),
    counter("millstream_log_appended_bytes_total", "Bytes written to logs, by leaders and followers."),
    histogram("millstream_log_sync_seconds", "Time of one log's sync to disk."),
    counter("millstream_log_sync_rounds_total", "Rounds of group sync."),
    counter("millstream_log_synced_files_total", "Files synced; by rounds, how many share one."),
    counter("millstream_log_cold_read_bytes_total", "Bytes read from files, not from memory."),
    counter(
        "millstream_log_no_space_total",
        "Appends refused because the disk is full, to be tried again: by leaders to producers, by followers.",
    ),
    counter("millstream_log_directory_failures_total", "Log directories that have failed since the start."),
    gauge(
        "millstream_log_directory_failed",
        "1 if the log directory has failed: see to the disk, start the node again.",
    ),
    gauge("millstream_log_directory_free_bytes", "Bytes free for new data on the disk of the log directory."),
    gauge("millstream_log_directory_size_bytes", "Size of the disk of the log directory."),
    counter("millstream_log_recoveries_total", "Logs recovered after an unclean stop."),
    counter("millstream_log_recovery_scanned_bytes_total", "Bytes read to recover logs."),
    counter(
        "millstream_log_recovery_cut_bytes_total",
        "Bytes cut off in recovery, none known to have been durable.",
    ),
    counter(
        "millstream_log_doubts_total",
        "Logs recovered that may lack records; they do not lead unless asked.",
    ),
    counter("millstream_log_truncations_total", "Times the end of a log was cut off."),
    counter("millstream_log_corruptions_total", "Corrupt places found in logs; they are not served."),
    counter(
        "millstream_log_cleaner_cleaned_bytes_total",
        "Bytes of compacted logs that were written anew, as they were before.",
    ),
    histogram("millstream_log_cleaner_seconds", "Time of one cleaning of one compacted log."),
    gauge(
        "millstream_log_cleaner_dirty_ratio_max",
        "How much of the dirtiest compacted log was not cleaned when it was last looked at, 0 to 1.",
    ),
    counter(
        "millstream_log_cleaner_failures_total",
        "Cleanings of compacted logs that failed; the log stays as it was.",
    ),
];
